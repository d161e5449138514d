"""The arithmetic of "runs out on", with numbers worked by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.ledger.balance import Balance, Lot
from portal.forecast import Forecast, Pace, forecast, pace_of

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def _lot(
    number: int,
    remaining: int,
    *,
    until: int | None = None,
    since: int = -1,
    held: int = 0,
    meter: str | None = None,
) -> Lot:
    """A lot that is good from `since` days from now until `until` days from now."""
    ends = None if until is None else NOW + until * DAY
    return Lot(
        number, "bonus", Decimal(remaining), Decimal(remaining), Decimal(held), 50, NOW + since * DAY, ends, meter,
        Decimal(0), "USD",
    )  # fmt: skip


def _look(*lots: Lot, daily: str = "10", overdraft: int = 0, renews_in: int | None = None) -> Forecast:
    balance = Balance(1, "main", Decimal(0), Decimal(0), Decimal(overdraft), None, list(lots), None)
    credits_at = None if renews_in is None else NOW + renews_in * DAY
    return forecast(balance, Pace(Decimal(daily), 14), now=NOW, credits_at=credits_at)


def _pace(*spent: int, today: str = "1") -> Pace:
    """The pace of these days, the last of them today, of which that share has passed."""
    return pace_of([Decimal(credits) for credits in spent], today=Decimal(today))


def test_the_pace_is_the_average_of_the_last_14_days_with_zeros() -> None:
    # 7 working days of 20 in 14 days: 140 / 14.
    assert _pace(*[90] * 14, *[20, 0] * 7) == Pace(Decimal(10), 14)


def test_rare_usage_is_averaged_over_28_days() -> None:
    # Two uses of 140 in the last 14 days, two before: 560 / 28.
    assert _pace(140, *[0] * 6, 140, *[0] * 6, 140, *[0] * 6, 140, *[0] * 6) == Pace(Decimal(20), 28)


def test_today_counts_for_as_much_of_it_as_has_passed() -> None:
    # 13 days of 10, and 20 in the first half of today: 140 in 13.5 days would be damped, so 130 + 10.
    assert _pace(*[10] * 13, 20, today="0.5").daily == Decimal(140) / Decimal("13.5")
    assert _pace(0, 30, 25, today="0.2").daily == Decimal(25)


def test_the_busiest_day_counts_no_more_than_the_next() -> None:
    # 13 days of 10 and one of 5,000: as if it were 10 too.
    assert _pace(*[10] * 6, 5000, *[10] * 7) == Pace(Decimal(10), 14)


def test_with_few_days_of_usage_each_counts_in_full() -> None:
    assert _pace(0, 0, 280, 0) == Pace(Decimal(70), 4)


def test_only_the_last_28_days_count() -> None:
    assert _pace(1000, *[0] * 28) == Pace(Decimal(0), 28)
    assert _pace() == Pace(Decimal(0), 0)


def test_given_back_credits_make_no_negative_pace() -> None:
    assert _pace(5, -20).daily == 0


def test_the_first_days_foretell_nothing() -> None:
    balance = Balance(1, "main", Decimal(0), Decimal(0), Decimal(0), None, [_lot(1, 100)], None)
    assert forecast(balance, Pace(Decimal(0), 2, is_early=True), now=NOW).state == "early"
    assert forecast(balance, Pace(Decimal(0), 0), now=NOW).state == "unused"


def test_credits_run_out_when_the_pace_has_used_them() -> None:
    found = _look(_lot(1, 105))
    assert (found.state, found.ends_at, found.lost) == ("runs_out", NOW + timedelta(days=10.5), {})


def test_what_expires_first_is_used_first_and_its_rest_is_lost() -> None:
    # 10 a day: 50 of the first lot's 80 are used in its five days, 30 are lost; then 100 last ten days more.
    found = _look(_lot(1, 80, until=5), _lot(2, 100))
    assert (found.ends_at, found.lost, found.lost_credits) == (NOW + 15 * DAY, {1: 30}, 30)


def test_a_lot_that_is_used_up_before_it_ends_loses_nothing() -> None:
    found = _look(_lot(1, 30, until=5), _lot(2, 100))
    assert (found.ends_at, found.lost) == (NOW + 13 * DAY, {})


def test_what_expires_unused_does_not_run_out_and_would_have_lasted_longer() -> None:
    # At 10 a day 2,290 would last 229 days, but they are good for five.
    found = _look(_lot(1, 2290, until=5))
    assert (found.state, found.days, found.ends_at, found.lost) == ("expires", 229, NOW + 5 * DAY, {1: 2240})
    # Also where the last of several lots expires unused, and a later lot begins only after that.
    found = _look(_lot(1, 80, until=5), _lot(2, 1000, until=31), _lot(3, 50, since=40))
    assert (found.state, found.days, found.ends_at, found.lost) == ("expires", 108, NOW + 31 * DAY, {1: 30, 2: 740})
    # One that is used up when it ends has run out.
    assert _look(_lot(1, 50, until=5), _lot(2, 50, since=40)).state == "runs_out"


def test_a_lot_that_begins_in_time_counts_and_one_that_begins_too_late_does_not() -> None:
    assert _look(_lot(1, 50), _lot(2, 40, since=4)).ends_at == NOW + 9 * DAY
    assert _look(_lot(1, 50), _lot(2, 40, since=7)).ends_at == NOW + 5 * DAY


def test_what_is_held_or_owed_is_not_there() -> None:
    assert _look(_lot(1, 100, held=40)).ends_at == NOW + 6 * DAY
    assert _look(_lot(1, 20, until=9), _lot(2, 100), overdraft=50).ends_at == NOW + 7 * DAY


def test_credits_of_one_meter_are_left_out() -> None:
    assert _look(_lot(1, 500, meter="images"), _lot(2, 30)).ends_at == NOW + 3 * DAY
    assert _look(_lot(1, 500, meter="images")).state == "empty"


@pytest.mark.parametrize("overdraft", [0, 100, 101])
def test_without_credits_there_is_nothing_to_foretell(overdraft: int) -> None:
    lots = [_lot(1, 100)] if overdraft else []
    found = _look(*lots, overdraft=overdraft)
    assert (found.state, found.ends_at) == ("empty", None)


def test_without_usage_they_do_not_run_out() -> None:
    assert _look(_lot(1, 100, until=5), daily="0").state == "idle"


def test_a_year_is_as_far_as_it_looks() -> None:
    assert _look(_lot(1, 3649)).ends_at == NOW + timedelta(days=364.9)
    assert _look(_lot(1, 3651)).state == "lasts"
    assert _look(_lot(1, 5000), _lot(2, 50, until=300)).lost == {2: 50}


def test_a_plan_that_brings_the_next_credits_in_time_is_as_far_as_it_looks() -> None:
    # 10 a day of 1,000 that end with the cycle in 20 days: 800 are left then.
    found = _look(_lot(1, 1000, until=20), renews_in=20)
    assert (found.state, found.ends_at, found.lost) == ("renews", None, {1: 800})
    assert _look(_lot(1, 200, until=20), renews_in=20).state == "renews"


def test_credits_may_run_out_before_the_plan_brings_the_next() -> None:
    found = _look(_lot(1, 100, until=20), renews_in=20)
    assert (found.state, found.ends_at) == ("runs_out", NOW + 10 * DAY)


def test_a_renewal_that_is_more_than_a_year_off_or_past_changes_nothing() -> None:
    assert _look(_lot(1, 100), renews_in=400).state == "runs_out"
    assert _look(_lot(1, 100), renews_in=-1).ends_at == NOW + 10 * DAY
