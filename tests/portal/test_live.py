"""The overview's part that keeps itself up to date: balance, forecast, alerts; and what a new account sees."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from billing.accounts.models import Role
from billing.ledger import pools, posting
from billing.ledger.models import CreditPool
from billing.notifications import outbox
from tests.factories import give_credits, make_account, make_key, make_member, make_user
from tests.portal.conftest import MAX_QUERIES, Stage


def _text(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def _poll(client: Client, address: str) -> str:
    return client.get(address).context["part"]["url"]


def _tell(stage: Stage, kind: str, key: str, **payload: object) -> None:
    outbox.write(kind=kind, dedupe_key=f"{kind}:{key}", account_id=stage.account.pk, payload=payload, now=stage.now)


def test_the_page_asks_for_what_has_changed_since(alice: Client, stage: Stage) -> None:
    page = _text(alice, stage.url)
    url = _poll(alice, stage.url)
    assert f'id="live" hx-get="{url.replace("&", "&amp;")}" hx-trigger="every 5s, looked-at"' in page
    assert "florin/live.js" in page


def test_while_nothing_has_changed_there_is_no_answer(alice: Client, stage: Stage) -> None:
    response = alice.get(_poll(alice, stage.url))
    assert (response.status_code, response.content) == (204, b"")


def test_a_spend_is_seen_by_the_next_poll(alice: Client, stage: Stage) -> None:
    url = _poll(alice, stage.url)
    posting.spend(pool_id=stage.pool.pk, credits=Decimal(100), reference="now", now=stage.now)
    part = _text(alice, url)
    assert "649.5 <small>credits available" in part
    assert "<html" not in part
    assert alice.get(_poll(alice, url)).status_code == 204


def test_a_poll_is_cheap(alice: Client, stage: Stage, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    url = _poll(alice, stage.url)
    # Session, person, places, pools, balance, notifications; the pace, which a first day may still change.
    with django_assert_num_queries(7):
        alice.get(url)


def test_the_pace_of_past_days_is_read_once(
    alice: Client, stage: Stage, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    CreditPool.objects.update(created_at=stage.now - timedelta(days=40))
    _text(alice, stage.url)
    with django_assert_num_queries(6):
        alice.get(f"{stage.url}/live")


def test_when_the_session_has_ended_the_page_goes_to_the_login(client: Client, stage: Stage) -> None:
    response = client.get(f"{stage.url}/live", headers={"HX-Request": "true"})
    assert (response["HX-Refresh"], response.content) == ("true", b"")


def test_another_pools_part_is_its_own(alice: Client, stage: Stage) -> None:
    pools.open_pool(account=stage.account, key="research", name="Research", now=stage.now)
    part = _text(alice, f"{stage.url}/live?pool=research")
    assert "Balance of Research" in part
    assert "749.5" not in part


def test_refreshing_can_be_stopped(alice: Client, stage: Stage) -> None:
    page = _text(alice, f"{stage.url}?live=off")
    assert "hx-get" not in page
    assert "live.js" not in page
    assert "refresh the balance again" in page
    assert "stop refreshing the balance" in _text(alice, stage.url)


def test_it_says_when_the_credits_run_out(alice: Client, stage: Stage) -> None:
    with_history = make_account("old", now=stage.now - timedelta(days=28), time_zone="UTC")
    make_member(with_history, stage.alice, now=stage.now)
    pool = pools.get_main_pool(with_history.pk)
    give_credits(with_history, "560", now=stage.now - timedelta(days=28))
    posting.spend(pool_id=pool.pk, credits=Decimal(280), reference="once", now=stage.now - timedelta(days=3))
    page = _text(alice, f"/a/acc_{with_history.pk}")
    assert "in 28 days" in page
    assert "at 10 credits a day, the average of 28 days" in page


@pytest.mark.parametrize(
    ("spent_days_ago", "words"),
    [(None, "No usage yet"), (40, "Not at this pace: nothing was used in the last 28 days")],
)
def test_without_a_pace_it_foretells_nothing(
    alice: Client, stage: Stage, spent_days_ago: int | None, words: str
) -> None:
    account = make_account("calm", now=stage.now - timedelta(days=90))
    make_member(account, stage.alice, now=stage.now)
    give_credits(account, "100", now=stage.now - timedelta(days=90))
    if spent_days_ago:
        at = stage.now - timedelta(days=spent_days_ago)
        pool = pools.get_main_pool(account.pk)
        posting.spend(pool_id=pool.pk, credits=Decimal(1), reference="x", now=at)
    assert words in _text(alice, f"/a/acc_{account.pk}")


def test_a_crossed_threshold_stands_until_credits_come(alice: Client, stage: Stage) -> None:
    posting.spend(pool_id=stage.pool.pk, credits=Decimal(550), reference="big", now=stage.now)
    assert "Main pool: 75 % of this cycle&#x27;s credits are used." in _text(alice, stage.url)
    give_credits(stage.account, "1000", now=stage.now)
    assert "% of this cycle&#x27;s credits are used.</p>" not in _text(alice, stage.url)


def test_when_all_is_used_it_is_urgent(alice: Client, stage: Stage) -> None:
    posting.spend(pool_id=stage.pool.pk, credits=Decimal("749.5"), reference="all", now=stage.now)
    page = _text(alice, stage.url)
    assert '<p class="notice error">Main pool: all credits of this cycle are used.</p>' in page
    assert "There are none to use" in page


def test_a_low_balance_stands_while_it_is_low(alice: Client, stage: Stage) -> None:
    _tell(stage, "low_balance", "1", pool_name="Main pool", available="749", threshold="800")
    assert "fewer than 800 credits are left" in _text(alice, stage.url)
    give_credits(stage.account, "100", now=stage.now)
    assert "fewer than 800" not in _text(alice, stage.url)


def test_a_failed_payment_stands_until_its_invoice_is_paid(alice: Client, stage: Stage) -> None:
    _tell(
        stage, "payment_failed", "1", invoice_id="7", number="INV-7", reason="Card declined", total="1", currency="USD"
    )
    assert "Invoice INV-7 could not be paid: Card declined" in _text(alice, stage.url)
    _tell(stage, "receipt", "1", invoice_id="7", number="INV-7", total="1", currency="USD")
    assert "could not be paid" not in _text(alice, stage.url)


@pytest.mark.parametrize(
    ("kind", "words"), [("top_up_failed", "of Main pool failed: Declined"), ("top_up_switched_off", "is switched off")]
)
def test_a_failed_top_up_stands_until_one_succeeds(alice: Client, stage: Stage, kind: str, words: str) -> None:
    _tell(stage, kind, "1", pool_name="Main pool", reason="Declined")
    assert words in _text(alice, stage.url)
    _tell(stage, "top_up_made", "1", pool_name="Main pool", invoice_id="8", credits="1")
    assert words not in _text(alice, stage.url)


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_money_is_the_managers_business(client: Client, stage: Stage, role: str) -> None:
    bob = make_user("bob")
    make_member(stage.account, bob, role, now=stage.now)
    _tell(stage, "payment_failed", "1", invoice_id="7", number="INV-7", reason="Card declined")
    posting.spend(pool_id=stage.pool.pk, credits=Decimal(700), reference="big", now=stage.now)
    client.force_login(bob)
    page = _text(client, stage.url)
    assert "INV-7" not in page
    assert "An owner or admin of this account can buy credits." in page


def test_text_in_alerts_is_inert(alice: Client, stage: Stage) -> None:
    _tell(stage, "top_up_failed", "1", pool_name="<b>x", reason="<script>alert(1)</script>")
    page = _text(alice, stage.url)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_what_expires_within_30_days_is_listed_with_what_would_be_lost(alice: Client, stage: Stage) -> None:
    give_credits(stage.account, "4000", now=stage.now, kind="bonus", expires_at=stage.now + timedelta(days=2))
    give_credits(stage.account, "40", now=stage.now, expires_at=stage.now + timedelta(days=31))
    page = _text(alice, stage.url)
    soon = page[page.index("Expiring soon") : page.index("Credits in hand")]
    # 250.5 were spent today, the only day so far: 501 in two days.
    assert "<strong>4,000</strong> Bonus" in soon
    assert "about 3,490 would be lost" in soon
    assert "in 2 days" in soon
    assert "<strong>40</strong>" not in soon


def test_a_new_account_is_shown_its_first_steps(alice: Client, stage: Stage) -> None:
    fresh = make_account("fresh", now=stage.now)
    make_member(fresh, stage.alice, Role.OWNER, now=stage.now)
    page = _text(alice, f"/a/acc_{fresh.pk}")
    assert "First steps" in page
    assert 'class="done"' not in page
    make_key(fresh, now=stage.now)
    give_credits(fresh, "5", now=stage.now)
    assert _text(alice, f"/a/acc_{fresh.pk}").count('class="done"') == 2
    assert "First steps" not in _text(alice, stage.url)


def test_the_overview_needs_few_queries_with_everything_on_it(
    alice: Client, stage: Stage, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    _tell(stage, "low_balance", "1", pool_name="Main pool", available="749", threshold="800")
    with django_assert_max_num_queries(MAX_QUERIES):
        _text(alice, stage.url)
