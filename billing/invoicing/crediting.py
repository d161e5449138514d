"""Taking back what an invoice said: credit notes, voiding, and money that went back.

Locks: the invoice's row, then pools where a credit note leaves nothing to be paid, then the issuer's for a number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import IntegrityError, transaction

from billing.catalog import pricing
from billing.invoicing import contents, numbering, pending, settling, spreading
from billing.invoicing.issuing import ReferenceTaken
from billing.invoicing.models import CreditNote, CreditNoteLine, Invoice, InvoiceLine
from billing.invoicing.settling import TooMuch
from billing.invoicing.spreading import TaxGroup

__all__ = ["ReferenceTaken", "TooMuch"]

ZERO = Decimal(0)


class NotCreditable(Exception):
    """The invoice says nothing that could be taken back: it is a draft or void."""


class NotVoidable(Exception):
    """Money has come for the invoice, so only a credit note can take it back; or it was never issued."""


@dataclass(frozen=True, slots=True)
class CreditItem:
    """What to take back of a line: net `amount` of the invoice's currency, and the credits that go with it, if any.
    `tax` is the tax of it; None works it out."""

    line_id: int
    amount: Decimal
    credits: Decimal | None = None
    tax: Decimal | None = None


def credit(
    *,
    invoice_id: int,
    reference: str,
    reason: str,
    items: Sequence[CreditItem],
    actor: str,
    now: datetime,
) -> CreditNote:
    """Issue the credit note of a reference: numbered without gaps; its tax is the same part of each line's tax.

    Once per reference of the account: repeating it returns the first one. No line is ever credited beyond its amount,
    tax or credits, no rate of tax beyond what was charged at it (negative lines considered), and no invoice beyond its
    total; a line or a rate of tax credited in full has had exactly its tax credited. Moves neither credits nor money:
    on a paid invoice the caller revokes and refunds. On an open one less is owed; nothing credited before payment is
    granted on payment, and an invoice credited in full before anything was paid is void.
    Raises TooMuch, NotCreditable, ReferenceTaken, and ValueError for items that are none of the invoice's lines.
    """
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update().get(pk=invoice_id)
        first = CreditNote.objects.filter(account=invoice.account_id, reference=reference).first()
        if first is not None:
            if first.invoice_id != invoice_id:
                raise ReferenceTaken(reference)
            return first
        if invoice.state in (Invoice.State.DRAFT, Invoice.State.VOID):
            raise NotCreditable(f"{invoice} is {invoice.state}")
        taken = _take_back(invoice, items)
        total = sum((line.amount + line.tax_amount for line in taken), ZERO)
        _reduce(invoice, total, now=now)
        return _write(invoice, taken, reference=reference, reason=reason, actor=actor, now=now)


def void(*, invoice_id: int, now: datetime) -> Invoice:
    """Take back an invoice as a whole before any money has come; it keeps its number, and credits that it took are
    pending again. Again it changes nothing.

    The caller has made sure, under the invoice's lock, that no payment is under way. Raises NotVoidable.
    """
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update().get(pk=invoice_id)
        if invoice.state == Invoice.State.VOID:
            return invoice
        if invoice.state not in (Invoice.State.OPEN, Invoice.State.UNCOLLECTIBLE) or invoice.amount_paid:
            raise NotVoidable(f"{invoice} is {invoice.state}")
        _void(invoice, now=now)
        return invoice


def note_refunded(*, invoice_id: int, amount: Decimal) -> Invoice:
    """Write down that money went back for an invoice, in the transaction that records the refund. Raises TooMuch."""
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update().get(pk=invoice_id)
        if amount <= 0 or invoice.amount_refunded + amount > invoice.amount_paid:
            raise TooMuch(f"{invoice.amount_paid - invoice.amount_refunded} {invoice.currency} could go back")
        invoice.amount_refunded += amount
        invoice.save(update_fields=["amount_refunded"])
        return invoice


def _write(
    invoice: Invoice, taken: Sequence[CreditNoteLine], *, reference: str, reason: str, actor: str, now: datetime
) -> CreditNote:
    """Number the credit note and write it: the last of its acts, for the number is the last lock."""
    subtotal, tax_total = sum((line.amount for line in taken), ZERO), sum((line.tax_amount for line in taken), ZERO)
    note = CreditNote(
        account_id=invoice.account_id,
        invoice=invoice,
        reference=reference,
        number=numbering.draw_credit_note_number(invoice.issuer_id),
        reason=reason,
        currency=invoice.currency,
        subtotal=subtotal,
        tax_total=tax_total,
        total=subtotal + tax_total,
        seller=invoice.seller,
        customer=invoice.customer,
        base_currency=invoice.base_currency,
        base_rate=invoice.base_rate,
        base_rate_on=invoice.base_rate_on,
        issued_at=now,
        actor=actor,
    )
    if invoice.base_rate is not None:
        note.tax_in_base = pricing.convert_money(tax_total, invoice.base_rate, invoice.base_currency)
    note.content_hash = contents.hash_credit_note(note, taken)
    try:
        with transaction.atomic():
            note.save(force_insert=True)
    except IntegrityError as error:
        # Another invoice of the account was credited under the reference at the same time.
        if "credit_note_reference" not in str(error):
            raise
        raise ReferenceTaken(reference) from error
    for line in taken:
        line.credit_note = note
    CreditNoteLine.objects.bulk_create(taken)
    return note


def _take_back(invoice: Invoice, items: Sequence[CreditItem]) -> list[CreditNoteLine]:
    """Count the items against their lines; the lines of the credit note to be."""
    lines = {line.pk: line for line in invoice.lines.all()}
    groups = {spreading.tax_key(group.lines[0]): group for group in spreading.list_groups(lines.values())}
    if not {item.line_id for item in items} <= lines.keys() or len({item.line_id for item in items}) < len(items):
        raise ValueError("a credit note takes back lines of its invoice, each once")
    if sum((item.amount for item in items), ZERO) <= 0:
        raise ValueError("a credit note needs an amount")
    untaxed = {item.line_id: item.amount for item in items if item.tax is None}
    parts = spreading.of_lines(list(lines.values()), untaxed, invoice.currency)
    taxes = {part.line.pk: part.tax for part in parts}
    known = {item.line_id for item in items}
    items = [*items, *(CreditItem(part.line.pk, ZERO) for part in parts if part.line.pk not in known)]
    taken = []
    for item in items:
        line = lines[item.line_id]
        tax = item.tax if item.tax is not None else taxes.get(line.pk, ZERO)
        taken.append(_take_back_of(line, item, tax, groups[spreading.tax_key(line)], invoice.currency))
    return taken


def _take_back_of(line: InvoiceLine, item: CreditItem, tax: Decimal, group: TaxGroup, currency: str) -> CreditNoteLine:
    credits = item.credits or ZERO
    if min(item.amount, credits, tax) < 0 or any(
        amount != pricing.round_money(amount, currency) for amount in (item.amount, tax)
    ):
        raise ValueError("a credit note takes back amounts in whole minor units")
    if item.amount > min(line.amount - line.amount_credited, group.net_left):
        # Where negative lines lower what was charged, the others could give back more than that.
        raise TooMuch(f"{min(line.amount - line.amount_credited, group.net_left)} {currency} are left of the line")
    if line.credits_refunded + credits > (line.credits or ZERO):
        raise TooMuch("the line has fewer credits left")
    if tax > min(line.tax_amount - line.tax_credited, group.tax_left):
        raise TooMuch("less tax is left of the line")
    line.amount_credited += item.amount
    line.tax_credited += tax
    line.credits_refunded += credits
    line.save(update_fields=["amount_credited", "tax_credited", "credits_refunded"])
    return CreditNoteLine(
        invoice_line=line,
        description=line.description,
        credits=item.credits,
        amount=item.amount,
        tax_amount=tax,
    )


def _reduce(invoice: Invoice, total: Decimal, *, now: datetime) -> None:
    invoice.amount_credited += total
    invoice.save(update_fields=["amount_credited"])
    if invoice.state == Invoice.State.PAID:
        return
    if invoice.amount_credited == invoice.total and not invoice.amount_paid:
        _void(invoice, now=now)
    else:
        settling.close(invoice, now=now)


def _void(invoice: Invoice, *, now: datetime) -> None:
    invoice.state, invoice.voided_at = Invoice.State.VOID, now
    invoice.save(update_fields=["state", "voided_at"])
    pending.put_back(invoice, now=now)
