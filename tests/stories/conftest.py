"""The stage of the stories: the whole of Florin as other processes, and a real browser in front of it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_string
from email.message import Message
from email.policy import default
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.demo import ROOT, environment_of, free_port, start_demo, state_folder, wait_for_the_box

# What keeps Chromium from calling home, so that every request it makes is a page's.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip


@dataclass(frozen=True)
class Florin:
    """A running demo."""

    url: str
    var: Path

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


def run_demo(*options: str) -> Iterator[Florin]:
    """A demo until the tests that use it are done."""
    with state_folder() as var:
        port = free_port()
        demo = start_demo(var, "--port", str(port), *options)
        wait_for_the_box(demo)
        try:
            yield Florin(f"http://localhost:{port}", var)
        finally:
            demo.send_signal(signal.SIGTERM)
            demo.communicate(timeout=60)


@pytest.fixture(scope="session")
def empty_florin() -> Iterator[Florin]:
    """A Florin that nobody has used yet."""
    yield from run_demo("--no-seed")


@pytest.fixture(scope="session")
def seeded_florin() -> Iterator[Florin]:
    """A Florin with the demo's year in it."""
    yield from run_demo()


def chromium() -> str:
    """Debian's Chromium, or the browser named in CHROMIUM."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "Browser tests need Chromium: `apt-get install chromium`, or name a browser in CHROMIUM."
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()
