"""Billing dates: they recur from the anchor, are counted in whole days of a zone, and leave no gap."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.periods import boundary, day_of, first_moment, number_at

INTERVALS = st.tuples(st.sampled_from(["week", "month", "quarter", "year"]), st.integers(1, 6))
ANCHORS = st.dates(date(2000, 1, 1), date(2060, 12, 31))


@pytest.mark.parametrize(
    ("anchor", "interval", "count", "dates"),
    [
        # The 31st is cut to the month's last day, and is the 31st again when the month has one.
        ("2025-01-31", "month", 1, ["2025-01-31", "2025-02-28", "2025-03-31", "2025-04-30", "2025-05-31"]),
        ("2024-01-30", "month", 1, ["2024-01-30", "2024-02-29", "2024-03-30"]),
        ("2024-02-29", "year", 1, ["2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]),
        ("2025-11-30", "quarter", 1, ["2025-11-30", "2026-02-28", "2026-05-30", "2026-08-30"]),
        ("2025-08-31", "month", 6, ["2025-08-31", "2026-02-28", "2026-08-31"]),
        ("2025-12-29", "week", 2, ["2025-12-29", "2026-01-12", "2026-01-26"]),
    ],
)
def test_dates_are_counted_from_the_anchor(anchor, interval, count, dates):
    start = date.fromisoformat(anchor)
    assert [
        boundary(start, interval=interval, count=count, number=number).isoformat() for number in range(len(dates))
    ] == dates


@given(anchor=ANCHORS, rule=INTERVALS, number=st.integers(0, 200))
def test_each_period_begins_after_the_one_before(anchor, rule, number):
    interval, count = rule
    starts = boundary(anchor, interval=interval, count=count, number=number)
    assert starts < boundary(anchor, interval=interval, count=count, number=number + 1)


@given(anchor=ANCHORS, rule=INTERVALS, days=st.integers(-4000, 20000))
def test_a_date_lies_in_the_period_of_its_number(anchor, rule, days):
    interval, count = rule
    on = anchor + timedelta(days=days)
    number = number_at(anchor, interval=interval, count=count, on=on)
    assert boundary(anchor, interval=interval, count=count, number=number) <= on
    assert on < boundary(anchor, interval=interval, count=count, number=number + 1)
    assert (number >= 0) == (days >= 0)


@pytest.mark.parametrize(
    ("on", "zone", "moment"),
    [
        ("2025-03-31", "UTC", "2025-03-31T00:00"),
        ("2025-03-30", "Europe/Berlin", "2025-03-29T23:00"),  # the clock is put forward later that night
        ("2025-03-31", "Europe/Berlin", "2025-03-30T22:00"),
        ("2025-11-03", "America/New_York", "2025-11-03T05:00"),
        ("2025-04-06", "Pacific/Chatham", "2025-04-05T10:15"),
        # Cairo skips the hour after midnight of 25 April 2025: the day begins at 1:00 there, which is 22:00 UTC.
        ("2025-04-25", "Africa/Cairo", "2025-04-24T22:00"),
        # Midnight comes twice on 2 November 2025 in Havana; the day begins with the first.
        ("2025-11-02", "America/Havana", "2025-11-02T04:00"),
    ],
)
def test_a_day_begins_at_its_first_moment(on, zone, moment):
    assert first_moment(date.fromisoformat(on), zone) == datetime.fromisoformat(f"{moment}+00:00")


# Santiago and Cairo change their clocks at midnight, Lord Howe by half an hour; Apia and Kathmandu are far from UTC.
ZONES = (
    "Europe/Berlin", "America/Los_Angeles", "America/Santiago", "Africa/Cairo", "Australia/Lord_Howe", "Asia/Kathmandu",
    "Pacific/Apia",
)  # fmt: skip


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("anchor", [date(2024, 1, 31), date(2024, 2, 29)])
def test_thirty_six_months_begin_with_the_first_moment_of_their_day(zone, anchor):
    for number in range(37):
        month = anchor.year * 12 + anchor.month - 1 + number
        first, first_of_next = (date(each // 12, each % 12 + 1, 1) for each in (month, month + 1))
        expected = min(first + timedelta(days=anchor.day - 1), first_of_next - timedelta(days=1))
        begins = first_moment(boundary(anchor, interval="month", count=1, number=number), zone)
        assert begins.astimezone(ZoneInfo(zone)).date() == expected
        before = (begins - timedelta(microseconds=1)).astimezone(ZoneInfo(zone))
        assert before.date() == expected - timedelta(days=1)


@given(
    on=st.dates(date(2020, 1, 1), date(2035, 12, 31)),
    zone=st.sampled_from(
        ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Chatham", "Africa/Cairo"]
    ),
)
def test_the_moment_before_a_day_begins_belongs_to_the_day_before(on, zone):
    begins = first_moment(on, zone)
    assert begins.tzinfo is UTC
    assert day_of(begins, zone) == on
    assert day_of(begins - timedelta(microseconds=1), zone) == on - timedelta(days=1)
