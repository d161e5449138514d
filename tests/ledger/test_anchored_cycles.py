"""A pool's cycles may follow a subscription's periods instead of calendar months."""

from datetime import UTC, date, datetime, timedelta

import pytest

from billing.ledger.cycles import roll_cycle
from tests.ledger.makers import make_state


def cycles(state, times):
    """The starts of the next cycles, each begun at the moment the one before ends."""
    starts = []
    for _ in range(times):
        roll_cycle(state, now=state.cycle_ends_at)
        starts.append(state.cycle_starts_at.isoformat()[:16])
    return starts


def anchored(zone, on, interval, count, starts_at, ends_at):
    return make_state(
        time_zone=zone, cycle_anchor_on=date.fromisoformat(on), cycle_interval=interval, cycle_interval_count=count,
        cycle_starts_at=datetime.fromisoformat(f"{starts_at}+00:00"),
        cycle_ends_at=datetime.fromisoformat(f"{ends_at}+00:00"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "on", "interval", "count", "first", "expected"),
    [
        (
            "UTC", "2026-01-31", "month", 1, ("2026-01-31T09:30", "2026-02-28T00:00"),
            ["2026-02-28T00:00", "2026-03-31T00:00", "2026-04-30T00:00"],
        ),
        # Berlin is put forward on 29 March: days begin at 23:00 UTC before, at 22:00 UTC after.
        (
            "Europe/Berlin", "2026-02-15", "month", 1, ("2026-02-15T11:00", "2026-03-14T23:00"),
            ["2026-03-14T23:00", "2026-04-14T22:00", "2026-05-14T22:00"],
        ),
        (
            "America/New_York", "2026-10-26", "week", 1, ("2026-10-26T04:00", "2026-11-02T05:00"),
            ["2026-11-02T05:00", "2026-11-09T05:00"],
        ),
        (
            "Asia/Tokyo", "2024-02-29", "year", 1, ("2026-02-27T15:00", "2027-02-27T15:00"),
            ["2027-02-27T15:00", "2028-02-28T15:00"],
        ),
    ],
)  # fmt: skip
def test_cycles_are_counted_from_the_anchor(zone, on, interval, count, first, expected):
    assert cycles(anchored(zone, on, interval, count, *first), len(expected)) == expected


def test_an_act_long_after_begins_the_cycle_that_it_lies_in():
    state = anchored("UTC", "2026-01-31", "month", 1, "2026-01-31T00:00", "2026-02-28T00:00")
    roll_cycle(state, now=datetime(2026, 12, 31, tzinfo=UTC) - timedelta(microseconds=1))
    assert (state.cycle_number, state.cycle_starts_at) == (11, datetime(2026, 11, 30, tzinfo=UTC))
    assert state.cycle_ends_at == datetime(2026, 12, 31, tzinfo=UTC)
