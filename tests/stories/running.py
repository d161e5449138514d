"""The whole of Florin as other processes: web, worker, beat, database and broker."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_string
from email.message import Message
from email.policy import default
from pathlib import Path

from tests.demo import (
    ROOT,
    environment_of,
    free_port,
    kill_all,
    processes_with,
    start_demo,
    state_folder,
    wait_for_the_box,
)


@dataclass(frozen=True)
class Florin:
    """A running demo, and what it said while it started."""

    url: str
    var: Path
    said: str

    def manage(self, *words: str, **environment: str) -> str:
        """Run a management command beside it; what it printed."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *words], env={**environment_of(self.var), **environment},
            capture_output=True, text=True, timeout=120, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def mails(self, to: str) -> list[Message]:
        """The e-mails sent to an address so far, in their order."""
        files = sorted((self.var / "mail").glob("*"), key=lambda file: file.stat().st_mtime)
        texts = [text for file in files for text in file.read_text().split("-" * 79)]
        mails = [message_from_string(text.strip(), policy=default) for text in texts if text.strip()]
        return [mail for mail in mails if to in str(mail["To"])]


def run_demo(*options: str, killed_first: bool = False) -> Iterator[Florin]:
    """A demo until the tests that use it are done. `killed_first`: one before it died while it made its data."""
    with state_folder() as var:
        if killed_first:
            kill_while_seeding(var)
        port = free_port()
        demo = start_demo(var, "--port", str(port), *options)
        said = wait_for_the_box(demo)
        try:
            yield Florin(f"http://localhost:{port}", var, said)
        finally:
            demo.send_signal(signal.SIGTERM)
            rest, _ = demo.communicate(timeout=60)
        assert demo.returncode == 0, rest
        assert processes_with(var) == []


def kill_while_seeding(var: Path) -> None:
    """Start a demo and end all of it, as a power cut would, when some of its year is committed."""
    demo = start_demo(var, "--port", str(free_port()))
    assert any("%)" in line for line in demo.stdout), "the demo made no data"
    kill_all(var)
    demo.communicate()
