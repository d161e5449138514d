"""`manage.py demo` as a newcomer runs it: from nothing, until Ctrl-C, after a kill; never a process left behind."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo import free_port, kill_all, processes_with, start_demo, state_folder, wait_for_the_box, wait_until_gone

# One test process runs them all: each demo is a dozen processes.
pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.shares("demo")]


@pytest.fixture(scope="module")
def var() -> Iterator[Path]:
    """A state folder for all of them: each leaves its database behind and no process."""
    with state_folder() as folder:
        yield folder


# That it ends as well when it is terminated is asserted of the stories' demos.
@pytest.mark.smoke
def test_it_serves_until_ctrl_c_and_leaves_no_process(var):
    port = free_port()
    demo = start_demo(var, "--no-seed", "--port", str(port), is_measured=True)
    assert f"http://127.0.0.1:{port}/" in wait_for_the_box(demo)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
        assert answer.status == 200
    demo.send_signal(signal.SIGINT)
    rest, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0, rest
    assert processes_with(var) == []


def test_a_kill_9_of_everything_is_survived(var):
    demo = start_demo(var, "--no-seed", "--port", str(free_port()))
    wait_for_the_box(demo)
    kill_all(var)
    demo.communicate()
    again = start_demo(var, "--no-seed", "--port", str(free_port()), "--reset")
    assert "Earlier demo data deleted" in wait_for_the_box(again)
    again.kill()
    again.communicate()
    # The kernel ends the parts of a killed demo, and the keepers then stop the servers.
    wait_until_gone(var)


def test_what_is_killed_is_started_again_and_what_keeps_ending_is_reported(var):
    port = free_port()
    demo = start_demo(var, "--no-seed", "--port", str(port))
    wait_for_the_box(demo)
    assert [path for path in (var, *var.iterdir()) if path.stat().st_mode & 0o066 and path.name != "programs"] == []
    for name in ("worker", "beat", "web"):
        os.kill(child_of(demo, name), signal.SIGKILL)
        assert f"- {name} ended with code -9 and was started again" in line_of(demo, name)
    wait_until_healthy(port)
    for _ in range(2):
        os.kill(child_of(demo, "worker"), signal.SIGKILL)
        rest = line_of(demo, "worker ended")
    rest += demo.communicate(timeout=60)[0]
    assert demo.returncode == 1
    assert "worker ended with code -9. The end of" in rest
    assert processes_with(var) == []


def child_of(demo: subprocess.Popen[str], name: str) -> int:
    """The process of the demo's part."""
    word = {"web": b"granian"}.get(name, name.encode())
    children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
    return next(int(pid) for pid in children if b"\0%s\0" % word in Path(f"/proc/{pid}/cmdline").read_bytes())


def line_of(demo: subprocess.Popen[str], word: str) -> str:
    """The next line that has the word in it."""
    assert demo.stdout is not None
    return next(line for line in demo.stdout if word in line)


def wait_until_healthy(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as _answer:
                return
        except OSError:
            assert time.monotonic() < deadline, "it does not get well again"
            time.sleep(0.2)


def test_a_taken_port_is_refused_when_it_was_asked_for(var):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        rest, _ = start_demo(var, "--no-seed", "--port", str(taken.getsockname()[1])).communicate(timeout=60)
    assert "is taken" in rest
    assert processes_with(var) == []


def test_it_refuses_to_fill_a_configured_database_with_made_up_data(var):
    demo = start_demo(
        var, "--no-seed", FLORIN_ENV="demo", DATABASE_URL="postgresql://u@127.0.0.1:1/x", CELERY_BROKER_URL="memory://"
    )
    rest, _ = demo.communicate(timeout=60)
    assert demo.returncode != 0
    assert "brings its own servers" in rest
