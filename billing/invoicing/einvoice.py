"""Invoices and credit notes for machines: EN 16931 in its CII form (Factur-X, profile EN 16931).

It says what the printed document says at the same moment, what has been paid included. The norm is about European VAT:
documents of issuers outside the EU, in currencies with more than two decimals, or void, have none (`why_not`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _
from drafthorse.models.accounting import ApplicableTradeTax
from drafthorse.models.document import Document
from drafthorse.models.note import IncludedNote
from drafthorse.models.party import TaxRegistration, TradeParty
from drafthorse.models.payment import PaymentMeans, PaymentTerms
from drafthorse.models.tradelines import LineItem
from moneyed import get_currency

from billing.accounts.tax_ids import EU_COUNTRIES, find_prefixed_vat_id, vat_area
from billing.catalog import pricing
from billing.invoicing.lettering import printable, text_lines
from billing.invoicing.models import CreditNote, Invoice, InvoiceLine

GUIDELINE = "urn:cen.eu:en16931:2017"
INVOICE, CREDIT_NOTE = "380", "381"
_PIECE = "C62"
_SEPA_TRANSFER, _TRANSFER = "58", "30"
# The norm's code of what the category of tax is, with its reason's code.
_REVERSE_CHARGE = ("AE", "VATEX-EU-AE")
_NOT_SUBJECT = ("O", "VATEX-EU-O")


class NotPossible(Exception):
    """The norm has no way to say this document; the message says why."""


@dataclass(frozen=True, slots=True)
class _Line:
    row: InvoiceLine
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal
    tax_amount: Decimal


@dataclass(frozen=True, slots=True)
class _Paper:
    """What an invoice and a credit note have in common. `prepaid` is what of the total need not be paid any more."""

    row: Invoice | CreditNote
    kind: str
    issued_on: date
    lines: tuple[_Line, ...]
    notes: tuple[str, ...]
    tax_note: str
    prepaid: Decimal
    terms: str
    due_on: date | None
    preceding: tuple[str, date] | None


def why_not(row: Invoice | CreditNote) -> str:
    """Why the norm has no way to say this document; empty when it has. Needs no query for an invoice."""
    if isinstance(row, Invoice) and row.state in (Invoice.State.DRAFT, Invoice.State.VOID):
        return _("Drafts and void invoices have no e-invoice.")
    if vat_area(row.seller["country"]) not in EU_COUNTRIES:
        return _("E-invoices of EN 16931 are made for issuers in the European Union.")
    if get_currency(row.currency).sub_unit > 100:
        return _("The e-invoice has at most two decimals, and this currency has more.")
    if not row.customer["country"]:
        return _("The customer's country is missing.")
    return "" if row.seller["tax_number"] else _("The issuer's tax number is missing.")


def invoice_xml(invoice: Invoice, lines: Sequence[InvoiceLine]) -> bytes:
    """The e-invoice of an issued invoice with its lines. Raises NotPossible."""
    if reason := why_not(invoice):
        raise NotPossible(reason)
    zone = ZoneInfo(invoice.customer["time_zone"])
    assert invoice.issued_at is not None  # noqa: S101
    due_on = None if invoice.due_at is None else invoice.due_at.astimezone(zone).date()
    return _xml(
        _Paper(
            row=invoice,
            kind=INVOICE,
            issued_on=invoice.issued_at.astimezone(zone).date(),
            lines=tuple(_Line(line, line.quantity, line.unit_price, line.amount, line.tax_amount) for line in lines),
            notes=(),
            tax_note=invoice.tax_note,
            prepaid=invoice.total - invoice.owed,
            terms="" if invoice.owed else _("Paid."),
            due_on=due_on if invoice.owed else None,
            preceding=None,
        )
    )


def credit_note_xml(note: CreditNote) -> bytes:
    """The e-invoice of a credit note, which names its invoice. Raises NotPossible."""
    if reason := why_not(note):
        raise NotPossible(reason)
    zone, invoice = ZoneInfo(note.customer["time_zone"]), note.invoice
    lines = note.lines.select_related("invoice_line").order_by("invoice_line__position")
    assert invoice.issued_at is not None  # noqa: S101
    return _xml(
        _Paper(
            row=note,
            kind=CREDIT_NOTE,
            issued_on=note.issued_at.astimezone(zone).date(),
            lines=tuple(
                _Line(line.invoice_line, Decimal(1), line.amount, line.amount, line.tax_amount) for line in lines
            ),
            notes=(_("Reason: %(reason)s") % {"reason": note.reason},),
            tax_note=invoice.tax_note,
            prepaid=Decimal(0),
            terms=_("Taken back of invoice %(number)s.") % {"number": invoice.number},
            due_on=None,
            preceding=(str(invoice.number), invoice.issued_at.astimezone(zone).date()),
        )
    )


def _xml(paper: _Paper) -> bytes:
    document = Document()
    document.context.guideline_parameter.id = GUIDELINE
    document.header.id = printable(paper.row.number)
    document.header.type_code = paper.kind
    document.header.issue_date_time = paper.issued_on
    for text in paper.notes:
        document.header.notes.add(IncludedNote(content=printable(text)))
    categories = _categories(paper.lines)
    names_vat = "O" not in {code for code, _reason in categories.values()}
    _fill_party(document.trade.agreement.seller, paper.row.seller, names_vat=names_vat, is_seller=True)
    _fill_party(document.trade.agreement.buyer, paper.row.customer, names_vat=names_vat, is_seller=False)
    for line in paper.lines:
        document.trade.items.add(_item(line, categories, paper))
    _fill_settlement(document, paper, categories)
    xml: bytes = document.serialize(schema="FACTUR-X_EN16931")
    return xml


def _fill_party(party: TradeParty, said: dict[str, str], *, names_vat: bool, is_seller: bool) -> None:
    party.name = printable(said["name"])
    lines = [printable(line) for line in text_lines(said["address"])]
    for part, text in zip(("line_one", "line_two", "line_three"), [*lines[:2], ", ".join(lines[2:])], strict=False):
        if text:
            setattr(party.address, part, text)
    party.address.country_id = said["country"]
    if said.get("region"):
        party.address.country_subdivision = printable(said["region"])
    if said["email"]:
        party.electronic_address.uri_ID = ("EM", printable(said["email"]))
    number = printable(said["tax_number"])
    vat_id = find_prefixed_vat_id(said["country"], number)
    if vat_id is not None and names_vat:
        party.tax_registrations.add(TaxRegistration(id=("VA", vat_id)))
    elif number:
        # Where the standard has other numbers: as what the party is known by (BT-29, BT-46), and of the seller, whom it
        # wants to be known by some number, as the tax registration (BT-32).
        party.id = number
        if is_seller:
            party.tax_registrations.add(TaxRegistration(id=("FC", number)))


def _categories(lines: Iterable[_Line]) -> dict[int, tuple[str, str]]:
    """The norm's category of each line's tax with the reason's code, by the line's id.

    What is not subject to VAT cannot stand beside what is, so on a mixed document it is exempt.
    """
    treatments = {line.row.tax_treatment for line in lines}
    only_untaxed = treatments == {InvoiceLine.Treatment.UNTAXED}
    found: dict[int, tuple[str, str]] = {}
    for line in lines:
        if line.row.tax_treatment == InvoiceLine.Treatment.TAXED:
            found[line.row.pk] = ("S" if line.row.tax_percent else "Z", "")
        elif line.row.tax_treatment == InvoiceLine.Treatment.REVERSE_CHARGE:
            found[line.row.pk] = _REVERSE_CHARGE
        else:
            found[line.row.pk] = _NOT_SUBJECT if only_untaxed else ("E", "")
    return found


def _item(line: _Line, categories: dict[int, tuple[str, str]], paper: _Paper) -> LineItem:
    item = LineItem()
    item.document.line_id = str(line.row.position)
    item.product.name = printable(line.row.description)
    item.agreement.net.amount = _plain(line.unit_price)
    item.delivery.billed_quantity = (_plain(line.quantity), _PIECE)
    code, _reason = categories[line.row.pk]
    item.settlement.trade_tax.type_code = "VAT"
    item.settlement.trade_tax.category_code = code
    if code != "O":
        item.settlement.trade_tax.rate_applicable_percent = _plain(line.row.tax_percent)
    if line.row.starts_at is not None and line.row.ends_at is not None:
        zone = ZoneInfo(paper.row.customer["time_zone"])
        item.settlement.period.start = line.row.starts_at.astimezone(zone).date()
        item.settlement.period.end = last_day(line.row, zone)
    item.settlement.monetary_summation.total_amount = _money(line.amount, paper)
    return item


def last_day(line: InvoiceLine, zone: ZoneInfo) -> date:
    """The last day of a line's service period, which ends before `ends_at`."""
    assert line.ends_at is not None  # noqa: S101
    return (line.ends_at - timedelta(microseconds=1)).astimezone(zone).date()


