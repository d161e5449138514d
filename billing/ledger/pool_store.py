"""Reading pools under their locks and writing them back: the only I/O of ledger acts, a few set-based statements.

`open_pools` locks pools in primary-key order (READ COMMITTED; the statements that follow see what the lock waited for)
and reads their open lots in the same round trip. `write_pools` writes lots, postings, entries, pools, limits and alerts
in one more. Callers hold one database transaction around both.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.ledger.alerts import note_low_balance, write_alerts
from billing.ledger.burn import settle_overdraft, unreserve
from billing.ledger.cycles import month_start, roll_cycle
from billing.ledger.pool_state import ZERO, Draft, Lot, PoolState
from billing.sql.pipeline import Statement, array, columns, pipelined


class PoolNotFound(LookupError):
    """No pool has this primary key."""


@dataclass(slots=True)
class Limit:
    """A member's spend limit in memory, under its row lock; credits. `held` is what the member's open holds reserve."""

    member_id: int
    amount: Decimal
    spent: Decimal
    period_starts_at: datetime
    time_zone: str
    held: Decimal = ZERO
    changed: bool = False


@dataclass(slots=True)
class OpenPools:
    """What `open_pools` read. `extras` are the rows of the extra statements, by name. `lapsed_holds` are the ids of
    open holds found past their end: what they reserved is free again, and `write_pools` closes them."""

    states: dict[int, PoolState]
    limits: dict[int, Limit]
    extras: dict[str, list[tuple]]
    lapsed_holds: set[int] = field(default_factory=set)


# What the fields of a pool and of a lot in memory are in SQL: of billing_creditpool p, billing_account a and
# billing_creditgrant g.
POOL_FIELDS = {
    "pool_id": "p.id",
    **{
        name: f"p.{name}"
        for name in (
            *("account_id", "key", "policy", "burst_limit", "overage_cap", "balance", "held", "held_uncovered"),
            *("overdraft", "version", "last_posted_at", "cycle_number", "cycle_starts_at", "cycle_ends_at"),
            *("cycle_allocation", "cycle_spent", "cycle_overage", "cycle_carried", "alert_level", "alert_arming"),
            *("low_balance_below", "low_balance_told", "cycle_interval", "cycle_interval_count", "cycle_anchor_on"),
            *("renews_at", "last_cycle_starts_at", "cycle_rolled_spent"),
        )
    },
    "time_zone": "a.time_zone",
    "currency": "a.currency",
    "parked": "a.parked_at IS NOT NULL",
    "paused": "a.paused_at IS NOT NULL",
}
LOT_FIELDS = {
    name: f"g.{name}"
    for name in (
        *("id", "kind", "amount", "remaining", "held", "spent", "reversed", "expired", "revoked", "transferred"),
        *("is_open", "priority", "effective_at", "expires_at", "cost_basis", "currency", "meter_id", "rollovers"),
    )
}
POOL_SQL, LOT_SQL = (", ".join(fields.values()) for fields in (POOL_FIELDS, LOT_FIELDS))


def state_of(row: Sequence[Any]) -> PoolState:
    """A pool of the values of POOL_SQL."""
    return PoolState(**dict(zip(POOL_FIELDS, row, strict=True)))


def lot_of(row: Sequence[Any]) -> Lot:
    """A lot of the values of LOT_SQL."""
    return Lot(**dict(zip(LOT_FIELDS, row, strict=True)))


_POOLS = f"""
SELECT {POOL_SQL} FROM billing_creditpool p JOIN billing_account a ON a.id = p.account_id
WHERE p.id = ANY(%s::bigint[]) ORDER BY p.id FOR NO KEY UPDATE OF p
"""  # noqa: S608  (only constants)
_LOTS = f"SELECT g.pool_id, {LOT_SQL} FROM billing_creditgrant g WHERE "  # noqa: S608  (only constants)
_OPEN_LOTS = f"{_LOTS} g.is_open AND g.pool_id = ANY(%s::bigint[])"
_NAMED_LOTS = f"{_LOTS} NOT g.is_open AND g.id = ANY(%s::bigint[])"
_LIMITS = """
SELECT l.member_id, l.amount, l.spent, l.period_starts_at, a.time_zone
FROM billing_memberlimit l JOIN billing_member m ON m.id = l.member_id JOIN billing_account a ON a.id = m.account_id
WHERE l.member_id = ANY(%s::bigint[]) ORDER BY l.member_id FOR NO KEY UPDATE OF l
"""
_MEMBERS_HOLDS = """
SELECT member_id, sum(greatest(amount - captured, 0)) FROM billing_hold
WHERE state = 'open' AND member_id = ANY(%s::bigint[]) AND expires_at > %s GROUP BY member_id
"""
_LAPSED_HOLDS = """
SELECT h.pool_id, h.id, h.uncovered, l.grant_id, l.amount - l.captured
FROM billing_hold h LEFT JOIN billing_holdline l ON l.hold_id = h.id AND l.amount > l.captured
WHERE h.state = 'open' AND h.pool_id = ANY(%s::bigint[]) AND h.expires_at <= %s
"""
_CLOSE_HOLDS = "UPDATE billing_hold SET state = 'expired', closed_at = %s WHERE id = ANY(%s::bigint[])"
# As the tables' own default makes them, but with one moment for many: working that out is the dear part. A moment has
# 4,096 keys, so that four such statements may have the same one.
_FEW_IDS = "SELECT (SELECT florin_moment()) # nextval('florin_id') FROM generate_series(1, %s)"
_MANY_IDS = """
SELECT moment # nextval('florin_id')
FROM generate_series(0, %s) AS ahead, florin_moment(ahead) AS moment, generate_series(1, 1000)
"""


def open_pools(
    pool_ids: Collection[int],
    *,
    now: datetime,
    postings: int,
    lot_ids: Collection[int] = (),
    member_ids: Collection[int] = (),
    extras: Mapping[str, Statement] | None = None,
    patience_ms: int | None = None,
) -> OpenPools:
    """Lock pools in primary-key order and read them with their open lots, brought up to `now`.

    Up to `now` means: what holds past their end reserve is free, cycles that have ended are rolled, and overdraft is
    repaid from credits that are free by now.
    `postings` is how many postings the caller may write over all pools. `lot_ids` names closed lots to read as well,
    `member_ids` whose spend limits to lock, `extras` further reads for the same round trip (after the locks).
    With `patience_ms` a lock that is not had in time makes the transaction fail. Raises PoolNotFound.
    """
    wanted = sorted(set(pool_ids))
    reads: dict[str, Statement] = {}
    if patience_ms:
        reads["patience"] = ("SELECT set_config('lock_timeout', %s, true)", [str(patience_ms)])
    reads |= {
        "pools": (_POOLS, [array(wanted)]),
        "lots": (_OPEN_LOTS, [array(wanted)]),
        "ids": _draw_ids(postings + len(wanted) * 2),
    }
    if lot_ids:
        reads["named lots"] = (_NAMED_LOTS, [array(lot_ids)])
    if member_ids:
        reads["limits"] = (_LIMITS, [array(member_ids)])
        reads["held"] = (_MEMBERS_HOLDS, [array(member_ids), now])
    reads |= extras or {}
    rows = dict(zip(reads, pipelined(list(reads.values())), strict=True))
    posting_ids = sorted([row[0] for row in rows["ids"]], reverse=True)
    states = {state.pool_id: state for state in map(state_of, rows["pools"])}
    if len(states) != len(wanted):
        raise PoolNotFound(sorted(set(wanted) - set(states)))
    for pool_id, *lot in [*rows["lots"], *rows.get("named lots", [])]:
        states[pool_id].lots.append(lot_of(lot))
    lapsed = _free_lapsed_holds(states, now)
    for state in states.values():
        state.posting_ids = posting_ids
        state.lots.sort(key=lambda lot: lot.burn_key)
        roll_cycle(state, now=now)
        settle_overdraft(state, now=now)
    limits = {row[0]: Limit(*row) for row in rows.get("limits", [])}
    for member_id, held in rows.get("held", []):
        if member_id in limits:
            limits[member_id].held = held
    _begin_limit_periods(limits.values(), now)
    return OpenPools(states, limits, rows, lapsed)


def _free_lapsed_holds(states: dict[int, PoolState], now: datetime) -> set[int]:
    """Free in memory what open holds past their end reserve, for no job may have run (L5); their ids."""
    pool_ids = [state.pool_id for state in states.values() if state.held or state.held_uncovered]
    if not pool_ids:
        return set()
    lapsed: set[int] = set()
    lots = {lot.id: lot for state in states.values() for lot in state.lots}
    for pool_id, hold_id, uncovered, lot_id, part in pipelined([(_LAPSED_HOLDS, [array(pool_ids), now])])[0]:
        parts = [(lots[lot_id], part)] if lot_id is not None else []
        unreserve(states[pool_id], parts, uncovered if hold_id not in lapsed else ZERO)
        lapsed.add(hold_id)
    return lapsed


def _draw_ids(count: int) -> Statement:
    """At least so many new primary keys, in any order."""
    return (_FEW_IDS, [count]) if count <= 1000 else (_MANY_IDS, [count // 1000])


def _begin_limit_periods(limits: Iterable[Limit], now: datetime) -> None:
    for limit in limits:
        starts_at = month_start(now, limit.time_zone)
        if limit.period_starts_at < starts_at:
            limit.period_starts_at, limit.spent, limit.changed = starts_at, ZERO, True


def write_pools(opened: OpenPools, *, now: datetime, extras: Sequence[Statement] = ()) -> None:
    """Write what has changed, with `extras` in the same round trip, and the alerts' notification rows."""
    states = [state for state in opened.states.values() if state.changed]
    for state in states:
        note_low_balance(state, now=now)
    drafts = [posting for state in states for posting in state.drafts]
    new = [(state, lot) for state in states for lot in state.lots if lot.id is None]
    if new:
        ids = sorted(pipelined([_draw_ids(len(new))])[0])[: len(new)]
        for (_, lot), (lot_id,) in zip(new, ids, strict=True):
            lot.id = lot_id
    fresh = {id(lot) for _, lot in new}
    changed = [lot for state in states for lot in state.lots if lot.changed and id(lot) not in fresh]
    limits = [limit for limit in opened.limits.values() if limit.changed]
    statements: list[Statement] = []
    if new:
        statements.append(_insert_lots(new, now))
    if changed:
        statements.append(_update_lots(changed))
    if drafts:
        statements += [_insert_postings(states), _insert_entries(drafts)]
    if states:
        statements.append(_update_pools(states))
    if limits:
        statements.append(_update_limits(limits))
    if opened.lapsed_holds:
        statements.append((_CLOSE_HOLDS, [now, array(opened.lapsed_holds)]))
    statements += extras
    if statements:
        pipelined(statements)
    write_alerts(states, now=now)


