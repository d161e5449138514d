"""Telling of what a pool's people asked to hear: thresholds of the cycle (L12) and a low balance.

Noted while the pools are open and written with them, so a crossing is told of exactly when it is true.
"""

from collections.abc import Collection
from datetime import UTC, datetime

from billing.ledger.models import CreditPool
from billing.ledger.pool_state import Fall, PoolState, left
from billing.notifications import outbox


def note_low_balance(state: PoolState, *, now: datetime) -> None:
    """Note once that the balance has fallen below what the pool has set; armed again when it is back.

    The balance here is what is left of lots valid now less overdraft. What holds reserve is still there until it is
    spent, so that work which reserves and gives back does not tell again and again.
    """
    if state.low_balance_below is None:
        return
    remaining = left(state, at=now)
    is_low = remaining < state.low_balance_below
    if is_low and not state.low_balance_told:
        state.fall = Fall(remaining, state.low_balance_below)
    state.low_balance_told = is_low


def write_alerts(states: Collection[PoolState], *, now: datetime) -> None:
    """Write what has been noted to the outbox. Asks the database for nothing when there is nothing to tell."""
    telling = [state for state in states if state.crossings or state.fall]
    if not telling:
        return
    names = dict(CreditPool.objects.filter(pk__in=[b.pool_id for b in telling]).values_list("pk", "name"))
    for state in telling:
        _write_crossings(state, names[state.pool_id], now)
        if state.fall is not None:
            _write_fall(state, state.fall, names[state.pool_id], now)


def _write_crossings(state: PoolState, name: str, now: datetime) -> None:
    for crossing in state.crossings:
        outbox.write(
            kind="threshold",
            dedupe_key=f"threshold:{state.pool_id}:{crossing.cycle_number}:{crossing.threshold}:{crossing.arming}",
            account_id=state.account_id,
            payload={
                "pool": state.key,
                "pool_name": name,
                "threshold": crossing.threshold,
                "spent": str(crossing.spent),
                "allocation": str(crossing.allocation),
                "cycle_ends_at": state.cycle_ends_at.astimezone(UTC).isoformat(),
            },
            now=now,
        )


def _write_fall(state: PoolState, fall: Fall, name: str, now: datetime) -> None:
    outbox.write(
        kind="low_balance",
        # The lock and the pool's mark say it once; the version and the time only tell one fall from the next.
        dedupe_key=f"low_balance:{state.pool_id}:{state.version}:{now.astimezone(UTC).isoformat()}",
        account_id=state.account_id,
        payload={
            "pool": state.key,
            "pool_name": name,
            "available": str(fall.left),
            "threshold": str(fall.below),
        },
        now=now,
    )
