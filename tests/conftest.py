"""What every test can use: the runtime role, a real broker, and a flush that append-only tables let through."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.db.backends.postgresql.operations import DatabaseOperations

from billing.apps import APPEND_ONLY_TABLES
from billing.subscriptions import terms
from config.embedded import ValkeyServer


@pytest.fixture(autouse=True)
def _forget_terms() -> None:
    """Published terms are kept in memory by id, for ever; a flush begins to count ids anew."""
    terms.forget()


@pytest.fixture(scope="session", autouse=True)
def _flush_may_truncate_append_only_tables() -> Iterator[None]:
    """Around the TRUNCATE that cleans up after transactional tests, switch off the triggers that refuse it.

    In the same transaction, so that no test ever runs without them; each trigger gets back the mode it had.
    """
    stock = DatabaseOperations.sql_flush

    def sql_flush(self: DatabaseOperations, style: Any, tables: Any, **options: Any) -> list[str]:
        truncate = stock(self, style, tables, **options)
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT format('ALTER TABLE %%s DISABLE TRIGGER %%I', tgrelid::regclass, tgname),"
                " format('ALTER TABLE %%s ENABLE %%s TRIGGER %%I', tgrelid::regclass,"
                " CASE tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, tgname)"
                " FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
                " WHERE NOT tgisinternal AND tgenabled <> 'D' AND relname = ANY(%s)",
                [[table for table in APPEND_ONLY_TABLES if table in tables]],
            )
            triggers = cursor.fetchall()
        if not truncate:
            return truncate
        # No model names the table of the cache that processes share, so it needs naming here.
        forget = f"DELETE FROM {self.quote_name(settings.CACHES['default']['LOCATION'])}"
        return [*(off for off, _ in triggers), *truncate, *(on for _, on in triggers), forget]

    DatabaseOperations.sql_flush = sql_flush
    yield
    DatabaseOperations.sql_flush = stock


@pytest.fixture
def runtime_role(db: None) -> Iterator[str]:
    """Let the test act with the privileges of the web and the workers; yields the role's name."""
    role = settings.DATABASE_RUNTIME_ROLE
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {connection.ops.quote_name(role)}")
    yield role
    # In a test's transaction the rollback does it, also after an error that makes any statement fail.
    if not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")


@pytest.fixture(scope="session")
def broker_url() -> str:
    """The address of a real, empty broker that keeps nothing; it stops with the test run."""
    server = ValkeyServer("test")
    server.ensure()
    return server.url()
