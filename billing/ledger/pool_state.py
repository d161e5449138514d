"""A pool and its lots in memory: the structures that the ledger's pure arithmetic works on. No I/O.

A `PoolState` is a pool with its open lots, read under the pool's lock by `pool_store.open_pools` and written back by
`pool_store.write_pools`. The pure functions of `burn.py` and `moves.py` change it and note each step as a `Line` of a
`Draft` posting. What may be refused is asked first (`ensure_covered`, `ensure_free`), before a draft is begun, so a
refusal has changed nothing.

Burn order (L2): priority, then scoped to a meter before general, then soonest expiry (never last), then promotional
before paid, then effective time, then id. Lots are kept in that order, so spending walks them once.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

ZERO = Decimal(0)
NEVER = datetime.max.replace(tzinfo=UTC)
DEBT_KINDS = ("overage", "overdraft")
ROLLING_KINDS = ("allocation", "rollover")


@dataclass(slots=True, eq=False)
class Lot:
    """A credit grant in memory; the fields are the table's. `id` is None until a new lot is written."""

    id: int | None
    kind: str
    amount: Decimal
    remaining: Decimal
    held: Decimal
    spent: Decimal
    reversed: Decimal
    expired: Decimal
    revoked: Decimal
    transferred: Decimal
    is_open: bool
    priority: int
    effective_at: datetime
    expires_at: datetime | None
    cost_basis: Decimal
    currency: str
    meter_id: int | None
    rollovers: int = 0
    source: "Lot | int | None" = None
    note: str = ""
    changed: bool = False

    @property
    def free(self) -> Decimal:
        return self.remaining - self.held

    @property
    def outstanding(self) -> Decimal:
        """What of a debt lot has been neither repaid nor given back."""
        return self.amount - self.revoked

    def is_valid_at(self, at: datetime) -> bool:
        return self.effective_at <= at and (self.expires_at is None or at < self.expires_at)

    @property
    def burn_key(self) -> tuple[object, ...]:
        return (
            self.priority,
            self.meter_id is None,
            self.expires_at or NEVER,
            self.cost_basis > 0,
            self.effective_at,
            self.id if self.id is not None else 1 << 62,
        )


@dataclass(slots=True)
class Line:
    """One ledger entry to be: `flow` is the lot's counter, `amount` the signed change of its remaining credits."""

    lot: Lot
    flow: str
    amount: Decimal
    reverses_line: int | None = None
    repays: Lot | int | None = None


@dataclass(slots=True, eq=False)
class Draft:
    """A posting to be. `id` is given beforehand, so that rows written beside it can name it."""

    id: int
    act: str
    reference: str
    version: int
    balance_before: Decimal
    occurred_at: datetime
    posted_at: datetime
    lines: list[Line] = field(default_factory=list)
    credits: Decimal = ZERO
    amount: Decimal = ZERO
    balance_after: Decimal = ZERO
    overdraft_after: Decimal = ZERO
    fingerprint: bytes | None = None
    meter_id: int | None = None
    member_id: int | None = None
    hold_id: int | None = None
    reverses_id: int | None = None
    counterpart_id: int | None = None
    actor: str = ""
    note: str = ""


@dataclass(slots=True)
class Crossing:
    """That a pool's spending crossed a threshold (percent of the cycle's allocation)."""

    threshold: int
    cycle_number: int
    arming: int
    spent: Decimal
    allocation: Decimal


@dataclass(slots=True)
class Fall:
    """That a pool has fewer credits left than `below`."""

    left: Decimal
    below: Decimal


@dataclass(slots=True, eq=False)
class PoolState:
    """A pool and its open lots in memory, under the pool's lock."""

    pool_id: int
    account_id: int
    key: str
    policy: str
    burst_limit: Decimal
    overage_cap: Decimal | None
    balance: Decimal
    held: Decimal
    held_uncovered: Decimal
    overdraft: Decimal
    version: int
    last_posted_at: datetime
    cycle_number: int
    cycle_starts_at: datetime
    cycle_ends_at: datetime
    cycle_allocation: Decimal
    cycle_spent: Decimal
    cycle_overage: Decimal
    cycle_carried: Decimal
    alert_level: int
    alert_arming: int
    time_zone: str
    currency: str
    parked: bool
    low_balance_below: Decimal | None = None
    low_balance_told: bool = False
    cycle_interval: str = "month"
    cycle_interval_count: int = 1
    cycle_anchor_on: date | None = None
    paused: bool = False
    renews_at: datetime | None = None
    last_cycle_starts_at: datetime | None = None
    cycle_rolled_spent: Decimal = ZERO
    lots: list[Lot] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)
    crossings: list[Crossing] = field(default_factory=list)
    fall: Fall | None = None
    posting_ids: list[int] = field(default_factory=list)
    changed: bool = False