def _insert_lots(new: list[tuple[PoolState, Lot]], now: datetime) -> Statement:
    sql = """
    INSERT INTO billing_creditgrant (id, pool_id, kind, amount, remaining, held, spent, reversed, expired, revoked,
        transferred, is_open, priority, effective_at, expires_at, cost_basis, currency, meter_id, rollovers, source_id,
        note, created_at)
    SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[],
        %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::bool[], %s::smallint[],
        %s::timestamptz[], %s::timestamptz[], %s::numeric[], %s::text[], %s::bigint[], %s::smallint[], %s::bigint[],
        %s::text[], %s::timestamptz[])
    """
    rows = [
        (
            lot.id, state.pool_id, lot.kind, lot.amount, lot.remaining, lot.held, lot.spent, lot.reversed, lot.expired,
            lot.revoked, lot.transferred, lot.is_open, lot.priority, lot.effective_at, lot.expires_at, lot.cost_basis,
            lot.currency, lot.meter_id, lot.rollovers, _id_of(lot.source), lot.note, now,
        )
        for state, lot in new
    ]  # fmt: skip
    return sql, columns(rows, 22)


def _update_lots(lots: list[Lot]) -> Statement:
    sql = """
    UPDATE billing_creditgrant g SET amount = u.amount, remaining = u.remaining, held = u.held, spent = u.spent,
        reversed = u.reversed, expired = u.expired, revoked = u.revoked, transferred = u.transferred,
        is_open = u.is_open
    FROM unnest(%s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[],
        %s::numeric[], %s::numeric[], %s::bool[])
        AS u(id, amount, remaining, held, spent, reversed, expired, revoked, transferred, is_open)
    WHERE g.id = u.id
    """
    rows = [
        (
            lot.id, lot.amount, lot.remaining, lot.held, lot.spent, lot.reversed, lot.expired, lot.revoked,
            lot.transferred, lot.is_open,
        )
        for lot in lots
    ]  # fmt: skip
    return sql, columns(rows, 10)


