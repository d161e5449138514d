"""How pools follow a subscription: policy and cycles. Pure, but for the statements that it returns."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from billing.ledger.cycles import begin_cycle
from billing.ledger.pool_state import PoolState
from billing.sql.pipeline import Statement


@dataclass(frozen=True, slots=True)
class PoolTerms:
    """How an account's pools behave under a subscription: cycles of `interval_count` intervals counted from
    `anchor_on`; the policy is the main pool's. Allocations that end from `renews_at` on are the renewal's to end."""

    policy: str
    burst_limit: Decimal
    overage_cap: Decimal | None
    interval: str
    interval_count: int
    anchor_on: date | None
    renews_at: datetime | None


def apply(
    state: PoolState, terms: PoolTerms, *, is_main: bool, cycle: tuple[datetime, datetime] | None
) -> list[Statement]:
    """Let a pool follow the terms, `cycle` being the one that runs now (None: leave it); the statements that write what
    `write_pools` does not, none where nothing has changed."""
    if cycle is not None:
        _align(state, *cycle)
    wanted = (terms.interval, terms.interval_count, terms.anchor_on, terms.renews_at if is_main else None)
    found = (state.cycle_interval, state.cycle_interval_count, state.cycle_anchor_on, state.renews_at)
    policy = (terms.policy, terms.burst_limit, terms.overage_cap)
    if wanted == found and (not is_main or policy == (state.policy, state.burst_limit, state.overage_cap)):
        return []
    state.cycle_interval, state.cycle_interval_count, state.cycle_anchor_on, state.renews_at = wanted
    if is_main:
        state.policy, state.burst_limit, state.overage_cap = policy
    return [(_WRITE, [*wanted, state.policy, state.burst_limit, state.overage_cap, state.pool_id])]


_WRITE = """
UPDATE billing_creditpool SET cycle_interval = %s, cycle_interval_count = %s, cycle_anchor_on = %s, renews_at = %s,
    policy = %s, burst_limit = %s, overage_cap = %s
WHERE id = %s
"""


def _align(state: PoolState, starts_at: datetime, ends_at: datetime) -> None:
    """Make this the pool's cycle. One that has begun already goes on with its new bounds."""
    if starts_at > state.cycle_starts_at:
        begin_cycle(state, starts_at=starts_at, ends_at=ends_at)
    elif (starts_at, ends_at) != (state.cycle_starts_at, state.cycle_ends_at):
        state.cycle_starts_at, state.cycle_ends_at, state.changed = starts_at, ends_at, True
