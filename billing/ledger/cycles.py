"""A pool's cycle: its allocation, what of it is spent, and the alerts on the way. Pure arithmetic, no I/O.

L12: a cycle's allocation is what was available when it began and what is granted since. Crossing 75, 90 and 100 %
is noted once each per cycle; a top-up arms again the thresholds that are ahead again.
"""

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from billing.catalog import periods
from billing.ledger.pool_state import DEBT_KINDS, ZERO, Crossing, Lot, PoolState, is_closing

THRESHOLDS = (75, 90, 100)


def percent_spent(state: PoolState) -> Decimal:
    if not state.cycle_allocation:
        return ZERO
    return state.cycle_spent * 100 / state.cycle_allocation


def note_crossings(state: PoolState) -> None:
    """Note each threshold that spending has newly reached; a jump over several notes each of them."""
    percent = percent_spent(state)
    for threshold in THRESHOLDS:
        if state.alert_level < threshold <= percent:
            state.alert_level = threshold
            state.crossings.append(
                Crossing(threshold, state.cycle_number, state.alert_arming, state.cycle_spent, state.cycle_allocation)
            )


def lower_allocation(state: PoolState, amount: Decimal) -> None:
    """Credits leave the cycle unspent (transferred, revoked, paid for old debt): what is left may cross a threshold."""
    if amount:
        state.cycle_allocation = max(state.cycle_allocation - amount, ZERO)
        note_crossings(state)


def rearm(state: PoolState) -> None:
    """After a top-up: thresholds above today's percentage may be crossed, and told of, again."""
    percent = percent_spent(state)
    level = max((threshold for threshold in THRESHOLDS if threshold <= percent), default=0)
    if level < state.alert_level:
        state.alert_level = level
        state.alert_arming += 1


def roll_cycle(state: PoolState, *, now: datetime) -> None:
    """Begin the cycle `now` lies in, as often as cycles have ended: calendar months of the account's time zone, or what
    a subscription's periods are (`cycle_interval`, counted from `cycle_anchor_on`).

    A new cycle's allocation is what was left when it began (held credits too: their capture counts as spent) and what
    becomes effective before it ends; alerts are armed anew; overage counts from zero, on a new lot. Overdraft still
    owed is carried: it lowers the allocation when it is repaid, not before, so that it lowers it once.
    """
    while now >= state.cycle_ends_at:
        starts_at, ended = state.cycle_ends_at, state.cycle_starts_at
        begin_cycle(state, starts_at=starts_at, ends_at=_cycle_end(state, starts_at), last_starts_at=ended)


def begin_cycle(
    state: PoolState, *, starts_at: datetime, ends_at: datetime, last_starts_at: datetime | None = None
) -> None:
    """End the pool's cycle and begin the next. One that has run its time began at `last_starts_at`, and has a grace in
    which usage may still come (L6); without, it was cut short and is closed."""
    state.cycle_number += 1
    state.last_cycle_starts_at = last_starts_at
    state.cycle_starts_at, state.cycle_ends_at = starts_at, ends_at
    of_cycle = (lot.remaining for lot in state.lots if is_of_cycle(state, lot))
    state.cycle_allocation = sum(of_cycle, ZERO)
    # What was used ahead of time, in this cycle, before it began.
    ahead = sum(
        (lot.outstanding for lot in state.lots if lot.kind == "overage" and lot.effective_at >= starts_at), ZERO
    )
    state.cycle_spent = state.cycle_overage = ahead
    state.cycle_rolled_spent = ZERO
    state.cycle_carried = state.overdraft
    state.alert_level = 0
    state.changed = True
    for lot in state.lots:
        if lot.kind == "overage" and lot.is_open and lot.effective_at < (last_starts_at or starts_at):
            lot.is_open = False
            lot.changed = True


def runs_at(state: PoolState, at: datetime) -> bool:
    """Whether what is charged as of `at` belongs to the cycle that the pool is in."""
    return at < state.cycle_ends_at and (at >= state.cycle_starts_at or not is_closing(state, at))


def _cycle_end(state: PoolState, starts_at: datetime) -> datetime:
    """When the cycle that begins at `starts_at` ends."""
    return bounds(
        starts_at,
        interval=state.cycle_interval,
        count=state.cycle_interval_count,
        anchor_on=state.cycle_anchor_on,
        time_zone=state.time_zone,
    )[1]


def bounds(
    at: datetime, *, interval: str, count: int, anchor_on: date | None, time_zone: str
) -> tuple[datetime, datetime]:
    """The cycle that a moment lies in: a calendar month, or the intervals counted from the anchor."""
    if anchor_on is None:
        return month_start(at, time_zone), month_after(at, time_zone)
    number = periods.number_at(anchor_on, interval=interval, count=count, on=periods.day_of(at, time_zone))
    first, last = (periods.boundary(anchor_on, interval=interval, count=count, number=number + i) for i in (0, 1))
    return periods.first_moment(first, time_zone), periods.first_moment(last, time_zone)


def is_of_cycle(state: PoolState, lot: Lot) -> bool:
    """Whether a lot's credits are good at some time of the pool's cycle, and so count in its allocation."""
    return (
        lot.kind not in DEBT_KINDS
        and lot.effective_at < state.cycle_ends_at
        and (lot.expires_at is None or lot.expires_at > state.cycle_starts_at)
    )


def month_start(at: datetime, time_zone: str) -> datetime:
    """Midnight of the first of the month that `at` lies in, in the time zone, as UTC."""
    local = at.astimezone(ZoneInfo(time_zone))
    return local.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC)


def month_after(at: datetime, time_zone: str) -> datetime:
    """Midnight of the first of the month after the one `at` lies in, in the time zone, as UTC."""
    local = at.astimezone(ZoneInfo(time_zone))
    year, month = (local.year + 1, 1) if local.month == 12 else (local.year, local.month + 1)
    first = local.replace(year=year, month=month, day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
    return first.astimezone(UTC)
