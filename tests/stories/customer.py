"""What a customer does at a browser: sign up and buy."""

import re
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from tests.stories import staff
from tests.stories.looking import Visitor
from tests.stories.running import Florin

PASSWORD = "correct-horse-9"
GOOD_CARD = "4242 4242 4242 4242"
PATIENCE_SECONDS = 60


def until(what: Callable[[], object], why: str) -> None:
    """Wait for something that happens in another process."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(0.5)


def sign_up(florin: Florin, person: Visitor, email: str, company: str) -> str:
    """Sign up, open the link in the e-mail, sign in; the path of the new account."""
    page = person.page
    person.goes_to("/signup")
    person.looks("story-1-sign-up")
    given = {"name": "Alice Ng", "email": email, "password1": PASSWORD, "company": company}
    for name, value in given.items():
        page.fill(f"[name={name}]", value)
    # The currency is not asked for where all is sold in euros, and follows the country otherwise.
    for name, value in {"country": "DE", "time_zone": "Europe/Berlin"}.items():
        page.select_option(f"[name={name}]", value)
    page.click("main form button")
    page.wait_for_url("**/verify-email")
    until(lambda: florin.mails(email), "no e-mail to confirm the address came")
    text = florin.mails(email)[0].get_body(("plain",)).get_content()
    person.goes_to(re.search(r"http://\S+/verify-email/\S+", text)[0])
    person.looks("story-2-verify")
    page.click("main form button")
    page.wait_for_url(lambda url: "/verify-email/" not in url)
    if "/login" in page.url:
        staff.sign_in(person, email, PASSWORD)
    person.looks("story-3-empty-overview")
    return urlsplit(page.url).path


def type_card(person: Visitor, number: str = GOOD_CARD) -> None:
    """Fill in a new card."""
    person.page.check("[name=method][value=new]")
    for name, value in {"number": number, "expiry": "12/40", "cvc": "123"}.items():
        person.page.fill(f"[name={name}]", value)


def buy(person: Visitor, home: str, credits: int, card: str = GOOD_CARD) -> None:
    """Choose an amount, look at the price, pay with a new card."""
    page = person.page
    person.goes_to(f"{home}/buy")
    person.looks("story-4-buy")
    page.get_by_role("button", name="Continue").first.click()
    page.fill("[name=credits]", str(credits))
    page.get_by_role("button", name="Update price").click()
    # 1,000 credits at 0.10 are 100.00, and 19 % tax.
    page.get_by_role("button", name="Pay €119.00").wait_for()
    person.looks("story-5-checkout")
    type_card(person, card)
    page.locator("button[value=buy]").click()
    page.get_by_role("heading", name="Thank you").wait_for()
    person.looks("story-6-bought")
