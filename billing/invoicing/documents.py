"""Invoices and credit notes as PDF: what their rows say, laid out by `document.typ`, with their e-invoice inside.

The same row in the same state gives the same bytes.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.accounts.tax_ids import find_prefixed_vat_id
from billing.invoicing import einvoice, printing, transfers
from billing.invoicing.lettering import text_lines
from billing.invoicing.models import CreditNote, CreditNoteLine, Invoice, InvoiceLine
from billing.wording import amounts as wording


class NotIssued(Exception):
    """A draft is no document yet."""


def invoice_pdf(invoice_id: int, *, with_drafts: bool = False) -> bytes:
    """The invoice as a PDF, with how it stands now: paid, void or due; archivable (A-3b, A-2b without an e-invoice)
    where its fonts have every sign.

    Raises NotIssued for a draft; `with_drafts` one is shown as such.
    """
    invoice = Invoice.objects.get(pk=invoice_id)
    if invoice.number is None and not with_drafts:
        raise NotIssued(str(invoice))
    lines = list(invoice.lines.all())
    notes = list(invoice.credit_notes.order_by("pk").values_list("number", flat=True))
    zone, currency = ZoneInfo(invoice.customer["time_zone"]), invoice.currency
    said = [invoice.tax_note, _base_note(invoice), _paid_note(invoice, zone)]
    if notes:
        taken = wording.money_text(invoice.amount_credited, currency)
        said.append(_("Taken back by %(notes)s: %(amount)s.") % {"notes": ", ".join(notes), "amount": taken})
    return printing.render(
        "document",
        {
            **_headings(),
            "title": _("Invoice"),
            "number": invoice.number or _("Draft"),
            "stamp": _stamp(invoice),
            **parties(invoice.seller, invoice.customer),
            "facts": [*_invoice_facts(invoice, lines, zone), (_("Currency"), currency)],
            "lines": [_line(line, line.amount, line.quantity, currency, zone) for line in lines],
            "taxes": _taxes([(line, line.amount, line.tax_amount) for line in lines], currency),
            "totals": _invoice_totals(invoice),
            "notes": [note for note in said if note],
            "transfer": _transfer(invoice),
        },
        issued_at=invoice.issued_at or invoice.created_at,
        machine=None if einvoice.why_not(invoice) else einvoice.invoice_xml(invoice, lines),
    )


def credit_note_pdf(credit_note_id: int) -> bytes:
    """The credit note as a PDF, like its invoice."""
    note = CreditNote.objects.select_related("invoice").get(pk=credit_note_id)
    lines = list(note.lines.select_related("invoice_line").order_by("invoice_line__position"))
    zone, currency, invoice = ZoneInfo(note.customer["time_zone"]), note.currency, note.invoice
    facts = [(_("Credit note number"), note.number), (_("Date"), day_text(note.issued_at, zone))]
    facts.append((_("For invoice"), str(invoice.number)))
    if invoice.issued_at is not None:
        facts.append((_("Invoice date"), day_text(invoice.issued_at, zone)))
    totals = [
        ("plain", _("Subtotal"), note.subtotal),
        ("plain", _("Tax"), note.tax_total),
        ("due", _("Total credited"), note.total),
    ]
    reason = _("Reason: %(reason)s") % {"reason": note.reason}
    return printing.render(
        "document",
        {
            **_headings(),
            "title": _("Credit note"),
            "number": note.number,
            "stamp": None,
            **parties(note.seller, note.customer),
            "facts": [*facts, (_("Currency"), currency)],
            "lines": [_credited_line(line, currency, zone) for line in lines],
            "taxes": _taxes([(line.invoice_line, line.amount, line.tax_amount) for line in lines], currency),
            "totals": _totals(totals, currency),
            "notes": [text for text in (reason, invoice.tax_note, _base_note(note)) if text],
            "transfer": None,
        },
        issued_at=note.issued_at,
        machine=None if einvoice.why_not(note) else einvoice.credit_note_xml(note),
    )


def _headings() -> dict[str, list[str]]:
    return {
        "headings": ["", _("Description"), _("Quantity"), _("Unit price"), _("Tax"), _("Net amount")],
        "tax_headings": [_("Tax"), _("Net amount"), _("Tax amount")],
    }


def _invoice_facts(invoice: Invoice, lines: Sequence[InvoiceLine], zone: ZoneInfo) -> list[tuple[str, str]]:
    if invoice.issued_at is None:
        return []
    issued_on = day_text(invoice.issued_at, zone)
    facts = [(_("Invoice number"), str(invoice.number)), (_("Invoice date"), issued_on)]
    if any(line.starts_at is None for line in lines):
        facts.append((_("Date of supply"), issued_on))
    if invoice.due_at is not None:
        facts.append((_("Due date"), day_text(invoice.due_at, zone)))
    return facts


def _base_note(row: Invoice | CreditNote) -> str:
    """The tax in the currency of the issuer's books, where that is another one."""
    if row.tax_in_base is None or row.base_rate is None or row.base_rate_on is None:
        return ""
    return _("Tax in %(base)s: %(tax)s, at 1 %(currency)s = %(rate)s %(base)s (European Central Bank, %(day)s).") % {
        "base": row.base_currency,
        "tax": wording.money_text(row.tax_in_base, row.base_currency),
        "currency": row.currency,
        "rate": f"{row.base_rate.normalize():f}",
        "day": date_format(row.base_rate_on, "j F Y"),
    }


