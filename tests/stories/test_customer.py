"""From sign-up to the automatic top-up, at a browser, with web, worker, beat, database and broker running: by phone,
and each page looked at by desk too."""

import json
import re

import pytest
from playwright.sync_api import Browser, Page
from pypdf import PdfReader

from tests.stories.customer import PATIENCE_SECONDS, buy, sign_up, until
from tests.stories.looking import PHONE, Visitor, visitor
from tests.stories.running import Florin

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.shares("empty_florin")]


def make_key(person: Visitor, home: str) -> str:
    """An API key of the account that may charge: its secret, seen once."""
    page = person.page
    person.goes_to(f"{home}/api-keys")
    page.fill("[name=name]", "story")
    for scope in ("charges:write", "read"):
        page.check(f"[name=scopes][value='{scope}']")
    person.follows(page.get_by_role("button", name="Make the key"))
    person.looks("story-7-api-key")
    return page.input_value("#secret")


def charge(person: Visitor, key: str, account: str, images: int, charge_id: str) -> str:
    """Use the product, so many images at 5 credits each; what is available then."""
    body = {"id": charge_id, "account": account, "meter": "images", "quantity": str(images)}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    answer = person.page.request.post(f"{person.url}/api/v1/charges", data=json.dumps(body), headers=headers)
    assert answer.status == 200, answer.text()
    return answer.json()["available"]


def available(person: Visitor, key: str, account: str) -> str:
    """The main pool's available credits by the API."""
    headers = {"Authorization": f"Bearer {key}"}
    answer = person.page.request.get(f"{person.url}/api/v1/accounts/{account}/balance", headers=headers)
    return answer.json()["available"]


def sees(page: Page, credits: str) -> None:
    """The overview shows so many credits, at once or when it next refreshes itself."""
    shown = page.locator(".available").filter(has_text=re.compile(rf"^\s*{credits}\s"))
    shown.wait_for(timeout=PATIENCE_SECONDS * 1000)


def subjects(florin: Florin, email: str) -> list[str]:
    return [str(mail["Subject"]) for mail in florin.mails(email)]


def is_told(florin: Florin, person: Visitor, home: str, email: str, percent: int) -> None:
    """That so much is used stands in one e-mail and once in the inbox."""
    words = re.compile(rf"{percent}\s?%")
    until(lambda: any(map(words.search, subjects(florin, email))), f"no e-mail says {percent} %")
    assert len(list(filter(words.search, subjects(florin, email)))) == 1
    person.goes_to(f"{home}/notifications")
    assert words.search(person.page.inner_text("main"))


def test_a_customer_signs_up_buys_spends_is_warned_and_topped_up(shop: Florin, browser: Browser):
    email = "alice@northwind.example"
    with visitor(browser, shop.url, PHONE) as person:
        person.looks_wide = True
        page = person.page
        home = sign_up(shop, person, email, "Northwind")
        account = home.rsplit("/", 1)[-1]
        buy(person, home, 1000)
        key = make_key(person, home)

        # 150 images at 5 credits are 750 of 1,000. The page that is open sees them go, without a reload.
        person.goes_to(home)
        sees(page, "1,000")
        assert charge(person, key, account, 150, "first") == "250"
        sees(page, "250")
        person.looks("story-8-falling")
        is_told(shop, person, home, email, 75)
        assert charge(person, key, account, 30, "second") == "100"
        is_told(shop, person, home, email, 90)
        person.looks("story-9-inbox")

        # Fewer than 200 are left: switched on, the rule buys at once, by itself.
        person.goes_to(f"{home}/top-ups")
        for name, value in {"threshold": "200", "credits": "1000", "max_money": "500"}.items():
            page.fill(f"[name={name}]", value)
        person.follows(page.get_by_role("button", name="Save and switch on"))
        person.looks("story-10-top-up")
        until(lambda: available(person, key, account) == "1100", "no automatic top-up came")
        person.goes_to(home)
        sees(page, "1,100")
        person.looks("story-11-topped-up")

        person.goes_to(f"{home}/invoices")
        assert page.get_by_text(re.compile(r"INV-\d+")).count() == 2
        person.follows(page.get_by_text(re.compile(r"INV-\d+")).last)
        person.looks("story-12-invoice")
        with page.expect_download() as waiting:
            page.get_by_role("link", name=re.compile("PDF|Download")).first.click()
        text = "".join(each.extract_text() for each in PdfReader(waiting.value.path()).pages)
        assert "Northwind" in text
        assert "119.00" in text
        person.is_content()