def _insert_postings(states: list[PoolState]) -> Statement:
    sql = """
    INSERT INTO billing_posting (id, pool_id, version, act, reference, fingerprint, credits, amount, balance_before,
        balance_after, overdraft_after, posted_at, occurred_at, meter_id, member_id, hold_id, reverses_id,
        counterpart_id, actor, note)
    SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::bytea[], %s::numeric[],
        %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::timestamptz[], %s::timestamptz[], %s::bigint[],
        %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[])
    """
    rows = [
        (
            p.id, state.pool_id, p.version, p.act, p.reference, p.fingerprint, p.credits, p.amount, p.balance_before,
            p.balance_after, p.overdraft_after, p.posted_at, p.occurred_at, p.meter_id, p.member_id, p.hold_id,
            p.reverses_id, p.counterpart_id, p.actor, p.note,
        )
        for state in states
        for p in state.drafts
    ]  # fmt: skip
    return sql, columns(rows, 20)


def _insert_entries(drafts: list[Draft]) -> Statement:
    sql = """
    INSERT INTO billing_ledgerentry (posting_id, line, grant_id, flow, amount, reverses_line, repays_id)
    SELECT * FROM unnest(%s::bigint[], %s::int[], %s::bigint[], %s::text[], %s::numeric[], %s::int[], %s::bigint[])
    """
    rows = [
        (posting.id, number, line.lot.id, line.flow, line.amount, line.reverses_line, _id_of(line.repays))
        for posting in drafts
        for number, line in enumerate(posting.lines, start=1)
    ]
    return sql, columns(rows, 7)