def _transfer(invoice: Invoice) -> dict[str, Any] | None:
    """Where to pay what is owed by bank transfer, if the issuer has said."""
    seller, owed = invoice.seller, invoice.owed
    if not owed or not seller.get("iban") or invoice.number is None:
        return None
    facts = [
        (_("Account holder"), seller["name"]),
        (_("IBAN"), transfers.spaced(seller["iban"])),
        *([(_("BIC"), seller["bic"])] if seller["bic"] else []),
        *([(_("Bank"), seller["bank_name"])] if seller["bank_name"] else []),
        (_("Amount"), wording.money_text(owed, invoice.currency)),
        (_("Reference"), invoice.number),
    ]
    qr = transfers.qr_svg(
        name=seller["name"], iban=seller["iban"], bic=seller["bic"], amount=owed, currency=invoice.currency,
        text=invoice.number,
    )  # fmt: skip
    title = _("Please pay by bank transfer, and name the invoice's number.")
    return {"title": title, "facts": facts, "qr": qr, "qr_text": _("QR code of this bank transfer")}


def parties(seller: dict[str, str], customer: dict[str, str]) -> dict[str, object]:
    """Seller, buyer and footer as a template takes them."""
    return {
        "seller": {"label": _("From"), "name": seller["name"], "lines": _address(seller)},
        "buyer": {"label": _("Bill to"), "name": customer["name"], "lines": _address(customer)},
        "footer": text_lines(seller["footer"]) or [seller["name"]],
    }


def _address(party: dict[str, str]) -> list[str]:
    lines = text_lines(party["address"])
    if party.get("region"):
        lines.append(party["region"])
    lines.append(Locale("en").territories.get(party["country"], party["country"]))
    if party["tax_number"]:
        is_vat = find_prefixed_vat_id(party["country"], party["tax_number"]) is not None
        label = _("VAT number: %(number)s") if is_vat else _("Tax number: %(number)s")
        lines.append(label % {"number": party["tax_number"]})
    return [*lines, party["email"]] if party["email"] else lines


def day_text(moment: datetime, zone: ZoneInfo) -> str:
    """The day of a moment in a zone, as documents write it."""
    return date_format(moment.astimezone(zone), "j F Y")


def _stamp(invoice: Invoice) -> dict[str, str] | None:
    if invoice.state == Invoice.State.PAID:
        return {"kind": "good", "text": _("Paid")}
    names = {Invoice.State.VOID: _("Void"), Invoice.State.DRAFT: _("Draft")}
    return {"kind": "bad", "text": names[state]} if (state := Invoice.State(invoice.state)) in names else None


