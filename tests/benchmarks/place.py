"""Where the benchmarks run: a durable PostgreSQL of their own, a catalog, accounts with credits, and the web server.

Importing this module settles the environment, before Django's settings are read.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg

from config.embedded import PostgresServer
from config.embedded.postgres import OWNER
from config.embedded.server import processes_in
from config.processes import web_command

ROOT = Path(__file__).resolve().parents[2]
SERVER = PostgresServer("benchmark")
START_TIMEOUT_SECONDS = 60

os.environ.update(
    FLORIN_ENV="demo",
    DATABASE_URL=SERVER.url(),
    DATABASE_OWNER_URL=SERVER.url(OWNER),
    CELERY_BROKER_URL="memory://",
    DJANGO_SETTINGS_MODULE="config.settings",
    # The limit per key is a setting of an installation; counting against it is part of every request all the same.
    FLORIN_REQUESTS_PER_MINUTE="1000000000",
)


@contextmanager
def database() -> Iterator[None]:
    """An empty, migrated database, thrown away afterwards; Django is set up inside."""
    SERVER.reset()
    SERVER.ensure()
    try:
        import django
        from django.core.management import call_command
        from django.db import connections

        django.setup()
        call_command("migrate", verbosity=0, interactive=False)
        yield
        connections.close_all()
    finally:
        SERVER.reset()


def dsn(role: str = OWNER) -> str:
    """The database's address as psycopg takes it; by default with the owner's rights."""
    return SERVER.url(role)


def analyze() -> None:
    """Let the planner know the tables as they are, as autovacuum would within a minute."""
    with psycopg.connect(dsn(), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


@dataclass(frozen=True, slots=True)
class Web:
    """Where the web server listens, and the key that its clients use."""

    port: int
    key: str


@contextmanager
def web_server(key: str) -> Iterator[Web]:
    """The web server as the demo runs it, whose answers say how long they took."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", *web_command(port, "tests.benchmarks.timed:application")]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            _wait_for(port, process)
            _web.append(process.pid)
            yield Web(port, key)
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-4000:])
            raise
        finally:
            _web.clear()
            process.send_signal(signal.SIGTERM)
            process.wait()


_web: list[int] = []


def web_pids() -> list[int]:
    """The web server's processes."""
    return [*_web, *(child for pid in _web for child in _children(pid))]


def database_pids() -> list[int]:
    """PostgreSQL's processes."""
    return processes_in(SERVER.data)


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the web server ended with code {process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/web", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the web server does not answer")


def make_accounts(number: int, *, prefix: str) -> list[str]:
    """Accounts with credits that no benchmark exhausts; their external ids."""
    from django.db import transaction

    from billing.ledger import pools, posting

    now = datetime.now(UTC) - timedelta(minutes=1)
    names = [f"{prefix}-{index:04d}" for index in range(number)]
    with transaction.atomic():
        for name in names:
            account = pools.open_account(
                name=name, external_id=name, billing_email=f"billing@{name}.example", country="DE", now=now
            )
            pool = pools.get_main_pool(account.pk)
            posting.grant(
                pool_id=pool.pk, amount=Decimal(10**12), kind="purchase", reference="start", now=now,
                cost_basis=Decimal("0.01"),
            )  # fmt: skip
    return names


def make_catalog() -> None:
    """Two meters, priced per 1,000 tokens."""
    from billing.catalog import rate_cards
    from billing.catalog.models import Meter, Rate, RateCard

    now = datetime.now(UTC) - timedelta(days=40)
    card = RateCard.objects.create(key="standard", name="Standard", is_default=True, created_at=now)
    version = rate_cards.draft_version(rate_card_id=card.pk, now=now)
    for key, price in (("context-tokens", 1), ("generated-tokens", 4)):
        meter = Meter.objects.create(key=key, name=key, unit="token", created_at=now)
        Rate.objects.create(version=version, meter=meter, price=price, unit_size=1000)
    rate_cards.publish(version_id=version.pk, effective_at=now, now=now)


def make_key() -> str:
    """A platform-wide key of every scope: its secret."""
    from billing.accounts import keys
    from billing.accounts.models import Scope

    return keys.issue(name=f"benchmark {secrets.token_hex(4)}", scopes=Scope.values, now=datetime.now(UTC))[1]


def copy_rows(copies: Mapping[str, tuple[int, Mapping[str, str]]], number: int) -> None:
    """Let the server copy a row of each table so many times, the n-th with a primary key that is n higher and with
    these columns changed, each an SQL expression in n."""
    with psycopg.connect(dsn(), autocommit=True) as connection:
        for table, (pk, changes) in copies.items():
            changed = "".join(f", '{column}', {value}" for column, value in changes.items())
            connection.execute(
                f"INSERT INTO {table} SELECT copy.* FROM {table} original, generate_series(1, {number}) AS n,"
                f" jsonb_populate_record(null::{table},"
                f" to_jsonb(original) || jsonb_build_object('id', {pk} + n{changed})) AS copy WHERE original.id = {pk}"
            )
            connection.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))")


def copy_entries(posting_id: int, lot_id: int, number: int) -> None:
    """The entries of copied grants of 1,000 credits."""
    with psycopg.connect(dsn(), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO billing_ledgerentry (posting_id, line, grant_id, flow, amount)"
            f" SELECT {posting_id} + n, 1, {lot_id} + n, 'grant', 1000 FROM generate_series(1, {number}) AS n"
        )
