"""A newcomer signs up, proves the address and is in, at both widths, without a line of JavaScript."""

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.stories.running import Florin

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.shares("empty_florin")]


@pytest.mark.parametrize("width", [1280, 390])
def test_a_newcomer_gets_in_without_javascript(empty_florin: Florin, browser: Browser, width: int) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, java_script_enabled=False, locale="de-DE"
    )  # fmt: skip
    page, email = context.new_page(), f"nora{width}@example.com"
    page.goto(f"{empty_florin.url}/login")
    page.get_by_role("link", name="Create an account").click()
    page.get_by_label("Your name").fill("Nora")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_label("Company or organisation").fill("Nora's Notes")
    expect(page.get_by_label("Country")).to_have_value("DE")
    page.get_by_role("button", name="Create the account").click()
    expect(page.get_by_role("heading", name="Check your e-mail")).to_be_visible()
    empty_florin.manage("run_job", "deliver-notifications")
    (mail,) = empty_florin.mails(email)
    text = mail.get_body(("plain",))  # type: ignore[attr-defined]
    link = re.search(r"https?://[^/\s]+(/verify-email/\S+)", text.get_content())
    assert link is not None
    page.goto(empty_florin.url + link[1])
    page.get_by_role("button", name="Yes, confirm it").click()
    expect(page.get_by_role("heading", name="Nora's Notes")).to_be_visible()
    if width < 1024:
        page.get_by_text("Menu").click()
    page.get_by_role("link", name="Team").click()
    expect(page.get_by_text("1 person")).to_be_visible()
    context.close()
