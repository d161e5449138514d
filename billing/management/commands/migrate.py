"""Django's migrate, as the owner of the tables; then the privileges of the runtime role, and the groups of staff."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.checks import Error
from django.core.management.base import SystemCheckError
from django.core.management.commands import migrate
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from psycopg import sql

from billing import checks
from billing.accounts import roles
from billing.checks import APPEND_ONLY_TABLES
from billing.invoicing import starter_rates
from billing.invoicing.models import Issuer
from billing.invoicing.tax_models import TaxRate
from billing.management.turns import one_at_a_time

# Any number will do, as long as nothing else in this database takes the same advisory lock.
MIGRATION_LOCK = 7_061_983
# When one migrates back, or other applications only, there are no tables that roles have rights to or rates belong in.
APP_IS_THERE = "billing_user"


class Command(migrate.Command):
    """Migrate with DATABASE_OWNER_URL and let the runtime role use, but not rewrite, what was made.

    Repeatable. Two at once take turns. The runtime role (DATABASE_RUNTIME_ROLE) is made without login when it is
    missing and the owner may make roles.
    """

    def check(self, *args: Any, databases: Any = None, **kwargs: Any) -> None:
        """Django's checks, and the server's settings; not the role's, for the owner may do what it must."""
        super().check(*args, **kwargs)
        if settings.PRODUCTION and (problems := checks.unsafe_server(connections["default"])):
            raise SystemCheckError(_listed(problems))

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate, then set the privileges."""
        connection = connections[options["database"]]
        with _as_owner(connection), one_at_a_time(connection, MIGRATION_LOCK):
            super().handle(*args, **options)
            if not (options["plan"] or options["check_unapplied"]):
                grant_privileges(connection, settings.DATABASE_RUNTIME_ROLE)
                if APP_IS_THERE in connection.introspection.table_names():
                    roles.ensure()
                    load_tax_rates()


def load_tax_rates() -> None:
    """Give a new installation the tax rates that come along; one that has an issuer loads them when it wants to."""
    if settings.FLORIN_STARTER_TAX_RATES and not (TaxRate.objects.exists() or Issuer.objects.exists()):
        starter_rates.load(on=timezone.now().date())


def grant_privileges(connection: BaseDatabaseWrapper, role: str) -> None:
    """Give the role what Florin needs at run time: rows, never structure; on append-only tables only new rows.

    Must be called as the tables' owner. All in one transaction, so that the role never has more for a moment.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema(), current_user")
        schema, owner = cursor.fetchone()
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
        exists = cursor.fetchone() is not None
        if role == owner:
            # One role for everything: the checks refuse that in production.
            return
        if not exists:
            cursor.execute("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")
            if not cursor.fetchone()[0]:
                return
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema])
        tables = {name for (name,) in cursor.fetchall()}
    statements = [] if exists else ["CREATE ROLE {role} NOLOGIN"]
    statements += [
        "GRANT USAGE ON SCHEMA {schema} TO {role}",
        "REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
        "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role}",
    ]
    names = {"role": sql.Identifier(role), "schema": sql.Identifier(schema)}
    restricted = [("UPDATE, DELETE", name) for name in APPEND_ONLY_TABLES]
    restricted.append(("INSERT, UPDATE, DELETE", "django_migrations"))
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(sql.SQL(statement).format(**names))
        for privileges, table in restricted:
            if table in tables:
                revoke = sql.SQL("REVOKE " + privileges + " ON {schema}.{table} FROM {role}")
                cursor.execute(revoke.format(table=sql.Identifier(table), **names))


@contextmanager
def _as_owner(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Connect as the owner for the time of the block, where one is configured."""
    if settings.DATABASE_OWNER is None or connection.alias != "default":
        yield
        return
    address = {name: settings.DATABASE_OWNER[name] for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT")}
    before = {name: connection.settings_dict[name] for name in address}
    connection.close()
    connection.settings_dict.update(address)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(before)


def _listed(problems: list[Error]) -> str:
    return "\n".join(f"{problem.id}: {problem.msg} {problem.hint or ''}" for problem in problems)
