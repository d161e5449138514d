"""Every page there is, found by following links from the first one: seen at two widths, read by axe, kept as a picture.

A page of the portal that no link leads to fails the test, so none can be forgotten.
"""

from collections import deque
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, resolve
from playwright.sync_api import Browser

from tests.stories.conftest import Florin
from tests.stories.looking import WIDTHS, Visitor, visitor

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("seeded")]

PASSWORD = "florin-demo"
OWNER, STAFF = "olivia@meridian.example", "staff@lumen.example"

# Pages of an account that a GET does not show: each is an act (POST), a file, or a part of a page.
NOT_PAGES = {"logout"}
# Admin pages that say nothing of ours.
STOCK = ("_history", "_delete", "jsi18n", "logout", "autocomplete", "view_on_site", "password_change", "_password")


def portal_names() -> set[str]:
    """The names of all addresses of an account's pages."""

    def walk(patterns: list[URLPattern | URLResolver], before: str) -> Iterator[tuple[str, str]]:
        for pattern in patterns:
            route = before + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, route)
            elif pattern.name:
                yield pattern.name, route

    return {name for name, route in walk(get_resolver().url_patterns, "") if route.startswith("a/<")}


def sign_in(person: Visitor, email: str) -> None:
    """Through the login page."""
    person.goes_to("/login")
    person.page.locator("input[type=email], input[name=username], input[name=login]").first.fill(email)
    person.page.locator("input[type=password]").fill(PASSWORD)
    person.page.keyboard.press("Enter")
    person.page.wait_for_url(lambda url: "/login" not in url)


def follow(person: Visitor, start: str, wanted: Callable[[str], bool]) -> dict[str, str]:
    """Walk along links, breadth first, one page for each name; name to path."""
    seen: dict[str, str] = {}
    waiting = deque([start])
    while waiting:
        path = waiting.popleft()
        try:
            name = resolve(urlsplit(path).path).view_name
        except Resolver404:
            continue
        if name in seen or not wanted(name):
            continue
        answer = person.page.request.get(person.url + path)
        seen[name] = path
        assert answer.status == 200, f"{path}: {answer.status}"
        if "text/html" not in answer.headers["content-type"]:
            continue
        person.goes_to(path)
        person.looks(name.replace(":", "-").replace("billing_", ""))
        hrefs = person.page.eval_on_selector_all("a[href]", "links => links.map(link => link.href)")
        waiting.extend(href.removeprefix(person.url) for href in hrefs if href.startswith(person.url))
    return seen


@pytest.mark.parametrize("width", WIDTHS)
def test_an_owner_finds_every_page_of_the_portal_fit_to_be_seen(seeded_florin: Florin, browser: Browser, width: int):
    with visitor(browser, seeded_florin.url, width) as person:
        for page in ("/login", "/signup", "/password-reset"):
            person.goes_to(page)
            person.looks(page.strip("/"))
        sign_in(person, OWNER)
        start = urlsplit(person.page.url).path
        seen = follow(person, start, lambda name: not name.startswith("admin:") and name.split(":")[-1] not in NOT_PAGES)
        person.is_content()
    missing = portal_names() - {name.split(":")[-1] for name in seen}
    assert missing - acts_only(missing, start) == set()


def acts_only(names: set[str], home: str) -> set[str]:
    """Which of the names only take POST, by what their views say."""
    found = set()
    for pattern in get_resolver().url_patterns:
        for each in getattr(pattern, "url_patterns", []):
            if getattr(each, "name", None) in names and getattr(each.callback, "only_post", False):
                found.add(each.name)
    return found


def test_staff_find_every_page_of_the_admin_fit_to_be_seen(seeded_florin: Florin, browser: Browser):
    with visitor(browser, seeded_florin.url) as person:
        sign_in(person, STAFF)
        seen = follow(
            person, "/admin/", lambda name: name.startswith("admin:") and not name.endswith(STOCK)
        )
        person.is_content()
    assert len(seen) > 40
