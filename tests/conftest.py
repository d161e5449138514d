"""What every test can use: the runtime role, a real broker, and a quick flush that append-only tables let through."""

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.db.backends.postgresql.operations import DatabaseOperations
from hypothesis import settings as hypothesis_settings
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from billing.subscriptions.agreement import terms
from config.embedded import ValkeyServer

# How long one example takes says more about the machine than about Florin.
hypothesis_settings.register_profile("florin", deadline=None)
hypothesis_settings.load_profile("florin")

# Where the processes of a test run leave their note for the one that shares out the tests.
GROUPS = pytest.StashKey[Path]()


class Scheduling(LoadScopeScheduling):
    """Hand each test to the process that is free first; tests marked as sharing something stay in one process."""

    @cached_property
    def groups(self) -> dict[str, str]:
        """What each marked test shares, by its id."""
        return json.loads(self.config.stash[GROUPS].read_text())

    def _split_scope(self, nodeid: str) -> str:
        return self.groups.get(nodeid, nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Share the tests out by `Scheduling`."""
    return Scheduling(config, log)


def pytest_configure_node(node: WorkerController) -> None:
    """Tell a process where to note what its tests share: all that xdist passes on about a test is its id."""
    if GROUPS not in node.config.stash:
        folder = tempfile.mkdtemp(prefix="florin-test-groups-")
        node.config.add_cleanup(lambda: shutil.rmtree(folder))
        node.config.stash[GROUPS] = Path(folder, "groups.json")
    node.workerinput["groups"] = str(node.config.stash[GROUPS])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that at the end no process is left alone with it; note what tests share."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    if workerinput := getattr(config, "workerinput", None):
        shared = {item.nodeid: mark.args[0] for item in items if (mark := item.get_closest_marker("shares"))}
        # All processes find the same; whoever reads the note must never see half of it.
        draft = Path(workerinput["groups"]).with_suffix(f".{workerinput['workerid']}")
        draft.write_text(json.dumps(shared))
        draft.replace(workerinput["groups"])


@pytest.fixture(autouse=True)
def _forget_terms() -> None:
    """Published terms are kept in memory by id, for ever; a flush begins to count ids anew."""
    terms.forget()


@pytest.fixture(scope="session", autouse=True)
def _flush_empties_what_has_rows() -> Iterator[None]:
    """Clean up after transactional tests by deleting from the few tables that have rows, append-only ones too.

    Truncating all of them, as Django does, makes some 500 files anew each time. In one transaction that switches off
    the triggers that refuse it, so that no test ever runs without them; each trigger gets back the mode it had.
    """
    stock = DatabaseOperations.sql_flush

    def sql_flush(self: DatabaseOperations, style: Any, tables: Any, **options: Any) -> list[str]:
        filled = _tables_with_rows(self, tables)
        if not filled:
            return []
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT format('ALTER TABLE %%s DISABLE TRIGGER %%I', tgrelid::regclass, tgname),"
                " format('ALTER TABLE %%s ENABLE ALWAYS TRIGGER %%I', tgrelid::regclass, tgname)"
                " FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
                " WHERE NOT tgisinternal AND tgenabled = 'A' AND relname = ANY(%s)",
                [filled],
            )
            triggers = cursor.fetchall()
        # Every trigger but those that are on always, foreign keys' too: all that they would refuse goes.
        replica = "SET LOCAL session_replication_role = replica"
        deletions = [f"DELETE FROM {self.quote_name(table)}" for table in filled]
        return [replica, *(off for off, _ in triggers), *deletions, *(on for _, on in triggers)]

    DatabaseOperations.sql_flush = sql_flush
    yield
    DatabaseOperations.sql_flush = stock


@pytest.fixture(scope="session", autouse=True)
def _static_files_are_found_once() -> Iterator[None]:
    """List the static files only once: each test client makes the middleware anew, which would list them all again."""
    stock = WhiteNoiseMiddleware.add_files_from_finders
    found: dict[str, dict[str, StaticFile]] = {}

    def add_files_from_finders(self: WhiteNoiseMiddleware) -> None:
        if self.static_prefix not in found:
            stock(self)
            found[self.static_prefix] = dict(self.files)
        self.files.update(found[self.static_prefix])

    WhiteNoiseMiddleware.add_files_from_finders = add_files_from_finders
    yield
    WhiteNoiseMiddleware.add_files_from_finders = stock


def _tables_with_rows(operations: DatabaseOperations, tables: Iterable[str]) -> list[str]:
    """Those of the tables that are not empty, and that of the cache that processes share, which no model names."""
    every = [*tables, settings.CACHES["default"]["LOCATION"]]
    selects = (f"SELECT '{name}' WHERE EXISTS (SELECT FROM {operations.quote_name(name)})" for name in every)
    with operations.connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(selects))
        return [name for (name,) in cursor]


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
