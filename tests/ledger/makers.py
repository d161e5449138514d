"""Pools, lots and acts in memory for tests of the pure arithmetic; and what the ledger's tables hold, for tests that
assert that nothing was written."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from billing.ledger import balance, holds, moves, pools, posting
from billing.ledger.burn import burn, ensure_covered, settle_overdraft
from billing.ledger.models import CreditGrant, CreditPool, Hold, Posting
from billing.ledger.pool_state import Draft, Line, Lot, PoolState, draft, free_credits, new_lot, spendable
from billing.metering import verification

Amount = Decimal | int | str

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

_ids = itertools.count(1)


def make_lot(amount: Amount, **fields: Any) -> Lot:
    """A lot as it would be read: granted yesterday, general, never expiring, unless told otherwise."""
    given = {"kind": "bonus", "effective_at": NOW - DAY, "currency": "USD", **fields}
    lot = new_lot(amount=Decimal(amount), **given)
    lot.id, lot.remaining = next(_ids), lot.amount
    return lot


def make_state(*lots: Lot, **fields: Any) -> PoolState:
    """A pool in March 2026 with these lots; its cycle's allocation is all of them, unless told otherwise."""
    total = sum((lot.remaining for lot in lots), Decimal(0))
    given: dict[str, Any] = {
        "pool_id": 1, "account_id": 1, "key": "main", "policy": "block", "burst_limit": Decimal(0),
        "overage_cap": None, "balance": total, "held": Decimal(0), "held_uncovered": Decimal(0),
        "overdraft": Decimal(0), "version": 0, "last_posted_at": NOW - DAY, "cycle_number": 1,
        "cycle_starts_at": datetime(2026, 3, 1, tzinfo=UTC), "cycle_ends_at": datetime(2026, 4, 1, tzinfo=UTC),
        "cycle_allocation": total, "cycle_spent": Decimal(0), "cycle_overage": Decimal(0),
        "cycle_carried": Decimal(0), "alert_level": 0, "alert_arming": 0, "time_zone": "UTC", "currency": "USD",
        "parked": False, **fields,
    }  # fmt: skip
    state = PoolState(**given)
    state.lots = sorted(lots, key=lambda lot: lot.burn_key)
    state.posting_ids = [next(_ids) for _ in range(150)]
    return state


def fact(state: PoolState, credits: Amount, *, occurred_at: datetime = NOW, meter_id: int | None = None) -> Draft:
    """Spend as a usage event does: never refused."""
    lots = spendable(state, now=NOW, charged_at=occurred_at, meter_id=meter_id)
    spend = draft(state, act="spend", reference=f"fact:{state.version}", now=NOW, occurred_at=occurred_at)
    burn(state, spend, Decimal(credits), lots=lots)
    return spend


def charge(state: PoolState, credits: Amount, **options: Any) -> Draft:
    """Spend as a charge does: refused where lots and policy do not reach."""
    lots = spendable(state, now=NOW, charged_at=options.get("occurred_at", NOW), meter_id=options.get("meter_id"))
    ensure_covered(state, Decimal(credits), free_credits(lots))
    return fact(state, credits, **options)


def grant(state: PoolState, amount: Amount, **fields: Any) -> Draft:
    """Grant a new lot and repay what is overdrawn, as the act does."""
    given = {"kind": "bonus", "effective_at": NOW, "currency": "USD", **fields}
    granting = draft(state, act="grant", reference=f"grant:{state.version}", now=NOW)
    moves.grant(state, granting, new_lot(amount=Decimal(amount), **given))
    settle_overdraft(state, now=NOW)
    return granting


def lines_of(act: Draft) -> list[tuple[int | None, str, Decimal]]:
    """The entries to be: (lot, flow, amount)."""
    return [(line.lot.id, line.flow, line.amount) for line in act.lines]


def burned(act: Draft) -> list[tuple[int | None, Decimal]]:
    """What a posting burned, lot by lot."""
    return [(line.lot.id, -line.amount) for line in act.lines if line.flow == "spend"]


def undos_of(act: Draft) -> list[moves.Undo]:
    """The whole of a spend, last burned first."""
    numbered: list[tuple[int, Line]] = list(enumerate(act.lines, start=1))
    return [moves.Undo(number, line.lot, -line.amount) for number, line in reversed(numbered) if line.flow == "spend"]


def assert_identity(state: PoolState) -> None:
    """L4 for each lot and the pool."""
    for lot in state.lots:
        gone = lot.spent - lot.reversed + lot.expired + lot.revoked + lot.transferred
        assert lot.amount == gone + lot.remaining, lot
        assert 0 <= lot.held <= lot.remaining
    assert state.balance == sum((lot.remaining for lot in state.lots), Decimal(0))
    assert state.overdraft == sum((lot.outstanding for lot in state.lots if lot.kind == "overdraft"), Decimal(0))


TABLES = (
    "billing_creditpool", "billing_creditgrant", "billing_posting", "billing_ledgerentry", "billing_hold",
    "billing_holdline", "billing_memberlimit", "billing_notification", "billing_ledgerseal", "billing_sealedrange",
    "billing_usageevent", "billing_account",
)  # fmt: skip


def all_rows() -> dict[str, list[str]]:
    """Every row of the ledger's tables and those it writes to, as text."""
    rows = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT t::text FROM {table} t ORDER BY 1")
            rows[table] = [row[0] for row in cursor.fetchall()]
    return rows


@contextmanager
def nothing_written() -> Iterator[None]:
    """Assert that the block leaves every row as it was, and adds none."""
    before = all_rows()
    yield
    assert all_rows() == before


def give(pool: CreditPool, amount: Amount, **fields: Any) -> CreditGrant:
    """Grant credits through the ledger and return the lot."""
    given = {"kind": "bonus", "reference": f"give:{next(_ids)}", "now": NOW, **fields}
    granted = posting.grant(pool_id=pool.pk, amount=Decimal(amount), **given)
    return CreditGrant.objects.get(pk=granted.entries.get(line=1).grant_id)


def take(pool: CreditPool, credits: Amount, **fields: Any) -> Posting:
    """Spend credits through the ledger."""
    given = {"reference": f"take:{next(_ids)}", "now": NOW, **fields}
    return posting.spend(pool_id=pool.pk, credits=Decimal(credits), **given)


def hold(pool: CreditPool, amount: Amount, **fields: Any) -> Hold:
    """Hold credits through the ledger."""
    given = {"reference": f"hold:{next(_ids)}", "now": NOW, **fields}
    return holds.place(pool_id=pool.pk, amount=Decimal(amount), **given)


def available_in(pool: CreditPool, now: datetime = NOW) -> Decimal:
    """What the pool's balance says is available."""
    return balance.read(pool_id=pool.pk, now=now).available


def entries_of(act: Posting) -> list[tuple[int, str, Decimal]]:
    """(lot, flow, amount) of each line."""
    return list(act.entries.order_by("line").values_list("grant_id", "flow", "amount"))


def set_policy(pool: CreditPool, policy: str, *, burst: Amount = 0, cap: Amount | None = None) -> None:
    """Set what happens when the pool's credits run out."""
    cap = None if cap is None else Decimal(cap)
    pools.set_policy(pool_id=pool.pk, policy=policy, burst_limit=Decimal(burst), overage_cap=cap)


def assert_proven() -> None:
    """verify_ledger finds nothing."""
    assert verification.verify(now=NOW).findings == []
