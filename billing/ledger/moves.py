"""Granting, expiring, revoking, transferring, rolling over and reversing lots. Pure arithmetic, no I/O."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.ledger.cycles import is_of_cycle, lower_allocation, rearm
from billing.ledger.pool_state import (
    DEBT_KINDS,
    ROLLING_KINDS,
    ZERO,
    Draft,
    Line,
    Lot,
    PoolState,
    add_lot,
    is_handed_on,
    move,
    new_lot,
    spendable,
    stays_open,
)


def grant(state: PoolState, posting: Draft, lot: Lot) -> None:
    """Add a lot; the cycle's allocation grows and thresholds that are ahead again are armed again (L12)."""
    add_lot(state, posting, lot)
    posting.credits += lot.amount
    _count_granted(state, lot)


def _count_granted(state: PoolState, lot: Lot) -> None:
    if is_of_cycle(state, lot):
        state.cycle_allocation += lot.amount
        rearm(state)


def expire(state: PoolState, posting: Draft, lot: Lot) -> None:
    """Post what is left of an expired lot as breakage. The caller has checked time, grace and holds."""
    posting.credits += lot.remaining
    move(state, posting, Line(lot, "expire", -lot.remaining))


def revoke(state: PoolState, posting: Draft, lot: Lot, amount: Decimal) -> None:
    """Take back part of a lot, which the caller has checked is free."""
    move(state, posting, Line(lot, "revoke", -amount))
    posting.credits += amount
    if is_of_cycle(state, lot):
        lower_allocation(state, amount)


def transfer(source: PoolState, target: PoolState, amount: Decimal, *, out: Draft, into: Draft, now: datetime) -> None:
    """Move free general credits between pools in burn order; each part keeps its expiry, cost basis and priority.

    The caller has checked that `amount` is free. Credits scoped to a meter stay where they are.
    """
    lots = spendable(source, now=now, charged_at=now, meter_id=None)
    left = amount
    for lot in lots:
        moved = min(lot.free, left)
        if moved > 0:
            move(source, out, Line(lot, "transfer", -moved))
            twin = new_lot(
                kind="transfer", amount=moved, effective_at=lot.effective_at, expires_at=lot.expires_at,
                priority=lot.priority, cost_basis=lot.cost_basis, currency=lot.currency, rollovers=lot.rollovers,
                source=lot,
            )  # fmt: skip
            grant(target, into, twin)
            left -= moved
    out.credits += amount
    lower_allocation(source, amount)


@dataclass(frozen=True, slots=True)
class RolloverRule:
    """What may live on past a period's end (L10). Credits; None: no limit.

    `cap` bounds what one period's allocation hands on, `cumulative_cap` all rolled credits together,
    `max_periods` how often a credit may roll.
    """

    cap: Decimal | None
    max_periods: int
    cumulative_cap: Decimal | None = None


def roll_over(
    state: PoolState,
    posting: Draft,
    *,
    ends_at: datetime,
    new_expires_at: datetime | None,
    rule: RolloverRule,
    in_grace: bool = False,
) -> Decimal:
    """Roll lots of kind allocation and rollover that end at `ends_at` into new lots; the rest expires. Credits rolled.

    While the period is `in_grace` the rest stays: usage of the period that comes in it is charged to the rest first,
    then to what was rolled, which leaves the customer at least what rolling over later would have. So what rolls over
    can be used from the first moment of the new period, and the expiry job ends the rest as it does any lot's.

    Freshest lots are served first, so a cumulative cap trims the oldest rollovers first. Held credits stay in their
    lot until the hold ends. A cycle that began at `ends_at` or later has not counted the old lots: it counts the new
    ones as granted. Example: cap 300, cumulative 500; left: 400 allocation, 250 rolled once, 100 rolled twice:
    300 of the allocation roll, then 200 of the 250; 100 + 50 + 100 expire.
    """
    ending = sorted(ending_lots(state, ends_at), key=lambda lot: (lot.rollovers, lot.burn_key))
    fresh_room, total_room, rolled = rule.cap, rule.cumulative_cap, ZERO
    for lot in ending:
        free = lot.free
        share = free if lot.rollovers < rule.max_periods else ZERO
        if lot.rollovers == 0 and fresh_room is not None:
            share = min(share, fresh_room)
            fresh_room -= share
        if total_room is not None:
            share = min(share, total_room)
            total_room -= share
        if share:
            move(state, posting, Line(lot, "transfer", -share))
            twin = new_lot(
                kind="rollover", amount=share, effective_at=ends_at, expires_at=new_expires_at, priority=lot.priority,
                cost_basis=lot.cost_basis, currency=lot.currency, meter_id=lot.meter_id, rollovers=lot.rollovers + 1,
                source=lot,
            )  # fmt: skip
            add_lot(state, posting, twin)
            if not is_of_cycle(state, lot):
                _count_granted(state, twin)
            rolled += share
        if free > share and not in_grace:
            move(state, posting, Line(lot, "expire", share - free))
        posting.credits += share if in_grace else free
    return rolled


