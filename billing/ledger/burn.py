"""Spending and holding: which credits an amount burns, and what if they run short. Pure arithmetic, no I/O."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from billing.ledger.cycles import is_of_cycle, lower_allocation, note_crossings, runs_at
from billing.ledger.pool_state import (
    ZERO,
    Draft,
    Line,
    Lot,
    PoolState,
    draft,
    free_credits,
    is_closing,
    is_handed_on,
    move,
    new_lot,
    set_held,
    spendable,
    turn,
)


class InsufficientCredits(Exception):
    """The credits of a pool and its exhaustion policy do not cover the amount. Both are credits; `pool` is the pool."""

    def __init__(self, required: Decimal, available: Decimal, state: PoolState) -> None:
        super().__init__(f"{required} credits required, {available} available")
        self.state = state
        self.required = required
        self.available = available


class NotEnoughLeft(Exception):
    """Less is free in the lot or pool than was asked for (held credits are not free). Both are credits."""

    def __init__(self, required: Decimal, free: Decimal) -> None:
        super().__init__(f"{required} credits asked for, {free} free")
        self.required = required
        self.free = free


def policy_room(state: PoolState, *, at: datetime | None = None) -> Decimal | None:
    """How many credits beyond the lots the exhaustion policy allows, charged as of `at` (default: now); None: without
    limit. The cap on overage is that of the cycle that it belongs to."""
    if state.policy == "burst":
        return max(state.burst_limit - state.overdraft - state.held_uncovered, ZERO)
    if state.policy == "overage":
        if state.overage_cap is None:
            return None
        used = state.cycle_overage
        if at is not None and not runs_at(state, at):
            lot = _overage_lot(state, at)
            used = lot.outstanding if lot is not None else ZERO
        return max(state.overage_cap - used - state.held_uncovered, ZERO)
    return ZERO


def burn(
    state: PoolState, posting: Draft, credits: Decimal, *, lots: Iterable[Lot], charged_at: datetime | None = None
) -> None:
    """Spend credits from `lots` (burn order), then on the exhaustion policy; count them in the cycle and its alerts.

    They count in the cycle that `charged_at` (default: when the posting happened) lies in: the alerts are those of the
    cycle that runs, so they leave out what belongs to the one before or after.

    Never refuses: under `block`, and beyond a limit, the shortfall becomes overdraft, as facts need. A charge asks
    `ensure_covered` first.
    """
    left, at = credits, charged_at or posting.occurred_at
    runs = runs_at(state, at)
    for lot in lots:
        if not left:
            break
        taken = min(lot.free, left)
        if taken > 0:
            _spend(state, posting, lot, taken, runs)
            left -= taken
    if left and is_closing(state, at):
        left -= _spend_in_stead(state, posting, left)
    if left:
        _run_short(state, posting, left, at)
    _count_spent(state, posting, credits, runs)


def _spend_in_stead(state: PoolState, posting: Draft, most: Decimal) -> Decimal:
    """For usage of the cycle before, spend of this cycle's credits as much as this cycle's usage, which came first, has
    spent of what was rolled over: in time it would have been the other way round. How much."""
    in_stead = credits = min(most, state.cycle_rolled_spent)
    state.cycle_rolled_spent -= credits
    now = posting.posted_at
    for lot in spendable(state, now=now, charged_at=now, meter_id=posting.meter_id):
        taken = min(lot.free, credits)
        if taken > 0:
            _spend(state, posting, lot, taken, False)
            credits -= taken
    if credits:
        _run_short(state, posting, credits, now)
    return in_stead


def _spend(state: PoolState, posting: Draft, lot: Lot, credits: Decimal, runs: bool) -> None:
    """Spend from a lot. Where it is not for the cycle that runs, its credits leave that one's allocation, unspent."""
    move(state, posting, Line(lot, "spend", -credits))
    if not runs:
        if is_of_cycle(state, lot):
            lower_allocation(state, credits)
    elif is_handed_on(state, lot):
        state.cycle_rolled_spent += credits


def _count_spent(state: PoolState, posting: Draft, credits: Decimal, runs: bool) -> None:
    posting.credits += credits
    if runs:
        state.cycle_spent += credits
        note_crossings(state)


def owe(state: PoolState, posting: Draft, credits: Decimal) -> None:
    """Owe credits that were used and are not paid for: overdraft, whatever the pool's policy. Their use has counted in
    its own cycle already: like debt of earlier cycles it comes out of the allocation when it is repaid."""
    state.overdraft += credits
    state.cycle_carried += credits
    _spend_on_debt(state, posting, "overdraft", credits, posting.occurred_at, _overdraft_lot(state))
    posting.credits += credits


def ensure_covered(state: PoolState, credits: Decimal, covered: Decimal, *, at: datetime | None = None) -> None:
    """Raise InsufficientCredits unless `covered` credits on lots and the policy together reach `credits`, charged as of
    `at` (default: now)."""
    room = policy_room(state, at=at)
    if room is not None and credits - covered > room:
        raise InsufficientCredits(credits, covered, state)


def ensure_free(amount: Decimal, free: Decimal) -> None:
    """Raise NotEnoughLeft when `amount` is more than is free (spent or held credits cannot be taken)."""
    if amount > free:
        raise NotEnoughLeft(amount, free)