def draft(state: PoolState, *, act: str, reference: str, now: datetime, occurred_at: datetime | None = None) -> Draft:
    """Begin the pool's next posting. Its time never lies before the pool's last one, so versions are in time order."""
    state.version += 1
    state.last_posted_at = max(state.last_posted_at, now)
    posting = Draft(
        id=state.posting_ids.pop(),
        act=act,
        reference=reference,
        version=state.version,
        balance_before=state.balance,
        occurred_at=occurred_at or now,
        posted_at=state.last_posted_at,
    )
    posting.balance_after, posting.overdraft_after = state.balance, state.overdraft
    state.drafts.append(posting)
    state.changed = True
    return posting


def move(state: PoolState, posting: Draft, line: Line) -> None:
    """Apply a line to its lot, pool and posting, joining it to the posting's last line where that is the same."""
    lot, amount = line.lot, line.amount
    size = abs(amount)
    if line.flow == "grant":
        lot.amount += size
    elif line.flow == "spend":
        lot.spent += size
    elif line.flow == "reverse":
        lot.reversed += size
    elif line.flow == "expire":
        lot.expired += size
    elif line.flow == "revoke":
        lot.revoked += size
    else:
        lot.transferred += size
    lot.remaining += amount
    lot.is_open = stays_open(lot)
    lot.changed = True
    state.balance += amount
    posting.amount += amount
    posting.balance_after, posting.overdraft_after = state.balance, state.overdraft
    twin = _line_to_join(posting.lines, line)
    if twin is not None:
        twin.amount += amount
    else:
        posting.lines.append(line)


def _line_to_join(lines: list[Line], line: Line) -> Line | None:
    """The last line of the same kind and lot, if any; a debt lot's grant may stand one before."""
    for twin in lines[-1:] if line.flow != "grant" else lines[-2:]:
        if (
            twin.lot is line.lot
            and twin.flow == line.flow
            and twin.reverses_line == line.reverses_line
            and twin.repays is line.repays
        ):
            return twin
    return None


def stays_open(lot: Lot) -> bool:
    if lot.kind == "overdraft":
        return lot.outstanding > 0
    return lot.remaining > 0 or lot.kind == "overage"


def add_lot(state: PoolState, posting: Draft, lot: Lot) -> Lot:
    """Put a new lot (with amount zero) in its place in burn order and grant its credits. `lot.amount` is the grant."""
    granted, lot.amount = lot.amount, ZERO
    state.lots.append(lot)
    state.lots.sort(key=lambda each: each.burn_key)
    move(state, posting, Line(lot, "grant", granted))
    return lot


def new_lot(
    *,
    kind: str,
    amount: Decimal,
    effective_at: datetime,
    currency: str,
    expires_at: datetime | None = None,
    priority: int = 50,
    cost_basis: Decimal = ZERO,
    meter_id: int | None = None,
    rollovers: int = 0,
    source: "Lot | int | None" = None,
    note: str = "",
) -> Lot:
    """A lot not yet written, of `amount` credits."""
    zeros = (ZERO,) * 7
    return Lot(
        None, kind, amount, *zeros, True, priority, effective_at, expires_at, cost_basis, currency, meter_id,
        rollovers, source, note,
    )  # fmt: skip


def charged_as_of(state: PoolState, occurred_at: datetime, *, now: datetime, grace_seconds: int) -> datetime:
    """The moment that usage counts at, in its pool's cycles: when it happened, while that cycle runs or is in its
    grace; now, once it has closed."""
    if occurred_at >= state.cycle_starts_at:
        return occurred_at
    last = state.last_cycle_starts_at
    in_grace = now < state.cycle_starts_at + timedelta(seconds=grace_seconds)
    return occurred_at if last is not None and last <= occurred_at and in_grace else now