def _fill_settlement(document: Document, paper: _Paper, categories: dict[int, tuple[str, str]]) -> None:
    row, settlement = paper.row, document.trade.settlement
    document.trade.delivery.event.occurrence = paper.issued_on
    settlement.currency_code = row.currency
    if row.tax_in_base is not None:
        settlement.tax_currency_code = row.base_currency
    due = row.total - paper.prepaid
    if paper.kind == INVOICE and due and row.seller.get("iban"):
        settlement.payment_reference = printable(row.number)
        means = PaymentMeans(type_code=_SEPA_TRANSFER if row.currency == "EUR" else _TRANSFER)
        means.payee_account.iban = row.seller["iban"].replace(" ", "")
        means.payee_account.account_name = printable(row.seller["name"])
        if row.seller["bic"]:
            means.payee_institution.bic = row.seller["bic"]
        settlement.payment_means.add(means)
    for tax in _taxes(paper, categories):
        settlement.trade_tax.add(tax)
    terms = PaymentTerms()
    if paper.terms:
        terms.description = printable(paper.terms)
    if paper.due_on is not None:
        terms.due = paper.due_on
    settlement.terms.add(terms)
    sums = settlement.monetary_summation
    sums.line_total = sums.tax_basis_total = _money(row.subtotal, paper)
    sums.charge_total = sums.allowance_total = _money(Decimal(0), paper)
    sums.tax_total = (_money(row.tax_total, paper), row.currency)
    if row.tax_in_base is not None:
        base = pricing.round_money(row.tax_in_base, row.base_currency)
        sums.tax_total_other_currency.add((base, row.base_currency))
    sums.grand_total = _money(row.total, paper)
    sums.prepaid_total = _money(paper.prepaid, paper)
    sums.due_amount = _money(due, paper)
    if paper.preceding is not None:
        number, issued_on = paper.preceding
        settlement.invoice_referenced_document.issuer_assigned_id = printable(number)
        settlement.invoice_referenced_document.issue_date_time = issued_on


