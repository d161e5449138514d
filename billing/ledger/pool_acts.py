"""The acts on opened pools, each written once: grant, spend, roll over (`holds.capture_on` captures). No I/O.

The caller has opened the pools under their locks (`pool_store.open_pools`), sees to it that the reference is free, and
writes them. `posting` does all of that for one act; metering and renewals do it for many at a time.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice

from billing.ledger import moves
from billing.ledger.burn import burn, ensure_covered, settle_overdraft
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
    may_spend,
    move,
    new_lot,
    spendable,
)
from billing.ledger.pool_store import Limit


class AccountParked(Exception):
    """The account is parked for examination: no charge, hold or transfer until staff release it."""


class AccountPaused(Exception):
    """The account is paused: no charge, hold or transfer until its subscription goes on, or what it owes is paid."""


class SpendLimitReached(Exception):
    """The charge would take the member past the month's limit. Both are credits."""

    def __init__(self, limit: Decimal, spent: Decimal) -> None:
        super().__init__(f"{spent} of {limit} credits spent this month")
        self.limit = limit
        self.spent = spent


def grant_on(
    state: PoolState,
    *,
    kind: str,
    amount: Decimal,
    reference: str,
    effective_at: datetime,
    expires_at: datetime | None,
    now: datetime,
    priority: int = 50,
    cost_basis: Decimal = ZERO,
    currency: str = "",
    meter_id: int | None = None,
    note: str = "",
    late_debts: Collection[int] | None = None,
) -> Draft:
    """Add a lot, valid in `[effective_at, expires_at)`, and repay overdraft from it.

    With `late_debts` the credits may come late: then overage on those lots (made while the credits should have been
    there, and not invoiced) and overdraft of their time are repaid too, even if the credits have ended meanwhile. It
    would never have come up had they come in time.
    """
    posting = draft(state, act="grant", reference=reference, now=now)
    posting.note, posting.meter_id = note, meter_id
    lot = new_lot(
        kind=kind, amount=amount, effective_at=effective_at, expires_at=expires_at, priority=priority,
        cost_basis=cost_basis, currency=currency or state.currency, meter_id=meter_id, note=note,
    )  # fmt: skip
    moves.grant(state, posting, lot)
    if late_debts is not None:
        _repay_late(state, lot, late_debts, now=now)
    settle_overdraft(state, now=now)
    return posting


def _repay_late(state: PoolState, payer: Lot, debt_ids: Collection[int], *, now: datetime) -> None:
    """Repay overage made while `payer` should have been there, and overdraft where it has ended already."""
    debts = [lot for lot in state.lots if lot.outstanding > 0 and _is_late_debt(lot, payer, debt_ids, now)]
    payers = [lot for lot in state.lots if lot.free > 0 and (lot is payer or _came_with(lot, payer))]
    if not debts or not payers:
        return
    posting = draft(state, act="repay", reference=f"repay:{state.version + 1}", now=now)
    for debt in debts:
        for lot in payers:
            paid = min(lot.free, debt.outstanding)
            if paid > 0:
                _repay(state, posting, lot, debt, paid)


def _came_with(lot: Lot, payer: Lot) -> bool:
    """Whether a lot was rolled over to where `payer` begins: in time, it would have been burned first."""
    return lot.kind == "rollover" and lot.effective_at == payer.effective_at


def _is_late_debt(lot: Lot, payer: Lot, debt_ids: Collection[int], now: datetime) -> bool:
    """Of overdraft, what began before credits that came too late had ended; credits still good settle by themselves."""
    if lot.kind == "overage":
        return lot.id in debt_ids
    if lot.kind != "overdraft" or payer.expires_at is None or now < payer.expires_at:
        return False
    return lot.effective_at < payer.expires_at


def _repay(state: PoolState, posting: Draft, payer: Lot, debt: Lot, paid: Decimal) -> None:
    if debt.kind == "overdraft":
        state.overdraft -= paid
        state.cycle_carried = min(state.cycle_carried, state.overdraft)
    elif debt.effective_at >= state.cycle_starts_at:
        state.cycle_overage = max(state.cycle_overage - paid, ZERO)
    was_open = debt.is_open
    if is_handed_on(state, payer):
        state.cycle_rolled_spent += paid
    move(state, posting, Line(payer, "spend", -paid, repays=debt))
    move(state, posting, Line(debt, "reverse", paid))
    move(state, posting, Line(debt, "revoke", -paid))
    if debt.kind == "overage":
        debt.is_open = was_open
    posting.credits += paid


