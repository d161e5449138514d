"""Searching a ledger that is longer than what a page reads at once."""

from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from billing.ledger import posting
from portal.usage import ledger_pages
from tests.factories import give_credits
from tests.portal.conftest import MAX_QUERIES, Stage

TOLD = "So far 5 postings have been searched"


def _page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


@pytest.fixture
def long(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Versions 1 and 2 are the stage's; 3 to 22 spend, an even one for `even`. A page searches five at once."""
    for number in range(3, 23):
        reference = f"api:{'odd' if number % 2 else 'even'}:{number}"
        posting.spend(pool_id=stage.pool.pk, credits=Decimal(1), reference=reference, now=stage.now)
    monkeypatch.setattr(ledger_pages, "REACH", 5)
    monkeypatch.setattr("portal.usage.views_ledger.REACH", 5)
    return stage


def _found(page: str) -> list[int]:
    return [number for number in range(3, 23) if f":{number}</code>" in page]


def test_a_text_is_searched_part_by_part_and_says_so(alice: Client, long: Stage) -> None:
    address, found = f"{long.url}/ledger?q=even", []
    for _ in range(5):
        response = alice.get(address)
        page = " ".join(response.content.decode().split())
        found += _found(page)[::-1]
        address = response.context["older_url"]
        assert (TOLD in page) == bool(address)
    assert address == ""
    assert found == list(range(22, 2, -2))


def test_newer_goes_back_up_through_the_parts(alice: Client, long: Stage) -> None:
    response = alice.get(f"{long.url}/ledger?q=even&before=4")
    assert _found(response.content.decode()) == []
    found = []
    while address := response.context["newer_url"]:
        response = alice.get(address)
        found += _found(response.content.decode())
    assert found == list(range(4, 23, 2))


@pytest.mark.parametrize("asked", ["api:odd:3", "odd:3"])
def test_a_reference_typed_in_full_is_found_however_old_it_is(alice: Client, long: Stage, asked: str) -> None:
    assert _found(_page(alice, f"{long.url}/ledger?q={asked}")) == [3]


def test_days_and_acts_need_no_parts(alice: Client, long: Stage) -> None:
    page = _page(alice, f"{long.url}/ledger?act=spend&since=2000-01-01")
    assert _found(page) == list(range(3, 23))
    assert "searched" not in page


def test_the_kind_of_a_lot_finds_what_filled_it_and_what_drew_on_it(alice: Client, stage: Stage) -> None:
    give_credits(stage.account, "10", now=stage.now, kind="goodwill", note="Sorry", expires_at=stage.now + timedelta(1))
    posting.spend(pool_id=stage.pool.pk, credits=Decimal(4), reference="from goodwill", now=stage.now)
    page = _page(alice, f"{stage.url}/ledger?kind=goodwill")
    assert "Sorry" in page
    assert "from goodwill" in page
    assert "usage:1" not in page
    assert "A warm welcome" not in page
    assert "Nothing fits this filter" in _page(alice, f"{stage.url}/ledger?kind=streak")
    assert "Nothing to show with this filter" in _page(alice, f"{stage.url}/ledger?kind=nonsense")


def test_each_lot_says_until_when_it_is_good_and_what_a_credit_cost(alice: Client, stage: Stage) -> None:
    give_credits(
        stage.account, "5", now=stage.now, kind="purchase", cost_basis=Decimal("0.0725"), currency="USD", priority=1,
        expires_at=stage.now + timedelta(days=400),
    )  # fmt: skip
    posting.spend(pool_id=stage.pool.pk, credits=Decimal(8), reference="both", now=stage.now)
    page = _page(alice, f"{stage.url}/ledger?q=both")
    assert "From 2 lots" in page
    assert "$0.0725 a credit" in page
    ends_at = timezone.localtime(stage.now + timedelta(days=400), ZoneInfo(stage.account.time_zone))
    assert f"expires {ends_at:%-d %b %Y}" in page
    assert "never expires, free of charge" in page


def test_the_last_day_there_is_makes_no_sense(alice: Client, stage: Stage) -> None:
    assert "Nothing to show with this filter" in _page(alice, f"{stage.url}/ledger?until=9999-12-31")


def test_a_search_needs_few_queries(
    alice: Client, long: Stage, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_max_num_queries(MAX_QUERIES):
        _page(alice, f"{long.url}/ledger?q=even&since=2000-01-01&until=2999-01-01&act=spend&kind=bonus")
