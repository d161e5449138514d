"""The invoice balance of accounts: money of credit notes that pays their next invoices.

It pays what is collected automatically or by transfer, and what staff issue, before anything is charged; never a pack
that somebody was about to buy. Locks: the invoices' rows by primary key, the balance's rows, then payments, then what
settling locks.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import F, QuerySet, Sum

from billing.invoicing import crediting, settling
from billing.invoicing.models import CreditNote, Invoice
from billing.payments import paying, waking
from billing.payments.models import InvoiceCredit, Payment, Refund

ZERO = Decimal(0)


def keep(*, credit_note: CreditNote, now: datetime) -> InvoiceCredit:
    """Keep the money of a credit note for the account's next invoices, in the transaction that issued it."""
    return InvoiceCredit.objects.create(
        account_id=credit_note.invoice.account_id,
        credit_note=credit_note,
        currency=credit_note.currency,
        amount=credit_note.total,
        created_at=now,
    )


def balances(account_id: int) -> dict[str, Decimal]:
    """What an account has left for its next invoices, by currency; one query."""
    rows = _open().filter(account=account_id).values_list("currency").order_by("currency")
    return dict(rows.annotate(sum_left=Sum(F("amount") - F("amount_used"))))


def with_balance(account_ids: Iterable[int]) -> set[int]:
    """Those of the accounts that have an invoice balance; one query."""
    return set(_open().filter(account__in=account_ids).values_list("account", flat=True))


def reserved(invoice_id: int) -> Decimal:
    """What of the money for an invoice is kept for others: no refund may take it."""
    rows = _open().filter(credit_note__invoice=invoice_id)
    return rows.aggregate(sum_left=Sum(F("amount") - F("amount_used")))["sum_left"] or ZERO


def apply(*, invoice_id: int, now: datetime) -> Decimal:
    """Pay what is owed on an open invoice from its account's balance, the oldest money first; how much that was.

    While a payment of the invoice is under way nothing is done. Repeating it does nothing more.
    """
    invoice = Invoice.objects.get(pk=invoice_id)
    mine = _open().filter(account=invoice.account_id, currency=invoice.currency)
    sources = list(mine.values_list("credit_note__invoice", flat=True)) if invoice.owed else []
    if not sources:
        return ZERO
    with transaction.atomic():
        invoices = Invoice.objects.select_for_update().filter(pk__in={invoice_id, *sources}).order_by("pk")
        invoice = next(each for each in list(invoices) if each.pk == invoice_id)
        if invoice.state != Invoice.State.OPEN or paying.find_under_way(invoice_id) is not None:
            return ZERO
        before = invoice.owed
        for credit in mine.select_for_update(of=("self",)).select_related("credit_note").order_by("pk"):
            invoice = _use(credit, invoice, now=now)
        if invoice.owed < before:
            waking.wake(invoice_id=invoice_id, now=now)
        return before - invoice.owed


def _use(credit: InvoiceCredit, invoice: Invoice, *, now: datetime) -> Invoice:
    """Let one credit note's money pay the invoice, from the payments that it is with; the invoice as it then is."""
    source_id = credit.credit_note.invoice_id
    payments = Payment.objects.filter(invoice=source_id, state=Payment.State.SUCCEEDED)
    for payment in payments.select_for_update().order_by("pk"):
        part = min(credit.left, invoice.owed, payment.refundable)
        if part > 0:
            invoice = _move(credit, payment, invoice, part, now=now)
    return invoice


def _move(credit: InvoiceCredit, source: Payment, invoice: Invoice, amount: Decimal, *, now: datetime) -> Invoice:
    key = f"balance:{credit.pk}:{credit.amount_used.normalize():f}"
    Refund.objects.create(
        payment=source,
        invoice_credit=credit,
        idempotency_key=key,
        amount=amount,
        state=Refund.State.SUCCEEDED,
        created_at=now,
        finished_at=now,
    )
    source.amount_refunded += amount
    source.save(update_fields=["amount_refunded"])
    crediting.note_refunded(invoice_id=source.invoice_id, amount=amount)
    # Of the charge that brought the money, so that a refund of it goes back to where it came from.
    Payment.objects.create(
        invoice=invoice,
        method_id=source.method_id,
        invoice_credit=credit,
        gateway=source.gateway,
        gateway_reference=source.gateway_reference,
        idempotency_key=key,
        amount=amount,
        currency=invoice.currency,
        state=Payment.State.SUCCEEDED,
        created_at=now,
        finished_at=now,
    )
    credit.amount_used += amount
    credit.save(update_fields=["amount_used"])
    return settling.settle(invoice_id=invoice.pk, amount=amount, now=now)


def _open() -> QuerySet[InvoiceCredit]:
    return InvoiceCredit.objects.filter(amount__gt=F("amount_used"))
