"""Every page there is, found by following links from the first one: seen at two widths, read by axe, kept as a picture.

A page of the portal that no link leads to fails the test, so none can be forgotten. The admin's lists and forms are
made of the same parts: a page of it that has no part of its own is fetched and not looked at.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from django.contrib import admin
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, resolve
from lxml import html
from playwright.sync_api import Browser, Error

from tests.stories.customer import type_card
from tests.stories.looking import Visitor, visitor
from tests.stories.running import Florin
from tests.stories.staff import sign_in

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.shares("seeded_florin")]

PASSWORD = "florin-demo"
OWNER, STAFF = "olivia@meridian.example", "staff@lumen.example"
# Has a plan with seats, which the owner has not.
SUBSCRIBER = "owner@harvest.example"
# A file that only an invoice of which something was taken back leads to: its own test opens it.
BEHIND_A_REFUND = {"credit_note_pdf"}
# A page on the way to a gateway that takes cards on its own: see tests/portal/test_card_setups.py.
BEHIND_STRIPE = {"card_setup_new", "card_setup"}
# Opened once, by whoever has just made a key: see tests/portal/test_api_keys.py.
BEHIND_A_NEW_KEY = {"api_key_secret"}
DECLINED_CARD = "4000 0000 0000 0002"

NOT_PAGES = {"account_logout", "admin:logout"}
# Drawn by Swagger's own script, whose contrasts and targets are not ours to mend.
SWAGGERS = {"api-docs"}
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


@dataclass
class Found:
    """Names of addresses: pages with the path each was seen at, and what forms and live parts of pages send to."""

    pages: dict[str, str] = field(default_factory=dict)
    acts: set[str] = field(default_factory=set)


# Of the admin's parts, classes that name a model, a field or a state and not what something looks like.
NAMES = ("app-", "model-", "field-", "column-", "current-", "row", "dynamic-", "selected")
TARGETS = """elements => elements.map(element =>
    ["formaction", "action", "hx-get", "hx-post"].map(name => element.getAttribute(name)).find(value => value))"""


def follow(person: Visitor, start: str, wanted: Callable[[str], bool], before: Found | None = None) -> Found:
    """Walk along links, breadth first, one page for each name, but for those seen `before`."""
    found = before or Found()
    parts: set[str] = set()
    waiting = deque([start])
    while waiting:
        path = waiting.popleft()
        name = name_of(path)
        if name is None or name in found.pages or name in NOT_PAGES or not wanted(name):
            continue
        found.pages[name] = path
        if name.startswith("admin:"):
            page = fetch(person, path)
            if page.parts <= parts:
                waiting.extend(page.links)
                continue
            parts |= page.parts
        if not opens(person, path):
            continue
        targets = person.page.eval_on_selector_all("form[action], [formaction], [hx-get], [hx-post]", TARGETS)
        found.acts |= {act for target in targets if target and (act := name_of(target)) is not None}
        hrefs = person.page.eval_on_selector_all("a[href]", "links => links.map(link => link.href)")
        waiting.extend(href.removeprefix(person.url) for href in hrefs if href.startswith(person.url))
        plain = name.replace(":", "-").replace("billing_", "")
        person.looks_at_every_width(plain, axe=name not in SWAGGERS)
    return found


def opens(person: Visitor, path: str) -> bool:
    """Open an address that must answer well; whether it is a page to look at and not a file."""
    try:
        answer = person.page.goto(person.url + path)
    except Error as error:
        if "Download is starting" not in str(error) and "ERR_ABORTED" not in str(error):
            raise
        status, kind = download(person, path)
    else:
        assert answer is not None
        status, kind = answer.status, answer.headers.get("content-type", "")
    assert status == 200, f"{path}: {status}"
    return "text/html" in kind


@dataclass(frozen=True)
class Fetched:
    """A page that was not looked at: the parts it is made of, each an element with its classes, and where it leads."""

    parts: set[str]
    links: list[str]


def fetch(person: Visitor, path: str) -> Fetched:
    """A page of the admin, which must answer well."""
    answer = person.page.request.get(person.url + path)
    assert answer.status == 200, f"{path}: {answer.status}"
    if "text/html" not in answer.headers["content-type"]:
        return Fetched({path}, [])
    page = html.document_fromstring(answer.body())
    page.make_links_absolute(person.url + path)
    links = [str(link) for link in page.xpath("//a/@href")]
    parts = {
        f"{element.tag} {element.get('type', '')} {name}"
        for element in page.xpath("//*[@id='content']//*")
        if isinstance(element.tag, str)
        for name in element.get("class", "").split() or [""]
        if not name.startswith(NAMES)
    }
    return Fetched(parts, [link.removeprefix(person.url) for link in links if link.startswith(person.url)])


def download(person: Visitor, path: str) -> tuple[int, str]:
    """Status and kind of what the browser would not show."""
    answer = person.page.request.get(person.url + path)
    return answer.status, answer.headers["content-type"]


def name_of(path: str) -> str | None:
    """What the URL configuration calls the address."""
    try:
        return resolve(urlsplit(path).path).view_name
    except Resolver404:
        return None


def test_a_demo_that_was_killed_while_it_made_its_data_starts_over(seeded_florin):
    assert "starting over" in seeded_florin.said
    assert "Demo data is there" in seeded_florin.said


def test_an_owner_finds_every_page_of_the_portal_fit_to_be_seen(seeded_florin: Florin, browser: Browser):
    with visitor(browser, seeded_florin.url) as person:
        for page in ("/login", "/signup", "/password-reset"):
            person.goes_to(page)
            person.looks_at_every_width(page.strip("/"))
        sign_in(person, OWNER, PASSWORD)
        home = urlsplit(person.page.url).path
        try_to_buy(person, home, DECLINED_CARD)
        found = follow(person, urlsplit(person.page.url).path, is_portals)
        found = follow(person, home, is_portals, found)
        person.is_content()
    with visitor(browser, seeded_florin.url) as person:
        sign_in(person, SUBSCRIBER, PASSWORD)
        start = f"{urlsplit(person.page.url).path}/plan"
        # The link to it gives way to what it leads to as soon as a page has its script.
        plans = follow(person, f"{start}/next-invoice", is_plans)
        plans = follow(person, start, is_plans, plans)
        person.is_content()
    names = {name.split(":")[-1] for name in (*found.pages, *found.acts, *plans.pages, *plans.acts)}
    assert portal_names() - names - BEHIND_A_REFUND - BEHIND_STRIPE - BEHIND_A_NEW_KEY == set()


def is_plans(name: str) -> bool:
    return name.startswith("portal:plan")


def is_portals(name: str) -> bool:
    return not name.startswith("admin:")


def try_to_buy(person: Visitor, home: str, card: str) -> None:
    """Buy some credits with a new card, as far as that gets."""
    page = person.page
    person.goes_to(f"{home}/buy")
    page.get_by_role("button", name="Continue").first.click()
    type_card(person, card)
    page.locator("button[value=buy]").click()
    page.wait_for_url("**/purchases/*")


def test_staff_find_every_page_of_the_admin_fit_to_be_seen(seeded_florin: Florin, browser: Browser):
    with visitor(browser, seeded_florin.url) as person:
        sign_in(person, STAFF, PASSWORD)
        found = follow(person, "/admin/", lambda name: name.startswith("admin:") and not name.endswith(STOCK))
        person.is_content()
    assert {f"admin:{model._meta.label_lower.replace('.', '_')}_changelist" for model in admin.site._registry} <= set(
        found.pages
    )
