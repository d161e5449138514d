"""Looking at a page as its reader, a screen reader and a security officer would."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Locator, Page, Request

# For whoever wants to see what the tests saw: with this variable set they keep pictures, until the next run.
WANTS_PICTURES = bool(os.environ.get("FLORIN_SCREENSHOTS"))
PICTURES = Path(__file__).resolve().parents[2] / "var" / "screenshots"
DESK, PHONE = WIDTHS = (1280, 390)
HEIGHT = 900
SERIOUS = {"serious", "critical"}
# 24 px targets and the rest of WCAG 2.2 AA.
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    "resultTypes": ["violations"],
    # Reading all style sheets first is for rules about media and orientation, which are none of these or not serious.
    "preload": False,
}
# Of a long table the first rows say it all.
REST_OF_TABLES = "tbody tr:nth-child(n+11)"
AXE_RUN = """([rules, parts]) => axe.run({exclude: parts.map(part => [part])}, rules).then(found => found.violations)"""
# The admin's list of models, the same beside each page but for the one that is marked in it.
SIDEBAR = "#nav-sidebar"
MARKED = f"{SIDEBAR} .current-model:nth-child(-n+10)"
SIDEBARS_STATE = f"""[!!document.querySelector("{SIDEBAR}"), !!document.querySelector("{MARKED}")]"""

# Names and widths of the pages that this process has looked at.
LOOKED_AT: set[tuple[str, int]] = set()


@dataclass
class Visitor:
    """A person at a browser of a certain width. `complaints` collects what pages did that they must not."""

    page: Page
    url: str
    width: int
    looks_wide: bool = False
    complaints: list[str] = field(default_factory=list)
    sidebars: set[tuple[object, ...]] = field(default_factory=set)

    def goes_to(self, path: str) -> None:
        """Open an address of this Florin."""
        self.page.goto(path if path.startswith("http") else self.url + path)

    def follows(self, link: Locator) -> None:
        """Click a link or button that leads to another page, and wait until that page is there: a click alone returns
        while the old page still stands."""
        with self.page.expect_navigation():
            link.click()

    def looks(self, name: str) -> None:
        """Complain about what is wrong with the page as it stands, at the visitor's width or where
        `looks_wide` at each of WIDTHS. Once: what other tests pass on their way is the same page."""
        if (name, self.width) not in LOOKED_AT:
            LOOKED_AT.add((name, self.width))
            if self.looks_wide:
                self.looks_at_every_width(name)
            else:
                self._looks(name)

    def _looks(self, name: str, *, axe: bool = True, without: Iterable[str] = ()) -> None:
        """`looks`, `without` some of axe's rules."""
        page = self.page
        if WANTS_PICTURES:
            PICTURES.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=PICTURES / f"{name}-{self.width}.jpeg", type="jpeg", full_page=True)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            self.complaints.append(f"{name}: {wide} px wider than the window of {self.width}")
        if axe:
            # Axe tries out styles of its own, which the page's policy refuses as it should.
            before = list(self.complaints)
            if not page.evaluate("'axe' in window"):
                page.evaluate(AXE_SCRIPT)
            rules = {**RULES, "rules": {rule: {"enabled": False} for rule in without}}
            found = page.evaluate(AXE_RUN, [rules, [REST_OF_TABLES, *self._known_parts()]])
            self.complaints = before + [
                f"{name}: {each['impact']}: {each['id']}: {each['nodes'][0]['html'][:160]}"
                for each in found
                if each["impact"] in SERIOUS
            ]

    def _known_parts(self) -> list[str]:
        """What of the page axe need not read again: a sidebar that it has read at this width, in the same state."""
        state = (self.width, *self.page.evaluate(SIDEBARS_STATE))
        if state in self.sidebars:
            return [SIDEBAR]
        self.sidebars.add(state)
        return []

    def looks_at_every_width(self, name: str, *, axe: bool = True) -> None:
        """Look at each of WIDTHS: the page is laid out again, and need not be loaded again; its colours stay."""
        first = self.width
        self._looks(name, axe=axe)
        for width in WIDTHS:
            if width != first:
                self._resizes(width)
                self._looks(name, axe=axe, without=["color-contrast"])
        self._resizes(first)

    def _resizes(self, width: int) -> None:
        if width != self.width:
            self.width = width
            self.page.set_viewport_size({"width": width, "height": HEIGHT})

    def is_content(self) -> None:
        """Fail with everything there was to complain about."""
        assert not self.complaints, "\n".join(self.complaints)


@contextmanager
def visitor(browser: Browser, url: str, width: int = 1280, *, color_scheme: str = "light") -> Iterator[Visitor]:
    """A fresh browser session. Errors on the console and requests to other hosts become complaints."""
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHT}, color_scheme=color_scheme, accept_downloads=True,  # type: ignore[arg-type]
    )  # fmt: skip
    page = context.new_page()
    person = Visitor(page, url, width)

    def on_request(request: Request) -> None:
        if not request.url.startswith((url, "data:", "blob:")):
            person.complaints.append(f"asks another host: {request.url}")

    page.on("request", on_request)
    page.on("console", lambda said: person.complaints.append(f"{page.url}: {said.text}") if said.type == "error" else 0)
    page.on("pageerror", lambda error: person.complaints.append(f"{page.url}: {error}"))
    try:
        yield person
    finally:
        context.close()
