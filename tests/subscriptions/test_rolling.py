"""Rollover over several periods, with worked numbers."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db.models import Q

from billing.ledger import holds, pools, posting
from tests.factories import NOW
from tests.subscriptions.makers import add_card, available, make_team, run, subscribe

pytestmark = pytest.mark.django_db

ENDS = [
    datetime(2025, 3, 31, 22, tzinfo=UTC), datetime(2025, 4, 30, 22, tzinfo=UTC), datetime(2025, 5, 31, 22, tzinfo=UTC),
    datetime(2025, 6, 30, 22, tzinfo=UTC), datetime(2025, 7, 31, 22, tzinfo=UTC),
]  # fmt: skip
DAY = timedelta(days=1)


def live(account, **fields) -> None:
    add_card(account)
    subscribe(account, make_team(**fields), collection="automatic")
    run(NOW)


def spend(account, credits: int, now: datetime) -> None:
    pool = pools.get_main_pool(account.pk)
    posting.spend(pool_id=pool.pk, credits=Decimal(credits), reference=f"s:{now.isoformat()}", now=now)


def lots(account) -> list[tuple[str, Decimal, int]]:
    """What is left and has not ended, or is held: kind, credits, how often rolled; in burn order."""
    pool = pools.get_main_pool(account.pk)
    good = pool.grants.filter(Q(expires_at__gt=pool.cycle_starts_at) | Q(held__gt=0), remaining__gt=0)
    rows = good.order_by("expires_at", "rollovers", "pk")
    return [(lot.kind, lot.remaining, lot.rollovers) for lot in rows]


def test_a_share_rolls_once_and_then_expires(account):
    live(account, rollover="share", rollover_percent=Decimal(25))
    run(ENDS[0])
    # All 1,000 were left: 250 roll, 750 expire.
    assert lots(account) == [("allocation", 1000, 0), ("rollover", 250, 1)]
    spend(account, 900, ENDS[0] + DAY)
    # The rolled ones end with the new ones, and are not younger: the new ones, granted after them, burn last.
    assert lots(account) == [("allocation", 350, 0)]
    run(ENDS[1])
    assert lots(account) == [("allocation", 1000, 0), ("rollover", 250, 1)]


def test_a_cumulative_cap_trims_the_oldest_first(account):
    live(account, rollover="all", rollover_periods=3, rollover_cap=Decimal(1500))
    run(ENDS[0])
    assert lots(account) == [("allocation", 1000, 0), ("rollover", 1000, 1)]
    run(ENDS[1])
    # 1,000 fresh ones roll, then 500 of the 1,000 that have rolled before; 500 expire.
    assert lots(account) == [("allocation", 1000, 0), ("rollover", 1000, 1), ("rollover", 500, 2)]
    run(ENDS[2])
    # 1,000 fresh, 500 of the once rolled; the other 500 and the twice rolled 500 expire.
    assert lots(account) == [("allocation", 1000, 0), ("rollover", 1000, 1), ("rollover", 500, 2)]
    assert available(account, ENDS[2]) == 2500


def test_a_credit_rolls_no_more_often_than_the_plan_lets_it(account):
    live(account, rollover="amount", rollover_amount=Decimal(300), rollover_periods=2)
    for ends_at in ENDS[:4]:
        run(ends_at)
    assert lots(account) == [("allocation", 1000, 0), ("rollover", 300, 1), ("rollover", 300, 2)]
    assert available(account, ENDS[3]) == 1600


def test_rolled_credits_keep_what_they_cost(account):
    live(account, rollover="all")
    run(ENDS[0])
    rolled = pools.get_main_pool(account.pk).grants.get(kind="rollover")
    assert (rolled.cost_basis, rolled.effective_at, rolled.expires_at) == (Decimal("0.05"), ENDS[0], ENDS[1])


def test_what_a_hold_reserves_does_not_roll(account):
    live(account, rollover="all")
    pool = pools.get_main_pool(account.pk)
    holds.place(
        pool_id=pool.pk, amount=Decimal(200), reference="h", expires_in_seconds=7200, now=ENDS[0] - timedelta(hours=1)
    )
    run(ENDS[0])
    assert lots(account) == [("allocation", 200, 0), ("allocation", 1000, 0), ("rollover", 800, 1)]
