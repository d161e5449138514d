"""Reading a pool's balance, now or as of a past time. Takes no locks; its cost now does not grow with history."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_DOWN, Decimal

from django.db.models import F, Q, Sum

from billing.ledger.burn import settle_overdraft, unreserve
from billing.ledger.cycles import is_of_cycle, percent_spent, roll_cycle
from billing.ledger.models import CreditGrant, CreditPool, Hold, HoldLine, LedgerEntry, Posting
from billing.ledger.pool_state import DEBT_KINDS, ZERO, PoolState
from billing.ledger.pool_state import Lot as StateLot
from billing.ledger.pool_state import available as available_in
from billing.ledger.pool_store import LOT_SQL, POOL_FIELDS, POOL_SQL, lot_of, state_of
from billing.sql import prepared


@dataclass(frozen=True, slots=True)
class Cycle:
    """The pool's current cycle, half-open; credits. `percent` of the allocation is spent (zero without allocation), cut
    off after two decimals: it reaches a threshold when the alert does, not sooner. `left` is what its lots still hold,
    reserved credits and those of a later start included; `beyond`, what was spent without any: overage and
    overdraft."""

    starts_at: datetime
    ends_at: datetime
    allocation: Decimal
    spent: Decimal
    percent: Decimal
    left: Decimal = ZERO
    beyond: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Lot:
    """An open lot as a reader sees it; `cost_basis` is money per credit."""

    grant_id: int
    kind: str
    amount: Decimal
    remaining: Decimal
    held: Decimal
    priority: int
    effective_at: datetime
    expires_at: datetime | None
    meter_key: str | None
    cost_basis: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Expiry:
    """When credits expire next, and how many."""

    at: datetime
    credits: Decimal


@dataclass(frozen=True, slots=True)
class Balance:
    """What a pool holds. `available` counts lots valid at the moment less holds and overdraft (L5); `lots` are those
    and the ones still to become effective, in burn order. `cycle` is None for a past moment."""

    pool_id: int
    pool_key: str
    available: Decimal
    held: Decimal
    overdraft: Decimal
    cycle: Cycle | None
    lots: list[Lot]
    next_expiry: Expiry | None


def read(*, pool_id: int, now: datetime) -> Balance:
    """The balance at `now`, right also when no job has run. Raises CreditPool.DoesNotExist."""
    found = read_many([pool_id], now=now)
    if not found:
        raise CreditPool.DoesNotExist(pool_id)
    return found[pool_id]


def read_many(pool_ids: Collection[int], *, now: datetime) -> dict[int, Balance]:
    """The same for several pools, in one statement. Pools that do not exist are left out."""
    balances = {}
    for pool_id, (state, keys) in read_states(pool_ids, now=now).items():
        percent = percent_spent(state).quantize(Decimal("0.01"), rounding=ROUND_DOWN)
        cycle = Cycle(
            state.cycle_starts_at, state.cycle_ends_at, state.cycle_allocation, state.cycle_spent, percent,
            left=sum(
                (lot.remaining for lot in state.lots if is_of_cycle(state, lot) and not _has_ended(lot, now)), ZERO
            ),
            beyond=state.cycle_overage + max(state.overdraft - state.cycle_carried, ZERO),
        )  # fmt: skip
        balances[pool_id] = _balance(state, keys, state.held + state.held_uncovered, now, cycle)
    return balances


def read_expired(balance: Balance, *, now: datetime) -> Decimal:
    """Credits that ended unused in the cycle of the balance at `now`, which is why what is spent and left is not its
    allocation: no query where it is, else one. (Usage of the cycle before, which comes within its grace, is not spent
    in this one: it lowers the allocation.)"""
    cycle = balance.cycle
    if cycle is None or cycle.spent - cycle.beyond + cycle.left == cycle.allocation:
        return ZERO
    ended = CreditGrant.objects.filter(
        pool_id=balance.pool_id, expires_at__gt=cycle.starts_at, expires_at__lte=now
    ).exclude(kind__in=DEBT_KINDS)
    return ended.aggregate(credits=Sum(F("expired") + F("remaining")))["credits"] or ZERO


def read_states(pool_ids: Collection[int], *, now: datetime) -> dict[int, tuple[PoolState, dict[int, str]]]:
    """Pools with their open lots as of `now`, without a lock: for reading and estimating, never to be written.

    Each with the keys of the meters that its lots are for, by lot id. All is read in one statement, so that an act
    that commits meanwhile is seen whole or not at all. Pools that do not exist are left out.
    """
    rows = prepared.fetch(_STATES, {"pools": list(pool_ids), "now": now})
    states: dict[int, PoolState] = {}
    keys: dict[int, dict[int, str]] = {}
    for row in rows:
        pool_id, of_pool, of_lot, (uncovered, key, freed) = row[0], row[:POOLS], row[POOLS:-3], row[-3:]
        state = states.get(pool_id)
        if state is None:
            # One posting id, so that overdraft can be settled in it as the next act would.
            state = states[pool_id] = state_of(of_pool)
            state.posting_ids = [0]
            keys[pool_id] = {}
            unreserve(state, [], uncovered)
        if of_lot[0] is not None:
            lot = lot_of(of_lot)
            state.lots.append(lot)
            unreserve(state, [(lot, freed)] if freed else [], ZERO)
            if key:
                keys[pool_id][of_lot[0]] = key
    for state in states.values():
        state.lots.sort(key=lambda lot: lot.burn_key)
        roll_cycle(state, now=now)
        settle_overdraft(state, now=now)
    return {pool_id: (state, keys[pool_id]) for pool_id, state in states.items()}


POOLS = len(POOL_FIELDS)
# A row per open lot; at least one per pool. What open holds past their end reserve is named beside it: it is free (L5).
_STATES = f"""
WITH lapsed AS (
    SELECT id, pool_id, uncovered FROM billing_hold
    WHERE state = 'open' AND expires_at <= %(now)s AND pool_id = ANY(%(pools)s)
), freed AS (
    SELECT l.grant_id, sum(l.amount - l.captured) AS credits
    FROM lapsed JOIN billing_holdline l ON l.hold_id = lapsed.id GROUP BY l.grant_id
)
SELECT {POOL_SQL}, {LOT_SQL},
       coalesce((SELECT sum(uncovered) FROM lapsed WHERE lapsed.pool_id = p.id), 0), m.key, freed.credits
