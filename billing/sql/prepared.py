"""Queries that every request asks: planned once per connection."""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from django.db import connection


def fetch(sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The rows of a query, prepared once it has been asked a few times on a connection.

    Django's own cursors put the parameters into the text, which PostgreSQL then parses and plans anew each time. This
    is one of its cursors in everything else: health checks, query log, its errors.
    """
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    make: Any = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
    with make(psycopg.Cursor(connection.connection)) as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()
