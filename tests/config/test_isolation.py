"""READ COMMITTED is what Florin is made for: pinned in every session, and another default is refused in production."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings as installed
from django.core.management import CommandError, call_command, get_commands
from django.db import connection, connections, transaction
from django.test import Client

from billing import checks, tasks
from config.embedded import PostgresServer
from config.embedded.postgres import OWNER
from tests.factories import make_key

# What a command needs to get as far as the database. The others bring their own, or refuse production outright.
ARGUMENTS: dict[str, list[str]] = {
    "finance_report": [], "import_exchange_rates": ["{rates}"], "import_transfers": ["{csv}"],
    "import_usage": ["{csv}", "--account", "acme", "--meter", "tokens=units", "--time-column", "at"],
    "load_tax_rates": [], "make_roles": [], "migrate": [], "replay_rejected": [], "run_job": ["expire-holds"],
    "seal_ledger": [], "simulate": ["--plan", "team"], "verify_invoices": [], "verify_ledger": [],
}  # fmt: skip
BRING_THEIR_OWN = {"benchmark", "demo", "seed_demo", "test"}


def server_default() -> str:
    """The level of a session that Florin has not opened."""
    url = PostgresServer("test").url(OWNER).replace("/florin?", f"/{connection.settings_dict['NAME']}?")
    with psycopg.connect(url) as other:
        return str(other.execute("SHOW default_transaction_isolation").fetchone()[0])


@pytest.fixture
def _serializable(transactional_db: None) -> Iterator[None]:
    """A database whose default level is another; no connection to it is open."""
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    connections.close_all()
    yield
    installed.PRODUCTION = False
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_isolation")
    connections.close_all()


def current_level() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        return str(cursor.fetchone()[0])


@pytest.mark.usefixtures("_serializable")
def test_single_statements_and_transactions_are_read_committed_whatever_the_databases_default_is() -> None:
    assert server_default() == "serializable"
    single = current_level()
    with transaction.atomic():
        assert (single, current_level()) == ("read committed", "read committed")


@pytest.mark.usefixtures("_serializable")
def test_no_entrance_of_production_opens_a_session_where_the_default_is_another_level(
    settings: Any, tmp_path: Path
) -> None:
    commands = {name for name, app in get_commands().items() if app == "billing"}
    assert set(ARGUMENTS) | BRING_THEIR_OWN == commands
    _, secret = make_key()
    connections.close_all()
    settings.PRODUCTION = True
    (tmp_path / "rows.csv").write_text(
        "at,units,received_on,amount,currency,reference\n2025-01-01T00:00:00Z,1,2025-01-01,1,EUR,x\n"
    )
    (tmp_path / "rates.csv").write_text("Date,USD\n2025-01-01,1.1\n")
    said = {name: refusal_of(name, tmp_path) for name in ARGUMENTS}
    with pytest.raises(checks.WrongIsolationLevel):
        tasks.expire_holds()
    with pytest.raises(
        checks.UnsafeDeployment, match=r"florin\.E007: The database's default isolation level is serial"
    ):
        checks.refuse_unsafe_deployment()
    asked = Client().get("/api/v1/meters", headers={"Authorization": f"Bearer {secret}"})
    assert (asked.status_code, asked.json()["code"]) == (503, "unavailable")
    assert {name: text for name, text in said.items() if "default isolation level is serializable" not in text} == {}


def refusal_of(name: str, folder: Path) -> str:
    """What a command ends with."""
    arguments = [word.format(csv=folder / "rows.csv", rates=folder / "rates.csv") for word in ARGUMENTS[name]]
    try:
        call_command(name, *arguments, stdout=io.StringIO(), stderr=io.StringIO())
    except (checks.WrongIsolationLevel, CommandError) as refusal:
        return str(refusal)
    finally:
        connections.close_all()
    return "it ran"
