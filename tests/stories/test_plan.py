"""A plan from its trial to its cancellation, at a browser, through two renewals on a test clock that staff move."""

import re
from datetime import date, timedelta

import pytest
from playwright.sync_api import Browser

from tests.stories import staff
from tests.stories.customer import sign_up, type_card
from tests.stories.looking import Visitor, visitor
from tests.stories.running import Florin

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.shares("seeded_florin")]

EMAIL, COMPANY = "carla@kestrel.example", "Kestrel"
STAFF, STAFF_PASSWORD = "staff@lumen.example", "florin-demo"


def moves_clock(person: Visitor, days: int, told: str) -> None:
    """Staff let so many days pass for the account, and read what came about."""
    page = person.page
    person.goes_to(f"/admin/billing/account/?q={COMPANY}")
    person.follows(page.locator("#result_list tbody th a").first)
    person.follows(page.get_by_role("link", name=re.compile("test clock", re.IGNORECASE)).first)
    # The form offers a month from the account's own time.
    month_on = date.fromisoformat(page.input_value("[name=advance_to_0]"))
    page.fill("[name=advance_to_0]", f"{month_on + timedelta(days=days - 31)}")
    page.fill("[name=reason]", "a story")
    person.follows(page.get_by_role("button", name="Move").first)
    assert told in page.inner_text(".messagelist"), page.inner_text(".messagelist")


def test_a_plan_is_tried_paid_changed_paused_and_cancelled(seeded_florin: Florin, browser: Browser):
    with visitor(browser, seeded_florin.url) as customer, visitor(browser, seeded_florin.url) as clerk:
        page = customer.page
        staff.sign_in(clerk, STAFF, STAFF_PASSWORD)
        home = sign_up(seeded_florin, customer, EMAIL, COMPANY)
        moves_clock(clerk, 1, "nothing happened")

        # Team is 404.10 a month with three seats; each seat more is 13.50: (404.10 + 2 x 13.50) and 19 % are 513.01.
        # The trial costs nothing.
        customer.goes_to(f"{home}/plans/team")
        page.fill("[name=seats]", "5")
        page.get_by_text("€513.01 a month").wait_for()
        page.get_by_text("today: nothing is charged").wait_for()
        customer.looks("plan-1-choose")
        type_card(customer)
        customer.follows(page.locator("button[value=confirm]"))
        page.get_by_text("Free trial").first.wait_for()
        customer.looks("plan-2-trial")

        # That is charged after 14 days.
        moves_clock(clerk, 15, "invoice")
        customer.goes_to(f"{home}/plan")
        page.get_by_text("Active").first.wait_for()
        customer.looks("plan-3-active")
        customer.goes_to(f"{home}/invoices")
        assert page.get_by_text("€513.01").count() >= 1

        # A dearer plan begins at once; what the page says is what is charged.
        customer.goes_to(f"{home}/plans/growth")
        due = page.locator("#quote .available").inner_text().split()[0]
        customer.looks("plan-4-upgrade")
        customer.follows(page.locator("button[value=confirm]"))
        page.get_by_role("heading", name="Growth").wait_for()
        customer.goes_to(f"{home}/invoices")
        assert page.get_by_text(due).count() >= 1

        customer.goes_to(f"{home}/plan/pause")
        customer.follows(page.get_by_role("button", name="Pause").first)
        page.get_by_text("Paused since").wait_for()
        customer.looks("plan-5-paused")
        customer.follows(page.get_by_role("button", name="Resume").first)
        page.get_by_text("Active").first.wait_for()

        # Growth is 1,431.00 a month, and 19 %.
        moves_clock(clerk, 31, "invoice")
        customer.goes_to(f"{home}/invoices")
        assert page.get_by_text("€1,702.89").count() >= 1
        customer.looks("plan-6-invoices")

        customer.goes_to(f"{home}/plan/cancel")
        customer.follows(page.get_by_role("button", name="Cancel Growth").first)
        page.get_by_text("Growth ends on").wait_for()
        customer.looks("plan-7-cancelled")
        moves_clock(clerk, 32, "ended")
        customer.goes_to(f"{home}/plan")
        page.get_by_text("Growth ended on").wait_for()
        customer.looks("plan-8-ended")
        customer.goes_to(f"{home}/invoices")
        assert page.get_by_text("€1,702.89").count() == 1
        customer.is_content()
        clerk.is_content()
