"""Money that has come for an invoice, and what it was paid for. Locks: the invoice's row, then pools by primary key."""

from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction

from billing.catalog import pricing
from billing.invoicing.models import Invoice, InvoiceLine
from billing.ledger import posting
from billing.notifications import outbox

ZERO = Decimal(0)


class NotPayable(Exception):
    """The invoice takes no money: it is a draft, paid already, or void."""


class TooMuch(Exception):
    """More than is left: of what is owed, of a line, or of what was paid."""


def settle(*, invoice_id: int, amount: Decimal, now: datetime) -> Invoice:
    """Add money that has come for an invoice; once nothing is owed it is paid, and its lines are fulfilled.

    Each line is fulfilled once, its grant named by the line; a receipt goes to the outbox. It belongs into the
    transaction that records the payment. Raises NotPayable or TooMuch; nothing is written then.
    """
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update().get(pk=invoice_id)
        if invoice.state not in (Invoice.State.OPEN, Invoice.State.UNCOLLECTIBLE):
            raise NotPayable(f"{invoice} is {invoice.state}")
        if amount < 0 or amount > invoice.owed:
            raise TooMuch(f"{invoice} owes {invoice.owed} {invoice.currency}")
        invoice.amount_paid += amount
        invoice.save(update_fields=["amount_paid"])
        close(invoice, now=now)
        return invoice


def mark_uncollectible(*, invoice_id: int, now: datetime) -> Invoice:
    """Mark an open invoice as uncollectible: it is no longer collected, but still owed, and money that
    comes still settles it. Repeating it changes nothing. Raises NotPayable when it is not open."""
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update().get(pk=invoice_id)
        if invoice.state == Invoice.State.UNCOLLECTIBLE:
            return invoice
        if invoice.state != Invoice.State.OPEN:
            raise NotPayable(f"{invoice} is {invoice.state}")
        invoice.state, invoice.uncollectible_at = Invoice.State.UNCOLLECTIBLE, now
        invoice.save(update_fields=["state", "uncollectible_at"])
        return invoice


def take_back(*, invoice_id: int, amount: Decimal) -> Invoice:
    """Money that had come for an invoice not yet paid in full was taken away again: it is owed again. It belongs into
    the transaction that records that. Raises NotPayable when the invoice is paid or void, TooMuch."""
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update().get(pk=invoice_id)
        if invoice.state not in (Invoice.State.OPEN, Invoice.State.UNCOLLECTIBLE):
            raise NotPayable(f"{invoice} is {invoice.state}")
        if not 0 < amount <= invoice.amount_paid - invoice.amount_refunded:
            raise TooMuch(f"{invoice.amount_paid} {invoice.currency} have come")
        invoice.amount_paid -= amount
        invoice.save(update_fields=["amount_paid"])
        return invoice


def close(invoice: Invoice, *, now: datetime) -> None:
    """Make an invoice of which nothing is owed any more paid, fulfil its lines and write the receipt.

    The caller holds the invoice's lock, and has found it open.
    """
    if invoice.owed:
        return
    invoice.state, invoice.paid_at = Invoice.State.PAID, now
    invoice.save(update_fields=["state", "paid_at"])
    granted = _fulfil(invoice, now=now)
    _write_receipt(invoice, granted, now=now)


def _fulfil(invoice: Invoice, *, now: datetime) -> Decimal:
    """Grant what the lines promise, but for what credit notes took back before; how many credits."""
    granted = ZERO
    for line in invoice.lines.filter(fulfilled_at=None).order_by("pool_id", "position"):
        if (credits := _promised(line)) and line.pool_id is not None:
            paid = line.amount - line.amount_credited
            line.posting = posting.grant(
                pool_id=line.pool_id,
                amount=credits,
                kind=line.grant_kind,
                reference=f"invoice-line:{line.pk}",
                now=now,
                expires_at=None if line.validity_days is None else now + timedelta(days=line.validity_days),
                cost_basis=pricing.cost_per_credit(paid, credits),
                currency=invoice.currency,
                note=f"{line.description} ({invoice.number})"[:200],
            )
            granted += credits
        line.fulfilled_at = now
        line.save(update_fields=["posting", "fulfilled_at"])
    return granted


def _promised(line: InvoiceLine) -> Decimal:
    """Credits still to be granted; none for a line that was credited in full."""
    if line.credits is None or (line.amount and line.amount_credited == line.amount):
        return ZERO
    return line.credits - line.credits_refunded


def _write_receipt(invoice: Invoice, granted: Decimal, *, now: datetime) -> None:
    top_up_of = ""
    if invoice.reference.startswith("top-up:"):
        # The receipt also says that an automatic top-up added the credits: one message for both.
        top_up_of = invoice.lines.exclude(pool=None).values_list("pool__name", flat=True).first() or ""
    outbox.write(
        kind="receipt",
        dedupe_key=f"receipt:{invoice.pk}",
        account_id=invoice.account_id,
        payload={
            "invoice_id": str(invoice.pk),
            "number": invoice.number or "",
            "total": f"{pricing.round_money(invoice.total, invoice.currency):f}",
            "currency": invoice.currency,
            "credits": f"{granted:f}",
            **({"top_up_of": top_up_of} if top_up_of else {}),
        },
        now=now,
    )
