"""Taking back a purchase (L13): at most what its lot still has free, at what the lot has cost, tax included.

Locks: the invoice's row, then its payments', then the pool's, then the issuer's for the credit note's number.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing.catalog.pricing import part_of_money, round_money
from billing.invoicing import crediting, spreading
from billing.invoicing.models import CreditNote, Invoice, InvoiceLine
from billing.ledger import chargebacks, pools, posting
from billing.ledger.models import CreditGrant
from billing.notifications import outbox
from billing.payments import refunding
from billing.payments.gateways import contract
from billing.payments.models import Payment, Refund

ZERO = Decimal(0)


class NotRefundable(Exception):
    """The line is not of a paid invoice, or granted no credits."""


class NothingToRefund(Exception):
    """Nothing free is left of the lot, or what is left has cost nothing: revoke it instead."""


class NoPaymentToRefund(Exception):
    """No payment of the invoice has so much left to give back."""


class RefundConflict(Exception):
    """The reference names another refund of the account."""


@dataclass(frozen=True, slots=True)
class RefundPreview:
    """What a refund of `credits` would give back: `amount` net, `total` with tax, in `currency`. At most
    `refundable` credits can be taken back now: what the lot has left that is neither held nor ended."""

    line_id: int
    grant_id: int
    payment_id: int
    refundable: Decimal
    credits: Decimal
    amount: Decimal
    tax_amount: Decimal
    total: Decimal
    currency: str


def preview(*, line_id: int, now: datetime, credits: Decimal | None = None) -> RefundPreview:
    """What refunding `credits` (default: all that can be) of a purchase's line would give back. Reads only.

    The amount is the same share of what the line has cost; shares add up, so what is refunded in parts until nothing
    is left gives back what was paid, to the minor unit. Raises InvoiceLine.DoesNotExist, NotRefundable,
    posting.NotEnoughLeft for more than can be taken back, NothingToRefund and NoPaymentToRefund.
    """
    line = InvoiceLine.objects.select_related("invoice").get(pk=line_id)
    lot = _lot_of(line)
    if lot is None or line.credits is None or line.invoice.state != Invoice.State.PAID:
        raise NotRefundable(line_id)
    has_ended = lot.expires_at is not None and lot.expires_at <= now
    refundable = ZERO if has_ended else min(lot.remaining - lot.held, line.credits - line.credits_refunded)
    asked = refundable if credits is None else credits
    if asked > refundable:
        raise posting.NotEnoughLeft(asked, refundable)
    amount = _share(line, asked)
    parts = spreading.of_lines(list(line.invoice.lines.all()), {line.pk: amount}, line.invoice.currency)
    tax_amount = sum((part.tax for part in parts), ZERO)
    total = amount + tax_amount
    if not asked or not total:
        raise NothingToRefund(line_id)
    payment = _payment_with(line.invoice, total)
    return RefundPreview(
        line.pk, lot.pk, payment.pk, refundable, asked, amount, tax_amount, total, line.invoice.currency
    )


def refund(
    *, line_id: int, credits: Decimal | None, reason: str, actor: str, reference: str, now: datetime
) -> CreditNote:
    """Take back `credits` (None: all that can be) of a purchase's line and give back what they cost: in one
    transaction the credit note, the revocation, and the refund, which then goes to the gateway.

    Once per `reference` of the account: repeating it returns the first credit note; its `refund` says how the money
    stands. Must run outside a transaction. Raises what `start` raises; nothing is written then.
    """
    contract.refuse_in_transaction()
    note = start(line_id=line_id, credits=credits, reason=reason, actor=actor, reference=reference, now=now)
    refunding.submit(refund_id=Refund.objects.get(credit_note=note).pk, now=now)
    return CreditNote.objects.select_related("refund", "invoice").get(pk=note.pk)


def start(
    *, line_id: int, credits: Decimal | None, reason: str, actor: str, reference: str, now: datetime
) -> CreditNote:
    """`refund` without asking the gateway: `refunding.submit` does, or the periodic check. It may run in the caller's
    transaction.

    Raises what `preview` raises, ValueError for an amount that is not positive, and RefundConflict; nothing is written
    then.
    """
    if credits is not None and credits <= 0:
        raise ValueError("a refund takes back a positive amount of credits")
    invoice_id = InvoiceLine.objects.values_list("invoice_id", flat=True).get(pk=line_id)
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update().get(pk=invoice_id)
        note = _find(reference, invoice.account_id, line_id, credits)
        if note is None:
            note = _take_back(line_id, credits, reason=reason, actor=actor, reference=reference, now=now)
        return note


def _take_back(
    line_id: int, credits: Decimal | None, *, reason: str, actor: str, reference: str, now: datetime
) -> CreditNote:
    line = InvoiceLine.objects.select_related("invoice").get(pk=line_id)
    invoice = line.invoice
    list(invoice.payments.select_for_update().filter(state=Payment.State.SUCCEEDED).order_by("pk"))
    pools.lock([line.pool_id])
    plan = preview(line_id=line_id, now=now, credits=credits)
    item = crediting.CreditItem(line_id=line_id, amount=plan.amount, credits=plan.credits)
    try:
        note = crediting.credit(
            invoice_id=invoice.pk, reference=reference_of(reference), reason=reason, items=[item], actor=actor, now=now
        )
    except crediting.ReferenceTaken:
        raise RefundConflict(reference) from None
    refunding.start(
        payment_id=plan.payment_id, credit_note_id=note.pk, amount=note.total, key=f"refund:{note.pk}", now=now
    )
    posting.revoke(
        grant_id=plan.grant_id,
        amount=plan.credits,
        reference=reference_of(reference),
        note=f"{reason} ({note.number})"[:200],
        actor=actor,
        now=now,
    )
    _tell(invoice, note, plan.credits, now=now)
    return note


def _tell(invoice: Invoice, note: CreditNote, credits: Decimal, *, now: datetime) -> None:
    payload = {
        "number": note.number,
        "invoice_number": invoice.number or "",
        "total": f"{round_money(note.total, note.currency):f}",
        "currency": note.currency,
        "credits": f"{credits:f}",
    }
    outbox.write(kind="refund", dedupe_key=f"refund:{note.pk}", account_id=invoice.account_id, payload=payload, now=now)


def _find(reference: str, account_id: int, line_id: int, credits: Decimal | None) -> CreditNote | None:
    """The account's credit note of the reference, if there is one. Raises RefundConflict when it took back something
    else."""
    note = CreditNote.objects.filter(account=account_id, reference=reference_of(reference)).first()
    if note is None:
        return None
    # Other lines have at most the rest of their rate's tax.
    taken = note.lines.exclude(credits=None).get()
    if taken.invoice_line_id != line_id or (credits is not None and credits != taken.credits):
        raise RefundConflict(reference)
    return note


def reference_of(reference: str) -> str:
    """The reference of a refund's credit note and posting."""
    return f"refund:{reference}"


