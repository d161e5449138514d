"""Crediting an invoice, by lines or by an amount, together with its money.

Of an invoice that is paid the money goes back to the payment that brought it (the card, or by bank transfer), or stays
as the account's invoice balance and pays its next invoices. Of one that is not, less is owed. Packs are refunded as
purchases, with their credits; credits that an invoice has granted otherwise stay.
Locks: the invoice's row, then its payments', then what `crediting` locks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import models, transaction
from django.utils.translation import gettext_lazy as lazy

from billing.catalog import pricing
from billing.invoicing import crediting, spreading
from billing.invoicing.crediting import CreditItem, NotCreditable
from billing.invoicing.models import CreditNote, Invoice, InvoiceLine
from billing.invoicing.spreading import Part
from billing.notifications import outbox
from billing.payments import invoice_credits, paying, refunding
from billing.payments.gateways import contract
from billing.payments.models import Payment, Refund

__all__ = ["NotCreditable"]

ZERO = Decimal(0)


class RefundTo(models.TextChoices):
    """Where the money of a credit note goes."""

    PAYMENT = "payment", lazy("back to the card or bank account that paid")
    BALANCE = "balance", lazy("to the invoice balance: it pays the next invoices")


class NothingToCredit(Exception):
    """Nothing of the invoice is left that a credit note could take back; packs are refunded as purchases."""


class TooMuch(Exception):
    """More than is left to credit: of the invoice with tax, or of a line without."""

    def __init__(self, left: Decimal) -> None:
        super().__init__(f"{left} is left")
        self.left = left


class WrongDestination(Exception):
    """A paid invoice needs to know where its money goes; an unpaid one has none to give."""


class MoneyNotThere(Exception):
    """No single payment of the invoice has so much left to give back; `left` is the most that one has."""

    def __init__(self, left: Decimal) -> None:
        super().__init__(f"{left} is left of a payment")
        self.left = left


class CreditConflict(Exception):
    """The reference names another credit note."""


@dataclass(frozen=True, slots=True)
class CreditPreview:
    """What a credit note would say. `parts` are its lines; `left` is the most that could be credited, with tax."""

    parts: tuple[Part, ...]
    subtotal: Decimal
    tax_total: Decimal
    total: Decimal
    left: Decimal
    currency: str


def may_credit(line: InvoiceLine) -> bool:
    """Whether it is no pack: those are refunded with their credits."""
    return line.credits is None


def left_of(invoice: Invoice) -> Decimal:
    """The most that can be credited of an issued invoice now, with tax: of one that is not paid, what is owed."""
    if invoice.state in (Invoice.State.DRAFT, Invoice.State.VOID):
        return ZERO
    left = spreading.left_of(list(invoice.lines.all()), may=may_credit)
    return left if invoice.state == Invoice.State.PAID else min(left, invoice.owed)


def money_left(invoice: Invoice) -> Decimal:
    """What of a paid invoice's money can still go back or to the account's balance: what came by payments, less what
    went back, is disputed or is kept for other invoices."""
    return _money_left(invoice, _list_payments(invoice))


def _money_left(invoice: Invoice, payments: "Sequence[Payment] | models.QuerySet[Payment]") -> Decimal:
    refundable = sum((each.refundable for each in payments), ZERO)
    return max(refundable - invoice_credits.reserved(invoice.pk), ZERO)


def preview(
    *,
    invoice_id: int,
    amount: Decimal | None = None,
    lines: Mapping[int, Decimal] | None = None,
    refund_to: str = "",
) -> CreditPreview:
    """What `start` would credit: net amounts of `lines`, by their primary keys, or an `amount` with tax, spread over
    all lines; neither: all that is left. Writes nothing.

    Raises NotCreditable, NothingToCredit, TooMuch, WrongDestination, MoneyNotThere, paying.PaymentUnderWay, and
    ValueError for an amount that is not positive or has more decimals than the currency, or lines of other invoices.
    """
    invoice = Invoice.objects.get(pk=invoice_id)
    plan = _plan(invoice, amount, lines)
    _choose_payment(invoice, plan.total, refund_to, _list_payments(invoice))
    return plan


def credit(
    *,
    invoice_id: int,
    amount: Decimal | None = None,
    lines: Mapping[int, Decimal] | None = None,
    refund_to: str = "",
    reason: str,
    reference: str,
    actor: str,
    now: datetime,
) -> CreditNote:
    """`start`, then send the refund, if there is one, to its gateway. Must run outside a transaction."""
    contract.refuse_in_transaction()
    note = start(
        invoice_id=invoice_id, amount=amount, lines=lines, refund_to=refund_to, reason=reason, reference=reference,
        actor=actor, now=now,
    )  # fmt: skip
    for row in Refund.objects.filter(credit_note=note):
        refunding.submit(refund_id=row.pk, now=now)
    return note


def start(
    *,
    invoice_id: int,
    amount: Decimal | None = None,
    lines: Mapping[int, Decimal] | None = None,
    refund_to: str = "",
    reason: str,
    reference: str,
    actor: str,
    now: datetime,
) -> CreditNote:
    """Issue the credit note that `preview` describes, and open its refund or keep its money as invoice balance.

    Once per account and reference: repeating it returns the first, and raises CreditConflict for another invoice,
    amount or destination. It may run in the caller's transaction; the refund is then sent by `refunding.submit` or the
    periodic check. Raises what `preview` raises; nothing is written then.
    """
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update().get(pk=invoice_id)
        name = reference_of(reference)
        first = CreditNote.objects.filter(account=invoice.account_id, reference=name).first()
        if first is not None:
            _check_same(first, invoice, amount, lines, refund_to)
            return first
        payments = list(_list_payments(invoice).select_for_update())
        plan = _plan(invoice, amount, lines)
        payment = _choose_payment(invoice, plan.total, refund_to, payments)
        items = [CreditItem(part.line.pk, part.amount, tax=part.tax) for part in plan.parts]
        try:
            note = crediting.credit(
                invoice_id=invoice_id, reference=name, reason=reason, items=items, actor=actor, now=now
            )
        except crediting.ReferenceTaken:
            raise CreditConflict(reference) from None
        if payment is not None:
            refunding.start(
                payment_id=payment.pk, credit_note_id=note.pk, amount=note.total, key=f"refund:{note.pk}", now=now
            )
        elif refund_to == RefundTo.BALANCE:
            invoice_credits.keep(credit_note=note, now=now)
        _tell(invoice, note, refund_to, now=now)
        return note


def reference_of(reference: str) -> str:
    """The reference of a credit note that was asked for by this reference."""
    return f"credit:{reference}"


def _plan(invoice: Invoice, amount: Decimal | None, asked: Mapping[int, Decimal] | None) -> CreditPreview:
    if invoice.state in (Invoice.State.DRAFT, Invoice.State.VOID):
        raise NotCreditable(f"{invoice} is {invoice.state}")
    rows, currency, left = list(invoice.lines.all()), invoice.currency, left_of(invoice)
    if not left:
        raise NothingToCredit(f"{invoice} has nothing left to credit")
    if asked:
        parts = _parts_of(rows, asked, currency)
    else:
        amount = left if amount is None else amount
        _check_amount(amount, currency)
        if amount > left:
            raise TooMuch(left)
        parts = spreading.spread(rows, amount, currency, may=may_credit)
    subtotal, tax_total = (sum((getattr(part, name) for part in parts), ZERO) for name in ("amount", "tax"))
    if subtotal + tax_total > left:
        raise TooMuch(left)
    return CreditPreview(tuple(parts), subtotal, tax_total, subtotal + tax_total, left, currency)


def _parts_of(rows: Sequence[InvoiceLine], asked: Mapping[int, Decimal], currency: str) -> list[Part]:
    known = {line.pk: line for line in rows if line.amount > 0 and may_credit(line)}
    if not asked.keys() <= known.keys():
        raise ValueError("only lines of the invoice can be credited, and neither packs nor discounts")
    for pk, amount in asked.items():
        _check_amount(amount, currency)
        if amount > (left := known[pk].amount - known[pk].amount_credited):
            raise TooMuch(left)
    for group in spreading.list_groups(rows):
        if sum((asked.get(line.pk, ZERO) for line in group.lines), ZERO) > group.net_left:
            raise TooMuch(group.net_left)
    return spreading.of_lines(rows, asked, currency)


def _check_amount(amount: Decimal, currency: str) -> None:
    if amount <= 0 or amount != pricing.round_money(amount, currency):
        raise ValueError("a credit note takes back positive amounts in whole minor units")


def _list_payments(invoice: Invoice) -> "models.QuerySet[Payment]":
    return Payment.objects.filter(invoice=invoice, state=Payment.State.SUCCEEDED).order_by("pk")


def _choose_payment(
    invoice: Invoice, total: Decimal, refund_to: str, payments: "Sequence[Payment] | models.QuerySet[Payment]"
) -> Payment | None:
    """The payment that the money goes back to, if it does. Raises WrongDestination, MoneyNotThere, PaymentUnderWay."""
    if invoice.state != Invoice.State.PAID:
        if refund_to:
            raise WrongDestination(f"{invoice} is not paid")
        if (live := paying.find_under_way(invoice.pk)) is not None:
            raise paying.PaymentUnderWay(live)
        return None
    if refund_to not in RefundTo.values:
        raise WrongDestination(f"{invoice} is paid")
    most = _money_left(invoice, payments)
    if refund_to == RefundTo.BALANCE:
        if total > most:
            raise MoneyNotThere(most)
        return None
    for payment in payments:
        if min(payment.refundable, most) >= total:
            return payment
    raise MoneyNotThere(min(max((each.refundable for each in payments), default=ZERO), most))


def _check_same(
    note: CreditNote, invoice: Invoice, amount: Decimal | None, asked: Mapping[int, Decimal] | None, refund_to: str
) -> None:
    """Raise CreditConflict unless the credit note is what is asked for."""
    was_refunded = Refund.objects.filter(credit_note=note).exists()
    was_kept = hasattr(note, "invoice_credit")
    went_to = RefundTo.PAYMENT if was_refunded else RefundTo.BALANCE if was_kept else ""
    said = {line.invoice_line_id: line.amount for line in note.lines.all() if line.amount}
    is_same = dict(asked) == said if asked else amount in (None, note.total)
    if note.invoice_id != invoice.pk or went_to != refund_to or not is_same:
        raise CreditConflict(note.reference)


def _tell(invoice: Invoice, note: CreditNote, refund_to: str, *, now: datetime) -> None:
    outbox.write(
        kind="credit_note",
        dedupe_key=f"credit_note:{note.pk}",
        account_id=invoice.account_id,
        payload={
            "credit_note_id": str(note.pk),
            "number": note.number,
            "invoice_id": str(invoice.pk),
            "invoice_number": invoice.number or "",
            "total": f"{pricing.round_money(note.total, note.currency):f}",
            "currency": note.currency,
            "refund_to": refund_to,
            "reason": note.reason,
        },
        now=now,
    )
