"""`manage.py demo` as another process: for the tests of the demo itself, and for stories that are told on it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@contextlib.contextmanager
def state_folder() -> Iterator[Path]:
    """A state folder of its own, so that a developer's demo is not touched; whatever still runs in it is ended."""
    folder = Path(tempfile.mkdtemp(prefix="fl-demo-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        kill_all(folder)
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment_of(var: Path) -> dict[str, str]:
    """What a program needs to meet the demo of that state folder, and none of this test run's settings."""
    clean = {name: value for name, value in os.environ.items() if name in {"HOME", "PATH"}}
    return {**clean, "FLORIN_VAR": str(var)}


def _coverage() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("COV")}


def start_demo(var: Path, *options: str, is_measured: bool = False, **environment: str) -> subprocess.Popen[str]:
    """The demo in a process of its own. `is_measured`: its lines count as run, where this test run counts them."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "demo", *options],
        env={**environment_of(var), **(_coverage() if is_measured else {}), **environment},
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


def kill_all(var: Path) -> None:
    """End every process of the state folder as a power cut would."""
    for pid in processes_with(var):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_until_gone(var: Path, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while left := processes_with(var):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.1)
