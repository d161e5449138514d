"""The tax engine that asks Stripe Tax. What it answered is kept by the fingerprint of the sale and read from there.

Stripe is asked for each category of goods, of net prices and of prices with tax, about the sum of what is charged; its
tax of that is shared out over the lines, and over what takes away from them, which Stripe knows nothing of.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import stripe
import structlog
from django.conf import settings
from django.utils.translation import gettext as _

from billing.catalog import pricing
from billing.invoicing import stripe_units, tax
from billing.invoicing.tax import LineTax, Sale, Tax, TaxNotPrepared, TaxUnavailable, Treatment, line_tax
from billing.invoicing.tax_models import TaxCalculation

log = structlog.get_logger(__name__)

ENGINE = "stripe"
RETRIES = 2
# Stripe refuses days that are further back.
MOST_DAYS_BACK = timedelta(days=30)
KEPT_FOR = timedelta(days=60)
ZERO = Decimal(0)

# A category of goods, and whether its prices include tax.
Group = tuple[str, bool]


def work_out(sale: Sale) -> tuple[LineTax, ...]:
    """What Stripe answered about just this sale. Raises TaxNotPrepared when it was not asked."""
    if not _sums_to_ask(sale):
        return tuple(line_tax(line, tax.untaxed(sale), ZERO) for line in sale.lines)
    kept = TaxCalculation.objects.filter(fingerprint=sale.fingerprint()).first()
    if kept is None:
        raise TaxNotPrepared(sale)
    return tuple(
        line_tax(
            line,
            Tax(said["name"], Decimal(said["percent"]), Treatment(said["treatment"]), said["note"]),
            Decimal(said["amount"]),
        )
        for line, said in zip(sale.lines, kept.lines, strict=True)
    )


def prepare(sale: Sale, *, now: datetime) -> None:
    """Ask Stripe about the sale and keep the answer, once per sale. Raises TaxUnavailable."""
    sums = _sums_to_ask(sale)
    if not sums or TaxCalculation.objects.filter(fingerprint=sale.fingerprint()).exists():
        return
    answer = _ask(sale, sums, now=now)
    answered = {item["reference"]: item for item in answer["line_items"]["data"]}
    amounts: dict[int, tuple[Tax, Decimal]] = {}
    for number, (group, asked) in enumerate(sums.items()):
        item = answered[str(number)]
        found = _read_tax(sale, item["tax_breakdown"] or [])
        whole = stripe_units.amount_of(item["amount_tax"], sale.currency)
        indexes = [index for index, line in enumerate(sale.lines) if (line.category, line.includes_tax) == group]
        shares = pricing.share_money(
            whole, [sale.lines[index].amount for index in indexes], of=asked, currency=sale.currency
        )
        amounts.update({index: (found, share) for index, share in zip(indexes, shares, strict=True)})
    free = tax.untaxed(sale), ZERO
    TaxCalculation.objects.get_or_create(
        fingerprint=sale.fingerprint(),
        defaults={
            "engine": ENGINE,
            "reference": str(answer["id"] or ""),
            "sale": sale.document(),
            "lines": [_line_document(*amounts.get(index, free)) for index in range(len(sale.lines))],
            "created_at": now,
        },
    )


def purge(*, now: datetime, limit: int) -> int:
    """Forget answers that no invoice will ask for any more, at most `limit`; how many."""
    old = TaxCalculation.objects.filter(created_at__lt=now - KEPT_FOR).values_list("pk", flat=True)[:limit]
    return TaxCalculation.objects.filter(pk__in=list(old)).delete()[0]


def _sums_to_ask(sale: Sale) -> dict[Group, Decimal]:
    """What is charged in each group; where a group only takes away, what it takes. Nothing is asked about nothing."""
    sums: dict[Group, Decimal] = {}
    for group in dict.fromkeys((line.category, line.includes_tax) for line in sale.lines):
        amounts = [line.amount for line in sale.lines if (line.category, line.includes_tax) == group]
        charged = sum((amount for amount in amounts if amount > 0), ZERO) or -sum(amounts, ZERO)
        if charged:
            sums[group] = charged
    return sums


def _ask(sale: Sale, sums: Mapping[Group, Decimal], *, now: datetime) -> Any:
    # At noon it is that day nearly everywhere on earth; a renewal that is late may be of a day too far back.
    day = max(datetime.combine(sale.on, time(12), UTC), now - MOST_DAYS_BACK)
    items: list[dict[str, Any]] = []
    for number, ((category, includes_tax), amount) in enumerate(sums.items()):
        code = settings.FLORIN_STRIPE_TAX_CODES.get(category)
        items.append(
            {
                "reference": str(number),
                "amount": stripe_units.nearest(amount, sale.currency),
                "tax_behavior": "inclusive" if includes_tax else "exclusive",
                **({"tax_code": code} if code else {}),
            }
        )
    address = {"country": sale.country, "state": sale.region, "postal_code": sale.postal_code}
    details: dict[str, Any] = {
        "address": {name: value for name, value in address.items() if value},
        "address_source": "billing",
        **({"tax_ids": [{"type": "eu_vat", "value": sale.tax_number}]} if sale.tax_number else {}),
        **({"taxability_override": "customer_exempt"} if sale.exemption else {}),
    }
    try:
        return _client().v1.tax.calculations.create(
            {
                "currency": sale.currency.lower(),
                "line_items": items,  # type: ignore[typeddict-item]
                "customer_details": details,  # type: ignore[typeddict-item]
                "tax_date": int(day.timestamp()),
                "expand": ["line_items.data.tax_breakdown"],
            }
        )
    except stripe.InvalidRequestError as error:
        log.warning("stripe_tax.refused", code=error.code, param=error.param)
        if error.code == "customer_tax_location_invalid":
            raise TaxUnavailable(_("The country, region or postal code is missing or wrong.")) from error
        raise TaxUnavailable(_("The tax service refused the question.")) from error
    except stripe.StripeError as error:
        log.warning("stripe_tax.unavailable", error=type(error).__name__)
        raise TaxUnavailable(_("The tax service gave no answer.")) from error


def _client() -> stripe.StripeClient:
    base = settings.FLORIN_STRIPE_API_BASE
    return stripe.StripeClient(
        settings.FLORIN_STRIPE_SECRET_KEY,
        base_addresses={"api": base} if base else {},
        max_network_retries=RETRIES,
        http_client=stripe.RequestsClient(timeout=settings.FLORIN_STRIPE_TIMEOUT_SECONDS),
    )


def _read_tax(sale: Sale, breakdown: Sequence[Any]) -> Tax:
    """One tax of what may be several: of a state, a county and a city, say. Their percentages add up."""
    rates = [each["tax_rate_details"] for each in breakdown if each["tax_rate_details"]]
    percent = sum((Decimal(rate["percentage_decimal"]) for rate in rates), ZERO)
    name = ", ".join(dict.fromkeys(rate["display_name"] for rate in rates))[:40]
    if percent:
        return Tax(name, percent.quantize(Decimal("0.001"), ROUND_HALF_UP), Treatment.TAXED, "")
    reasons = {each["taxability_reason"] for each in breakdown}
    if "reverse_charge" in reasons:
        return tax.reverse_charge(sale)
    if reasons & {"customer_exempt", "product_exempt", "product_exempt_holiday"}:
        return tax.exempt(sale.exemption)
    if "zero_rated" in reasons:
        return Tax(name, ZERO, Treatment.TAXED, "")
    return tax.untaxed(sale)


def _line_document(found: Tax, amount: Decimal) -> dict[str, str]:
    return {
        "name": found.name,
        "percent": f"{found.percent:f}",
        "treatment": found.treatment.value,
        "note": found.note,
        "amount": f"{amount:f}",
    }
