"""Reversing usage whose shortfall has been repaid in memory, a moment before the reversal, loses nobody's credits."""

from decimal import Decimal

import pytest

from billing.ledger import holds, pools
from billing.ledger.models import CreditPool, Posting
from billing.metering.reversal import reverse_event
from tests.factories import give_credits, make_account
from tests.metering.makers import DAY, HOUR, NOW, START, assert_proven, available_in, event, send_one

D = Decimal


@pytest.fixture
def small(db):
    """An account of its own, without credits."""
    return make_account("small", now=START)


def pool_of(account):
    return pools.get_main_pool(account.pk)


def use(quantity, **fields):
    taken = send_one(event(quantity, account="small", **fields))
    assert taken.status == "accepted"
    return taken


def undo(account, event_id, now):
    return reverse_event(account_id=account.pk, event_id=event_id, now=now)


def test_credits_of_a_released_hold_that_repay_and_come_back_are_all_there(small, priced):
    # 100 held of 100: an event of 30 finds nothing free and is owed. The release frees 100 and repays 30 at once;
    # the reversal gives the 30 back to the lot that repaid them: 70 + 30 = 100.
    give_credits(small, "100", now=NOW)
    placed = holds.place(pool_id=pool_of(small).pk, amount=D(100), reference="h", now=NOW)
    use(30, id="e")
    assert pool_of(small).overdraft == 30
    holds.release(hold_id=placed.pk, now=NOW + HOUR / 2)
    assert undo(small, "e", NOW + HOUR).credits == 30
    assert available_in(small, NOW + HOUR) == 100
    assert (pool_of(small).overdraft, pool_of(small).balance) == (0, 100)
    assert_proven(NOW + HOUR)


def test_a_hold_that_lapses_unseen_repays_within_the_reversal_itself(small, priced):
    # No job has run: that the hold is over, and that its 100 repay the 30, is found as the reversal opens the pool.
    give_credits(small, "100", now=NOW)
    holds.place(pool_id=pool_of(small).pk, amount=D(100), reference="h", now=NOW, expires_in_seconds=60)
    use(30, id="e")
    assert undo(small, "e", NOW + HOUR).credits == 30
    assert available_in(small, NOW + HOUR) == 100
    assert list(Posting.objects.order_by("version").values_list("act", flat=True)) == [
        "grant", "spend", "repay", "reverse",
    ]  # fmt: skip
    assert_proven(NOW + HOUR)


def test_a_grant_that_becomes_effective_repays_within_the_reversal_itself(small, priced):
    # 100 are good from tomorrow. Today's 30 are owed; the day after, opening the pool repays them: 70 left, 30 back.
    give_credits(small, "100", now=NOW, effective_at=NOW + DAY)
    use(30, id="e")
    later = NOW + 2 * DAY
    assert CreditPool.objects.get(account=small).overdraft == 30
    assert undo(small, "e", later).credits == 30
    assert available_in(small, later) == 100
    assert_proven(later)


def test_two_events_of_one_shortfall_each_get_their_own_back(small, priced):
    # 20 and 10 are owed on one lot and repaid together within the first reversal; 30 come back in all, not 40.
    give_credits(small, "100", now=NOW, effective_at=NOW + DAY)
    use(20, id="a")
    use(10, id="b")
    later = NOW + 2 * DAY
    assert undo(small, "a", later).credits == 20
    assert available_in(small, later) == 90
    assert undo(small, "b", later).credits == 10
    assert available_in(small, later) == 100
    assert_proven(later)
