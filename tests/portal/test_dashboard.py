"""The overview page."""

import gzip
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from billing.accounts.ids import encode
from billing.ledger import holds, pools, posting
from billing.wording.amounts import MINUS
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
    assert '250.5 of 1,000 <strong class="meter-number">25%</strong>' in page
    # The fill is the number; marks are named.
    assert '<rect class="fill" width="25.05" height="1"/><rect class="mark" x="75"' in page
    assert '<span class="at-75">75%</span><span class="at-90">90%</span>' in page


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
    assert "You have no credits right now" in page
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
    assert "<dt>Reserved</dt><dd>20 for" in page
    assert "<dt>Overdraft</dt>" in page
    assert "You can go 500 below zero" in page


@pytest.mark.parametrize(
    ("policy", "cap", "words"),
    [
        ("block", None, "Requests are blocked"),
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


def test_what_was_spent_beyond_the_credits_is_shown_in_full(alice: Client, stage: Stage) -> None:
    pools.set_policy(pool_id=stage.pool.pk, policy="burst", burst_limit=Decimal(500), overage_cap=None)
    posting.spend(pool_id=stage.pool.pk, credits=Decimal("749.5"), reference="all", now=stage.now)
    spent = posting.spend(pool_id=stage.pool.pk, credits=Decimal(12), reference="more", now=stage.now)
    for address in (stage.url, f"{stage.url}/ledger"):
        assert f"{MINUS}12" in _row(_page(alice, address))
        assert "12 beyond your credits" in _row(_page(alice, address))
    posting.reverse(posting_id=spent.pk, now=stage.now)
    assert '<td class="figure change">+12<div' in _row(_page(alice, stage.url))


def _row(page: str) -> str:
    """The newest line of the ledger."""
    rows = page[page.index("<tbody>", page.index('class="postings"')) :]
    return rows[: rows.index("</tr>")]


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
    page = _page(alice, f"/a/{encode('acc', empty.pk)}")
    for hint in ("No usage in the last 30 days", "Nothing has happened yet"):
        assert hint in page
    # The meter is empty, not full.
    assert 'aria-valuetext="No credits yet"' in page
    assert '<rect class="fill" width="0" height="1"/>' in page


def test_a_parked_account_is_told_so(alice: Client, stage: Stage) -> None:
    stage.account.parked_at = stage.now
    stage.account.save()
    assert "charges are refused until we release it" in _page(alice, stage.url)


def test_a_person_in_several_accounts_can_switch(alice: Client, stage: Stage) -> None:
    second = make_account("second", now=stage.now)
    make_member(second, stage.alice, now=stage.now)
    page = _page(alice, stage.url)
    assert f'href="/a/{encode("acc", second.pk)}"' in page
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
