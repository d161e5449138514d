"""Proving issued documents: what they say is what they said, it adds up, and no number is missing. Reads only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from django.db.models import Count

from billing.catalog import pricing
from billing.invoicing import as_charged, contents, spreading
from billing.invoicing.models import CreditNote, Invoice, InvoiceLine, Issuer
from billing.metering.verification import snapshot

CHUNK = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference: the document or issuer it is about, and what is wrong."""

    about: str
    what: str

    def __str__(self) -> str:
        return f"{self.about}: {self.what}"


@dataclass(slots=True)
class Report:
    """What was looked at and found. `unhashed` documents were issued before hashes were taken; the rest of them was
    checked."""

    invoices: int = 0
    credit_notes: int = 0
    unhashed: int = 0
    findings: list[Finding] = field(default_factory=list)


def verify() -> Report:
    """Check every issued invoice and credit note of all issuers, in one consistent snapshot while others write."""
    report = Report()
    with snapshot():
        issued = Invoice.objects.exclude(state=Invoice.State.DRAFT).order_by("pk")
        for invoice in issued.prefetch_related("lines", "credit_notes__lines").iterator(chunk_size=CHUNK):
            report.invoices += 1
            report.unhashed += not invoice.content_hash
            report.findings += [Finding(str(invoice), what) for what in find_in_invoice(invoice)]
        for note in CreditNote.objects.order_by("pk").prefetch_related("lines").iterator(chunk_size=CHUNK):
            report.credit_notes += 1
            report.unhashed += not note.content_hash
            report.findings += [Finding(str(note), what) for what in find_in_credit_note(note)]
        report.findings += _find_taxed_otherwise()
        report.findings += _find_in_numbers()
    return report


def find_in_invoice(invoice: Invoice) -> Iterator[str]:
    """What is wrong with an issued invoice, in words; nothing when it is as it was issued."""
    lines = list(invoice.lines.all())
    if invoice.content_hash and invoice.content_hash != contents.hash_invoice(invoice, lines):
        yield "its content is not what it was when it was issued"
    if _sum(line.amount for line in lines) != invoice.subtotal or (
        _sum(line.tax_amount for line in lines) != invoice.tax_total
    ):
        yield "its lines do not add up to its totals"
    if invoice.base_rate is not None and invoice.tax_in_base != pricing.convert_money(
        invoice.tax_total, invoice.base_rate, invoice.base_currency
    ):
        yield f"its tax in {invoice.base_currency} is not what its rate gives"
    notes = list(invoice.credit_notes.all())
    if _sum(note.total for note in notes) != invoice.amount_credited:
        yield "its credit notes do not add up to what was credited"
    for line in lines:
        taken = [part for note in notes for part in note.lines.all() if part.invoice_line_id == line.pk]
        credited = (_sum(part.amount for part in taken), _sum(part.tax_amount for part in taken))
        if credited != (line.amount_credited, line.tax_credited):
            yield f"line {line.position}: its credit notes do not add up to what was credited"
    yield from _find_in_groups(lines)


def _find_in_groups(lines: Sequence[InvoiceLine]) -> Iterator[str]:
    """No rate of tax is credited beyond what was charged at it, so that an invoice credited in full leaves nothing."""
    for group in spreading.list_groups(lines):
        is_credited = any(line.amount_credited or line.tax_credited for line in group.lines)
        if is_credited and min(group.net_left, group.tax_left) < 0:
            first = group.lines[0]
            yield f"more was credited at {first.tax_percent.normalize():f} % ({first.category}) than was charged"


def find_in_credit_note(note: CreditNote) -> Iterator[str]:
    """What is wrong with a credit note, in words."""
    lines = list(note.lines.all())
    if note.content_hash and note.content_hash != contents.hash_credit_note(note, lines):
        yield "its content is not what it was when it was issued"
    if (_sum(line.amount for line in lines), _sum(line.tax_amount for line in lines)) != (
        note.subtotal,
        note.tax_total,
    ):
        yield "its lines do not add up to its totals"


def _find_taxed_otherwise() -> Iterator[Finding]:
    """A line that takes back what was charged for a period says a tax that was charged for it, by an earlier invoice or
    by a line before it (a discount follows what it is taken off)."""
    issued = InvoiceLine.objects.exclude(period_reference="").exclude(invoice__state=Invoice.State.DRAFT)
    rows = issued.exclude(recognition=InvoiceLine.Recognition.AT_ONCE).select_related("invoice")
    charged: dict[str, set[as_charged.TaxSaid]] = {}
    for line in rows.order_by("invoice", "position").iterator(chunk_size=CHUNK):
        said = charged.setdefault(line.period_reference, set())
        if line.amount > 0:
            said.add(as_charged.said_by(line))
        elif line.amount < 0 and said and as_charged.said_by(line) not in said:
            yield Finding(str(line.invoice), f"line {line.position}: takes back at another tax than was charged")


def _find_in_numbers() -> Iterator[Finding]:
    """Numbers are unique and drawn one by one: as many documents as numbers means that none is missing."""
    notes = dict(CreditNote.objects.values_list("invoice__issuer").annotate(count=Count("pk")))
    invoices = dict(Invoice.objects.exclude(number=None).values_list("issuer").annotate(count=Count("pk")))
    for issuer in Issuer.objects.order_by("pk"):
        for kind, drawn, found in (
            ("invoice", issuer.last_invoice_number, invoices.get(issuer.pk, 0)),
            ("credit note", issuer.last_credit_note_number, notes.get(issuer.pk, 0)),
        ):
            if drawn != found:
                yield Finding(str(issuer), f"{drawn} {kind} numbers were drawn, and {found} documents have one")


def _sum(amounts: Iterator[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))
