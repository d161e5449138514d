"""Invoices and credit notes as PDF: what their rows say, laid out by `document.typ`.

Texts reach the template as data, so none of them can act as markup. Nothing is fetched, and no font is needed beyond
those that Typst carries; FLORIN_FONTS names a folder of more, for scripts that those do not have. The same row in the
same state gives the same bytes.
"""

import json
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import typst
from babel import Locale
from django.conf import settings
from django.utils.formats import date_format
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from billing.invoicing.models import CreditNote, CreditNoteLine, Invoice, InvoiceLine
from billing.notifications import wording

_TEMPLATE = Path(__file__).with_name("document.typ")
# Marks that would let a name turn round the figures beside it.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


class NotIssued(Exception):
    """A draft is no document yet."""


def invoice_pdf(invoice_id: int) -> bytes:
    """The invoice as a PDF (A-2b where its fonts have every sign), with how it stands now: paid, void or due.

    Raises NotIssued for a draft.
    """
    invoice = Invoice.objects.get(pk=invoice_id)
    if invoice.issued_at is None or invoice.number is None:
        raise NotIssued(str(invoice))
    lines = list(invoice.lines.all())
    notes = list(invoice.credit_notes.order_by("pk").values_list("number", flat=True))
    zone, currency = ZoneInfo(invoice.customer["time_zone"]), invoice.currency
    issued_on = _day(invoice.issued_at, zone)
    facts = [(_("Invoice number"), invoice.number), (_("Invoice date"), issued_on), (_("Date of supply"), issued_on)]
    if invoice.due_at is not None:
        facts.append((_("Due date"), _day(invoice.due_at, zone)))
    said = [invoice.tax_note, _paid_note(invoice, zone)]
    if notes:
        taken = wording.money_text(invoice.amount_credited, currency)
        said.append(_("Taken back by %(notes)s: %(amount)s.") % {"notes": ", ".join(notes), "amount": taken})
    return _render(
        {
            "title": _("Invoice"),
            "number": invoice.number,
            "stamp": _stamp(invoice),
            **_parties(invoice.seller, invoice.customer),
            "facts": [*facts, (_("Currency"), currency)],
            "lines": [_line(line, line.amount, line.quantity, currency) for line in lines],
            "taxes": _taxes([(line, line.amount, line.tax_amount) for line in lines], currency),
            "totals": _invoice_totals(invoice),
            "notes": [note for note in said if note],
        },
        issued_at=invoice.issued_at,
    )


def credit_note_pdf(credit_note_id: int) -> bytes:
    """The credit note as a PDF, like its invoice."""
    note = CreditNote.objects.select_related("invoice").get(pk=credit_note_id)
    lines = list(note.lines.select_related("invoice_line").order_by("invoice_line__position"))
    zone, currency, invoice = ZoneInfo(note.customer["time_zone"]), note.currency, note.invoice
    facts = [(_("Credit note number"), note.number), (_("Date"), _day(note.issued_at, zone))]
    facts.append((_("For invoice"), str(invoice.number)))
    if invoice.issued_at is not None:
        facts.append((_("Invoice date"), _day(invoice.issued_at, zone)))
    totals = [
        ("plain", _("Subtotal"), note.subtotal),
        ("plain", _("Tax"), note.tax_total),
        ("due", _("Total credited"), note.total),
    ]
    reason = _("Reason: %(reason)s") % {"reason": note.reason}
    return _render(
        {
            "title": _("Credit note"),
            "number": note.number,
            "stamp": None,
            **_parties(note.seller, note.customer),
            "facts": [*facts, (_("Currency"), currency)],
            "lines": [_credited_line(line, currency) for line in lines],
            "taxes": _taxes([(line.invoice_line, line.amount, line.tax_amount) for line in lines], currency),
            "totals": _totals(totals, currency),
            "notes": [reason, *([invoice.tax_note] if invoice.tax_note else [])],
        },
        issued_at=note.issued_at,
    )


