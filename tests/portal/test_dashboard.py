"""The overview page."""

import gzip
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from billing.ledger import holds, pools, posting
from tests.factories import give_credits, make_account, make_member
from tests.portal.conftest import MAX_QUERIES, Stage

pytestmark = pytest.mark.smoke


def _page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_it_shows_the_balance_and_the_cycle(alice: Client, stage: Stage) -> None:
    page = _page(alice, stage.url)
    assert "749.5 <small>credits available" in page
    assert "250.5 of 1,000" in page
    assert "25 % of this cycle" in page
    assert "Marks at 75 % and 90 %" in page


def test_it_shows_the_burn_as_a_chart_and_as_a_table(alice: Client, stage: Stage) -> None:
    page = _page(alice, stage.url)
    assert "250.5 in 30 days" in page
    assert "Images 250.5" in page
    assert 'class="series-1"' in page


def test_it_says_what_the_credits_buy_at_the_price_paid(alice: Client, stage: Stage) -> None:
    assert "<strong>1,490</strong> images" in _page(alice, stage.url)


def test_without_credits_nothing_can_be_bought(alice: Client, stage: Stage) -> None:
    posting.spend(pool_id=stage.pool.pk, credits=Decimal("749.5"), reference="all", now=stage.now)
    page = _page(alice, stage.url)
    assert "There are no credits to use at the moment" in page
    assert "Next expiry" not in page


def test_it_says_when_credits_expire_in_words_and_date(alice: Client, stage: Stage) -> None:
    give_credits(stage.account, "40", now=stage.now, expires_at=stage.now + timedelta(days=12))
    page = _page(alice, stage.url)
    assert "40 in 12 days, on <time" in page


def test_it_shows_what_is_held_and_owed(alice: Client, stage: Stage) -> None:
    pools.set_policy(pool_id=stage.pool.pk, policy="burst", burst_limit=Decimal(500), overage_cap=None)
    holds.place(pool_id=stage.pool.pk, amount=Decimal(20), reference="job", now=stage.now)
    posting.spend(pool_id=stage.pool.pk, credits=Decimal(800), reference="big", now=stage.now)
    page = _page(alice, stage.url)
    assert "<dt>Held</dt><dd>20 for" in page
    assert "<dt>Overdraft</dt>" in page
    assert "Up to 500 more as overdraft" in page


@pytest.mark.parametrize(
    ("policy", "cap", "words"),
    [
        ("block", None, "Charges are refused"),
        ("overage", None, "invoiced afterwards</dd>"),
        ("overage", "1000", "up to 1,000 a cycle"),
    ],
)
def test_it_says_what_happens_when_credits_run_out(
    alice: Client, stage: Stage, policy: str, cap: str | None, words: str
) -> None:
    pools.set_policy(
        pool_id=stage.pool.pk, policy=policy, burst_limit=Decimal(0), overage_cap=Decimal(cap) if cap else None
    )
    assert words in _page(alice, stage.url)


def test_it_shows_the_latest_postings_in_the_accounts_time_zone(alice: Client, stage: Stage) -> None:
    page = _page(alice, stage.url)
    assert "A warm welcome" in page
    assert "Times are in America/New_York" in page


def test_another_pool_can_be_chosen(alice: Client, stage: Stage) -> None:
    pools.open_pool(account=stage.account, key="research", name="Research", now=stage.now)
    page = _page(alice, f"{stage.url}?pool=research")
    assert "Balance of Research" in page
    assert "Nothing has happened yet" in page


def test_an_unknown_pool_is_404(alice: Client, stage: Stage) -> None:
    assert alice.get(f"{stage.url}?pool=nope").status_code == 404


@pytest.mark.parametrize(("asked", "shown"), [("7", 7), ("90", 90), ("31", 30), ("x", 30), ("", 30)])
def test_the_days_shown_can_be_chosen(alice: Client, stage: Stage, asked: str, shown: int) -> None:
    assert f"in {shown} days, most on" in _page(alice, f"{stage.url}?days={asked}")


def test_a_new_account_is_told_what_will_be_here(alice: Client, stage: Stage) -> None:
    empty = make_account("fresh", now=stage.now)
    make_member(empty, stage.alice, now=stage.now)
    page = _page(alice, f"/a/acc_{empty.pk}")
    for hint in ("No usage in these 30 days", "No credits yet", "Nothing has happened yet", "0 % of this cycle"):
        assert hint in page


def test_a_parked_account_is_told_so(alice: Client, stage: Stage) -> None:
    stage.account.parked_at = stage.now
    stage.account.save()
    assert "charges are refused until our staff release it" in _page(alice, stage.url)


def test_a_person_in_several_accounts_can_switch(alice: Client, stage: Stage) -> None:
    second = make_account("second", now=stage.now)
    make_member(second, stage.alice, now=stage.now)
    page = _page(alice, stage.url)
    assert f'href="/a/acc_{second.pk}"' in page
    assert "Your accounts" in page


def test_text_from_customers_is_inert(alice: Client, stage: Stage) -> None:
    give_credits(stage.account, "1", now=stage.now, note="<img src=x onerror=alert(1)>")
    page = _page(alice, stage.url)
    assert "<img" not in page
    assert "&lt;img" in page


def test_it_needs_few_queries(
    alice: Client, stage: Stage, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(12):
        posting.spend(pool_id=stage.pool.pk, credits=Decimal(1), reference=f"more:{number}", now=stage.now)
    with django_assert_max_num_queries(MAX_QUERIES):
        _page(alice, stage.url)


def test_it_weighs_little(alice: Client, stage: Stage) -> None:
    stylesheet = finders.find("florin/florin.css")
    assert stylesheet is not None
    with open(stylesheet, "rb") as file:
        weight = len(gzip.compress(file.read())) + len(gzip.compress(alice.get(f"{stage.url}?days=90").content))
    assert weight < 100_000
