"""When a pool's credits run out. Pure arithmetic: no I/O, no clock.

The pace is an average of days, days without usage and today so far included: of the last 14 if credits were used on
five of them, else of the last 28. Where credits were used on five days or more, the busiest counts no more than the
next: one freak day moves no date. Before the third day with data there is no forecast.

Usage and expiry are two answers. At the pace, credits are taken lot by lot in burn order; what a lot still has when it
ends is lost, and a lot that begins later is there only then. Credits that end by expiry do not run out: the forecast
then says how long they would have lasted. Credits for one meter are left out, because how much of the pace is its usage
is not known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from billing.ledger.balance import Balance, Lot

RECENT_DAYS, MAX_DAYS = 14, 28
ENOUGH_DAYS = 5
LEAST_DAYS = 3
HORIZON = timedelta(days=365)
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Pace:
    """Credits a day, averaged over so many days, of which today is the last. `is_early`: too few to foretell from."""

    daily: Decimal
    days: int
    is_early: bool = False


@dataclass(frozen=True, slots=True)
class Forecast:
    """What becomes of a pool's credits at a pace.

    `state`: `empty` (nothing is available), `unused` (no usage yet), `early` (fewer than LEAST_DAYS of data), `idle`
    (no usage in the days looked at), `lasts` (longer than HORIZON), `renews` (until a plan brings the next credits),
    `runs_out` (used up, `ends_at`) or `expires` (the last of them expire `ends_at`, not used up). `lost` are the
    credits by lot that expire unused until then; `days`, how many the credits available now last at the pace, whatever
    expires.
    """

    state: str
    pace: Pace
    ends_at: datetime | None = None
    lost: dict[int, Decimal] = field(default_factory=dict)
    days: int = 0

    @property
    def lost_credits(self) -> Decimal:
        return sum(self.lost.values(), ZERO)


def pace_of(spent: Sequence[Decimal], *, today: Decimal) -> Pace:
    """The pace of credits spent by day, oldest first, zeros included; of the last 28 at most. The last day is today, of
    which the share `today` has passed."""
    days = list(spent[-MAX_DAYS:])
    recent = days[-RECENT_DAYS:]
    if sum(1 for day in recent if day > 0) >= ENOUGH_DAYS:
        days = recent
    if not days:
        return Pace(ZERO, 0)
    total = sum(days, ZERO)
    if sum(1 for day in days if day > 0) >= ENOUGH_DAYS:
        busiest, next_busiest = sorted(days, reverse=True)[:2]
        total -= busiest - next_busiest
    length = len(days) - 1 + today
    return Pace(max(total, ZERO) / length if length else ZERO, len(days))


def forecast(balance: Balance, pace: Pace, *, now: datetime, credits_at: datetime | None = None) -> Forecast:
    """What becomes of the balance's credits from `now` on, at a pace, until the next ones come `credits_at`."""
    lots = [lot for lot in balance.lots if lot.meter_key is None]
    left = {lot.grant_id: lot.remaining - lot.held for lot in lots}
    unpaid = _take(lots, left, balance.overdraft, at=now)
    free = sum((left[lot.grant_id] for lot in _valid(lots, now)), ZERO)
    if unpaid or not free:
        return Forecast("empty", pace)
    if not pace.days:
        return Forecast("unused", pace)
    if pace.is_early:
        return Forecast("early", pace)
    if not pace.daily:
        return Forecast("idle", pace)
    days = int(free / pace.daily)
    renews = credits_at if credits_at is not None and now < credits_at < now + HORIZON else None
    end, moment = renews or now + HORIZON, now
    lost: dict[int, Decimal] = {}
    turns = {at for lot in lots for at in (lot.effective_at, lot.expires_at) if at and now < at < end}
    for turn in [*sorted(turns), end]:
        short = _take(lots, left, pace.daily * _days(turn - moment), at=moment)
        if short or (turn < end and not any(left.values())):
            spent = _days(turn - moment) - short / pace.daily
            return Forecast("runs_out", pace, moment + timedelta(days=float(spent)), lost, days)
        ended = {lot.grant_id: left.pop(lot.grant_id) for lot in lots if lot.expires_at == turn}
        lost |= {grant_id: credits for grant_id, credits in ended.items() if credits}
        lots = [lot for lot in lots if lot.grant_id in left]
        if turn < end and any(ended.values()) and not any(left[lot.grant_id] for lot in _valid(lots, turn)):
            return Forecast("expires", pace, turn, lost, days)
        moment = turn
    return Forecast("renews" if renews else "lasts", pace, None, lost, days)


def _valid(lots: Sequence[Lot], at: datetime) -> list[Lot]:
    return [lot for lot in lots if lot.effective_at <= at and (lot.expires_at is None or at < lot.expires_at)]


def _take(lots: Sequence[Lot], left: dict[int, Decimal], wanted: Decimal, *, at: datetime) -> Decimal:
    """Take credits from the lots valid then, in burn order; what could not be had."""
    for lot in _valid(lots, at):
        taken = min(left[lot.grant_id], wanted)
        left[lot.grant_id] -= taken
        wanted -= taken
    return wanted


def _days(span: timedelta) -> Decimal:
    return Decimal(span // timedelta(microseconds=1)) / 86_400_000_000
