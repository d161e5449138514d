"""The expiry job takes many pools in a transaction, and no pool suffers for another's fault."""

import pytest

from billing.ledger import expiry, posting
from billing.ledger.models import CreditGrant, CreditPool
from tests.factories import make_account
from tests.ledger.makers import DAY, HOUR, NOW, assert_proven, give, nothing_written

LATER = NOW + DAY


@pytest.fixture
def fifty(db):
    """50 pools, each with a lot of 10 that ends in an hour, one of 5 that ends then too, and one that stays."""
    pools = [CreditPool.objects.get(account=make_account(f"org-{number}", now=NOW)) for number in range(50)]
    for pool in pools:
        for amount in (10, 5):
            give(pool, amount, expires_at=NOW + HOUR)
        give(pool, 1)
    return pools


def expire():
    return expiry.expire_due(now=LATER, grace_seconds=3600)


def test_many_pools_are_expired_in_one_transaction(fifty, monkeypatch, django_assert_max_num_queries):
    calls = []
    expire_lots = posting.expire_lots
    monkeypatch.setattr(expiry, "expire_lots", lambda **given: calls.append(given["pool_ids"]) or expire_lots(**given))
    with django_assert_max_num_queries(20):
        assert expire() == 100
    assert [len(pool_ids) for pool_ids in calls] == [50]
    assert set(CreditPool.objects.values_list("balance", flat=True)) == {1}
    with nothing_written():
        assert expire() == 0
    assert_proven()


def test_they_are_taken_some_at_a_time(fifty, monkeypatch):
    monkeypatch.setattr(expiry, "POOLS_AT_ONCE", 20)
    calls = []
    expire_lots = posting.expire_lots
    monkeypatch.setattr(expiry, "expire_lots", lambda **given: calls.append(given["pool_ids"]) or expire_lots(**given))
    assert expire() == 100
    assert [len(pool_ids) for pool_ids in calls] == [20, 20, 10]


def test_one_faulty_pool_does_not_stop_the_others(fifty, caplog):
    # Its lot says 10 remain, its pool says 3: the balance would fall below zero, which the database refuses.
    faulty = fifty[17]
    CreditPool.objects.filter(pk=faulty.pk).update(balance=3)
    assert expire() == 98
    ended = CreditGrant.objects.filter(expires_at__isnull=False, remaining__gt=0)
    assert set(ended.values_list("pool_id", flat=True)) == {faulty.pk}
    assert set(CreditPool.objects.exclude(pk=faulty.pk).values_list("balance", flat=True)) == {1}
    # Mended, it is done by the next run.
    CreditPool.objects.filter(pk=faulty.pk).update(balance=16)
    assert expire() == 2
    assert_proven()


def test_a_limit_leaves_the_rest_to_the_next_run(fifty):
    assert expiry.expire_due(now=LATER, grace_seconds=3600, limit=30) == 60
    assert expire() == 40
