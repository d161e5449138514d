"""What becomes of a subscription when an invoice of it is void: nobody owes what it was for, and nobody keeps it.

Locks: the caller holds those of the subscription's row and the invoice's; all pools of the account.
"""

from datetime import datetime
from decimal import Decimal

from billing.invoicing import pending
from billing.invoicing.models import CreditNote, Invoice, InvoiceLine, PendingItem
from billing.ledger import pools, posting
from billing.ledger.models import CreditGrant
from billing.notifications import outbox
from billing.subscriptions import history
from billing.subscriptions.charges import change_prices, fee_lines
from billing.subscriptions.credits import change_credits
from billing.subscriptions.lifecycle import end, period_start
from billing.subscriptions.models import Allocation, Subscription, SubscriptionChange

ZERO = Decimal(0)
Act = SubscriptionChange.Act


def follow(subscription: Subscription, invoice: Invoice, *, now: datetime) -> None:
    """Take back what is left of the invoice's credits, and undo what it charged for; again it changes nothing.

    A change of plan or seats within the period that runs is undone, unless another came after it. One that has begun
    another period stays, without credits, and what it gave back of the period before goes back on the next invoice. A
    subscription that waited for this as its first invoice ends.
    """
    if subscription.state == Subscription.State.INCOMPLETE:
        end.abandon(subscription, now=now)
        return
    pools.lock(subscription.account.pools.values_list("pk", flat=True))
    take_back(invoice, now=now)
    if not subscription.is_live:
        return
    change = subscription.changes.filter(act=Act.CHANGE, invoice=invoice).order_by("pk").last()
    if change is not None and _can_be_undone(subscription, change):
        _undo(subscription, change, now=now)
    _put_back(subscription, invoice, now=now)


def take_back(invoice: Invoice, *, now: datetime) -> None:
    """Revoke what is left of the credits that an invoice is for, and cancel those that are still promised."""
    rows = Allocation.objects.filter(invoice=invoice)
    rows.filter(granted_at=None, cancelled_at=None).update(cancelled_at=now)
    granted = rows.filter(posting__isnull=False)
    lots = CreditGrant.objects.filter(entries__posting__in=granted.values("posting"), entries__flow="grant")
    for lot in lots.order_by("pk"):
        if lot.remaining > lot.held:
            posting.revoke(grant_id=lot.pk, reference=f"unpaid:{lot.pk}", now=now, actor=history.SYSTEM)


def _can_be_undone(subscription: Subscription, change: SubscriptionChange) -> bool:
    """Whether it was made within the period that still runs, was charged for, and is the last."""
    later = subscription.changes.filter(act=Act.CHANGE, pk__gt=change.pk)
    runs = subscription.next_due_at is not None and change.at >= subscription.period_starts_at
    items = PendingItem.objects.filter(reference=f"change:{change.reference}")
    notes = CreditNote.objects.filter(
        account=subscription.account_id, reference__startswith=f"change:{change.reference}:"
    )
    has_given_back = items.exists() or notes.exists()
    return runs and "before" in change.details and not later.exists() and not has_given_back


def _undo(subscription: Subscription, change: SubscriptionChange, *, now: datetime) -> None:
    """Let the subscription and its period be as they were before."""
    assert change.from_version is not None  # noqa: S101
    assert change.from_seats is not None  # noqa: S101
    before, plan_name = change.details["before"], subscription.plan_version.plan.name
    subscription.plan_version, subscription.seats = change.from_version, change.from_seats
    subscription.save(update_fields=["plan_version", "seats"])
    period = subscription.periods.get(number=subscription.period_number)
    period.plan_version, period.seats = change.from_version, change.from_seats
    period.fee, period.seats_fee = Decimal(before["fee"]), Decimal(before["seats_fee"])
    period.discounts = before["discounts"]
    period.save(update_fields=["plan_version", "seats", "fee", "seats_fee", "discounts"])
    side = change_prices.before(subscription, period)
    now = period_start.catch_up(subscription, now=now)
    cycle = change_credits.cycle_left(subscription, side, now=now).cycle
    period_start.settle_in(subscription, side.terms, cycle=cycle, starts_at=now, now=now)
    history.write(
        subscription,
        Act.CHANGE,
        reference=f"void:{change.pk}",
        at=now,
        actor=history.SYSTEM,
        from_version=change.to_version,
        to_version=change.from_version,
        from_seats=change.to_seats,
        to_seats=change.from_seats,
        details={"reason": "void"},
    )
    payload = {"previous_plan_name": plan_name, **period_start.facts(subscription, side.terms)}
    outbox.write(
        kind="plan_changed",
        dedupe_key=f"plan_changed:void:{change.pk}",
        account_id=subscription.account_id,
        payload=payload,
        now=now,
    )


def _put_back(subscription: Subscription, invoice: Invoice, *, now: datetime) -> None:
    """Let what the invoice gave back of the period before the one that it began stand on the next one."""
    period = subscription.periods.filter(invoice=invoice).first()
    if period is None:
        return
    reference = fee_lines.span(subscription.pk, period.number - 1, period.starts_at, period.ends_at).reference
    items = PendingItem.objects.filter(invoice_line__invoice=invoice).values("invoice_line")
    rows = invoice.lines.filter(period_reference=reference).exclude(recognition=InvoiceLine.Recognition.AT_ONCE)
    given = list(rows.exclude(pk__in=items).order_by("position"))
    back = sum((line.amount + (line.tax_amount if line.includes_tax else ZERO) for line in given), ZERO)
    if back < 0:
        pending.add(
            account_id=subscription.account_id,
            currency=invoice.currency,
            reference=f"void:{invoice.pk}",
            description=given[0].description,
            amount=back,
            category=given[0].category,
            includes_tax=given[0].includes_tax,
            recognition=given[0].recognition,
            starts_at=given[0].starts_at,
            ends_at=given[0].ends_at,
            period_reference=reference,
            now=now,
            actor=history.SYSTEM,
        )
