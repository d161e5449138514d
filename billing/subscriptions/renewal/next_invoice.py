"""The next invoice of a subscription, as things stand. Reads only: what it must write to find out is undone at once."""

import copy
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing.catalog.models import PlanVersion
from billing.invoicing import issuing, pending
from billing.invoicing.lines import LineDraft, Quote
from billing.payments import invoice_credits
from billing.subscriptions import guards
from billing.subscriptions.charges import coupons, fee_lines, overage
from billing.subscriptions.lifecycle import scheduled_change
from billing.subscriptions.lifecycle.change_preview import CHANGEABLE
from billing.subscriptions.models import Subscription
from billing.subscriptions.renewal import period_end


@dataclass(frozen=True, slots=True)
class NextInvoice:
    """What an account will be billed next, if nothing happens until then: `at` that time, for the period
    `[starts_at, ends_at)` in advance (None: only what is in arrears), together with what is pending. `from_balance` is
    what the account's invoice balance pays of it."""

    at: datetime
    quote: Quote
    plan_version: PlanVersion
    seats: int
    starts_at: datetime | None
    ends_at: datetime | None
    from_balance: Decimal

    @property
    def due(self) -> Decimal:
        """What is left to be paid, tax included."""
        return self.quote.total - self.from_balance


def find_next_invoice(*, subscription_id: int, now: datetime) -> NextInvoice | None:
    """The next invoice of a subscription as it stands, None where there will be none; writes nothing.

    Overage is what there is by now. Raises acts.SubscriptionNotFound, issuing.NoIssuer, tax.TaxNotPrepared.
    """
    subscription = guards.get(subscription_id)
    due_at = subscription.next_due_at
    if due_at is None or subscription.parked_at is not None:
        return None
    with transaction.atomic():
        found = None
        if due_at < subscription.period_ends_at:
            lots = overage.find_lots(subscription)
            drafts = overage.bill(subscription, lots, before=due_at, closes=False, now=now).drafts
            if drafts:
                found = _tell_next(subscription, subscription, drafts, at=due_at, is_new=False)
        if found is None:
            found = _at_period_end(subscription, now=now)
        transaction.set_rollback(True)
    return found


def _at_period_end(subscription: Subscription, *, now: datetime) -> NextInvoice | None:
    at = subscription.period_ends_at
    drafts = overage.bill(subscription, overage.find_lots(subscription), before=at, closes=True, now=now).drafts
    if subscription.state not in CHANGEABLE:
        return _tell_next(subscription, subscription, drafts, at=at, is_new=False)
    following = copy.copy(subscription)
    terms = period_end.move_on(following, scheduled_change.find(subscription), at)
    span = fee_lines.span_of(following)
    advance = fee_lines.advance(terms, seats=following.seats, of=span)
    advance += coupons.discounts(coupons.active(subscription), terms=terms, advance=advance, of=span)[0]
    return _tell_next(subscription, following, [*drafts, *advance], at=at, is_new=True)


def _tell_next(
    subscription: Subscription, following: Subscription, drafts: list[LineDraft], *, at: datetime, is_new: bool
) -> NextInvoice | None:
    account, currency = subscription.account, subscription.currency
    if not drafts and not pending.list_open(account_id=account.pk, currency=currency).filter(amount__gt=0).exists():
        return None
    on = issuing.supply_date(account, at)
    quote = issuing.quote(account=account, currency=currency, lines=drafts, on=on, take_pending=True)
    balance = invoice_credits.balances(account.pk).get(currency, Decimal(0))
    return NextInvoice(
        at=at,
        quote=quote,
        from_balance=min(balance, quote.total),
        plan_version=following.plan_version,
        seats=following.seats,
        starts_at=following.period_starts_at if is_new else None,
        ends_at=following.period_ends_at if is_new else None,
    )
