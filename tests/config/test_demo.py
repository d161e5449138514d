"""`manage.py demo` as a newcomer runs it: from nothing, until Ctrl-C, after a kill; never a process left behind."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# One test process runs them all: each demo is a dozen processes.
pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("demo")]


@pytest.fixture
def var() -> Iterator[Path]:
    """A state folder of its own, so that a developer's demo is not touched."""
    folder = Path(tempfile.mkdtemp(prefix="fl-demo-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    for pid in processes_with(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_demo(var: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    """The demo, without any of this test run's settings."""
    clean = {name: value for name, value in os.environ.items() if name in {"HOME", "PATH"} or name.startswith("COV")}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "demo", "--no-seed", *options],
        env={**clean, "FLORIN_VAR": str(var), **environment},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_the_box(demo: subprocess.Popen[str]) -> str:
    shown = ""
    for line in demo.stdout:
        shown += line
        if "Ctrl-C stops it" in line:
            return shown
    raise AssertionError(f"the demo did not start:\n{shown}")


def processes_with(var: Path) -> list[int]:
    """Living processes that were started with the state folder, or are servers in it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            told = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(var).encode() in told and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def wait_until_gone(var: Path, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while left := processes_with(var):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminate"])
def test_it_serves_until_it_is_stopped_and_leaves_no_process(var, number):
    port = free_port()
    demo = start_demo(var, "--port", str(port))
    assert f"http://127.0.0.1:{port}/" in wait_for_the_box(demo)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
        assert answer.status == 200
    demo.send_signal(number)
    rest, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0, rest
    assert processes_with(var) == []


def test_a_kill_9_of_everything_is_survived(var):
    demo = start_demo(var, "--port", str(free_port()))
    wait_for_the_box(demo)
    for pid in processes_with(var):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    demo.communicate()
    again = start_demo(var, "--port", str(free_port()), "--reset")
    assert "Earlier demo data deleted" in wait_for_the_box(again)
    again.kill()
    again.communicate()
    # The kernel ends the parts of a killed demo, and the keepers then stop the servers.
    wait_until_gone(var)


def test_a_part_that_dies_is_reported_with_its_log(var):
    demo = start_demo(var, "--port", str(free_port()))
    wait_for_the_box(demo)
    children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
    worker = next(pid for pid in children if b"\0worker\0" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(int(worker), signal.SIGKILL)
    rest, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "worker ended with code -9" in rest
    assert "ready." in rest
    assert processes_with(var) == []


def test_a_taken_port_is_refused_when_it_was_asked_for(var):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        rest, _ = start_demo(var, "--port", str(taken.getsockname()[1])).communicate(timeout=60)
    assert "is taken" in rest
    assert processes_with(var) == []


def test_it_refuses_to_fill_a_configured_database_with_made_up_data(var):
    demo = start_demo(
        var, FLORIN_ENV="demo", DATABASE_URL="postgresql://u@127.0.0.1:1/x", CELERY_BROKER_URL="memory://"
    )
    rest, _ = demo.communicate(timeout=60)
    assert demo.returncode != 0
    assert "brings its own servers" in rest
