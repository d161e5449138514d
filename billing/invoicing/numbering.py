"""Numbers of documents, gapless per issuer: each is drawn in the transaction that issues, as the last of its locks.

The issuer's row stays locked until that transaction ends, so a number is lost with it and never left out. Because
everything else is locked before, whoever holds the row waits for nobody.
"""

from django.db import connection

_DRAW = "UPDATE billing_issuer SET {0} = {0} + 1 WHERE id = %s RETURNING {1}, {0}"
_DRAW_INVOICE = _DRAW.format("last_invoice_number", "invoice_prefix")
_DRAW_CREDIT_NOTE = _DRAW.format("last_credit_note_number", "credit_note_prefix")


def draw_invoice_number(issuer_id: int) -> str:
    """The issuer's next invoice number. Locks the issuer's row until the caller's transaction ends."""
    return _draw(_DRAW_INVOICE, issuer_id)


def draw_credit_note_number(issuer_id: int) -> str:
    """The issuer's next credit note number. Locks the issuer's row until the caller's transaction ends."""
    return _draw(_DRAW_CREDIT_NOTE, issuer_id)


def _draw(statement: str, issuer_id: int) -> str:
    with connection.cursor() as cursor:
        cursor.execute(statement, [issuer_id])
        prefix, number = cursor.fetchone()
    return f"{prefix}{number:06d}"