def _run_short(state: PoolState, posting: Draft, shortfall: Decimal, at: datetime) -> None:
    """Turn a shortfall into an overage lot (as far as policy and cap allow) and an overdraft lot, spent at once.

    Overage is counted on the lot of the cycle it belongs to, and is measured by that cycle's cap.
    """
    if state.policy == "overage":
        room = policy_room(state, at=at)
        metered = shortfall if room is None else min(shortfall, room)
        if metered:
            if runs_at(state, at):
                state.cycle_overage += metered
            _spend_on_debt(state, posting, "overage", metered, at, _overage_lot(state, at))
            shortfall -= metered
    if shortfall:
        state.overdraft += shortfall
        if at < state.cycle_starts_at:
            state.cycle_carried += shortfall
        _spend_on_debt(state, posting, "overdraft", shortfall, at, _overdraft_lot(state))


def _overdraft_lot(state: PoolState) -> Lot | None:
    return next((lot for lot in state.lots if lot.kind == "overdraft" and lot.is_open), None)


def _overage_lot(state: PoolState, at: datetime) -> Lot | None:
    """The open lot of the overage of the cycle that `at` lies in: this one, the last or the next."""
    lots = (lot for lot in state.lots if lot.kind == "overage" and lot.is_open)
    return next((lot for lot in lots if turn(state, lot.effective_at) == turn(state, at)), None)


def _spend_on_debt(state: PoolState, posting: Draft, kind: str, amount: Decimal, at: datetime, lot: Lot | None) -> None:
    """Grant and spend in one posting, on the open lot if there is one, so a busy pool does not gain a lot per event."""
    if lot is None:
        lot = new_lot(kind=kind, amount=ZERO, effective_at=at, currency=state.currency)
        state.lots.append(lot)
    move(state, posting, Line(lot, "grant", amount))
    move(state, posting, Line(lot, "spend", -amount))


def settle_overdraft(state: PoolState, *, now: datetime) -> Draft | None:
    """Repay what is overdrawn out of credits that are free now (general lots only): the `repay` act, when there is any.

    The spend moves from the overdraft lot to a real one: the real lot is spent, the overdraft lot's spend is reversed
    and the lot revoked by the same amount. What the cycle has spent does not change: it was counted when it happened.
    """
    if not state.overdraft:
        return None
    lots = spendable(state, now=now, charged_at=now, meter_id=None)
    # What was used ahead of time, in the cycle to come, waits for that cycle's credits.
    debts = [lot for lot in state.lots if lot.kind == "overdraft" and lot.outstanding > 0 and lot.effective_at <= now]
    if not lots or not debts:
        return None
    posting = draft(state, act="repay", reference=f"repay:{state.version + 1}", now=now)
    for debt in debts:
        for lot in lots:
            paid = min(lot.free, debt.outstanding)
            if paid > 0:
                _pay_debt(state, paid)
                move(state, posting, Line(lot, "spend", -paid, repays=debt))
                move(state, posting, Line(debt, "reverse", paid))
                move(state, posting, Line(debt, "revoke", -paid))
                posting.credits += paid
    return posting


def _pay_debt(state: PoolState, paid: Decimal) -> None:
    """Lower the overdraft. Debt of earlier cycles comes out of this cycle's allocation, of which it leaves less."""
    state.overdraft -= paid
    carried = min(paid, state.cycle_carried)
    state.cycle_carried -= carried
    lower_allocation(state, carried)


def reserve(
    state: PoolState, amount: Decimal, *, now: datetime, meter_id: int | None
) -> tuple[list[tuple[Lot, Decimal]], Decimal]:
    """Reserve credits on lots in burn order, the rest on the exhaustion policy: (parts of lots, uncovered).

    Raises InsufficientCredits, before any change, when policy and lots do not reach.
    """
    lots = spendable(state, now=now, charged_at=now, meter_id=meter_id)
    ensure_covered(state, amount, free_credits(lots))
    parts, left = [], amount
    for lot in lots:
        taken = min(lot.free, left)
        if taken > 0:
            set_held(state, lot, taken)
            parts.append((lot, taken))
            left -= taken
    state.held_uncovered += left
    state.changed = True
    return parts, left


def unreserve(state: PoolState, parts: list[tuple[Lot, Decimal]], uncovered: Decimal) -> None:
    """Give back what a hold still reserves."""
    for lot, part in parts:
        set_held(state, lot, -part)
    state.held_uncovered -= uncovered
    state.changed = True


def capture(
    state: PoolState,
    posting: Draft,
    parts: list[tuple[Lot, Decimal]],
    *,
    uncovered: Decimal,
    extra: Decimal,
    lots: list[Lot],
) -> None:
    """Spend parts of lots that a hold reserved, then its uncovered part and `extra` credits beyond the hold.

    The last two burn what is free in `lots` first and then run on the exhaustion policy. The caller has asked
    `ensure_covered` for the extra; what the hold reserved is never refused.
    """
    runs = runs_at(state, posting.occurred_at)
    for lot, part in parts:
        set_held(state, lot, -part)
        _spend(state, posting, lot, part, runs)
        _count_spent(state, posting, part, runs)
    state.held_uncovered -= uncovered
    if uncovered + extra:
        burn(state, posting, uncovered + extra, lots=lots)
