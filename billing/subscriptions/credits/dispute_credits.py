"""What happens to a subscription's credits while a payer has the bank take the money for them back, and afterwards.

Of the credits that an invoice is for, that part is taken back which the disputed money is of the invoice: of those that
were granted on the ledger, of those that are promised by holding them back. A dispute that is won gives both back; one
that is lost leaves the granted ones taken and cancels the others. The subscription goes on as it is.

An invoice that is not paid in full has no credits for its payments: they hang on the invoice as a whole, whose
collection sees to them. Locks: the caller holds those of the subscription's row and the invoice's; the main pool's.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from billing.catalog import pricing
from billing.invoicing.models import Invoice
from billing.ledger import chargebacks
from billing.ledger.models import LedgerEntry
from billing.ledger.posting import CHARGEBACK
from billing.payments import disputes
from billing.payments.models import Dispute
from billing.subscriptions import history
from billing.subscriptions.credits import allocations
from billing.subscriptions.models import Allocation, Subscription, SubscriptionChange

ZERO = Decimal(0)
State = Dispute.State
Act = SubscriptionChange.Act


def follow(subscription: Subscription, invoice: Invoice, *, now: datetime) -> None:
    """Let the credits of an invoice follow its disputes, as they stand; each is taken back once and given back once,
    however often this is called, and whatever of it was told together."""
    rows = Dispute.objects.filter(payment__invoice=invoice, taken_back_at__isnull=False).select_related("refund")
    for dispute in rows.order_by("pk"):
        is_taken = _is_written(subscription, Act.DISPUTE, dispute)
        if dispute.state in (State.WON, State.CLOSED):
            if is_taken and not _is_written(subscription, Act.RESTORE, dispute):
                _give_back(subscription, invoice, dispute, now=now)
            continue
        if not is_taken and _is_for_credits(invoice, dispute):
            _take_back(subscription, invoice, dispute, now=now)
        if dispute.state == State.LOST:
            subscription.allocations.filter(dispute=dispute, granted_at=None, cancelled_at=None).update(
                cancelled_at=now
            )


def _is_for_credits(invoice: Invoice, dispute: Dispute) -> bool:
    """Whether the money had paid the invoice; what was lost before is owed again instead."""
    if dispute.state == State.LOST:
        return dispute.refund is not None and dispute.refund.credit_note_id is not None
    return invoice.state == Invoice.State.PAID


def _take_back(subscription: Subscription, invoice: Invoice, dispute: Dispute, *, now: datetime) -> None:
    promised: dict[int, list[Allocation]] = defaultdict(list)
    for row in subscription.allocations.filter(invoice=invoice).order_by("pk"):
        # What a change of plan has cancelled since is nobody's any more; what a dispute has, its money stands for.
        if row.cancelled_at is None or row.dispute_id is not None:
            promised[_root_of(row)].append(row)
    taken = held = ZERO
    for rows in promised.values():
        whole = sum((row.credits for row in rows), ZERO)
        left = pricing.part_of_credits(whole, part=min(dispute.amount, invoice.total), of=invoice.total)
        for row in rows:
            if row.dispute_id is None and row.posting_id is None:
                part = _hold_back(row, min(left, row.credits), dispute)
                held += part
            elif row.dispute_id is None and left:
                part = _charge_back(row, left, invoice, dispute, now=now)
                taken += part
            else:
                part = ZERO
            left -= part
    _write(subscription, Act.DISPUTE, invoice, dispute, {"taken": taken, "held": held}, now=now)


def _charge_back(row: Allocation, credits: Decimal, invoice: Invoice, dispute: Dispute, *, now: datetime) -> Decimal:
    """Take back so many credits of those that a row has granted, as many as there were; how many."""
    return chargebacks.take_back(
        grant_id=_lot_of(row),
        credits=min(credits, row.credits),
        reference=_reference(dispute, row),
        note=disputes.note_of(dispute, invoice),
        others=[_reference(each, row) for each in disputes.list_others(dispute, invoice)],
        now=now,
    )


def _hold_back(row: Allocation, part: Decimal, dispute: Dispute) -> Decimal:
    """Let so many of the credits that a row promises wait for the dispute, in a row of their own if not all of them."""
    if part == row.credits:
        row.dispute = dispute
        row.save(update_fields=["dispute"])
    elif part:
        row.credits -= part
        row.save(update_fields=["credits"])
        # It was promised when the other was, so that what finance has said of months that are over stays true.
        _promise_like(
            row, f"held:{dispute.pk}", credits=part, ends_at=row.ends_at, dispute=dispute, created_at=row.created_at
        )
    return part


def _let_go(row: Allocation, *, since: datetime, now: datetime) -> None:
    """Promise what was held back again; what comes late is good for as long as it would have been."""
    late = now - max(row.starts_at, since)
    if late > timedelta():
        # The row itself goes on saying when its cycle ends.
        _promise_like(
            row, f"late:{row.dispute_id}", credits=row.credits, ends_at=row.ends_at + late, dispute=None, created_at=now
        )
        row.cancelled_at = now
    row.dispute = None
    row.save(update_fields=["dispute", "cancelled_at"])


def _promise_like(
    row: Allocation, name: str, *, credits: Decimal, ends_at: datetime, dispute: Dispute | None, created_at: datetime
) -> None:
    subscription_id, number, *_rest = row.reference.split(":")
    Allocation.objects.create(
        subscription_id=row.subscription_id,
        reference=f"{subscription_id}:{number}:{name}:{_root_of(row)}:{row.pk}",
        kind=row.kind,
        credits=credits,
        cost_basis=row.cost_basis,
        starts_at=row.starts_at,
        ends_at=ends_at,
        invoice_id=row.invoice_id,
        waits_for_payment=row.waits_for_payment,
        dispute=dispute,
        created_at=created_at,
    )


def _root_of(row: Allocation) -> int:
    """The row that was promised first: this one, or the one that it is a part of, or stands for."""
    parts = row.reference.split(":")
    return int(parts[-2]) if {"held", "late"} & set(parts) else row.pk


def _give_back(subscription: Subscription, invoice: Invoice, dispute: Dispute, *, now: datetime) -> None:
    assert dispute.taken_back_at is not None  # noqa: S101
    waited = now - dispute.taken_back_at
    given = held = ZERO
    for row in subscription.allocations.filter(invoice=invoice, posting__isnull=False).order_by("pk"):
        given += chargebacks.give_back(
            grant_id=_lot_of(row), reference=_reference(dispute, row), waited=waited,
            note=disputes.won_note_of(dispute, invoice), now=now,
        )  # fmt: skip
    for row in subscription.allocations.filter(dispute=dispute, granted_at=None, cancelled_at=None):
        _let_go(row, since=dispute.taken_back_at, now=now)
        held += row.credits
    _write(subscription, Act.RESTORE, invoice, dispute, {"taken": given, "held": held}, now=now)
    if subscription.is_live:
        allocations.grant_now(subscription, now=now)


def _lot_of(row: Allocation) -> int:
    """The lot that a granted row has made."""
    return LedgerEntry.objects.values_list("grant_id", flat=True).get(posting=row.posting_id, flow="grant")


def _reference(dispute: Dispute, row: Allocation) -> str:
    return f"{CHARGEBACK}{dispute.pk}:allocation:{row.pk}"


def _name(act: str, dispute: Dispute) -> str:
    return f"{act}:{dispute.pk}"


def _is_written(subscription: Subscription, act: str, dispute: Dispute) -> bool:
    return SubscriptionChange.objects.filter(reference=_name(act, dispute), subscription=subscription).exists()


def _write(
    subscription: Subscription,
    act: str,
    invoice: Invoice,
    dispute: Dispute,
    credits: Mapping[str, Decimal],
    *,
    now: datetime,
) -> None:
    history.write(
        subscription,
        act,
        reference=_name(act, dispute),
        at=now,
        actor=history.SYSTEM,
        invoice=invoice,
        details={"dispute": dispute.pk, **{name: f"{amount:f}" for name, amount in credits.items()}},
    )
