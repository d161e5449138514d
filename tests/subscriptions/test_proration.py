"""Parts of a period, with the figures worked by hand, and what holds for every cut."""

import dataclasses
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.catalog import periods
from billing.catalog.pricing import part_of_credits
from billing.subscriptions.charges import proration
from billing.subscriptions.charges.proration import Cut, OutsidePeriod, credits_left, is_dearer, money_left, money_used

D = Decimal
BERLIN, AUCKLAND, ST_JOHNS = "Europe/Berlin", "Pacific/Auckland", "America/St_Johns"


def month(year: int, number: int, zone: str) -> tuple[datetime, datetime]:
    """The first moments of a month and of the next one."""
    after = date(year + number // 12, number % 12 + 1, 1)
    return periods.first_moment(date(year, number, 1), zone), periods.first_moment(after, zone)


def cut(starts_at: datetime, ends_at: datetime, at: datetime, zone: str) -> Cut:
    """`proration.cut` in short."""
    return proration.cut(starts_at=starts_at, ends_at=ends_at, at=at, time_zone=zone)


@pytest.mark.parametrize(
    ("at", "used"),
    [
        # January in Berlin (UTC+1) is 31 days, from 31 December 23:00 UTC.
        ("2025-12-31T23:00", 0),
        ("2026-01-01T22:59", 0),
        ("2026-01-01T23:00", 1),
        ("2026-01-10T23:00", 10),
        ("2026-01-31T22:59", 30),
    ],
)
def test_a_period_is_cut_at_the_accounts_own_midnight(at, used):
    starts_at, ends_at = month(2026, 1, BERLIN)
    found = cut(starts_at, ends_at, datetime.fromisoformat(at).replace(tzinfo=UTC), BERLIN)
    assert (found.days, found.used, found.left) == (31, used, 31 - used)


@pytest.mark.parametrize("at", ["2025-12-31T22:59", "2026-01-31T23:00", "2027-01-01T00:00"])
def test_a_moment_outside_of_the_period_cuts_nothing(at):
    starts_at, ends_at = month(2026, 1, BERLIN)
    with pytest.raises(OutsidePeriod, match="is no day of the period"):
        cut(starts_at, ends_at, datetime.fromisoformat(at).replace(tzinfo=UTC), BERLIN)


def test_the_day_a_subscription_begins_counts_whole_whatever_the_hour():
    ends_at = periods.first_moment(date(2026, 2, 15), BERLIN)
    late = datetime(2026, 1, 15, 22, 30, tzinfo=UTC)
    assert cut(late, ends_at, late, BERLIN) == Cut(31, 0)
    assert cut(late, ends_at, late - timedelta(hours=20), BERLIN) == Cut(31, 0)


@pytest.mark.parametrize(
    ("zone", "number", "days"),
    # The clocks change in March and October in Berlin, in April and September in Auckland.
    [(BERLIN, 3, 31), (BERLIN, 10, 31), (AUCKLAND, 4, 30), (AUCKLAND, 9, 30), (ST_JOHNS, 3, 31), (ST_JOHNS, 11, 30)],
)
def test_a_day_of_23_or_25_hours_weighs_as_much_as_any_other(zone, number, days):
    starts_at, ends_at = month(2026, number, zone)
    assert ends_at - starts_at != timedelta(days=days)
    noons = [datetime(2026, number, day, 12, tzinfo=ZoneInfo(zone)) for day in range(1, days + 1)]
    assert [cut(starts_at, ends_at, noon, zone) for noon in noons] == [Cut(days, used) for used in range(days)]


@pytest.mark.parametrize("number", [1, 3, 10])
def test_a_change_of_plan_on_each_day_of_a_month_splits_money_and_credits_by_the_days(number):
    """The figures of the plans in test_changes: 31.00 for 310 credits, 100.00 for 2,000."""
    starts_at, ends_at = month(2026, number, BERLIN)
    for day in range(1, 32):
        first = periods.first_moment(date(2026, number, day), BERLIN)
        last = first + timedelta(hours=22, minutes=59)
        at = cut(starts_at, ends_at, first, BERLIN)
        assert cut(starts_at, ends_at, last, BERLIN) == at
        used_of_large = (D(100) * (day - 1) / 31).quantize(D("0.01"), rounding="ROUND_HALF_UP")
        left_of_large = D(2000) - (D(2000) * (day - 1) / 31).quantize(D("0.000001"))
        assert (money_used(D(31), at, "USD"), money_left(D(31), at, "USD")) == (day - 1, 32 - day)
        assert (money_used(D(100), at, "USD"), money_left(D(100), at, "USD")) == (used_of_large, 100 - used_of_large)
        assert (credits_left(D(310), at), credits_left(D(2000), at)) == (10 * (32 - day), left_of_large)


@pytest.mark.parametrize(
    ("amount", "currency", "days", "used", "spent", "left"),
    [
        # 100 x 10 / 31 = 32.2580...
        ("100", "EUR", 31, 10, "32.26", "67.74"),
        ("200", "EUR", 31, 10, "64.52", "135.48"),
        # 0.01 x 1 / 2 = 0.005: the first half is rounded half-up, the second is what remains.
        ("0.01", "EUR", 2, 1, "0.01", "0.00"),
        # 1,000 x 10 / 30 = 333.33: whole yen. 1.000 x 1 / 3 = 0.3333: three places in Kuwait.
        ("1000", "JPY", 30, 10, "333", "667"),
        ("1", "KWD", 3, 1, "0.333", "0.667"),
        ("59.90", "USD", 28, 0, "0", "59.90"),
        ("59.90", "USD", 28, 28, "59.90", "0"),
    ],
)
def test_money_is_rounded_once_and_the_rest_is_left(amount, currency, days, used, spent, left):
    at = Cut(days, used)
    assert (money_used(D(amount), at, currency), money_left(D(amount), at, currency)) == (D(spent), D(left))


@pytest.mark.parametrize(
    ("credits", "days", "used", "left"),
    [
        # 1,000 x 10 / 31 = 322.580645161...; 1 x 1 / 3 = 0.333333.
        ("1000", 31, 10, "677.419355"),
        ("1", 3, 1, "0.666667"),
        ("500", 30, 0, "500"),
        ("500", 30, 30, "0"),
        # 0.000001 x 1 / 2 lies half-way: to the even neighbour, which is nothing; 0.000003 x 1 / 2 to 0.000002.
        ("0.000001", 2, 1, "0.000001"),
        ("0.000003", 2, 1, "0.000001"),
    ],
)
def test_credits_of_the_days_that_are_left(credits, days, used, left):
    assert credits_left(D(credits), Cut(days, used)) == D(left)


def test_a_part_of_credits_has_six_decimals():
    assert part_of_credits(D(2), part=D(1), of=D(3)) == D("0.666667")
    assert part_of_credits(D(7), part=D(3), of=D(3)) == 7


@pytest.mark.parametrize(
    ("new", "new_days", "old", "old_days", "dearer"),
    [
        ("60", 30, "30", 30, True),
        ("30", 30, "60", 30, False),
        ("30", 30, "30", 30, False),
        # A year for 300.00 is 0.82 a day, a month for 30.00 is 1.00; a year for 365.01 is a trifle more.
        ("300", 365, "30", 30, False),
        ("365", 365, "30", 30, False),
        ("365.01", 365, "30", 30, True),
        ("0.01", 365, "0", 30, True),
    ],
)
def test_dearer_is_told_by_the_day(new, new_days, old, old_days, dearer):
    assert is_dearer(D(new), new_days=new_days, old=D(old), old_days=old_days) is dearer


CUTS = st.integers(1, 400).flatmap(lambda days: st.builds(Cut, st.just(days), st.integers(0, days)))
CENTS = st.integers(0, 10**12).map(lambda cents: D(cents) / 100)


@given(CENTS, CUTS)
def test_the_two_parts_make_the_whole_and_neither_is_off_by_more_than_half_a_cent(amount, at):
    used, left = money_used(amount, at, "EUR"), money_left(amount, at, "EUR")
    assert used + left == amount
    assert used >= 0
    assert left >= 0
    assert abs(used * at.days - amount * at.used) * 2 <= at.days * D("0.01")


@given(CENTS, CENTS, st.integers(1, 400), st.data())
def test_a_change_that_is_taken_back_leaves_just_the_days_it_was_for(old, new, days, data):
    first = data.draw(st.integers(0, days - 1))
    second = data.draw(st.integers(first, days - 1))
    there, back = Cut(days, first), Cut(days, second)
    paid = old - money_left(old, there, "EUR") + money_left(new, there, "EUR")
    paid += money_left(old, back, "EUR") - money_left(new, back, "EUR")
    of_old = money_used(old, there, "EUR") + money_left(old, back, "EUR")
    of_new = money_used(new, back, "EUR") - money_used(new, there, "EUR")
    assert paid == of_old + of_new
    if first == second:
        assert paid == old
    exact = old * (first + days - second) + new * (second - first)
    assert abs(paid * days - exact) <= 2 * days * D("0.01")


@given(st.integers(0, 10**15).map(lambda parts: D(parts) / 10**6), st.integers(1, 400), st.data())
def test_credits_never_grow_as_days_pass(credits, days, data):
    used = data.draw(st.integers(0, days - 1))
    assert credits_left(credits, Cut(days, 0)) == credits
    assert credits_left(credits, Cut(days, used)) >= credits_left(credits, Cut(days, used + 1)) >= 0


@given(CENTS, st.integers(1, 400), CENTS, st.integers(1, 400))
def test_of_two_prices_at_most_one_is_dearer(new, new_days, old, old_days):
    there = is_dearer(new, new_days=new_days, old=old, old_days=old_days)
    back = is_dearer(old, new_days=old_days, old=new, old_days=new_days)
    assert not (there and back)
    assert (there or back) is (new * old_days != old * new_days)


def test_a_cut_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Cut(30, 1).used = 2
