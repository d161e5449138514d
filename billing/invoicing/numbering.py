"""Numbers of documents, gapless per issuer: each is drawn in the transaction that issues, as the last of its locks.

The issuer's row stays locked until that transaction ends, so a number is lost with it and never left out. Because
everything else is locked before, whoever holds the row waits for nobody.
"""

from collections.abc import Sequence

from django.db import connection

from billing.invoicing.models import Invoice
from billing.sql.pipeline import columns, pipelined

_DRAW = "UPDATE billing_issuer SET {0} = {0} + 1 WHERE id = %s RETURNING {1}, {0}"
_DRAW_INVOICE = _DRAW.format("last_invoice_number", "invoice_prefix")
_WRITE_NUMBERS = """
UPDATE billing_invoice i SET number = u.number, state = u.state, issued_at = u.issued_at, content_hash = u.hash
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::timestamptz[], %s::text[])
    AS u(id, number, state, issued_at, hash)
WHERE i.id = u.id
"""
_DRAW_CREDIT_NOTE = _DRAW.format("last_credit_note_number", "credit_note_prefix")


def draw_invoice_number(issuer_id: int) -> str:
    """The issuer's next invoice number. Locks the issuer's row until the caller's transaction ends."""
    return _draw(_DRAW_INVOICE, issuer_id)


def draw_invoice_numbers(issuer_id: int, count: int) -> list[str]:
    """The issuer's next invoice numbers, drawn one by one in one round trip. Locks as drawing one does."""
    drawn = pipelined([(_DRAW_INVOICE, [issuer_id])] * count)
    return [f"{prefix}{number:06d}" for ((prefix, number),) in drawn]


def write_numbers(invoices: Sequence[Invoice]) -> None:
    """Write number, state, time and hash of invoices that have just been given them."""
    rows = [(each.pk, each.number, each.state, each.issued_at, each.content_hash) for each in invoices]
    with connection.cursor() as cursor:
        cursor.execute(_WRITE_NUMBERS, columns(rows, 5))


def draw_credit_note_number(issuer_id: int) -> str:
    """The issuer's next credit note number. Locks the issuer's row until the caller's transaction ends."""
    return _draw(_DRAW_CREDIT_NOTE, issuer_id)


def _draw(statement: str, issuer_id: int) -> str:
    with connection.cursor() as cursor:
        cursor.execute(statement, [issuer_id])
        prefix, number = cursor.fetchone()
    return f"{prefix}{number:06d}"
