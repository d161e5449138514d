"""What an issued document says, in one canonical form, and the hash that proves it.

The hash is taken when the document is issued and stored beside it. It covers parties, numbers, dates, lines, tax and
totals: everything that is printed but how the document stands now (paid, credited). Its form has a version, which
stands before the hash, so that a later Florin can still check what an earlier one has issued.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from billing.invoicing.models import CreditNote, CreditNoteLine, Invoice, InvoiceLine

VERSION = 1

_INVOICE = (
    "account_id", "issuer_id", "reference", "number", "currency", "subtotal", "tax_total", "total", "seller",
    "customer", "tax_note", "base_currency", "base_rate", "base_rate_on", "tax_in_base", "issued_at", "due_at",
)  # fmt: skip
_INVOICE_LINE = (
    "position", "description", "quantity", "unit_price", "amount", "includes_tax", "category", "tax_name",
    "tax_percent", "tax_amount", "tax_treatment", "pack_id", "pool_id", "credits", "grant_kind", "validity_days",
    "recognition", "starts_at", "ends_at", "period_reference", "cost_basis",
)  # fmt: skip
_NOTE = (
    "invoice_id", "reference", "number", "reason", "currency", "subtotal", "tax_total", "total", "seller", "customer",
    "base_currency", "base_rate", "base_rate_on", "tax_in_base", "issued_at",
)  # fmt: skip
_NOTE_LINE = ("invoice_line_id", "description", "credits", "amount", "tax_amount")


def hash_invoice(invoice: Invoice, lines: Iterable[InvoiceLine]) -> str:
    """The hash of an invoice with its number, and of its lines in their order."""
    return _hash(_said(invoice, _INVOICE), [_said(line, _INVOICE_LINE) for line in lines])


def hash_credit_note(note: CreditNote, lines: Iterable[CreditNoteLine]) -> str:
    """The hash of a credit note, and of its lines in the order of the invoice's lines they are about."""
    said = [_said(line, _NOTE_LINE) for line in lines]
    return _hash(_said(note, _NOTE), sorted(said, key=lambda line: line["invoice_line_id"]))


def _hash(document: dict[str, Any], lines: list[dict[str, Any]]) -> str:
    text = json.dumps({**document, "lines": lines}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{VERSION}:{hashlib.sha256(text.encode()).hexdigest()}"


def _said(row: Any, fields: Iterable[str]) -> dict[str, Any]:
    return {field: _canonical(getattr(row, field)) for field in fields}


def _canonical(value: Any) -> Any:
    """A value the same whether it comes from memory or from the database."""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}" if value else "0"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return value.isoformat() if isinstance(value, date) else value
