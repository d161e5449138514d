"""The overview's part that keeps itself up to date: balance, forecast, alerts; and what a new account sees."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.db.models import F
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from billing.accounts.ids import encode
from billing.accounts.models import Account, Role
from billing.catalog.models import Meter
from billing.invoicing import crediting, settling
from billing.ledger import pools, posting
from billing.metering.models import DailyUsage
from billing.notifications import outbox
from tests.factories import give_credits, make_account, make_issuer, make_key, make_member, make_user
from tests.portal.conftest import MAX_QUERIES, Stage
from tests.portal.shop import make_invoice


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


def test_all_of_the_overview_is_refreshed(alice: Client, stage: Stage) -> None:
    """Not only the balance: what was bought, the chart, the activity, the lots, the plan and the notifications."""
    account = make_account("fresh", now=stage.now)
    make_member(account, stage.alice, Role.OWNER, now=stage.now)
    base = f"/a/{encode('acc', account.pk)}"
    assert "No usage in the last 30 days" in _text(alice, base)
    pool = pools.get_main_pool(account.pk)
    give_credits(account, "1000", now=stage.now)
    for number in range(4):
        _use(account, stage.meter, "217.5", number, now=stage.now)
    told = {"pool": "main", "pool_name": "Main pool", "threshold": "200", "available": "130"}
    outbox.write(kind="low_balance", dedupe_key="x", account_id=account.pk, payload=told, now=stage.now)
    part, page = _text(alice, f"{base}/live"), _text(alice, base)
    inside = _part_of(page)
    assert inside == _part_of(part)
    assert all(
        words in inside for words in ("87%", "870 credits in 30 days", "Images", "217.5", "fewer than 200 credits")
    )
    # What stands around it comes along: the plan, the bell and the menu's count.
    assert all(f'hx-swap-oob="{place}"' in part for place in ("true", "outerHTML:.bell", "outerHTML:.menu-count"))
    assert pool.key == "main"


def _use(account: Account, meter: Meter, credits: str, number: int, *, now: datetime) -> None:
    """Spend on a meter, as metering would: the posting and the day's total."""
    pool = pools.get_main_pool(account.pk)
    posting.spend(pool_id=pool.pk, credits=Decimal(credits), reference=f"usage:{number}", now=now, meter_id=meter.pk)
    day, _ = DailyUsage.objects.get_or_create(
        account=account,
        meter=meter,
        day=timezone.localdate(now, ZoneInfo(account.time_zone)),
        defaults={"events": 0, "quantity": 0, "credits": 0, "cost": 0},
    )
    DailyUsage.objects.filter(pk=day.pk).update(
        events=F("events") + 1, quantity=F("quantity") + 1, credits=F("credits") + Decimal(credits)
    )


def _part_of(page: str) -> str:
    """What is refreshed, without its address."""
    inside = page[page.index('<div id="live"') :]
    end = inside.find("</main>") if "</main>" in inside else inside.index('<p class="small" id="plan-line"')
    return inside[inside.index(">") : inside.rindex("</section>", 0, end)]


@pytest.mark.parametrize("news", ["another pool", "an event that costs nothing", "a key", "a notification", "the plan"])
def test_whatever_changes_the_overview_is_news(alice: Client, stage: Stage, news: str) -> None:
    url = _poll(alice, stage.url)
    if news == "another pool":
        pools.open_pool(account=stage.account, key="research", name="Research", now=stage.now)
    elif news == "an event that costs nothing":
        DailyUsage.objects.update(events=F("events") + 1)
    elif news == "a key":
        make_key(stage.account, now=stage.now)
    elif news == "a notification":
        _tell(stage, "receipt", "1", invoice_id="7", number="INV-7", total="1", currency="USD", credits="0")
    else:
        Account.objects.filter(pk=stage.account.pk).update(parked_at=stage.now)
    assert alice.get(url).status_code == 200


