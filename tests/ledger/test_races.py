"""Many at once on real PostgreSQL; and the same without the guard, to show that these tests can fail."""

import itertools
from collections import Counter
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection

from billing.ledger import expiry, holds, pool_acts, pool_store, pools, posting
from billing.ledger.models import CreditGrant, CreditPool, Hold, Posting
from billing.metering import verification
from billing.notifications.models import Notification
from tests.factories import make_account
from tests.ledger.makers import DAY, HOUR, NOW, assert_proven, available_in, give, hold, take
from tests.ledger.racing import race, repeated

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pool(transactional_db):
    """The main pool of alice's account, committed for all threads to see."""
    return pools.get_main_pool(make_account("alice-org", now=NOW).pk)


@pytest.fixture
def team(pool):
    return pools.open_pool(account=pool.account, key="research", name="Research", now=NOW)


def spend_in_threads(pool, threads, charges, *also):
    """What became of threads x charges of one credit."""
    outcomes = [Counter() for _ in range(threads)]

    def worker(thread):
        def one(number):
            reference = f"charge:{thread}:{number}"
            posting.spend(pool_id=pool.pk, credits=Decimal(1), reference=reference, now=NOW)

        return lambda: repeated(one, charges, outcomes[thread], posting.InsufficientCredits, *also)

    race([worker(thread) for thread in range(threads)])
    return sum(outcomes, Counter())


def test_fifty_threads_spend_exactly_what_there_is(pool):
    give(pool, 100)
    assert spend_in_threads(pool, 50, 4) == {"done": 100, "InsufficientCredits": 100}
    pool.refresh_from_db()
    assert (pool.balance, pool.cycle_spent, pool.version) == (0, 100, 101)
    assert Posting.objects.filter(act="spend").count() == 100
    # Each threshold was told of once, whoever crossed it.
    assert Notification.objects.count() == 3
    assert_proven()


def test_without_the_lock_the_same_goes_wrong(pool, monkeypatch):
    """The positive control: two that read the same balance write the same version, and the database says no."""
    monkeypatch.setattr(pool_store, "_POOLS", pool_store._POOLS.replace("FOR NO KEY UPDATE OF p", ""))
    give(pool, 100)
    outcomes = spend_in_threads(pool, 50, 4, IntegrityError)
    assert outcomes["IntegrityError"] > 0
    assert outcomes["done"] + outcomes["InsufficientCredits"] < 200


def test_without_lock_and_constraint_more_is_spent_than_there_was(pool, monkeypatch):
    """The positive control in credits: threads that read the same balance each spend it."""
    monkeypatch.setattr(pool_store, "_POOLS", pool_store._POOLS.replace("FOR NO KEY UPDATE OF p", ""))
    give(pool, 100)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE billing_posting DROP CONSTRAINT posting_version_unique")
    try:
        assert spend_in_threads(pool, 50, 4)["done"] > 100
        assert "posting_balance_before" in {finding.kind for finding in verification.verify(now=NOW).findings}
    finally:
        call_command("flush", verbosity=0, interactive=False)
        with connection.cursor() as cursor:
            cursor.execute(
                "ALTER TABLE billing_posting ADD CONSTRAINT posting_version_unique UNIQUE (pool_id, version)"
            )


def test_without_the_check_before_a_spend_more_is_spent_than_there_was(pool, monkeypatch):
    give(pool, 100)
    monkeypatch.setattr(pool_acts, "ensure_covered", lambda *_, **__: None)
    assert spend_in_threads(pool, 10, 12) == {"done": 120}
    pool.refresh_from_db()
    assert pool.overdraft == 20


def test_one_reference_in_many_threads_is_one_spend(pool):
    give(pool, 100)
    seen = []

    def work():
        seen.append(posting.spend(pool_id=pool.pk, credits=Decimal(3), reference="same", now=NOW).pk)

    assert race([work] * 20) == {"done": 20}
    assert len(set(seen)) == 1
    assert available_in(pool) == 97
    assert_proven()


def test_transfers_both_ways_never_deadlock(pool, team):
    give(pool, 100)
    give(team, 100)

    def worker(thread):
        there, back = (pool, team) if thread % 2 else (team, pool)

        def work():
            for number in range(6):
                posting.transfer(
                    from_pool_id=there.pk, to_pool_id=back.pk, amount=Decimal(2), reference=f"t:{thread}:{number}",
                    now=NOW,
                )  # fmt: skip

        return work

    assert race([worker(thread) for thread in range(16)]) == {"done": 16}
    assert (available_in(pool), available_in(team)) == (100, 100)
    assert_proven()