@dataclass(slots=True)
class FactPosting:
    """The posting that takes all facts of one pool and cycle, walking the lots once, however many facts."""

    state: PoolState
    posting: Draft | None = None
    lots: list[Lot] = field(default_factory=list)
    first: int = 0

    def __post_init__(self) -> None:
        self.lots = list(self.state.lots)

    def candidates(self, *, charged_at: datetime, meter_id: int | None, now: datetime) -> Iterator[Lot]:
        """Lots a fact may use, in burn order, found one by one as they are needed."""
        if is_closing(self.state, charged_at):
            yield from spendable(self.state, now=now, charged_at=charged_at, meter_id=meter_id)
            return
        while self.first < len(self.lots) and self.lots[self.first].free <= 0:
            self.first += 1
        for lot in islice(self.lots, self.first, None):
            if lot.free > 0 and may_spend(self.state, lot, now=now, charged_at=charged_at, meter_id=meter_id):
                yield lot


def spend_on(
    state: PoolState,
    credits: Decimal,
    *,
    reference: str,
    charged_at: datetime,
    now: datetime,
    limit: Limit | None = None,
    meter_id: int | None = None,
    member_id: int | None = None,
    note: str = "",
    actor: str = "",
    fingerprint: bytes | None = None,
    facts: FactPosting | None = None,
) -> Draft | None:
    """Spend credits in burn order, then on the pool's exhaustion policy, and count them against the member's limit.

    A charge has a posting of its own and is refused before anything changes: AccountParked, AccountPaused,
    SpendLimitReached, InsufficientCredits. One of no credits is admitted, and has no posting (None). A fact is never
    refused: it joins the posting of `facts`, whose reference, note and actor are its first fact's.
    """
    posting = facts.posting if facts else None
    lots = (
        facts.candidates(charged_at=charged_at, meter_id=meter_id, now=now)
        if facts
        else iter(admit(state, credits, limit=limit, now=now, charged_at=charged_at, meter_id=meter_id))
    )
    if not credits:
        return posting
    if posting is None:
        posting = draft(state, act="spend", reference=reference, now=now, occurred_at=charged_at)
        posting.meter_id, posting.member_id, posting.note, posting.actor = meter_id, member_id, note, actor
        posting.fingerprint = fingerprint
        if facts:
            facts.posting = posting
    # What one posting has of several meters or members, it names none of.
    if posting.meter_id != meter_id:
        posting.meter_id = None
    if posting.member_id != member_id:
        posting.member_id = None
    burn(state, posting, credits, lots=lots, charged_at=charged_at)
    count_against(limit, credits)
    return posting


def admit(
    state: PoolState,
    credits: Decimal,
    *,
    limit: Limit | None,
    now: datetime,
    charged_at: datetime,
    meter_id: int | None,
) -> list[Lot]:
    """The lots a charge may burn, after asking everything that may refuse it; changes nothing.

    Raises AccountParked, AccountPaused, SpendLimitReached or InsufficientCredits.
    """
    ensure_at_work(state)
    ensure_within(limit, credits)
    lots = spendable(state, now=now, charged_at=charged_at, meter_id=meter_id)
    ensure_covered(state, credits, free_credits(lots), at=charged_at)
    return lots


def ensure_at_work(state: PoolState) -> None:
    """Raise AccountParked or AccountPaused where the pool's account may not charge, hold or transfer."""
    if state.parked:
        raise AccountParked
    if state.paused:
        raise AccountPaused


def ensure_within(limit: Limit | None, credits: Decimal) -> None:
    """Raise SpendLimitReached when `credits` more would take the member past the month's limit, open holds included."""
    if limit is not None and limit.spent + limit.held + credits > limit.amount:
        raise SpendLimitReached(limit.amount, limit.spent + limit.held)


def count_against(limit: Limit | None, credits: Decimal) -> None:
    """Count spent (or, negative, returned) credits against a member's limit."""
    if limit is not None:
        limit.spent = max(limit.spent + credits, ZERO)
        limit.changed = True


def roll_over_on(
    state: PoolState,
    *,
    ends_at: datetime,
    new_expires_at: datetime | None,
    rule: moves.RolloverRule,
    grace_seconds: int,
    reference: str,
    now: datetime,
) -> Draft | None:
    """Roll over what may live on past `ends_at` and, after the grace, expire the rest (L10); None: nothing to do.

    Within the grace the rest waits for usage of the period that is still to come. It and what an open hold reserves
    stay in their lots; the expiry job posts what is left of them.
    """
    in_grace = now < ends_at + timedelta(seconds=grace_seconds)
    if not moves.ending_lots(state, ends_at) or (in_grace and not moves.rolls_any(state, ends_at=ends_at, rule=rule)):
        return None
    posting = draft(state, act="rollover", reference=reference, now=now, occurred_at=ends_at)
    moves.roll_over(state, posting, ends_at=ends_at, new_expires_at=new_expires_at, rule=rule, in_grace=in_grace)
    return posting