def rolls_any(state: PoolState, *, ends_at: datetime, rule: RolloverRule) -> bool:
    """Whether anything of the lots that end at `ends_at` would roll over."""
    if rule.cumulative_cap == 0:
        return False
    rolling = (lot for lot in ending_lots(state, ends_at) if lot.rollovers < rule.max_periods)
    return any(lot.rollovers or rule.cap != 0 for lot in rolling)


def ending_lots(state: PoolState, ends_at: datetime) -> list[Lot]:
    """Allocations and rollovers that end at `ends_at` and have free credits left."""
    return [lot for lot in state.lots if lot.kind in ROLLING_KINDS and lot.expires_at == ends_at and lot.free > 0]


@dataclass(frozen=True, slots=True)
class Undo:
    """A burn line to give back: `line` is its number in the reversed posting, `amount` (positive) what of it."""

    line: int
    lot: Lot
    amount: Decimal


def reverse(
    state: PoolState,
    posting: Draft,
    undos: list[Undo],
    *,
    repaid_by: dict[int, list[tuple[Lot, Decimal]]],
    in_cycle: bool = True,
) -> None:
    """Return spent credits to the lots they came from, in the order given (last burned first, L9).

    What was overage or overdraft and has not been repaid is undone, not given back; where it has been repaid, the
    credits go back to the lots that repaid it: `repaid_by` names them by the debt's lot id, newest first, with what
    each still has to give. `in_cycle`: the spend counted in the current cycle, whose spent amount falls; credits of an
    earlier cycle's spend are new to this one and join its allocation. An alert already sent is not sent again.
    """
    for undo in undos:
        lot, left = undo.lot, undo.amount
        posting.credits += left
        if in_cycle:
            state.cycle_spent = max(state.cycle_spent - left, ZERO)
        if lot.kind not in DEBT_KINDS:
            _give_back(state, posting, undo, lot, left, in_cycle)
            continue
        owed = min(left, lot.outstanding)
        if owed:
            _undo_debt(state, posting, undo, owed)
            left -= owed
        payers = repaid_by.get(lot.id or 0, [])
        for index, (payer, paid) in enumerate(payers):
            back = min(paid, left)
            if back > 0:
                _give_back(state, posting, undo, payer, back, in_cycle, repays=lot)
                payers[index] = (payer, paid - back)
                left -= back


def _give_back(
    state: PoolState, posting: Draft, undo: Undo, lot: Lot, amount: Decimal, in_cycle: bool, repays: Lot | None = None
) -> None:
    move(state, posting, Line(lot, "reverse", amount, reverses_line=undo.line, repays=repays))
    if not in_cycle and is_of_cycle(state, lot):
        state.cycle_allocation += amount
    elif in_cycle and is_handed_on(state, lot):
        state.cycle_rolled_spent = max(state.cycle_rolled_spent - amount, ZERO)


def _undo_debt(state: PoolState, posting: Draft, undo: Undo, owed: Decimal) -> None:
    """Take back what was spent on an overage or overdraft lot; nobody paid for it, so no allocation changes."""
    lot, was_open = undo.lot, undo.lot.is_open
    if lot.kind == "overdraft":
        state.overdraft -= owed
        state.cycle_carried = min(state.cycle_carried, state.overdraft)
    elif lot.effective_at >= state.cycle_starts_at:
        state.cycle_overage = max(state.cycle_overage - owed, ZERO)
    move(state, posting, Line(lot, "reverse", owed, reverses_line=undo.line))
    move(state, posting, Line(lot, "revoke", -owed))
    lot.is_open = was_open and stays_open(lot)
