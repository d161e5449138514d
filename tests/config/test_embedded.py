"""The embedded servers: started once, stopped after the last user, back after any kill."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from config.embedded import EmbeddedServerError, PostgresServer, ValkeyServer, places
from config.embedded.postgres import OWNER, RUNTIME
from config.embedded.server import processes_in

USER = (
    "import sys, time; from pathlib import Path\n"
    "from config.embedded import PostgresServer\n"
    "server = PostgresServer('test', Path(sys.argv[1])); server.ensure()\n"
    "print('ready', flush=True); time.sleep(60)\n"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for servers that every account may pass to (pytest's own is closed to others, and too long)."""
    import shutil
    import tempfile

    path = Path(tempfile.mkdtemp(prefix="fl-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    for data in path.glob("*/data"):
        for pid in processes_in(data):
            kill_9(pid)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def postgres(folder: Path) -> Iterator[PostgresServer]:
    """A server of the test profile in a folder of its own, stopped afterwards."""
    server = PostgresServer("test", folder)
    yield server
    server.release()


def kill_9(pid: int) -> None:
    """A process may have ended by itself because another was killed first."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def ask(server: PostgresServer, question: str, role: str = OWNER) -> str:
    with psycopg.connect(server.url(role), autocommit=True) as connection:
        return str(connection.execute(question).fetchone()[0])


def postmaster(server: PostgresServer) -> int:
    return int((server.data / "postmaster.pid").read_text().splitlines()[0])


def keeper_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def wait_until(condition, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def another_user(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", USER, str(folder)], stdout=subprocess.PIPE, text=True)


def test_ensure_starts_a_server_with_both_roles_and_release_stops_it(postgres):
    postgres.ensure()
    postgres.ensure()
    assert ask(postgres, "SELECT current_user", RUNTIME) == RUNTIME
    assert ask(postgres, f"SELECT rolsuper FROM pg_roles WHERE rolname = '{RUNTIME}'") == "False"
    assert ask(postgres, "SHOW listen_addresses") == ""
    assert ask(postgres, "SHOW fsync") == "off"
    assert postgres.release()
    assert processes_in(postgres.data) == []


def test_the_demo_and_the_benchmark_are_durable(folder):
    for profile in ("demo", "benchmark"):
        settings = PostgresServer(profile, folder).settings
        assert [settings[name] for name in ("fsync", "synchronous_commit", "full_page_writes")] == ["on", "on", "on"]


def test_data_outlive_a_restart(postgres):
    postgres.ensure()
    with psycopg.connect(postgres.url(OWNER), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    postgres.release()
    postgres.ensure()
    assert ask(postgres, "SELECT answer FROM kept") == "42"


def test_recreating_the_database_empties_it_and_ends_who_is_connected(postgres):
    postgres.ensure()
    with psycopg.connect(postgres.url(OWNER), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (id int)")
        postgres.recreate()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with psycopg.connect(postgres.url(OWNER)) as connection:
        assert connection.execute("SELECT to_regclass('kept')").fetchone() == (None,)


def test_the_sockets_folder_is_closed_to_others_and_the_server_is_not_root(postgres):
    postgres.ensure()
    assert postgres.socket_dir.stat().st_mode & 0o777 == 0o700
    assert Path(f"/proc/{postmaster(postgres)}").stat().st_uid == postgres.account.uid != 0


def test_a_server_runs_on_while_another_process_uses_it(postgres, folder):
    other = another_user(folder)
    assert other.stdout.readline() == "ready\n"
    postgres.ensure()
    first = postmaster(postgres)
    assert not postgres.release()
    assert processes_in(postgres.data)
    postgres.ensure()
    assert postmaster(postgres) == first
    other.kill()
    other.communicate()
    assert postgres.release()


def test_it_stops_after_its_last_user_was_killed(postgres, folder):
    other = another_user(folder)
    assert other.stdout.readline() == "ready\n"
    other.kill()
    other.communicate()
    wait_until(lambda: not processes_in(postgres.data))


def test_many_first_users_at_once_share_one_server(postgres, folder):
    others = [another_user(folder) for _ in range(4)]
    assert [other.stdout.readline() for other in others] == ["ready\n"] * 4
    postgres.ensure()
    assert len({keeper_of(pid) for pid in [postmaster(postgres)]}) == 1
    for other in others:
        other.kill()
        other.communicate()


@pytest.mark.faults
@pytest.mark.parametrize("victim", ["postmaster", "keeper", "everything"])
def test_ensure_recovers_after_kill_9(postgres, victim):
    postgres.ensure()
    with psycopg.connect(postgres.url(OWNER), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        connection.execute("CHECKPOINT")
    first = postmaster(postgres)
    keeper = keeper_of(first)
    victims = {"postmaster": [first], "keeper": [keeper], "everything": [keeper, *processes_in(postgres.data)]}
    for pid in victims[victim]:
        kill_9(pid)
    wait_until(lambda: not postgres._is_kept())
    postgres.ensure()
    assert ask(postgres, "SELECT answer FROM kept") == "42"
    assert postmaster(postgres) != first


def test_a_lock_file_that_names_a_zombie_does_not_stop_the_start(postgres):
    postgres.ensure()
    postgres.release()
    zombie = subprocess.Popen(["/bin/true"])
    wait_until(lambda: Path(f"/proc/{zombie.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z")
    for lock in (postgres.data / "postmaster.pid", postgres.socket_dir / ".s.PGSQL.5432.lock"):
        lock.write_text(f"{zombie.pid}\n{postgres.data}\n1\n5432\n{postgres.socket_dir}\n\n0 0\nready\n")
    postgres.ensure()
    assert ask(postgres, "SELECT 1") == "1"
    zombie.wait()


def test_a_killed_initdb_is_done_again(postgres):
    (postgres.home / "data.new").mkdir(parents=True)
    (postgres.home / "data.new/PG_VERSION").write_text("18")
    if os.geteuid() == 0:
        os.chown(postgres.home, postgres.account.uid, postgres.account.gid)
    postgres.ensure()
    assert ask(postgres, "SELECT 1") == "1"


def test_a_server_that_cannot_start_shows_its_log(postgres):
    postgres.ensure()
    postgres.release()
    (postgres.data / "postgresql.conf").write_text("nonsense = yes\n")
    with pytest.raises(EmbeddedServerError, match="nonsense"):
        postgres.ensure()


def test_data_of_another_major_version_are_refused_with_a_way_out(postgres):
    postgres.ensure()
    postgres.release()
    (postgres.data / "PG_VERSION").write_text("14\n")
    with pytest.raises(EmbeddedServerError, match="FLORIN_PG_BIN"):
        postgres.ensure()


def test_reset_deletes_the_data_but_not_under_another_user(postgres, folder):
    other = another_user(folder)
    assert other.stdout.readline() == "ready\n"
    with pytest.raises(EmbeddedServerError, match="in use"):
        postgres.reset()
    other.kill()
    other.communicate()
    postgres.reset()
    assert not postgres.data.exists()


def test_a_wrong_pg_bin_is_named(postgres, monkeypatch):
    monkeypatch.setenv("FLORIN_PG_BIN", "/nowhere")
    with pytest.raises(EmbeddedServerError, match="FLORIN_PG_BIN is /nowhere"):
        postgres.ensure()


def test_a_long_folder_gets_a_short_socket_path():
    home = Path("/tmp") / ("long" * 30)
    short = places.socket_dir(home, "postgres")
    assert len(os.fsencode(short / ".s.PGSQL.5432")) <= 107
    assert short != home / "run"


def test_the_broker_keeps_its_queue_through_kill_9(folder):
    broker = ValkeyServer("demo", folder)
    broker.ensure()
    try:
        assert say(broker, "LPUSH queue task") == ":1"
        time.sleep(1.2)  # appendfsync everysec
        for pid in processes_in(broker.data):
            kill_9(pid)
        wait_until(lambda: not broker._is_kept())
        broker.ensure()
        assert say(broker, "LLEN queue") == ":1"
    finally:
        assert broker.release()
    assert processes_in(broker.data) == []


def say(broker: ValkeyServer, command: str) -> str:
    import socket

    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(broker.socket))
        client.sendall(command.encode() + b"\r\n")
        return client.recv(100).decode().strip()


def test_somebody_elses_state_folder_is_not_used(tmp_path, monkeypatch):
    monkeypatch.delenv("FLORIN_VAR", raising=False)
    monkeypatch.setattr(places, "ROOT", tmp_path)
    assert places.state_dir() == tmp_path / "var"
    monkeypatch.setattr(places, "_is_mine", lambda folder: folder != tmp_path / "var")
    assert places.state_dir() != tmp_path / "var"
    assert places.checkout_key() in str(places.state_dir())


def test_florin_var_names_the_state_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FLORIN_VAR", str(tmp_path))
    assert places.state_dir() == tmp_path


def test_a_closed_folder_above_is_seen(tmp_path):
    tmp_path.chmod(0o700)
    assert not places.passable(tmp_path / "var")
    assert places.passable(Path("/tmp"))