def _render(document: dict[str, Any], *, issued_at: datetime) -> bytes:
    common = {
        "language": (get_language() or "en").split("-")[0],
        "headings": ["", _("Description"), _("Quantity"), _("Unit price"), _("Tax"), _("Net amount")],
        "tax_headings": [_("Tax"), _("Net amount"), _("Tax amount")],
        "page": _("Page {page} of {pages}"),
    }
    coin = (settings.BASE_DIR / "static" / "florin" / "coin.svg").read_text()
    options: dict[str, Any] = {
        "sys_inputs": {"document": json.dumps(_inert({**common, **document})), "coin": coin},
        "font_paths": [settings.FLORIN_FONTS] if settings.FLORIN_FONTS else [],
        "ignore_system_fonts": True,
        "timestamp": int(issued_at.timestamp()),
    }
    try:
        return typst.compile(_TEMPLATE, format="pdf", pdf_standards="a-2b", **options)
    except typst.TypstError:
        # An archivable PDF refuses signs that no font has; a plain one shows a box for them.
        return typst.compile(_TEMPLATE, format="pdf", **options)


def _inert(data: Any) -> Any:
    """The data with every text on one line and without signs that are no text."""
    if isinstance(data, str):
        kept = (sign for sign in data if sign not in _TURNING and unicodedata.category(sign) not in ("Cc", "Cs", "Cn"))
        return "".join(kept)
    if isinstance(data, dict):
        return {key: _inert(value) for key, value in data.items()}
    return [_inert(each) for each in data] if isinstance(data, list | tuple) else data


def _parties(seller: dict[str, str], customer: dict[str, str]) -> dict[str, object]:
    return {
        "seller": {"label": _("From"), "name": seller["name"], "lines": _address(seller)},
        "buyer": {"label": _("Bill to"), "name": customer["name"], "lines": _address(customer)},
        "footer": _text_lines(seller["footer"]) or [seller["name"]],
    }


def _address(party: dict[str, str]) -> list[str]:
    lines = _text_lines(party["address"])
    if party.get("region"):
        lines.append(party["region"])
    lines.append(Locale("en").territories.get(party["country"], party["country"]))
    if party["tax_number"]:
        lines.append(_("Tax number: %(number)s") % {"number": party["tax_number"]})
    return [*lines, party["email"]] if party["email"] else lines


def _text_lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def _day(moment: datetime, zone: ZoneInfo) -> str:
    return date_format(moment.astimezone(zone), "j F Y")


def _stamp(invoice: Invoice) -> dict[str, str] | None:
    if invoice.state == Invoice.State.PAID:
        return {"kind": "good", "text": _("Paid")}
    return {"kind": "bad", "text": _("Void")} if invoice.state == Invoice.State.VOID else None


def _paid_note(invoice: Invoice, zone: ZoneInfo) -> str:
    if invoice.paid_at is None or not invoice.amount_paid:
        return ""
    return _("Payment received on %(day)s. Thank you.") % {"day": _day(invoice.paid_at, zone)}


def _line(line: InvoiceLine, amount: Decimal, quantity: Decimal | None, currency: str) -> dict[str, str]:
    return {
        "position": str(line.position),
        "description": line.description,
        "detail": _validity(line),
        "quantity": "" if quantity is None else wording.exact_credits_text(quantity),
        "unit_price": "" if quantity is None else wording.unit_price_text(line.unit_price, currency),
        "tax": _rate_text(line),
        "amount": wording.money_text(amount, currency),
    }


def _credited_line(line: CreditNoteLine, currency: str) -> dict[str, str]:
    return {**_line(line.invoice_line, line.amount, line.credits, currency), "detail": ""}


def _validity(line: InvoiceLine) -> str:
    if line.credits is None:
        return ""
    if line.validity_days is None:
        return _("The credits do not expire.")
    text = ngettext("Valid for %(days)s day from payment.", "Valid for %(days)s days from payment.", line.validity_days)
    return text % {"days": line.validity_days}


def _rate_text(line: InvoiceLine) -> str:
    return f"{line.tax_percent.normalize():f} %" if line.tax_treatment == InvoiceLine.Treatment.TAXED else "0 %"


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
    totals = [
        ("plain", _("Subtotal"), invoice.subtotal),
        ("plain", _("Tax"), invoice.tax_total),
        ("strong", _("Total"), invoice.total),
    ]
    if invoice.amount_paid:
        totals.append(("plain", _("Paid"), -invoice.amount_paid))
    if invoice.amount_credited and invoice.state != Invoice.State.PAID:
        totals.append(("plain", _("Credited"), -invoice.amount_credited))
    return _totals([*totals, ("due", _("Amount due"), invoice.owed)], invoice.currency)


def _totals(totals: Sequence[tuple[str, str, Decimal]], currency: str) -> list[dict[str, str]]:
    return [
        {"kind": kind, "label": label, "amount": wording.money_text(amount, currency)} for kind, label, amount in totals
    ]