def _lot_of(line: InvoiceLine) -> CreditGrant | None:
    """The lot that the line's fulfilment has made, or the one that came back of it after a dispute: whichever has more
    that is free."""
    if line.posting_id is None:
        return None
    made = CreditGrant.objects.filter(entries__posting=line.posting_id, entries__flow="grant").first()
    if made is None:
        return None
    lots = CreditGrant.objects.filter(pk__in=chargebacks.family(made.pk, made.pool_id))
    return max(lots.order_by("pk"), key=lambda lot: lot.remaining - lot.held)


def _share(line: InvoiceLine, credits: Decimal) -> Decimal:
    """What these credits have cost, net, beyond what was refunded before; never more than is left of the line and of
    its rate of tax."""
    assert line.credits is not None  # noqa: S101
    currency = line.invoice.currency

    def cost_of(part: Decimal) -> Decimal:
        return part_of_money(line.amount, part=part, of=line.credits or ZERO, currency=currency)

    share = cost_of(line.credits_refunded + credits) - cost_of(line.credits_refunded)
    groups = spreading.list_groups(line.invoice.lines.all())
    left = next(group.net_left for group in groups if line in group.lines)
    return min(share, line.amount - line.amount_credited, left)


def _payment_with(invoice: Invoice, total: Decimal) -> Payment:
    """The first payment of the invoice that so much can go back to. Raises NoPaymentToRefund."""
    for payment in invoice.payments.filter(state=Payment.State.SUCCEEDED).order_by("pk"):
        if payment.refundable >= total:
            return payment
    raise NoPaymentToRefund(total)
