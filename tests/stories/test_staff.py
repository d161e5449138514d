"""Staff at work: a grant that takes two, and a refund; on the running Florin in which a customer has just bought."""

import re

import pytest
from playwright.sync_api import Browser

from billing.accounts import ids
from tests.stories import staff
from tests.stories.customer import buy, sign_up, until
from tests.stories.looking import visitor
from tests.stories.running import Florin

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.shares("empty_florin")]


def test_staff_grant_with_a_second_person_and_refund(shop: Florin, browser: Browser):
    email = "carol@helio.example"
    with visitor(browser, shop.url) as carol:
        home = sign_up(shop, carol, email, "Helio")
        buy(carol, home, 1000)
        account = ids.decode(ids.ACCOUNT, home.rsplit("/", 1)[-1])

        with visitor(browser, shop.url) as first:
            page = first.page
            staff.sign_in(first, staff.FIRST)
            first.goes_to(f"/admin/billing/account/{account}/change/")
            first.looks("staff-account")
            first.follows(page.get_by_role("link", name="Grant credits").first)
            page.fill("[name=amount]", "20000")
            page.fill("[name=reason]", "Opening offer")
            first.follows(page.get_by_role("button", name="Go on"))
            first.looks("staff-grant")
            first.follows(page.get_by_role("button", name="Grant 20,000 credits"))
            # More than one person may give in a day: it waits.
            first.looks("staff-waits")
            carol.goes_to(home)
            assert re.match(r"\s*1,000\s", carol.page.inner_text(".available"))

            with visitor(browser, shop.url) as second:
                staff.sign_in(second, staff.SECOND)
                second.goes_to("/admin/billing/approval/?state__exact=waiting")
                second.looks("staff-queue")
                second.follows(second.page.locator("#result_list tbody th a").first)
                second.follows(second.page.get_by_role("link", name="Approve"))
                second.looks("staff-approve")
                second.follows(second.page.get_by_role("button", name="Approve and do it"))
                assert "Approved and done" in second.page.inner_text(".messagelist")
                second.is_content()
            carol.goes_to(home)
            assert re.match(r"\s*21,000\s", carol.page.inner_text(".available"))

            first.goes_to(f"/admin/billing/invoice/?account__id__exact={account}")
            first.follows(page.locator("#result_list tbody th a").first)
            first.follows(page.get_by_role("link", name="Refund Credits"))
            page.fill("[name=credits]", "400")
            page.fill("[name=reason]", "Bought too many")
            first.follows(page.get_by_role("button", name="Go on"))
            first.looks("staff-refund")
            # 400 of 1,000 credits at 0.10 are 40.00, and 19 % tax.
            first.follows(page.get_by_role("button", name="Give €47.60 back"))
            assert "on its way" in page.inner_text(".messagelist")
            first.is_content()
        carol.goes_to(home)
        assert re.match(r"\s*20,600\s", carol.page.inner_text(".available"))
        until(lambda: [mail for mail in shop.mails(email) if "efund" in str(mail["Subject"])], "no mail of the refund")
        carol.is_content()
