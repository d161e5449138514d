"""Another plan or number of seats (M5): now, billed by the day, or at the end of the period.

What is dearer happens now, what is cheaper at the end of the period, unless asked otherwise. What a change gives back
beyond what it charges goes on the account's next invoice.

Locks: the subscription's row, then its period's invoices, their payments, the account's pools, and the issuer's row.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing.invoicing import issuing
from billing.invoicing.models import Invoice, InvoiceLine
from billing.ledger import pools
from billing.notifications import outbox
from billing.subscriptions import guards, history
from billing.subscriptions.charges import overage, subscription_invoices
from billing.subscriptions.credits import change_credits
from billing.subscriptions.lifecycle import change_preview, end, period_start, restart, scheduled_change, unused_refund
from billing.subscriptions.lifecycle.change_preview import (
    ChangePreview,
    CreditsUsed,
    CurrencyFixed,
    Draft,
    InvoiceUnpaid,
    NothingToChange,
    Today,
    Wanted,
    When,
)
from billing.subscriptions.lifecycle.subscribing import PlanNotOffered, SeatsNotOffered
from billing.subscriptions.models import ScheduledChange, Subscription, SubscriptionChange

__all__ = [
    "ChangePreview",
    "CreditsUsed",
    "CurrencyFixed",
    "InvoiceUnpaid",
    "NothingToChange",
    "PlanNotOffered",
    "SeatsNotOffered",
    "Wanted",
    "When",
]

ZERO = Decimal(0)
CREDITS = InvoiceLine.Recognition.CREDITS
Act = SubscriptionChange.Act


class TotalChanged(Exception):
    """The change costs `total` of `currency` now, not what was expected."""

    def __init__(self, total: Decimal, currency: str) -> None:
        super().__init__(f"it costs {total} {currency}")
        self.total = total
        self.currency = currency


def preview(
    *,
    subscription_id: int,
    plan_version_id: int | None = None,
    plan_key: str | None = None,
    seats: int | None = None,
    when: str | None = None,
    currency: str | None = None,
    by_staff: bool = False,
    now: datetime,
) -> ChangePreview:
    """What `change` would do now, to the minor unit; writes nothing. Raises what it raises."""
    wanted = Wanted(plan_version_id, plan_key, seats, when, currency)
    return preview_of(guards.get(subscription_id), wanted, by_staff=by_staff, now=now)


def preview_of(subscription: Subscription, wanted: Wanted, *, by_staff: bool = False, now: datetime) -> ChangePreview:
    """`preview` for who has read the subscription, with its account and the plan of its version."""
    now = period_start.catch_up(subscription, now=now)
    draft = change_preview.draft_change(subscription, wanted, by_staff=by_staff, now=now)
    return change_preview.preview_of(subscription, draft, now=now)


def change(
    *,
    subscription_id: int,
    plan_version_id: int | None = None,
    plan_key: str | None = None,
    seats: int | None = None,
    when: str | None = None,
    currency: str | None = None,
    expected_total: Decimal | None = None,
    by_staff: bool = False,
    reference: str,
    actor: str,
    now: datetime,
) -> Subscription:
    """Change the plan version (by its id, or what is on sale of a plan's key), the seats or both; what is None stays.
    `when` None: what is dearer now, what is cheaper at the end of the period.

    Now: unused days are given back, less what credits of them are used already, those of the new terms charged, credits
    follow. Where a method is charged for a customer's change, credits that come wait for the payment. At the end of the
    period: it is written down. In either case a change that waited before is withdrawn. `by_staff`: also a plan that is
    not on offer to the account, whatever is unpaid, and within the period although credits of it are used. Once per
    reference; repeating it changes nothing. Raises acts.SubscriptionNotFound, NotAllowed, RenewalDue and
    ReferenceConflict, PlanNotOffered, SeatsNotOffered, CurrencyFixed, NothingToChange, InvoiceUnpaid, CreditsUsed,
    TotalChanged where it costs something else than expected, and issuing.NoIssuer; nothing is written then.
    """
    wanted = Wanted(plan_version_id, plan_key, seats, when, currency)
    asked = {"plan": plan_key, "plan_version": plan_version_id, "seats": seats, "when": when}
    with transaction.atomic():
        subscription = guards.lock(subscription_id)
        if guards.is_repeat(subscription, reference=reference, acts=(Act.CHANGE, Act.SCHEDULE), asked=asked):
            return subscription
        now = period_start.catch_up(subscription, now=now)
        unused_refund.lock_charged(subscription)
        pools.lock(subscription.account.pools.values_list("pk", flat=True))
        draft = change_preview.draft_change(subscription, wanted, by_staff=by_staff, now=now)
        if expected_total is not None:
            found = change_preview.preview_of(subscription, draft, now=now)
            if found.total != expected_total:
                raise TotalChanged(found.total, found.currency)
        scheduled_change.withdraw(subscription, actor=actor, now=now)
        name = guards.name(subscription, reference)
        if draft.when == When.PERIOD_END:
            _schedule(subscription, draft, name=name, asked=asked, actor=actor, now=now)
        else:
            _apply(subscription, draft, name=name, asked=asked, by_staff=by_staff, actor=actor, now=now)
        return subscription


def _schedule(
    subscription: Subscription, draft: Draft, *, name: str, asked: Mapping[str, object], actor: str, now: datetime
) -> None:
    new = draft.new
    ScheduledChange.objects.create(
        subscription=subscription, plan_version=new.terms.version, seats=new.seats, created_at=now, actor=actor
    )
    _write_down(subscription, Act.SCHEDULE, draft, None, name=name, asked=asked, actor=actor, now=now)
    _tell(subscription, "change_scheduled", draft, {"ends_at": subscription.period_ends_at.isoformat()}, name, now=now)


def _apply(
    subscription: Subscription,
    draft: Draft,
    *,
    name: str,
    asked: Mapping[str, object],
    by_staff: bool,
    actor: str,
    now: datetime,
) -> None:
    invoice = None
    if draft.cut is None:
        _set_terms(subscription, draft)
        cycle = (subscription.period_starts_at, subscription.period_ends_at)
        period_start.settle_in(subscription, draft.new.terms, cycle=cycle, starts_at=now, now=now)
    elif draft.begins is None:
        invoice = _change_within(subscription, draft, name=name, by_staff=by_staff, actor=actor, now=now)
    else:
        invoice = _begin_anew(subscription, draft, name=name, by_staff=by_staff, actor=actor, now=now)
    _write_down(subscription, Act.CHANGE, draft, invoice, name=name, asked=asked, actor=actor, now=now)
    _tell(subscription, "plan_changed", draft, {}, name, now=now)


def _set_terms(subscription: Subscription, draft: Draft) -> None:
    """Let the subscription and its period be of the new version and seats."""
    new, period = draft.new, draft.period
    subscription.plan_version, subscription.seats = new.terms.version, new.seats
    subscription.save(update_fields=["plan_version", "seats"])
    period.plan_version, period.seats, period.discounts = new.terms.version, new.seats, list(new.discounts)
    period.save(update_fields=["plan_version", "seats", "discounts"])


def _change_within(
    subscription: Subscription, draft: Draft, *, name: str, by_staff: bool, actor: str, now: datetime
) -> Invoice | None:
    """The period goes on: its days that are left are billed anew, and its credits follow."""
    new = draft.new
    change_preview.count_fees(draft)
    arrears = change_preview.arrears_of(subscription, draft, now=now)
    today = change_preview.bill_today(subscription, draft, arrears.drafts, name=name, actor=actor, now=now)
    _set_terms(subscription, draft)
    reference = f"change:{name}"
    invoice = subscription_invoices.bill(subscription, terms=new.terms, drafts=today.owed, reference=reference, now=now)
    overage.save(arrears, invoice)
    change_credits.adjust(
        subscription,
        draft.old,
        new,
        name=_part_name(subscription),
        paid=_paid(subscription, draft, today, invoice, now=now),
        invoice=invoice,
        waits_for_payment=subscription_invoices.waits(subscription, invoice, is_asked=not by_staff),
        actor=actor,
        now=now,
    )
    cycle = change_credits.cycle_left(subscription, new, now=now).cycle
    period_start.settle_in(subscription, new.terms, cycle=cycle, starts_at=now, now=now)
    return invoice


def _begin_anew(
    subscription: Subscription, draft: Draft, *, name: str, by_staff: bool, actor: str, now: datetime
) -> Invoice | None:
    """The period ends today, a new one begins: unused days go back with their credits, what is in arrears is billed."""
    old, new = draft.old, draft.new
    change_preview.count_fees(draft)
    left = change_credits.cycle_left(subscription, old, now=now)
    if draft.is_credited:
        change_preview.credit_as_charged(subscription, draft, name=name, actor=actor, now=now)
    arrears = end.close_period(subscription, now=now)
    _owed, back = change_preview.divide(draft, arrears.drafts)
    if back is not None:
        change_preview.carry(subscription, back, name=name, actor=actor, now=now)
    gone = [] if back is not None or draft.is_credited else draft.gone
    change_credits.forgo(subscription, left, now=now)
    change_credits.take_back(
        subscription, left.left(old), ends_at=left.cycle[1], name=_part_name(subscription), actor=actor, now=now
    )
    subscription.plan_version, subscription.seats = new.terms.version, new.seats
    started = restart.start_afresh(
        subscription, terms=new.terms, arrears=[*arrears.drafts, *gone], reference=f"change:{name}",
        waits_for_payment=not by_staff, now=now,
    )  # fmt: skip
    overage.save(arrears, started.invoice)
    return started.invoice


def _paid(subscription: Subscription, draft: Draft, today: Today, invoice: Invoice | None, *, now: datetime) -> Decimal:
    """The net money of a change that pays for credits; of prices with tax in them what the invoice says is left."""
    if draft.is_credited:
        return _paid_anew(draft, today, invoice)
    changed = [*draft.gone, *draft.come]
    if not any(line.includes_tax for line in changed):
        return sum((line.amount for line in changed if line.recognition == CREDITS), ZERO)
    if today.is_set_off:
        account, currency = subscription.account, subscription.currency
        on = issuing.supply_date(account, now)
        quoted = issuing.quote(account=account, currency=currency, lines=changed, on=on).lines
        return sum((line.amount for line in quoted if line.draft.recognition == CREDITS), ZERO)
    if invoice is None or not today.is_billed:
        return ZERO
    last = len(today.owed)
    rows = invoice.lines.filter(position__gt=last - len(changed), position__lte=last, recognition=CREDITS)
    return sum(rows.values_list("amount", flat=True), ZERO)


def _paid_anew(draft: Draft, today: Today, invoice: Invoice | None) -> Decimal:
    """The same where credit notes give back: what the invoice charges for credits, less what they take back."""
    paid = ZERO
    if draft.old.earned == CREDITS:
        paid -= sum((note.subtotal for note in today.notes), ZERO)
    if invoice is not None:
        last = len(today.owed)
        rows = invoice.lines.filter(position__gt=last - len(draft.come), position__lte=last, recognition=CREDITS)
        paid += sum(rows.values_list("amount", flat=True), ZERO)
    return paid


def _part_name(subscription: Subscription) -> str:
    """What tells this change's credits from those of others of the subscription."""
    return f"c{subscription.changes.filter(act=Act.CHANGE).count() + 1}"


def _write_down(
    subscription: Subscription,
    act: str,
    draft: Draft,
    invoice: Invoice | None,
    *,
    name: str,
    asked: Mapping[str, object],
    actor: str,
    now: datetime,
) -> None:
    old, new = draft.old, draft.new
    history.write(
        subscription,
        act,
        reference=name,
        at=now,
        actor=actor,
        from_version=old.terms.version,
        to_version=new.terms.version,
        from_seats=old.seats,
        to_seats=new.seats,
        invoice=invoice,
        details={"asked": asked, **_before(draft)},
    )


def _before(draft: Draft) -> Mapping[str, object]:
    """What the period said before a change within it, so that it can be undone."""
    if draft.cut is None or draft.begins is not None:
        return {}
    fees = {"fee": str(draft.period.fee), "seats_fee": str(draft.period.seats_fee)}
    return {"before": {**fees, "discounts": list(draft.old.discounts)}}


def _tell(
    subscription: Subscription, kind: str, draft: Draft, more: Mapping[str, str], name: str, *, now: datetime
) -> None:
    new = draft.new
    payload = {
        **period_start.facts(subscription, new.terms),
        "seats": str(new.seats),
        "credits": f"{new.included:f}",
        "previous_plan_name": draft.old.terms.plan_name,
        **more,
    }
    outbox.write(kind=kind, dedupe_key=f"{kind}:{name}", account_id=subscription.account_id, payload=payload, now=now)