def test_a_poll_is_cheap(alice: Client, stage: Stage, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    at = stage.now - timedelta(days=9)
    account = make_account("older", now=at)
    make_member(account, stage.alice, now=at)
    give_credits(account, "100", now=at)
    _use(account, stage.meter, "1", 0, now=at)
    base = f"/a/{encode('acc', account.pk)}"
    url = _poll(alice, base)
    # Session, person, places, pools, balance, notifications. The days of the pace are kept; of a new spend, only it.
    with django_assert_num_queries(6):
        assert alice.get(url).status_code == 204
    before = alice.get(base).context["live"].forecast.pace.daily
    _use(account, stage.meter, "5", 1, now=stage.now)
    with django_assert_num_queries(7 + 2):
        after = alice.get(url).context["live"].forecast.pace.daily
    assert after > 4 * before


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
    assert "update this page again" in page
    assert "stop updating this page" in _text(alice, stage.url)


def _seasoned(stage: Stage, *, spent_days_ago: int | None, good_for: int | None = None) -> str:
    """An account of 90 days on a test clock at noon, with 100 credits; once it may have spent 30. Its address."""
    noon = stage.now.replace(hour=12, minute=0, second=0, microsecond=0)
    began_at = noon - timedelta(days=90)
    account = make_account("seasoned", now=began_at, time_zone="UTC")
    make_member(account, stage.alice, now=began_at)
    expires_at = noon + timedelta(days=good_for) if good_for else None
    give_credits(account, "130", now=began_at, expires_at=expires_at)
    if spent_days_ago is not None:
        at = noon - timedelta(days=spent_days_ago)
        posting.spend(pool_id=pools.get_main_pool(account.pk).pk, credits=Decimal(30), reference="x", now=at)
    Account.objects.filter(pk=account.pk).update(clock_at=noon)
    return f"/a/{encode('acc', account.pk)}"


@pytest.mark.parametrize(
    ("spent_days_ago", "good_for", "words"),
    [
        (None, None, ["No usage yet"]),
        (0, None, ["A forecast appears after three days of usage"]),
        (1, None, ["A forecast appears after three days of usage"]),
        # 30 in two days and a half, today's half included: 12 a day.
        (2, None, ["<dt>Runs out</dt>", "<strong>in 8 days</strong>", "at 12 credits a day, the average of 3 days"]),
        # Two statements: what would last, and what expires.
        (2, 5, ["Enough for 8 days", "All expire by", "<strong>in 5 days</strong>", "about 40 unused at this pace"]),
        (40, None, ["No usage in the last 28 days"]),
    ],
)
def test_the_forecast_says_what_the_data_can_tell(
    alice: Client, stage: Stage, spent_days_ago: int | None, good_for: int | None, words: list[str]
) -> None:
    page = _text(alice, _seasoned(stage, spent_days_ago=spent_days_ago, good_for=good_for))
    assert [word for word in words if word not in page] == []
    assert ("Runs out" in page) == ("<dt>Runs out</dt>" in words)


def test_what_makes_a_cycle_not_add_up_is_said(alice: Client, stage: Stage) -> None:
    """Used and available are the allocation, but for what expired; the last cycle's late usage is none of this one."""
    began_at = datetime(2026, 3, 1, tzinfo=UTC)
    account = make_account("late", now=began_at, time_zone="UTC")
    make_member(account, stage.alice, now=began_at)
    april, pool = datetime(2026, 4, 1, tzinfo=UTC), pools.get_main_pool(account.pk)
    give_credits(account, "500", now=began_at, expires_at=april)
    give_credits(account, "40", now=april, expires_at=april + timedelta(hours=6))
    give_credits(account, "1000", now=april)
    just_before = april - timedelta(minutes=1)
    posting.spend(
        pool_id=pool.pk,
        credits=Decimal(214),
        reference="gauge",
        now=april + timedelta(minutes=5),
        occurred_at=just_before,
    )
    posting.spend(pool_id=pool.pk, credits=Decimal(16), reference="now", now=april + timedelta(hours=1))
    Account.objects.filter(pk=account.pk).update(clock_at=april + timedelta(days=2))
    page = _text(alice, f"/a/{encode('acc', account.pk)}")
    assert "16 of 1,040" in page
    assert "1,000 <small>credits available" in page
    # 1,040 allocated = 16 used + 24 expired + 1,000 available.
    assert "24 expired unused in this cycle" in page
    assert "expired unused" not in _text(alice, stage.url)


def test_a_crossed_threshold_stands_until_credits_come(alice: Client, stage: Stage) -> None:
    posting.spend(pool_id=stage.pool.pk, credits=Decimal(550), reference="big", now=stage.now)
    assert "Main pool: 75% of this cycle&#x27;s credits are used." in _text(alice, stage.url)
    give_credits(stage.account, "1000", now=stage.now)
    assert "% of this cycle&#x27;s credits are used.</p>" not in _text(alice, stage.url)


def test_when_all_is_used_it_is_urgent(alice: Client, stage: Stage) -> None:
    posting.spend(pool_id=stage.pool.pk, credits=Decimal("749.5"), reference="all", now=stage.now)
    page = _text(alice, stage.url)
    assert '<p class="notice error">Main pool: all credits of this cycle are used.</p>' in page
    assert "You have no credits right now." in page


def test_a_low_balance_stands_while_it_is_low(alice: Client, stage: Stage) -> None:
    _tell(stage, "low_balance", "1", pool_name="Main pool", available="749", threshold="800")
    assert "fewer than 800 credits are left" in _text(alice, stage.url)
    give_credits(stage.account, "100", now=stage.now)
    assert "fewer than 800" not in _text(alice, stage.url)


@pytest.mark.parametrize("kind", ["payment_failed", "payment_overdue"])
@pytest.mark.parametrize("end", ["pay", "void", "uncollectible"])
def test_a_failed_payment_stands_while_its_invoice_is_open(alice: Client, stage: Stage, kind: str, end: str) -> None:
    make_issuer()
    invoice = make_invoice(stage)
    said = {"number": "INV-7", "reason": "Card declined", "total": "1", "currency": "USD"}
    _tell(stage, kind, "1", invoice_id=str(invoice.pk), **said)
    words = "Invoice INV-7 could not be paid: Card declined"
    if kind == "payment_overdue":
        words = "Invoice INV-7 of your plan is unpaid: $1,190.00."
    assert words in _text(alice, stage.url)
    if end == "pay":
        settling.settle(invoice_id=invoice.pk, amount=invoice.owed, now=stage.now)
    elif end == "void":
        crediting.void(invoice_id=invoice.pk, now=stage.now)
    else:
        settling.mark_uncollectible(invoice_id=invoice.pk, now=stage.now)
    assert words not in _text(alice, stage.url)


def test_a_top_up_that_its_limit_pauses_has_not_failed(alice: Client, stage: Stage) -> None:
    until = {"is_capped": "yes", "pool_name": "Main pool", "reason": "The most is reached."}
    _tell(stage, "top_up_failed", "1", **until, waits_until=(stage.now + timedelta(days=3)).isoformat())
    page = _text(alice, stage.url)
    assert "of Main pool has reached its monthly limit and pauses until next month." in page
    assert "failed" not in page
    _tell(stage, "top_up_failed", "2", **until, waits_until=stage.now.isoformat())
    assert "monthly limit" not in _text(alice, stage.url)


@pytest.mark.parametrize(
    ("kind", "words"), [("top_up_failed", "of Main pool failed: Declined"), ("top_up_switched_off", "is switched off")]
)
def test_a_failed_top_up_stands_until_one_succeeds(alice: Client, stage: Stage, kind: str, words: str) -> None:
    _tell(stage, kind, "1", pool_name="Main pool", reason="Declined")
    assert words in _text(alice, stage.url)
    _tell(stage, "receipt", "1", top_up_of="Main pool", invoice_id="8", number="INV-8", credits="1")
    assert words not in _text(alice, stage.url)


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_money_is_the_managers_business(client: Client, stage: Stage, role: str) -> None:
    bob = make_user("bob")
    make_member(stage.account, bob, role, now=stage.now)
    make_issuer()
    _tell(stage, "payment_failed", "1", invoice_id=str(make_invoice(stage).pk), number="INV-7", reason="Card declined")
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
    soon = page[page.index("Expiring soon") : page.index("Your credits</h2>")]
    assert "<strong>4,000</strong> Bonus" in soon
    # Today is the first day with usage: nothing is foretold of it yet.
    assert "unused at this pace" not in soon
    assert "in 2 days" in soon
    assert "<strong>40</strong>" not in soon
    pool = _seasoned(stage, spent_days_ago=2, good_for=5)
    assert "about 40 unused at this pace" in _text(alice, pool)


def test_a_new_account_is_shown_its_first_steps(alice: Client, stage: Stage) -> None:
    fresh = make_account("fresh", now=stage.now)
    make_member(fresh, stage.alice, Role.OWNER, now=stage.now)
    page = _text(alice, f"/a/{encode('acc', fresh.pk)}")
    assert "First steps" in page
    assert 'class="done"' not in page
    make_key(fresh, now=stage.now)
    give_credits(fresh, "5", now=stage.now)
    assert _text(alice, f"/a/{encode('acc', fresh.pk)}").count('class="done"') == 2
    assert "First steps" not in _text(alice, stage.url)


def test_the_overview_needs_few_queries_with_everything_on_it(
    alice: Client, stage: Stage, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    _tell(stage, "low_balance", "1", pool_name="Main pool", available="749", threshold="800")
    with django_assert_max_num_queries(MAX_QUERIES):
        _text(alice, stage.url)
