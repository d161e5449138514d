"""Payers who have their bank take money back: what it paid for is taken back at once, and comes again if it is won.

That is done here with what lines themselves have granted. What else an invoice has paid for, a subscription's credits,
is the business of whoever opened its collection, who is told by it. While a dispute goes on its amount is held back on
the payment, so no refund gives it a second time. One that is lost is a refund that we did not choose: a credit note
over the same part of the invoice, and less tax. Money of an invoice that is not paid in full is owed again instead.
A refund that was made in the gateway's own dashboard is taken in the same way, as a dispute that is lost.
Locks: the invoice's row, its payment's, the dispute's, its collection's, pools, the issuer's.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import structlog
from django.db import transaction

from billing.catalog import pricing
from billing.invoicing import crediting, settling, spreading
from billing.invoicing.models import Invoice, InvoiceLine
from billing.ledger import chargebacks, pools
from billing.ledger.models import CreditGrant
from billing.ledger.posting import CHARGEBACK
from billing.notifications import outbox
from billing.payments import paying, waking
from billing.payments.gateways.contract import DisputeReport
from billing.payments.models import Dispute, Payment, Refund

log = structlog.get_logger(__name__)

State = Dispute.State
Kind = Dispute.Kind
ZERO = Decimal(0)


class NotDisputable(Exception):
    """We do not know (yet) that the payment has brought any money, or so much of it."""


@dataclass(frozen=True, slots=True)
class _Share:
    """What of a line was paid with the disputed money: net `amount` and its tax, and the credits of its lot."""

    line: InvoiceLine
    amount: Decimal
    tax: Decimal
    credits: Decimal
    grant_id: int | None


def record(*, payment_id: int, report: DisputeReport, now: datetime) -> Dispute:
    """Write down how a dispute stands, and do what follows from it, whoever tells of it, in whatever order and however
    often; one that has ended stays so. Raises NotDisputable; nothing is written then."""
    with transaction.atomic():
        payment = _lock_payment(payment_id)
        dispute = _open(payment, report, now=now)
        if dispute.state not in Dispute.ENDED:
            dispute.respond_by = report.respond_by
            _move(payment, dispute, State(report.state), now=now)
    log.info("dispute.recorded", dispute_id=dispute.pk, payment_id=payment_id, state=str(dispute.state))
    return dispute


def list_others(dispute: Dispute, invoice: Invoice) -> list[Dispute]:
    """The disputes of other money of the same invoice, or of the same at another time."""
    return list(Dispute.objects.filter(payment__invoice=invoice).exclude(pk=dispute.pk).order_by("pk"))


def note_of(dispute: Dispute, invoice: Invoice) -> str:
    """What a posting says that takes credits back."""
    what = "Payment refunded" if dispute.kind == Kind.REFUND else "Payment disputed"
    return f"{what} ({invoice})"[:200]


def won_note_of(dispute: Dispute, invoice: Invoice) -> str:
    """What a posting says that gives them back."""
    what = "Refund failed" if dispute.kind == Kind.REFUND else "Dispute won"
    return f"{what} ({invoice})"[:200]


def _open(payment: Payment, report: DisputeReport, *, now: datetime) -> Dispute:
    """The dispute's row, locked; made when there is none."""
    known = Dispute.objects.select_for_update().filter(
        gateway=payment.gateway, gateway_reference=report.reference
    ).first()  # fmt: skip
    if known is not None:
        return known
    if payment.state != Payment.State.SUCCEEDED or report.currency != payment.currency:
        raise NotDisputable(f"payment {payment.pk} is {payment.state}, in {payment.currency}")
    if report.charge_reference not in ("", payment.gateway_reference):
        raise NotDisputable(f"a dispute of {report.charge_reference}, not of {payment.gateway_reference}")
    amount = paying.booked(payment, report.amount)
    if amount > payment.refundable:
        raise NotDisputable(f"{amount} of {payment.refundable} {payment.currency}")
    return Dispute.objects.create(
        kind=report.kind,
        payment=payment,
        gateway=payment.gateway,
        gateway_reference=report.reference,
        amount=amount,
        reason=report.reason[:60],
        state=State.INQUIRY,
        opened_at=now,
    )


def _move(payment: Payment, dispute: Dispute, state: State, *, now: datetime) -> None:
    if payment.invoice.state == Invoice.State.PAID:
        # What else the money has paid for is the business of whoever has the invoice collected.
        waking.tell(invoice_id=payment.invoice_id)
    is_taken = dispute.taken_back_at is not None
    if state in (State.OPEN, State.LOST) and not is_taken:
        _take_back(payment, dispute, now=now)
    if state == State.LOST:
        _lose(payment, dispute, now=now)
        _tell(payment, dispute, state, now=now)
    elif state in (State.WON, State.CLOSED) and is_taken:
        _give_back(payment, dispute, now=now)
        _tell(payment, dispute, State.WON, now=now)
    elif state == State.OPEN and not is_taken:
        _tell(payment, dispute, state, now=now)
    # A late word of the inquiry does not undo that the money was taken.
    if state == State.INQUIRY and is_taken:
        state = State.OPEN
    dispute.state = state
    dispute.closed_at = now if state in Dispute.ENDED else None
    dispute.save()
    payment.save(update_fields=["amount_disputed", "amount_refunded"])


