"""Several SQL statements in one round trip, with rows passed as arrays. For the hot path of the ledger and metering.

Arrays are written as PostgreSQL's array literals here: psycopg's own adaptation of lists looks at every element
several times and took a third of a single charge.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from django.db import connection

Statement = tuple[str, Sequence[object]]


def pipelined(statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
    """Run statements in one round trip; the rows of each (none for writes). Locks need an open transaction.

    Statements run one after the other, each seeing what was committed when it began, so reads that stand behind a
    lock see what the lock waited for. They are prepared once per connection. Raises Django's database errors.
    """
    connection.ensure_connection()
    raw = connection.connection
    cursors = []
    with connection.wrap_database_errors, raw.pipeline():
        for sql, parameters in statements:
            cursor = psycopg.Cursor(raw)
            cursor.execute(sql, parameters, prepare=True)
            cursors.append(cursor)
    # `description` would build an object per column just to be asked for its truth.
    return [cursor.fetchall() if cursor.pgresult and cursor.pgresult.nfields else [] for cursor in cursors]


def columns(rows: Iterable[Sequence[object]], width: int) -> list[str]:
    """Rows turned into one array literal per column, for `unnest(%s::type[], …)`; `width` empty ones for no rows."""
    return [array(column) for column in zip(*rows, strict=True)] or ["{}"] * width


def array(values: Iterable[object]) -> str:
    """A PostgreSQL array literal of numbers, texts, bytes, booleans, dates, times and None."""
    return "{" + ",".join([_element(value) for value in values]) + "}"


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    kind = type(value)
    if kind is bytes:
        return f'"\\\\x{value.hex()}"'  # type: ignore[attr-defined]
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)
