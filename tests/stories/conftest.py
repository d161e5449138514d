"""The stage of the stories: the whole of Florin as other processes, and a real browser in front of it."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.stories import staff
from tests.stories.looking import visitor
from tests.stories.running import Florin, run_demo

# What keeps Chromium from calling home, so that every request it makes is a page's.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="package")
def empty_florin() -> Iterator[Florin]:
    """A Florin that nobody has used yet."""
    yield from run_demo("--no-seed")


@pytest.fixture(scope="package")
def seeded_florin() -> Iterator[Florin]:
    """A Florin with the demo's year in it, which an earlier start did not finish."""
    yield from run_demo(killed_first=True)


def chromium() -> str:
    """Debian's Chromium, or the browser named in CHROMIUM."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "Browser tests need Chromium: `apt-get install chromium`, or name a browser in CHROMIUM."
    return found


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A headless browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def shop(empty_florin: Florin, browser: Browser) -> Florin:
    """The same Florin once staff have set up something to sell."""
    staff.hire(empty_florin)
    with visitor(browser, empty_florin.url) as person:
        staff.sign_in(person, staff.FIRST)
        staff.open_shop(person)
        person.is_content()
    return empty_florin