def _paid_note(invoice: Invoice, zone: ZoneInfo) -> str:
    if invoice.paid_at is None or not invoice.amount_paid:
        return ""
    return _("Payment received on %(day)s. Thank you.") % {"day": day_text(invoice.paid_at, zone)}


def _line(
    line: InvoiceLine, amount: Decimal, quantity: Decimal | None, currency: str, zone: ZoneInfo
) -> dict[str, str]:
    return {
        "position": str(line.position),
        "description": line.description,
        "detail": " ".join(text for text in (_period(line, zone), _validity(line)) if text),
        "quantity": "" if quantity is None else wording.exact_credits_text(quantity),
        "unit_price": "" if quantity is None else wording.unit_price_text(line.unit_price, currency),
        "tax": _rate_text(line),
        "amount": wording.money_text(amount, currency),
    }


def _credited_line(line: CreditNoteLine, currency: str, zone: ZoneInfo) -> dict[str, str]:
    said = _line(line.invoice_line, line.amount, line.credits, currency, zone)
    return {**said, "detail": _period(line.invoice_line, zone)}


def _period(line: InvoiceLine, zone: ZoneInfo) -> str:
    """The time that the line is for, both days included."""
    if line.starts_at is None or line.ends_at is None:
        return ""
    first, last = day_text(line.starts_at, zone), date_format(einvoice.last_day(line, zone), "j F Y")
    return _("%(first)s to %(last)s.") % {"first": first, "last": last} if first != last else f"{first}."


def _validity(line: InvoiceLine) -> str:
    if line.credits is None:
        return ""
    if line.validity_days is None:
        return _("The credits do not expire.")
    text = ngettext("Valid for %(days)s day from payment.", "Valid for %(days)s days from payment.", line.validity_days)
    return text % {"days": line.validity_days}


def _rate_text(line: InvoiceLine) -> str:
    return wording.percent_text(line.tax_percent) if line.tax_treatment == InvoiceLine.Treatment.TAXED else "0%"


def _taxes(amounts: Sequence[tuple[InvoiceLine, Decimal, Decimal]], currency: str) -> list[list[str]]:
    """The tax table: net and tax of each rate."""
    groups: dict[str, tuple[Decimal, Decimal]] = {}
    for line, amount, tax_amount in amounts:
        if line.tax_treatment == InvoiceLine.Treatment.TAXED:
            name = f"{line.tax_name} {_rate_text(line)}"
        elif line.tax_treatment == InvoiceLine.Treatment.REVERSE_CHARGE:
            name = _("Reverse charge")
        else:
            name = _("Not taxed")
        net, tax = groups.get(name, (Decimal(0), Decimal(0)))
        groups[name] = (net + amount, tax + tax_amount)
    return [[name, *(wording.money_text(each, currency) for each in sums)] for name, sums in groups.items()]


def _invoice_totals(invoice: Invoice) -> list[dict[str, str]]:
    totals = [("plain", _("Subtotal"), invoice.subtotal), ("plain", _("Tax"), invoice.tax_total)]
    if invoice.state == Invoice.State.DRAFT:
        return _totals([*totals, ("due", _("Total"), invoice.total)], invoice.currency)
    totals.append(("strong", _("Total"), invoice.total))
    if invoice.amount_paid:
        totals.append(("plain", _("Paid"), -invoice.amount_paid))
    if invoice.amount_credited and invoice.state != Invoice.State.PAID:
        totals.append(("plain", _("Credited"), -invoice.amount_credited))
    return _totals([*totals, ("due", _("Amount due"), invoice.owed)], invoice.currency)


def _totals(totals: Sequence[tuple[str, str, Decimal]], currency: str) -> list[dict[str, str]]:
    return [
        {"kind": kind, "label": label, "amount": wording.money_text(amount, currency)} for kind, label, amount in totals
    ]
