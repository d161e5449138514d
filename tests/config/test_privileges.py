"""What migrate gives the runtime role: rows, never structure; on append-only tables only new rows."""

import pytest
from django.core.management import call_command
from django.db import ProgrammingError, connection, transaction

from billing.checks import APPEND_ONLY_TABLES
from billing.ledger.models import Posting
from billing.management.commands.migrate import grant_privileges
from tests.factories import give_credits, make_account

ALL = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")


def privileges(role: str) -> dict[str, set[str]]:
    """Of the role, by table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tablename, privilege FROM pg_tables, unnest(%s::text[]) AS privilege"
            " WHERE schemaname = current_schema() AND has_table_privilege(%s, tablename::regclass, privilege)",
            [list(ALL), role],
        )
        found: dict[str, set[str]] = {}
        for table, privilege in cursor.fetchall():
            found.setdefault(table, set()).add(privilege)
        return found


def test_each_table_has_exactly_its_privileges(runtime_role):
    found = privileges(runtime_role)
    assert len(found) > 5
    for table, may in found.items():
        if table in APPEND_ONLY_TABLES:
            assert may == {"SELECT", "INSERT"}, table
        elif table == "django_migrations":
            assert may == {"SELECT"}
        else:
            assert may == {"SELECT", "INSERT", "UPDATE", "DELETE"}, table


def test_the_role_can_neither_make_nor_truncate_a_table(runtime_role):
    for statement in ("CREATE TABLE mine ()", "TRUNCATE django_session", "ALTER TABLE django_session ADD x int"):
        with pytest.raises(ProgrammingError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_granting_again_changes_nothing_and_mends_what_was_opened(db, settings):
    role = settings.DATABASE_RUNTIME_ROLE
    before = privileges(role)
    with connection.cursor() as cursor:
        cursor.execute(f"GRANT ALL ON billing_posting TO {role}")
    assert privileges(role) != before
    grant_privileges(connection, role)
    assert privileges(role) == before


def test_a_missing_role_is_made_without_login(db):
    grant_privileges(connection, "some role; --")
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolcanlogin, rolsuper FROM pg_roles WHERE rolname = 'some role; --'")
        assert cursor.fetchone() == (False, False)
    assert privileges("some role; --")["billing_posting"] == {"SELECT", "INSERT"}


@pytest.mark.django_db(transaction=True)
def test_migrate_is_repeatable(settings):
    before = privileges(settings.DATABASE_RUNTIME_ROLE)
    call_command("migrate", verbosity=0)
    assert privileges(settings.DATABASE_RUNTIME_ROLE) == before


@pytest.mark.django_db(transaction=True)
def test_the_flush_after_a_transactional_test_leaves_every_trigger_as_it_was(django_db_blocker):
    question = "SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2"

    def triggers() -> list[tuple[str, str, str]]:
        with connection.cursor() as cursor:
            cursor.execute(question)
            return cursor.fetchall()

    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse_for_test() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'append-only'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER refuse_for_test BEFORE DELETE ON billing_posting"
            " FOR EACH ROW EXECUTE FUNCTION refuse_for_test()"
        )
        cursor.execute("ALTER TABLE billing_posting ENABLE ALWAYS TRIGGER refuse_for_test")
    give_credits(make_account(), "5")
    before = triggers()
    try:
        call_command("flush", verbosity=0, interactive=False)
        assert not Posting.objects.exists()
        assert triggers() == before
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION refuse_for_test CASCADE")
