"""Invoices that are written before they are issued: they have no number, and may be changed or thrown away.

What a draft says of parties and tax is what it would say if it were issued when it was last written; issuing it asks
again. Locks: the draft's row, then what issuing locks.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction

from billing.accounts.models import Account
from billing.catalog import pricing
from billing.invoicing import issuing
from billing.invoicing.lines import LineDraft, rows_of
from billing.invoicing.models import Invoice, InvoiceLine


class NotDraft(Exception):
    """The invoice has been issued: it never changes any more."""


def draft(
    *,
    account_id: int,
    reference: str,
    currency: str,
    lines: Sequence[LineDraft],
    now: datetime,
    due_at: datetime | None = None,
) -> Invoice:
    """Write a draft; without `due_at` it will be due by the issuer's terms from its issue on.

    Once per reference: repeating it returns the first one, whatever the lines. Raises what `issuing.quote` raises
    (`engines.with_tax` sees to tax that is not prepared), and issuing.ReferenceTaken.
    """
    with transaction.atomic():
        account = Account.objects.get(pk=account_id)
        invoice, is_new = Invoice.objects.get_or_create(
            reference=reference,
            defaults={
                "account": account,
                "issuer": issuing.get_issuer(account),
                "currency": currency,
                "created_at": now,
                "due_at": due_at,
            },
        )
        if not is_new:
            if invoice.account_id != account_id:
                raise issuing.ReferenceTaken(reference)
            return invoice
        _rewrite(invoice, lines, now=now)
        return invoice


def edit(
    *, invoice_id: int, currency: str, lines: Sequence[LineDraft], now: datetime, due_at: datetime | None = None
) -> Invoice:
    """Let a draft say something else. Raises NotDraft, and what `issuing.quote` raises; nothing is written then."""
    with transaction.atomic():
        invoice = _lock(invoice_id)
        invoice.currency, invoice.due_at = currency, due_at
        _rewrite(invoice, lines, now=now)
        return invoice


def issue_draft(*, invoice_id: int, now: datetime) -> Invoice:
    """Issue a draft with the parties and the tax of now. Again it returns the issued invoice.

    Raises what `issuing.issue` raises; it is a draft still then.
    """
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update().get(pk=invoice_id)
        if invoice.state != Invoice.State.DRAFT:
            return invoice
        written = _rewrite(invoice, [_draft_of(line) for line in invoice.lines.all()], now=now)
        if invoice.due_at is None:
            invoice.due_at = now + timedelta(days=invoice.issuer.payment_terms_days)
            invoice.save(update_fields=["due_at"])
        return issuing.number(invoice, written, now=now)


def discard(*, invoice_id: int) -> None:
    """Throw a draft away. Raises NotDraft, and Invoice.DoesNotExist when that has been done."""
    with transaction.atomic():
        _lock(invoice_id).delete()


def _lock(invoice_id: int) -> Invoice:
    invoice = Invoice.objects.select_for_update().get(pk=invoice_id)
    if invoice.state != Invoice.State.DRAFT:
        raise NotDraft(str(invoice))
    return invoice


def _rewrite(invoice: Invoice, lines: Sequence[LineDraft], *, now: datetime) -> list[InvoiceLine]:
    account, currency = invoice.account, invoice.currency
    quoted = issuing.quote(account=account, currency=currency, lines=lines, on=issuing.supply_date(account, now))
    said = issuing.what_is_said(
        issuer=issuing.get_issuer(account), account=account, currency=currency, quoted=quoted, now=now
    )
    for column, value in said.items():
        setattr(invoice, column, value)
    invoice.save()
    invoice.lines.all().delete()
    return InvoiceLine.objects.bulk_create(rows_of(invoice, quoted))


def _draft_of(line: InvoiceLine) -> LineDraft:
    amount = line.amount + line.tax_amount if line.includes_tax else line.amount
    return LineDraft(
        description=line.description,
        quantity=line.quantity,
        unit_price=pricing.cost_per_credit(amount, line.quantity) if line.includes_tax else line.unit_price,
        amount=amount,
        category=line.category,
        includes_tax=line.includes_tax,
        pack_id=line.pack_id,
        pool_id=line.pool_id,
        credits=line.credits,
        grant_kind=line.grant_kind,
        validity_days=line.validity_days,
        recognition=line.recognition,
        starts_at=line.starts_at,
        ends_at=line.ends_at,
        period_reference=line.period_reference,
    )
