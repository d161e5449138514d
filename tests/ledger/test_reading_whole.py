"""A balance is read without a lock, and shows each act whole or not at all, whoever commits meanwhile."""

import threading

import pytest
from django.db import connection, connections

from billing.ledger import balance, holds
from billing.ledger.models import CreditPool
from tests.factories import make_account, make_meter
from tests.ledger.makers import HOUR, NOW, give, hold, nothing_written, set_policy, take


def read(pool, now=NOW):
    found = balance.read(pool_id=pool.pk, now=now)
    return found.available, found.held, found.overdraft


def readings_around(prepare, now=NOW):
    """What is read when an act commits, on another connection, just before the reader's 1st query, its 2nd, and so on.
    `prepare` is called with a fresh pool for each; it returns the act."""
    seen = []
    for place in range(1, 9):
        pool = CreditPool.objects.get(account=make_account(now=NOW))
        act, queries = prepare(pool), []

        def elsewhere(act=act):
            try:
                act()
            finally:
                connections.close_all()

        def watch(execute, sql, parameters, many, context, queries=queries, elsewhere=elsewhere, place=place):
            queries.append(sql)
            if len(queries) == place:
                thread = threading.Thread(target=elsewhere)
                thread.start()
                thread.join()
            return execute(sql, parameters, many, context)

        with connection.execute_wrapper(watch):
            seen.append(read(pool, now))
        if len(queries) < place:  # The reader needs no more queries than that.
            return seen
    raise AssertionError("a balance takes more queries than this test can stand between")


def test_a_grant_that_repays_is_seen_whole_or_not_at_all(transactional_db):
    # 200 granted while 50 are owed: nothing available and 50 owed, or 150 and none. Never 0 or 200 beside the other.
    def owe(pool):
        set_policy(pool, "burst", burst=50)
        take(pool, 50)
        return lambda: give(pool, 200)

    assert set(readings_around(owe)) == {(150, 0, 0), (0, 0, 50)}


def test_the_first_grant_of_an_empty_pool_is_seen_whole_or_not_at_all(transactional_db):
    assert set(readings_around(lambda pool: lambda: give(pool, 200))) == {(200, 0, 0), (0, 0, 0)}


def test_the_last_spend_of_a_pool_is_seen_whole_or_not_at_all(transactional_db):
    def fill(pool):
        give(pool, 30)
        return lambda: take(pool, 30)

    assert set(readings_around(fill)) == {(0, 0, 0), (30, 0, 0)}


def test_the_closing_of_a_lapsed_hold_changes_nothing_that_is_read(transactional_db):
    # Free from its end on: whether the job closes it before, between or after what is read, 100 are available.
    later = NOW + HOUR

    def reserve(pool):
        set_policy(pool, "burst", burst=50)
        give(pool, 100)
        hold(pool, 120, expires_in_seconds=60)
        return lambda: holds.expire_due(now=later)

    assert set(readings_around(reserve, later)) == {(100, 0, 0)}


def test_a_pool_whose_figures_were_tampered_with_can_still_be_read(pool):
    # verify_ledger names it; its balance must open all the same.
    CreditPool.objects.filter(pk=pool.pk).update(balance=7)
    assert read(pool) == (0, 0, 0)


@pytest.mark.django_db
def test_several_pools_read_as_each_alone(django_assert_num_queries):
    meter = make_meter("seats", now=NOW)
    pools = []
    for number in range(12):
        pool = CreditPool.objects.get(account=make_account(f"org-{number}", now=NOW))
        pools.append(pool)
        set_policy(pool, "burst", burst=100)
        if number % 4:
            give(pool, 100 * number)
        if number % 3 == 1:
            give(pool, 7, meter_id=meter.pk)
            take(pool, 10 + number)
        if number % 3 == 2:
            hold(pool, 50, expires_in_seconds=60 if number % 2 else 7200)
    later = NOW + HOUR
    ids = [pool.pk for pool in pools]
    with nothing_written():
        alone = {pool_id: balance.read_states([pool_id], now=later)[pool_id] for pool_id in ids}
        with django_assert_num_queries(1):
            together = balance.read_states(ids, now=later)
    assert together.keys() == alone.keys()
    for pool_id in ids:
        (mine, keys), (other, other_keys) = alone[pool_id], together[pool_id]
        assert keys == other_keys
        for name in ("balance", "held", "held_uncovered", "overdraft", "cycle_allocation", "cycle_spent"):
            assert getattr(mine, name) == getattr(other, name), name
        assert [(lot.id, lot.remaining, lot.held) for lot in mine.lots] == [
            (lot.id, lot.remaining, lot.held) for lot in other.lots
        ]


def test_pools_that_do_not_exist_are_left_out(pool):
    give(pool, 5)
    assert balance.read_states([pool.pk, 999_999], now=NOW).keys() == {pool.pk}
    with pytest.raises(CreditPool.DoesNotExist):
        balance.read(pool_id=999_999, now=NOW)