def _taxes(paper: _Paper, categories: dict[int, tuple[str, str]]) -> list[ApplicableTradeTax]:
    """The tax table: net and tax of each category and rate."""
    sums: dict[tuple[str, str, Decimal], tuple[Decimal, Decimal]] = {}
    for line in paper.lines:
        key = (*categories[line.row.pk], line.row.tax_percent)
        net, tax = sums.get(key, (Decimal(0), Decimal(0)))
        sums[key] = (net + line.amount, tax + line.tax_amount)
    table = []
    for (code, reason_code, percent), (net, tax) in sums.items():
        entry = ApplicableTradeTax(type_code="VAT", category_code=code)
        entry.calculated_amount, entry.basis_amount = _money(tax, paper), _money(net, paper)
        if code in ("AE", "E", "O"):
            entry.exemption_reason = printable(paper.tax_note or _("Not subject to VAT."))
        if reason_code:
            entry.exemption_reason_code = reason_code
        if code != "O":
            entry.rate_applicable_percent = _plain(percent)
        table.append(entry)
    return table


def _money(amount: Decimal, paper: _Paper) -> Decimal:
    return pricing.round_money(amount, paper.row.currency)


def _plain(number: Decimal) -> Decimal:
    """Without idle zeros, and never with an exponent: 10, not 1E+1."""
    return Decimal(f"{number.normalize():f}")