def _take_back(payment: Payment, dispute: Dispute, *, now: datetime) -> None:
    if dispute.amount > payment.refundable:
        raise NotDisputable(f"{dispute.amount} of {payment.refundable} {payment.currency}")
    payment.amount_disputed += dispute.amount
    dispute.taken_back_at = now
    shares = [share for share in _shares(payment.invoice, dispute.amount) if share.grant_id and share.credits]
    pools.lock([share.line.pool_id for share in shares])
    rivals = list_others(dispute, payment.invoice)
    for share in shares:
        chargebacks.take_back(
            grant_id=share.grant_id or 0, credits=share.credits, reference=_reference(dispute, share.line),
            note=note_of(dispute, payment.invoice), others=[_reference(each, share.line) for each in rivals], now=now,
        )  # fmt: skip


def _give_back(payment: Payment, dispute: Dispute, *, now: datetime) -> None:
    payment.amount_disputed -= dispute.amount
    assert dispute.taken_back_at is not None  # noqa: S101
    lines = payment.invoice.lines.filter(posting__isnull=False).order_by("pool_id", "position")
    pools.lock([line.pool_id for line in lines])
    for line in lines:
        if (grant_id := _lot_of(line)) is not None:
            chargebacks.give_back(
                grant_id=grant_id, reference=_reference(dispute, line), waited=now - dispute.taken_back_at,
                note=won_note_of(dispute, payment.invoice), now=now,
            )  # fmt: skip


def _lose(payment: Payment, dispute: Dispute, *, now: datetime) -> None:
    payment.amount_disputed -= dispute.amount
    payment.amount_refunded += dispute.amount
    invoice, note = payment.invoice, None
    is_refund = dispute.kind == Kind.REFUND
    if invoice.state == Invoice.State.PAID:
        crediting.note_refunded(invoice_id=invoice.pk, amount=dispute.amount)
        items = [
            crediting.CreditItem(share.line.pk, share.amount, share.credits or None, share.tax)
            for share in _shares(invoice, dispute.amount)
            if share.amount or share.tax
        ]
        if items:
            note = crediting.credit(
                invoice_id=invoice.pk, reference=f"dispute:{dispute.pk}", items=items, actor="dispute", now=now,
                reason="Refunded" if is_refund else "Payment disputed and lost",
            )  # fmt: skip
    else:
        settling.take_back(invoice_id=invoice.pk, amount=dispute.amount)
    dispute.refund = Refund.objects.create(
        payment=payment,
        credit_note=note,
        idempotency_key=f"dispute:{dispute.pk}",
        gateway_reference=dispute.gateway_reference,
        amount=dispute.amount,
        state=Refund.State.SUCCEEDED,
        created_at=now,
        finished_at=now,
    )


def _tell(payment: Payment, dispute: Dispute, state: State, *, now: datetime) -> None:
    """Tell the account what its bank, or staff in the gateway's own dashboard, has done with the money."""
    invoice = payment.invoice
    note = dispute.refund.credit_note if dispute.refund is not None else None
    outbox.write(
        kind="dispute",
        dedupe_key=f"dispute:{dispute.pk}:{state}",
        account_id=invoice.account_id,
        payload={
            "state": str(state),
            "is_refund": "yes" if dispute.kind == Kind.REFUND else "",
            "invoice_id": str(invoice.pk),
            "invoice_number": invoice.number or "",
            "total": f"{pricing.round_money(dispute.amount, payment.currency):f}",
            "currency": payment.currency,
            "number": note.number if note is not None else "",
        },
        now=now,
    )


def _shares(invoice: Invoice, amount: Decimal) -> list[_Share]:
    """What of each line the disputed money has paid for: the same part of all that has not been credited, and less
    where less than that money is left of the invoice."""
    lines = list(invoice.lines.order_by("pool_id", "position"))
    left = spreading.left_of(lines, may=lambda line: True)
    parts = spreading.spread(lines, min(amount, left), invoice.currency, may=lambda line: True)
    taken = {part.line.pk: part for part in parts}
    charged = [line for line in lines if line.amount > 0]
    whole = sum(
        (line.amount + line.tax_amount - line.amount_credited - line.tax_credited for line in charged), ZERO
    )  # fmt: skip
    shares = []
    for line in charged:
        part, credits = taken.get(line.pk), ZERO
        if line.credits is not None and whole:
            credits = pricing.part_of_credits(line.credits - line.credits_refunded, part=min(amount, whole), of=whole)
        net, tax = (ZERO, ZERO) if part is None else (part.amount, part.tax)
        shares.append(_Share(line, net, tax, credits, _lot_of(line)))
    return shares


def _lot_of(line: InvoiceLine) -> int | None:
    """The lot that the line's fulfilment has made."""
    if line.posting_id is None:
        return None
    made = CreditGrant.objects.filter(entries__posting=line.posting_id, entries__flow="grant")
    return made.values_list("pk", flat=True).first()


def _reference(dispute: Dispute, line: InvoiceLine) -> str:
    return f"{CHARGEBACK}{dispute.pk}:{line.pk}"


def _lock_payment(payment_id: int) -> Payment:
    invoice_id = Payment.objects.values_list("invoice_id", flat=True).get(pk=payment_id)
    invoice = Invoice.objects.select_for_update().get(pk=invoice_id)
    payment = Payment.objects.select_for_update().get(pk=payment_id)
    payment.invoice = invoice
    return payment