def is_closing(state: PoolState, at: datetime) -> bool:
    """Whether what is charged as of `at` belongs to the cycle before, which has ended and is in its grace."""
    return at < state.cycle_starts_at and state.last_cycle_starts_at is not None


def turn(state: PoolState, at: datetime) -> int:
    """Which cycle what is charged as of `at` belongs to: 0 the one before, 1 the one that runs, 2 the one to come."""
    if at >= state.cycle_starts_at:
        return 1 if at < state.cycle_ends_at else 2
    return 0 if is_closing(state, at) else 1


def may_spend(state: PoolState, lot: Lot, *, now: datetime, charged_at: datetime, meter_id: int | None) -> bool:
    """Whether a lot's free credits are good for a spend (L6).

    Within the cycle that runs: lots that are valid now, or were when it happened and have not been posted as expired.
    Of the cycle before, while its grace lasts: what would have been good had it come in time, so nothing that began
    with the new cycle, but what the old cycle has handed on to it (see `moves.roll_over`). Of the cycle to come: lots
    that are valid then.
    """
    if lot.kind in DEBT_KINDS or (lot.meter_id is not None and lot.meter_id != meter_id):
        return False
    if lot.is_valid_at(charged_at):
        return True
    if is_closing(state, charged_at):
        ended_at = state.cycle_starts_at
        return is_handed_on(state, lot) or (lot.effective_at < ended_at <= (lot.expires_at or NEVER))
    return charged_at < state.cycle_ends_at and lot.is_valid_at(now)


def is_handed_on(state: PoolState, lot: Lot) -> bool:
    """Whether a lot holds credits that the cycle before has rolled over into this one."""
    return lot.kind == "rollover" and lot.effective_at == state.cycle_starts_at


def spendable(state: PoolState, *, now: datetime, charged_at: datetime, meter_id: int | None) -> list[Lot]:
    """Lots with free credits that a spend may use, in burn order."""
    lots = [
        lot
        for lot in state.lots
        if lot.free > 0 and may_spend(state, lot, now=now, charged_at=charged_at, meter_id=meter_id)
    ]
    if is_closing(state, charged_at):
        lots.sort(key=lambda lot: _as_it_was(state, lot).burn_key)
    return lots


def _as_it_was(state: PoolState, lot: Lot) -> Lot:
    """A lot with the end that its credits had in the cycle before."""
    return replace(lot, expires_at=state.cycle_starts_at) if is_handed_on(state, lot) else lot


def available(state: PoolState, *, at: datetime) -> Decimal:
    """Credits available at a moment (L5): all lots valid then, less what open holds reserve and what is overdrawn."""
    return _beyond_overdraft(
        state, [lot for lot in state.lots if lot.kind not in DEBT_KINDS and lot.free > 0 and lot.is_valid_at(at)]
    )


def available_for(state: PoolState, *, at: datetime, meter_id: int | None) -> Decimal:
    """Credits available at a moment to usage of one meter (None: to spends without a meter)."""
    return _beyond_overdraft(state, spendable(state, now=at, charged_at=at, meter_id=meter_id))


def _beyond_overdraft(state: PoolState, lots: list[Lot]) -> Decimal:
    """What overdraft leaves of these lots: it is repaid from general credits only, so those of a meter stay whole."""
    general = free_credits([lot for lot in lots if lot.meter_id is None])
    return free_credits(lots) - min(general, state.overdraft)


def left(state: PoolState, *, at: datetime) -> Decimal:
    """Credits not yet spent at a moment: as `available`, but what open holds reserve is still there."""
    valid = [lot for lot in state.lots if lot.kind not in DEBT_KINDS and lot.remaining > 0 and lot.is_valid_at(at)]
    general = sum((lot.remaining for lot in valid if lot.meter_id is None), ZERO)
    return sum((lot.remaining for lot in valid), ZERO) - min(general, state.overdraft)


def free_credits(lots: list[Lot]) -> Decimal:
    """Sum of what is free in these lots."""
    return sum((lot.free for lot in lots), ZERO)


def set_held(state: PoolState, lot: Lot, change: Decimal) -> None:
    lot.held += change
    lot.changed = True
    state.held += change
    state.changed = True
