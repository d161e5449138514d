"""Credits that expire soon are told of 30 days, 7 days and a day ahead."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from billing.ledger import expiry_notices, pools, posting
from billing.notifications.models import Notification
from tests.factories import make_account
from tests.ledger.makers import DAY, NOW, give, hold, take
from tests.ledger.racing import race

pytestmark = pytest.mark.django_db


def announce(now):
    return expiry_notices.announce_expiring(now=now, limit=1000)


def told():
    """(days left, credits) of each message, in the order they were told."""
    rows = Notification.objects.filter(kind="expiring").order_by("pk")
    return [(row.payload["days"], Decimal(row.payload["credits"])) for row in rows]


def test_a_lot_is_told_of_at_each_distance_once(pool):
    give(pool, 100, expires_at=NOW + 40 * DAY)
    for day in range(41):
        for hour in (0, 6):
            announce(NOW + timedelta(days=day, hours=hour))
    assert told() == [(30, 100), (7, 100), (1, 100)]


def test_the_message_has_the_facts(pool):
    give(pool, "12.5", expires_at=NOW + 7 * DAY)
    assert announce(NOW) == 1
    row = Notification.objects.get()
    assert (row.account_id, row.dedupe_key) == (pool.account_id, f"expiring:{pool.account_id}:2026-03-17:7")
    assert row.payload == {
        "credits": "12.500000", "days": 7, "expires_at": "2026-03-17T12:00:00+00:00",
        "pools": [{"pool": "main", "pool_name": "Main pool", "credits": "12.500000"}],
    }  # fmt: skip


def test_that_another_account_was_told_of_a_day_keeps_nobody_from_being_told_of_theirs(pool):
    give(pool, 100, expires_at=NOW + 7 * DAY)
    assert announce(NOW) == 1
    give(pools.get_main_pool(make_account("other").pk), 50, expires_at=NOW + 7 * DAY)
    assert [announce(NOW), announce(NOW)] == [1, 0]
    assert told() == [(7, 100), (7, 50)]


def test_lots_of_all_pools_that_end_on_a_day_are_one_message(pool, team):
    give(pool, 100, expires_at=NOW + 7 * DAY)
    give(pool, 50, expires_at=NOW + timedelta(days=7, hours=9))
    give(pool, 9, expires_at=NOW + 8 * DAY)
    give(team, 30, expires_at=NOW + 7 * DAY)
    assert announce(NOW) == 1
    assert told() == [(7, 180)]
    shares = Notification.objects.get().payload["pools"]
    assert [(each["pool"], Decimal(each["credits"])) for each in shares] == [(pool.key, 150), (team.key, 30)]


def test_the_inbox_has_one_message_for_each_day_of_expiry(pool):
    """The latest reminder takes the place of those before it, which are not mailed any more either."""
    give(pool, 100, expires_at=NOW + 40 * DAY)
    give(pool, 7, expires_at=NOW + 90 * DAY)
    for day in range(75):
        announce(NOW + day * DAY)
    left = Notification.objects.filter(kind="expiring", superseded_at=None)
    assert [row.payload["days"] for row in left.order_by("pk")] == [1, 30]
    assert [row.payload["days"] for row in left.filter(state="pending").order_by("pk")] == [1, 30]
    assert set(Notification.objects.exclude(superseded_at=None).values_list("state", flat=True)) == {"expanded"}


def test_missed_days_are_caught_up_with_and_say_what_is_left(pool):
    give(pool, 100, expires_at=NOW + 40 * DAY)
    announce(NOW + 15 * DAY)
    announce(NOW + 37 * DAY)
    announce(NOW + 37 * DAY)
    assert told() == [(25, 100), (3, 100)]


def test_after_a_long_outage_only_the_nearest_distance_is_told(pool):
    give(pool, 100, expires_at=NOW + 60 * DAY)
    announce(NOW + 59 * DAY)
    assert told() == [(1, 100)]


def test_days_are_the_accounts(db):
    # Three in the morning UTC of the 10th is the evening of the 9th in New York.
    account = make_account("late", now=NOW, time_zone="America/New_York")
    pool = pools.get_main_pool(account.pk)
    give(pool, 5, expires_at=datetime(2026, 4, 10, 3, tzinfo=UTC))
    zone = ZoneInfo("America/New_York")
    assert announce(datetime(2026, 4, 1, 23, 59, tzinfo=zone) - 30 * DAY) == 0
    announce(datetime(2026, 4, 1, 23, 59, tzinfo=zone))
    assert told() == [(8, 5)]
    announce(datetime(2026, 4, 2, 0, 1, tzinfo=zone))
    assert told() == [(8, 5), (7, 5)]


def test_a_lot_is_not_told_of_at_a_distance_longer_than_it_lasts(pool):
    give(pool, 1, expires_at=NOW + 5 * DAY)
    give(pool, 2, expires_at=NOW + timedelta(hours=6))
    assert announce(NOW) == 0
    announce(NOW + 4 * DAY)
    assert told() == [(1, 1)]


def test_what_recurs_is_not_told_of_when_it_has_only_just_come(pool, team):
    give(pool, 100, kind="allocation", expires_at=NOW + 31 * DAY)
    posting.transfer(from_pool_id=pool.pk, to_pool_id=team.pk, amount=Decimal(40), reference="m", now=NOW)
    for day in range(32):
        announce(NOW + day * DAY)
    assert told() == [(7, 100), (1, 100)]


def test_what_is_spent_by_then_is_not_told_of(pool):
    give(pool, 100, expires_at=NOW + 40 * DAY)
    take(pool, 70)
    announce(NOW + 10 * DAY)
    take(pool, 30)
    announce(NOW + 33 * DAY)
    assert told() == [(30, 30)]


def test_held_credits_are_told_of_and_debt_and_future_ones_are_not(pool):
    pools.set_policy(pool_id=pool.pk, policy="burst", burst_limit=Decimal(100), overage_cap=None)
    give(pool, 10, expires_at=NOW + 7 * DAY)
    hold(pool, 10)
    give(pool, 50, effective_at=NOW + DAY, expires_at=NOW + 7 * DAY)
    take(pool, 20)
    announce(NOW)
    assert told() == [(7, 10)]


def test_moved_credits_keep_their_end(pool, team):
    give(pool, 100, expires_at=NOW + 40 * DAY)
    posting.transfer(from_pool_id=pool.pk, to_pool_id=team.pk, amount=Decimal(40), reference="m", now=NOW + 20 * DAY)
    announce(NOW + 33 * DAY)
    assert told() == [(7, 100)]


def test_what_never_ends_and_what_has_ended_is_not_told_of(pool):
    give(pool, 100)
    give(pool, 5, expires_at=NOW + 2 * DAY)
    assert announce(NOW + 2 * DAY) == 0


def test_a_run_stops_at_its_limit_and_the_next_goes_on(pool):
    for day in (7, 30):
        give(pool, 100, expires_at=NOW + day * DAY)
    assert [expiry_notices.announce_expiring(now=NOW, limit=1) for _ in range(3)] == [1, 1, 0]


@pytest.mark.django_db(transaction=True)
def test_two_schedulers_tell_once(pool, team):
    for day in range(1, 31):
        give(pool, 1, effective_at=NOW - 40 * DAY, expires_at=NOW + day * DAY)
    race([lambda: announce(NOW) and None] * 4)
    assert Notification.objects.count() == 30