def test_a_hold_ends_in_exactly_one_way(pool):
    """Captures, releases and the expiry job race for each of many holds."""
    give(pool, 100)
    placed = [hold(pool, 5, expires_in_seconds=60) for _ in range(20)]
    later = NOW + 61 * (HOUR / 3600)
    closed = (holds.HoldClosed,)
    outcomes = Counter()

    def capturing():
        for each in placed:
            repeated(
                lambda _, each=each: holds.capture(hold_id=each.pk, amount=Decimal(3), now=NOW), 1, outcomes, *closed
            )

    def releasing():
        for each in placed:
            repeated(lambda _, each=each: holds.release(hold_id=each.pk, now=NOW), 1, outcomes, *closed)

    race([capturing, releasing, lambda: holds.expire_due(now=later), capturing, releasing])
    states = Counter(Hold.objects.values_list("state", flat=True))
    assert "open" not in states
    captured = states["captured"]
    assert Posting.objects.filter(act="spend").count() == captured
    pool.refresh_from_db()
    assert (pool.balance, pool.held) == (100 - 3 * captured, 0)
    assert_proven()


def test_a_hold_is_captured_once_however_many_ask(pool):
    give(pool, 100)
    placed = hold(pool, 10)
    outcomes = Counter()

    def worker(number):
        def work():
            repeated(
                lambda _: holds.capture(hold_id=placed.pk, amount=Decimal(10), now=NOW, reference=f"c:{number}"),
                1, outcomes, holds.HoldClosed,
            )  # fmt: skip

        return work

    race([worker(number) for number in range(12)])
    assert outcomes == {"done": 1, "HoldClosed": 11}
    assert available_in(pool) == 90
    assert_proven()


def test_holds_in_many_threads_reserve_exactly_what_there_is(pool):
    give(pool, 50)
    outcomes = Counter()

    def worker(thread):
        def place(number):
            holds.place(pool_id=pool.pk, amount=Decimal(2), reference=f"h:{thread}:{number}", now=NOW)

        return lambda: repeated(place, 4, outcomes, posting.InsufficientCredits)

    race([worker(thread) for thread in range(12)])
    assert outcomes == {"done": 25, "InsufficientCredits": 23}
    pool.refresh_from_db()
    assert (pool.held, pool.balance) == (50, 50)
    assert_proven()


def test_a_spend_is_reversed_once_however_many_ask(pool):
    give(pool, 10)
    spent = take(pool, 6)
    outcomes = Counter()

    def work():
        repeated(lambda _: posting.reverse(posting_id=spent.pk, now=NOW), 1, outcomes, posting.AlreadyReversed)

    race([work] * 10)
    assert outcomes == {"done": 1, "AlreadyReversed": 9}
    assert available_in(pool) == 10
    assert_proven()


def test_expiry_jobs_at_once_expire_each_lot_once(pool, team):
    for each, _ in itertools.product((pool, team), range(5)):
        give(each, 2, expires_at=NOW + HOUR)
    race([lambda: expiry.expire_due(now=NOW + DAY, grace_seconds=0)] * 6)
    assert Posting.objects.filter(act="expire").count() == 10
    assert CreditGrant.objects.filter(expired=2, is_open=False).count() == 10
    assert_proven()


def test_a_mixture_of_everything_ends_proven(pool, team):
    for each in (pool, team):
        give(each, 200)
        pools.set_policy(pool_id=each.pk, policy="burst", burst_limit=Decimal(50), overage_cap=None)
    refusals = (posting.InsufficientCredits, posting.NotEnoughLeft, posting.AlreadyReversed, holds.HoldClosed)

    def worker(thread):
        here, there = (pool, team) if thread % 2 else (team, pool)

        def act(number):
            name = f"{thread}:{number}"
            spent = take(here, 7, reference=f"s:{name}")
            placed = hold(here, 5, reference=f"h:{name}")
            if number % 3 == 0:
                posting.reverse(posting_id=spent.pk, now=NOW)
            holds.capture(hold_id=placed.pk, amount=Decimal(number % 7), now=NOW)
            posting.transfer(
                from_pool_id=here.pk, to_pool_id=there.pk, amount=Decimal(3), reference=f"t:{name}", now=NOW
            )
            give(there, 4, reference=f"g:{name}")

        return lambda: repeated(act, 8, Counter(), *refusals)

    race([worker(thread) for thread in range(10)])
    assert_proven()
    for each in CreditPool.objects.all():
        assert each.version == Posting.objects.filter(pool=each).count()