def _update_pools(states: list[PoolState]) -> Statement:
    sql = """
    UPDATE billing_creditpool p SET balance = u.balance, held = u.held, held_uncovered = u.held_uncovered,
        overdraft = u.overdraft, version = u.version, last_posted_at = u.last_posted_at,
        cycle_number = u.cycle_number, cycle_starts_at = u.cycle_starts_at, cycle_ends_at = u.cycle_ends_at,
        cycle_allocation = u.cycle_allocation, cycle_spent = u.cycle_spent, cycle_overage = u.cycle_overage,
        cycle_carried = u.cycle_carried, alert_level = u.alert_level, alert_arming = u.alert_arming,
        low_balance_told = u.low_balance_told, last_cycle_starts_at = u.last_cycle_starts_at,
        cycle_rolled_spent = u.cycle_rolled_spent
    FROM unnest(%s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::bigint[],
        %s::timestamptz[], %s::int[], %s::timestamptz[], %s::timestamptz[], %s::numeric[], %s::numeric[],
        %s::numeric[], %s::numeric[], %s::smallint[], %s::int[], %s::bool[], %s::timestamptz[], %s::numeric[])
        AS u(id, balance, held, held_uncovered, overdraft, version, last_posted_at, cycle_number, cycle_starts_at,
             cycle_ends_at, cycle_allocation, cycle_spent, cycle_overage, cycle_carried, alert_level, alert_arming,
             low_balance_told, last_cycle_starts_at, cycle_rolled_spent)
    WHERE p.id = u.id
    """
    rows = [
        (
            b.pool_id, b.balance, b.held, b.held_uncovered, b.overdraft, b.version, b.last_posted_at, b.cycle_number,
            b.cycle_starts_at, b.cycle_ends_at, b.cycle_allocation, b.cycle_spent, b.cycle_overage, b.cycle_carried,
            b.alert_level, b.alert_arming, b.low_balance_told, b.last_cycle_starts_at,
            b.cycle_rolled_spent,
        )
        for b in states
    ]  # fmt: skip
    return sql, columns(rows, 19)


def _update_limits(limits: list[Limit]) -> Statement:
    sql = """
    UPDATE billing_memberlimit m SET spent = u.spent, period_starts_at = u.period_starts_at
    FROM unnest(%s::bigint[], %s::numeric[], %s::timestamptz[]) AS u(member_id, spent, period_starts_at)
    WHERE m.member_id = u.member_id
    """
    return sql, columns([(limit.member_id, limit.spent, limit.period_starts_at) for limit in limits], 3)


def _id_of(lot: Lot | int | None) -> int | None:
    return lot.id if isinstance(lot, Lot) else lot
