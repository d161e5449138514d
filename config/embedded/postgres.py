"""The embedded PostgreSQL: durable for the demo and benchmarks, fast and careless for tests."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import psycopg

from config.embedded import binaries
from config.embedded.server import EmbeddedServerError, Server

OWNER = "florin_owner"
RUNTIME = "florin_runtime"
DATABASE = "florin"

DURABLE = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
}
# Tests throw their databases away: a crash of the machine may cost them everything, a commit nothing.
CARELESS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
PROFILES = {"demo": DURABLE, "benchmark": DURABLE, "test": CARELESS}


class PostgresServer(Server):
    """PostgreSQL on a unix socket, with the owner role, the runtime role and an empty database.

    The owner is a superuser (it makes test databases and sets privileges); the runtime role is not.
    """

    # "Fast shutdown": sessions are ended, a checkpoint is written.
    stop_signal = signal.SIGINT

    def __init__(self, profile: str = "demo", servers_dir: Path | None = None) -> None:
        super().__init__("postgres" if profile == "demo" else f"postgres-{profile}", servers_dir)
        self.settings = PROFILES[profile]

    def url(self, role: str = RUNTIME) -> str:
        """The address for the role, in DATABASE_URL's form."""
        return f"postgresql://{role}@/{DATABASE}?host={quote(str(self.socket_dir), safe='')}"

    def prepare(self) -> None:
        """Make a cluster if there is none, and clear away what a killed one left."""
        unfinished = self.home / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        major = self._major_version()
        if not self.data.exists():
            locale = ["--locale-provider=builtin", "--locale=C.UTF-8"] if major >= 17 else ["--locale=C"]
            initdb = [str(self._bin() / "initdb"), "--pgdata", str(unfinished), "--username", OWNER]
            initdb += ["--auth-local=trust", "--auth-host=reject", "--encoding=UTF8", *locale]
            self.run(initdb if self.settings["fsync"] == "on" else [*initdb, "--no-sync"])
            # A rename, so that a killed initdb never leaves something that looks like a cluster.
            unfinished.rename(self.data)
        if (found := (self.data / "PG_VERSION").read_text().strip()) != str(major):
            raise EmbeddedServerError(
                f"{self.data} was made by PostgreSQL {found}, but this is PostgreSQL {major}. Set FLORIN_PG_BIN to the "
                f"programs of {found}, or delete the folder and start with an empty database."
            )
        for lock in (self.data / "postmaster.pid", self.socket_dir / ".s.PGSQL.5432.lock"):
            _remove_misleading(lock)

    def command(self) -> list[str]:
        """The postmaster, on its socket only."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": f'"{self.socket_dir}"',
            "unix_socket_permissions": "0700",
            "port": "5432",
            "max_connections": "400",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "cluster_name": f"florin {self.name}",
        } | self.settings
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self._bin() / "postgres"), "-D", str(self.data), *options]

    def answers(self) -> bool:
        """Whether the owner can log in."""
        try:
            with self._connect():
                return True
        except psycopg.OperationalError:
            return False

    def provision(self) -> None:
        """Make the runtime role and the database where they are missing."""
        with self._connect() as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [RUNTIME]).fetchone():
                connection.execute(f"CREATE ROLE {RUNTIME} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE")
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")

    def recreate(self) -> None:
        """Replace the database by an empty one, ending whatever is connected to it. The server must be running."""
        with self._connect() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        self.provision()

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.socket_dir), port=5432, user=OWNER, dbname="postgres", autocommit=True, connect_timeout=5
        )

    def _bin(self) -> Path:
        try:
            return binaries.postgres_bin(self.home.parent / "programs")
        except FileNotFoundError as error:
            raise EmbeddedServerError(str(error)) from error

    def _major_version(self) -> int:
        program = [str(self._bin() / "postgres"), "--version"]
        words = subprocess.run(program, capture_output=True, text=True, check=True).stdout.split()
        return int(words[2].split(".")[0])


def _remove_misleading(lock: Path) -> None:
    """Remove a lock file of a dead server whose process id now is a zombie's or a stranger's.

    No server runs here when this is called. PostgreSQL clears a file whose process is gone by itself, together with
    the shared memory it names, but takes any living id for a running server and refuses to start.
    """
    try:
        pid = int(lock.read_text().split()[0])
    except (FileNotFoundError, IndexError, ValueError):
        lock.unlink(missing_ok=True)
        return
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return
    except PermissionError:
        pass
    lock.unlink(missing_ok=True)
