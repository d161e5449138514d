"""Finding a time in a pool's history."""

from datetime import timedelta

import pytest
from django.db import connection
from pytest_django import DjangoAssertNumQueries

from billing.ledger import history, pools
from billing.ledger.models import CreditPool, Posting
from tests.factories import make_account
from tests.ledger.makers import DAY, NOW, give, take

AGES = (30, 30, 12, 12, 12, 5, 1)


@pytest.fixture
def pool(db: None) -> CreditPool:
    """A pool whose postings are so many days old, some at the very same moment."""
    account = make_account("acme", now=NOW - 40 * DAY)
    main = pools.get_main_pool(account.pk)
    give(main, 100, now=NOW - AGES[0] * DAY)
    for age in AGES[1:]:
        take(main, 1, now=NOW - age * DAY)
    return main


@pytest.mark.parametrize("shift", [timedelta(0), timedelta(microseconds=1), -timedelta(microseconds=1)])
def test_halving_finds_what_counting_finds(pool: CreditPool, shift: timedelta) -> None:
    moments = [NOW - days * DAY + shift for days in range(33)]
    counted = {each: Posting.objects.filter(pool=pool, posted_at__lt=each).count() for each in moments}
    assert {each: history.count_before(pool_id=pool.pk, moments=[each])[each] for each in moments} == counted
    assert set(counted.values()) >= {0, len(AGES)}


def test_many_moments_take_one_statement(pool: CreditPool, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    moments = [NOW - days * DAY for days in range(40)]
    with django_assert_num_queries(1):
        counts = history.count_before(pool_id=pool.pk, moments=moments)
    assert counts == {moment: sum(NOW - age * DAY < moment for age in AGES) for moment in moments}


def test_an_empty_pool_has_nothing_before_any_moment(pool: CreditPool) -> None:
    team = pools.open_pool(account=pool.account, key="team", name="Team", now=NOW)
    assert history.count_before(pool_id=team.pk, moments=[NOW]) == {NOW: 0}


def test_another_pools_postings_do_not_count(pool: CreditPool) -> None:
    other = pools.get_main_pool(make_account("other", now=NOW - 40 * DAY).pk)
    give(other, 5, now=NOW - 20 * DAY)
    assert history.count_before(pool_id=other.pk, moments=[NOW, NOW - 25 * DAY]) == {NOW: 1, NOW - 25 * DAY: 0}


def test_a_range_is_half_open(pool: CreditPool) -> None:
    pool.refresh_from_db()
    since, until = NOW - 12 * DAY, NOW - DAY
    assert history.versions_within(pool, since=since, until=until) == range(3, 7)
    assert history.versions_within(pool, since=since, until=None) == range(3, 8)
    assert history.versions_within(pool, since=None, until=until) == range(1, 7)
    assert not history.versions_within(pool, since=until, until=since)
    assert not history.versions_within(pool, since=NOW, until=None)


def test_without_bounds_nothing_is_asked(pool: CreditPool, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    pool.refresh_from_db()
    with django_assert_num_queries(0):
        assert history.versions_within(pool, since=None, until=None) == range(1, 8)


def test_a_long_history_is_not_read(pool: CreditPool) -> None:
    """A thousand postings more: the search reads as many rows as its halvings, not the history."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO billing_posting (pool_id, version, act, reference, credits, amount, balance_before,"
            " balance_after, overdraft_after, posted_at, occurred_at, actor, note)"
            " SELECT %s, n, 'spend', 'more:' || n, 0, 0, 94, 94, 0, %s, %s, '', '' FROM generate_series(8, 1007) n",
            [pool.pk, NOW, NOW],
        )
        cursor.execute("UPDATE billing_creditpool SET version = 1007 WHERE id = %s", [pool.pk])
        cursor.execute("ANALYZE billing_posting")
        cursor.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {history._COUNT_BEFORE}",
            {"pool": pool.pk, "moments": [NOW - 12 * DAY]},
        )
        plan = str(cursor.fetchone()[0])
    assert "posting_version_unique" in plan
    assert "Seq Scan" not in plan
    assert history.count_before(pool_id=pool.pk, moments=[NOW - 12 * DAY]) == {NOW - 12 * DAY: 2}