FROM billing_creditpool p JOIN billing_account a ON a.id = p.account_id
LEFT JOIN billing_creditgrant g ON g.pool_id = p.id AND g.is_open
LEFT JOIN freed ON freed.grant_id = g.id LEFT JOIN billing_meter m ON m.id = g.meter_id
WHERE p.id = ANY(%(pools)s)
"""  # noqa: S608  (only constants)


def read_at(*, pool_id: int, at: datetime) -> Balance:
    """The balance as it was known at a past moment, rebuilt from entries posted and holds placed until then.

    Costs a read of the pool's entries up to `at`. Raises CreditPool.DoesNotExist.
    """
    pool = CreditPool.objects.select_related("account").get(pk=pool_id)
    posted = Q(posting__pool_id=pool_id, posting__posted_at__lte=at)
    sums = LedgerEntry.objects.filter(posted).values("grant_id").annotate(remaining=Sum("amount"))
    remaining = {row["grant_id"]: row["remaining"] for row in sums}
    held_by_lot, uncovered = _holds_at(pool_id, at)
    grants = list(CreditGrant.objects.filter(pk__in=remaining).exclude(kind__in=DEBT_KINDS).select_related("meter"))
    for grant in grants:
        grant.remaining, grant.held = remaining[grant.pk], held_by_lot.get(grant.pk, ZERO)
    last = Posting.objects.filter(pool_id=pool_id, posted_at__lte=at).order_by("-version").first()
    pool.overdraft = last.overdraft_after if last else ZERO
    state = _state_of(pool, [grant for grant in grants if grant.remaining > 0])
    keys = {grant.pk: grant.meter.key for grant in grants if grant.meter}
    return _balance(state, keys, sum(held_by_lot.values(), uncovered), at, None)


def _holds_at(pool_id: int, at: datetime) -> tuple[dict[int, Decimal], Decimal]:
    """What holds reserved at a past moment: credits by lot, and on the policy. Counts captures of a hold as released
    with its first capture, which is when its posting spends them."""
    was_open = Q(created_at__lte=at) & (Q(closed_at=None) | Q(closed_at__gt=at)) & Q(expires_at__gt=at)
    holds = list(Hold.objects.filter(was_open, pool_id=pool_id))
    captured = dict(
        Posting.objects.filter(hold__in=holds, posted_at__lte=at)
        .values("hold_id")
        .annotate(total=Sum("credits"))
        .values_list("hold_id", "total")
    )
    by_lot: dict[int, Decimal] = {}
    uncovered = ZERO
    lines = HoldLine.objects.filter(hold__in=holds).order_by("hold_id", "position")
    for line in lines:
        used = min(captured.get(line.hold_id, ZERO), line.amount)
        captured[line.hold_id] = captured.get(line.hold_id, ZERO) - used
        by_lot[line.grant_id] = by_lot.get(line.grant_id, ZERO) + line.amount - used
    for hold in holds:
        on_lots = sum((line.amount for line in lines if line.hold_id == hold.pk), ZERO)
        uncovered += max(hold.amount - on_lots - captured.get(hold.pk, ZERO), ZERO)
    return by_lot, uncovered


def _state_of(pool: CreditPool, grants: Iterable[CreditGrant]) -> PoolState:
    """A pool's state from rows that were read without a lock: for reading only, never to be written."""
    lots = [
        StateLot(
            grant.pk, grant.kind, grant.amount, grant.remaining, grant.held, grant.spent, grant.reversed,
            grant.expired, grant.revoked, grant.transferred, grant.is_open, grant.priority, grant.effective_at,
            grant.expires_at, grant.cost_basis, grant.currency, grant.meter_id, grant.rollovers,
        )
        for grant in grants
    ]  # fmt: skip
    lots.sort(key=lambda lot: lot.burn_key)
    return PoolState(
        pool.pk, pool.account_id, pool.key, pool.policy, pool.burst_limit, pool.overage_cap, pool.balance, pool.held,
        pool.held_uncovered, pool.overdraft, pool.version, pool.last_posted_at, pool.cycle_number,
        pool.cycle_starts_at, pool.cycle_ends_at, pool.cycle_allocation, pool.cycle_spent, pool.cycle_overage,
        pool.cycle_carried, pool.alert_level, pool.alert_arming, pool.account.time_zone, pool.account.currency,
        pool.account.parked_at is not None, lots=lots,
    )  # fmt: skip


def _has_ended(lot: StateLot, at: datetime) -> bool:
    return lot.expires_at is not None and lot.expires_at <= at


def _balance(state: PoolState, keys: dict[int, str], held: Decimal, at: datetime, cycle: Cycle | None) -> Balance:
    live = [lot for lot in state.lots if lot.kind not in DEBT_KINDS and lot.remaining > 0 and not _has_ended(lot, at)]
    ends = sorted({lot.expires_at for lot in live if lot.expires_at and lot.effective_at <= at})
    expiry = None
    if ends:
        expiry = Expiry(ends[0], sum((lot.remaining for lot in live if lot.expires_at == ends[0]), ZERO))
    lots = [
        Lot(
            lot.id or 0, lot.kind, lot.amount, lot.remaining, lot.held, lot.priority, lot.effective_at, lot.expires_at,
            keys.get(lot.id or 0), lot.cost_basis, lot.currency,
        )
        for lot in live
    ]  # fmt: skip
    return Balance(
        state.pool_id, state.key, available_in(state, at=at), held, state.overdraft, cycle, lots, expiry
    )  # fmt: skip
