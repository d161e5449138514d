"""Periods follow their anchor for three years: ends of months, leap days, and the clocks of four time zones."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from billing.invoicing.models import Invoice
from billing.ledger import pools
from billing.subscriptions.models import SubscriptionPeriod
from billing.subscriptions.renewal import renewals
from tests.factories import make_account, make_issuer
from tests.subscriptions.makers import available, make_team, subscribe

pytestmark = pytest.mark.django_db

# Santiago and Cairo change their clocks at midnight, Lord Howe by half an hour. test_periods looks at more zones.
STARTS = [
    ("Europe/Berlin", date(2024, 1, 31)),
    ("America/Santiago", date(2024, 2, 29)),
    ("Africa/Cairo", date(2024, 1, 31)),
    ("Australia/Lord_Howe", date(2024, 2, 29)),
]


def last_of(year: int, month: int, day: int) -> date:
    """That day of a month, or its last one."""
    while True:
        try:
            return date(year, month, day)
        except ValueError:
            day -= 1


@pytest.mark.parametrize(("zone", "anchor"), STARTS)
def test_thirty_six_months_keep_their_day(zone, anchor):
    make_issuer()
    started_at = datetime(anchor.year, anchor.month, anchor.day, 9, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    account = make_account(time_zone=zone, now=started_at)
    subscription = subscribe(account, make_team(), now=started_at)
    for _ in range(36):
        subscription.refresh_from_db()
        due = subscription.next_due_at
        assert renewals.run_due(now=due, limit=5) == renewals.Round(renewed=1)
    assert available(account, due) == 1000
    periods = list(SubscriptionPeriod.objects.order_by("number"))
    assert [period.number for period in periods] == list(range(1, 38))
    assert all(one.ends_at == other.starts_at for one, other in pairwise(periods))
    for number, period in enumerate(periods[1:], start=1):
        month = anchor.year * 12 + anchor.month - 1 + number
        expected = last_of(month // 12, month % 12 + 1, anchor.day)
        local = period.starts_at.astimezone(ZoneInfo(zone))
        assert local.date() == expected
        # The moment before belongs to the day before: it is the day's first.
        before = (period.starts_at - timedelta(microseconds=1)).astimezone(ZoneInfo(zone))
        assert before.date() == expected - timedelta(days=1)
    pool = pools.get_main_pool(account.pk)
    assert (pool.cycle_starts_at, pool.cycle_ends_at) == (periods[-1].starts_at, periods[-1].ends_at)
    assert pool.cycle_number == 38
    assert Invoice.objects.count() == 37


@pytest.mark.parametrize(
    ("interval", "count", "days"),
    [
        ("week", 2, ["2024-03-14", "2024-03-28", "2024-04-11"]),
        ("quarter", 1, ["2024-05-29", "2024-08-29", "2024-11-29"]),
        ("year", 1, ["2025-02-28", "2026-02-28", "2027-02-28"]),
        ("year", 4, ["2028-02-29", "2032-02-29", "2036-02-29"]),
    ],
)
def test_other_intervals_from_a_leap_day(interval, count, days):
    make_issuer()
    account = make_account(time_zone="Europe/Berlin")
    subscription = subscribe(
        account, make_team(interval=interval, interval_count=count), now=datetime(2024, 2, 29, 12, tzinfo=UTC)
    )
    found = []
    for _ in days:
        subscription.refresh_from_db()
        found.append(subscription.next_due_at.astimezone(ZoneInfo("Europe/Berlin")).date().isoformat())
        renewals.run_due(now=subscription.next_due_at, limit=5)
    assert found == days
