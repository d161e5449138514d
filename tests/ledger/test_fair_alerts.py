"""L12: what leaves a cycle unspent may cross a threshold, and what belongs to another month moves no alert of this."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.ledger import expiry, holds, posting
from billing.notifications.models import Notification
from tests.factories import make_meter
from tests.ledger.makers import NOW, assert_proven, give, hold, nothing_written, set_policy, take

D = Decimal
NIGHT = datetime(2026, 3, 31, 23, 30, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, 0, 10, tzinfo=UTC)


def told(pool):
    """Thresholds told of in this pool, in order."""
    rows = Notification.objects.filter(kind="threshold", dedupe_key__startswith=f"threshold:{pool.pk}:").order_by("pk")
    return [row.payload["threshold"] for row in rows]


def cycle(pool):
    pool.refresh_from_db()
    return pool.cycle_allocation, pool.cycle_spent


def move(source, target, amount, **fields):
    given = {"reference": f"move:{amount}", "now": NOW, **fields}
    return posting.transfer(from_pool_id=source.pk, to_pool_id=target.pk, amount=D(amount), **given)


def revoke(lot, amount, **fields):
    given = {"reference": f"revoke:{amount}", "now": NOW, **fields}
    return posting.revoke(grant_id=lot.pk, amount=D(amount), **given)


def test_what_is_moved_away_may_cross_every_threshold_once(pool, team):
    # 700 of 1,000 spent is 70 %; 300 move away, and 700 of 700 is all of it.
    give(pool, 1000)
    take(pool, 700)
    assert told(pool) == []
    move(pool, team, 300)
    assert cycle(pool) == (700, 700)
    assert told(pool) == [75, 90, 100]
    with nothing_written(), pytest.raises(posting.InsufficientCredits):
        take(pool, 1)
    assert told(team) == []
    assert_proven()


def test_a_revocation_may_cross_a_threshold(pool):
    # 700 of 900 is 77.8 %, of 750 is 93.3 %.
    lot = give(pool, 1000)
    take(pool, 700)
    revoke(lot, 100)
    assert told(pool) == [75]
    revoke(lot, 150)
    assert told(pool) == [75, 90]
    assert cycle(pool) == (750, 700)


def test_moving_away_tells_nothing_twice(pool, team):
    give(pool, 1000)
    take(pool, 760)
    assert told(pool) == [75]
    move(pool, team, 100)  # 760 of 900: 84.4 %
    assert told(pool) == [75]
    move(pool, team, 60)  # of 840: 90.5 %
    assert told(pool) == [75, 90]


def test_a_pool_that_spent_nothing_is_told_nothing_when_it_is_emptied(pool, team):
    give(pool, 1000)
    move(pool, team, 1000)
    assert (cycle(pool), told(pool)) == ((0, 0), [])


def test_paying_old_debt_may_cross_a_threshold(pool):
    # 100 owed from March. 160 become good at noon of 1 April, so April begins with 160, of which a charge on the
    # burst takes 50 (31 %). At noon both debts are paid: the 100 of March leave April 60, of which 50 are 83 %.
    set_policy(pool, "burst", burst=200)
    take(pool, 100)
    noon = datetime(2026, 4, 1, 12, tzinfo=UTC)
    give(pool, 160, effective_at=noon)
    take(pool, 50, now=APRIL)
    assert (cycle(pool), told(pool)) == ((160, 50), [])
    take(pool, 1, now=noon)
    assert (cycle(pool), told(pool)) == ((60, 51), [75])
    assert_proven()


def test_a_hold_across_midnight_counts_in_the_new_allocation(pool):
    # All 1,000 are held over midnight and then released: April has 1,000 to spend, and 950 are 95 %.
    give(pool, 1000)
    placed = hold(pool, 1000, now=NIGHT)
    holds.release(hold_id=placed.pk, now=APRIL)
    take(pool, 950, now=APRIL)
    assert cycle(pool) == (1000, 950)
    assert told(pool) == [75, 90]


def test_a_hold_captured_after_midnight_is_spent_of_the_new_allocation(pool):
    give(pool, 1000)
    placed = hold(pool, 800, now=NIGHT, expires_in_seconds=7200)
    # Within the grace it is what March used, so April has that much less to spend.
    holds.capture(hold_id=placed.pk, amount=D(200), now=APRIL, final=False, reference="part")
    assert cycle(pool) == (800, 0)
    holds.capture(hold_id=placed.pk, amount=D(600), now=NIGHT + timedelta(minutes=100))
    assert (cycle(pool), told(pool)) == ((800, 600), [75])


def test_reversing_last_months_spend_adds_to_what_this_month_has(pool):
    # March spent 900 of 1,000, April begins with 100 and spends 80 (80 %). 900 come back: 80 of 1,000.
    give(pool, 1000)
    march = take(pool, 900)
    assert told(pool) == [75, 90]
    take(pool, 80, now=APRIL)
    assert (cycle(pool), told(pool)) == ((100, 80), [75, 90, 75])
    posting.reverse(posting_id=march.pk, now=APRIL)
    assert cycle(pool) == (1000, 80)
    assert told(pool) == [75, 90, 75]
    assert_proven()


def test_reversing_this_months_spend_lowers_what_is_spent(pool):
    give(pool, 1000)
    spent = take(pool, 700)
    posting.reverse(posting_id=spent.pk, now=NOW)
    assert cycle(pool) == (1000, 0)


def test_last_months_credits_that_return_to_an_ended_lot_add_nothing(pool):
    give(pool, 1000, expires_at=datetime(2026, 4, 1, tzinfo=UTC))
    march = take(pool, 900)
    give(pool, 50, now=APRIL)
    expiry.expire_due(now=APRIL, grace_seconds=0)
    posting.reverse(posting_id=march.pk, now=APRIL)
    assert cycle(pool) == (50, 0)
    assert_proven()


def test_reversing_carried_debt_leaves_the_allocation_alone(pool):
    # 100 owed from March while 500 are there for another meter only. April spends 100 of the 500. That the debt is
    # cancelled takes nothing from April, for nobody has paid it: 500 to spend, 100 spent.
    meter = make_meter("seats", now=NOW)
    set_policy(pool, "burst", burst=100)
    debt = take(pool, 100)
    give(pool, 500, meter_id=meter.pk)
    take(pool, 100, meter_id=meter.pk, now=APRIL)
    assert cycle(pool) == (500, 100)
    posting.reverse(posting_id=debt.pk, now=APRIL)
    assert cycle(pool) == (500, 100)
    pool.refresh_from_db()
    assert (pool.overdraft, pool.cycle_carried) == (0, 0)
    # What is granted next is therefore April's, all of it.
    give(pool, 200, now=APRIL)
    assert cycle(pool) == (700, 100)
    assert_proven()


def test_reversing_a_part_of_carried_debt_leaves_the_rest_to_be_paid_once(pool):
    # 60 and 40 owed from March; the 40 are cancelled. Of 200 granted in April 60 pay the rest: 140 for April.
    set_policy(pool, "burst", burst=100)
    take(pool, 60)
    cancelled = take(pool, 40)
    posting.reverse(posting_id=cancelled.pk, now=APRIL)
    give(pool, 200, now=APRIL)
    assert cycle(pool) == (140, 0)
    assert_proven()
