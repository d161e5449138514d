"""A pool that runs low is told of once, in the transaction of what made it low, until it is back."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction

from billing.ledger import expiry, holds, pool_store, pools, posting
from billing.ledger.models import CreditPool
from billing.notifications.models import Notification
from billing.sql.pipeline import pipelined
from tests.ledger.makers import DAY, NOW, assert_proven, give, hold, nothing_written, set_policy, take
from tests.ledger.racing import race

pytestmark = pytest.mark.django_db
D = Decimal


def watch(pool, below=500):
    pools.set_low_balance(pool_id=pool.pk, below=None if below is None else D(below), now=NOW)


def told():
    """What has been told: credits left each time."""
    rows = Notification.objects.filter(kind="low_balance").order_by("pk")
    return [D(row.payload["available"]) for row in rows]


def test_falling_below_is_told_with_the_facts(pool):
    give(pool, 1000)
    watch(pool)
    take(pool, 500)
    assert told() == []
    take(pool, "0.5")
    row = Notification.objects.get(kind="low_balance")
    assert row.account_id == pool.account_id
    assert row.payload == {
        "pool": "main", "pool_name": "Main pool", "available": "499.500000", "threshold": "500.000000",
    }  # fmt: skip


def test_it_is_told_once_until_the_balance_is_back(pool):
    give(pool, 1000)
    watch(pool)
    for _ in range(3):
        take(pool, 300)
    assert told() == [400]
    give(pool, 300)  # 400 again: still below.
    take(pool, 10)
    assert told() == [400]
    give(pool, 110)  # 500: back.
    take(pool, 1)
    assert told() == [400, 499]
    assert_proven()


def test_a_pool_without_a_threshold_tells_nothing(pool):
    give(pool, 1000)
    watch(pool)
    watch(pool, None)
    take(pool, 1000)
    assert told() == []


def test_setting_it_above_the_balance_tells_of_the_next_fall_only(pool):
    give(pool, 100)
    watch(pool)
    take(pool, 10)
    assert told() == []
    give(pool, 500)
    take(pool, 100)
    assert told() == [490]


def test_what_is_rolled_back_is_not_told(pool):
    give(pool, 1000)
    watch(pool)
    with nothing_written(), transaction.atomic():
        take(pool, 900)
        transaction.set_rollback(True)
    take(pool, 900)
    assert told() == [100]


def test_a_refused_charge_tells_nothing(pool):
    give(pool, 1000)
    watch(pool)
    with nothing_written(), pytest.raises(posting.InsufficientCredits):
        take(pool, 1001)


def test_holds_do_not_tell_again_and_again(pool):
    give(pool, 600)
    watch(pool)
    for _ in range(3):
        placed = hold(pool, 550)
        holds.release(hold_id=placed.pk, now=NOW)
    assert told() == []
    placed = hold(pool, 550)
    holds.capture(hold_id=placed.pk, amount=D(550), now=NOW)
    assert told() == [50]


def test_expiry_tells_too(pool):
    give(pool, 300)
    give(pool, 300, expires_at=NOW + DAY)
    watch(pool)
    expiry.expire_due(now=NOW + DAY, grace_seconds=0)
    assert told() == [300]


def test_credits_that_move_away_tell_and_those_that_come_back_arm_again(pool, team):
    give(pool, 600)
    watch(pool)
    posting.transfer(from_pool_id=pool.pk, to_pool_id=team.pk, amount=D(200), reference="a", now=NOW)
    posting.transfer(from_pool_id=team.pk, to_pool_id=pool.pk, amount=D(200), reference="b", now=NOW)
    posting.transfer(from_pool_id=pool.pk, to_pool_id=team.pk, amount=D(300), reference="c", now=NOW)
    assert told() == [400, 300]


def test_credits_that_begin_later_do_not_count_yet(pool):
    give(pool, 600)
    give(pool, 600, effective_at=NOW + DAY)
    watch(pool)
    take(pool, 200)
    assert told() == [400]
    take(pool, 1, now=NOW + DAY)
    take(pool, 600, now=NOW + DAY)
    assert told() == [400, 399]


def test_overdraft_is_nothing_left(pool):
    set_policy(pool, "burst", burst=100)
    give(pool, 600)
    watch(pool, 50)
    take(pool, 650)
    assert told() == [0]


def test_each_pool_has_its_own(pool, team):
    give(pool, 600)
    give(team, 600)
    watch(pool)
    take(team, 600)
    assert told() == []
    watch(team, 10)
    give(team, 20)
    take(team, 15)
    assert told() == [5]


def test_a_spend_that_crosses_nothing_pays_nothing_for_it(pool, monkeypatch, django_assert_num_queries):
    sent = []

    def counted(statements):
        sent.append(len(statements))
        return pipelined(statements)

    monkeypatch.setattr(pool_store, "pipelined", counted)
    give(pool, 1000)
    sent.clear()
    with django_assert_num_queries(4):  # Savepoint and its end, the posting before, the posting after.
        take(pool, 1)
    plain = list(sent)
    watch(pool)
    sent.clear()
    with django_assert_num_queries(4):
        take(pool, 1)
    assert sent == plain


@pytest.mark.django_db(transaction=True)
def test_many_at_once_tell_once(pool):
    give(pool, 1000)
    watch(pool)
    race([lambda: take(pool, 40) and None] * 20)
    assert told() == [480]
    assert CreditPool.objects.get(pk=pool.pk).balance == 200


@pytest.mark.django_db(transaction=True)
def test_setting_it_waits_for_the_spend_under_way(pool):
    # Whoever is first, the fall is told once or was there before: never lost, never doubled.
    give(pool, 1000)
    race([lambda: take(pool, 600) and None, lambda: watch(pool)])
    mark = CreditPool.objects.get(pk=pool.pk).low_balance_told
    assert mark
    assert len(told()) <= 1
    give(pool, 500, now=NOW + timedelta(hours=1))
    take(pool, 500, now=NOW + timedelta(hours=2))
    assert told()[-1] == 400
