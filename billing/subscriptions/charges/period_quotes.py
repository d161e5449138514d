"""What a whole period would cost in advance, now and once discounts that end have ended. Reads only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.accounts.models import Account
from billing.invoicing import issuing
from billing.invoicing.lines import Quote
from billing.subscriptions.agreement.terms import Terms
from billing.subscriptions.charges import coupons, fee_lines
from billing.subscriptions.charges.fee_lines import Span
from billing.subscriptions.models import CouponRedemption


@dataclass(frozen=True, slots=True)
class PeriodQuotes:
    """`price` is what a period costs with all coupons, None where nothing is billed in advance; `after_coupons` what
    one costs once every coupon that ends has ended, None where that is the same."""

    price: Quote | None
    after_coupons: Quote | None = None


def quote_period(
    account: Account, terms: Terms, *, seats: int, of: Span, redemptions: Sequence[CouponRedemption], at: datetime
) -> PeriodQuotes:
    """Quotes of a period billed `at` that time. Raises issuing.NoIssuer, tax.TaxNotPrepared."""
    advance = fee_lines.advance(terms, seats=seats, of=of)
    if not advance:
        return PeriodQuotes(None)

    def quote(with_coupons: Sequence[CouponRedemption]) -> Quote:
        taken_off = coupons.discounts(with_coupons, terms=terms, advance=advance, of=of)[0]
        on = issuing.supply_date(account, at)
        return issuing.quote(account=account, currency=terms.currency, lines=[*advance, *taken_off], on=on)

    price, lasting = quote(redemptions), [each for each in redemptions if each.periods_left is None]
    later = quote(lasting) if len(lasting) < len(redemptions) else price
    return PeriodQuotes(price, later if later.total != price.total else None)
