"""The page that says what last month would have cost by a version of a rate card."""

import csv
import io
from datetime import timedelta

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from billing.catalog import rate_cards
from billing.catalog.models import RateCardVersion
from billing.metering import rerating
from tests.admin.conftest import MAX_QUERIES, Office, text_of
from tests.admin.test_approvals import _staff
from tests.factories import make_rate_card
from tests.metering.makers import event, send_one


@pytest.fixture
def draft(office: Office) -> RateCardVersion:
    """5 a piece becomes 7; 10 pieces were used last month."""
    last_month = office.now.replace(day=1, hour=12) - timedelta(days=3)
    card = make_rate_card({office.meter: "5"})
    used = event(10, at=last_month, account="northwind", meter="images")
    assert send_one(used, now=last_month).status == "accepted"
    version = rate_cards.draft_from(version_id=card.versions.get().pk, now=office.now)
    version.rates.update(price=7)
    return version


def _url(version: RateCardVersion) -> str:
    return f"/admin/billing/ratecardversion/{version.pk}/preview/"


def test_the_page_compares_by_account_and_meter(
    staff: Client, office: Office, draft: RateCardVersion, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    assert _url(draft) in text_of(staff, f"/admin/billing/ratecardversion/{draft.pk}/change/")
    # The test's own transaction makes two statements of the savepoint.
    with django_assert_max_num_queries(MAX_QUERIES + 2):
        response = staff.get(_url(draft))
    page = " ".join(response.content.decode().split())
    for part in ("<strong>50</strong>", "<strong>70</strong>", "<strong>+20</strong>", "Northwind", "Images"):
        assert part in page, part
    page = text_of(staff, f"{_url(draft)}?account={office.account.pk}")
    assert "Northwind" in page
    assert "Select a valid choice" in text_of(staff, f"{_url(draft)}?account=999999")


def test_it_is_a_file_too(staff: Client, office: Office, draft: RateCardVersion) -> None:
    response = staff.get(f"{_url(draft)}?csv=1&account=")
    [row] = csv.DictReader(io.StringIO(b"".join(response).decode()))  # type: ignore[call-overload]
    assert (row["account"], row["charged"], row["draft"], row["change"]) == ("northwind", "50", "70", "20")


def test_a_month_without_usage_is_said(staff: Client, office: Office) -> None:
    card = make_rate_card({office.meter: "5"})
    assert "Nobody used anything of this card" in text_of(staff, _url(card.versions.get()))


def test_too_much_usage_asks_for_an_account(
    staff: Client, office: Office, draft: RateCardVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerating, "MAX_GROUPS", 0)
    assert "choose an account" in text_of(staff, _url(draft))


def test_only_who_may_see_usage_gets_it(client: Client, office: Office, draft: RateCardVersion) -> None:
    assert "/admin/login/" in client.get(_url(draft))["Location"]
    client.force_login(_staff("sam", "view_ratecardversion"))
    assert client.get(_url(draft)).status_code == 403
    client.force_login(office.stella)
    assert client.get("/admin/billing/ratecardversion/0/preview/").status_code == 404
