"""Opening accounts and pools, and setting their policy."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from billing.accounts.models import Account
from billing.ledger import pools
from billing.ledger.models import CreditPool
from tests.factories import make_account
from tests.ledger.makers import NOW, nothing_written


def test_an_account_comes_with_its_main_pool(db):
    account = make_account("berlin", now=NOW, time_zone="Europe/Berlin", policy="burst", burst_limit=Decimal(5))
    pool = pools.get_main_pool(account.pk)
    assert (pool.account, pool.key, pool.kind, pool.balance, pool.version) == (account, "main", "main", 0, 0)
    assert (pool.policy, pool.burst_limit, pool.overage_cap) == ("burst", 5, None)
    # March in Berlin: from winter time (+1) to summer time (+2).
    assert pool.cycle_starts_at == datetime(2026, 2, 28, 23, tzinfo=UTC)
    assert pool.cycle_ends_at == datetime(2026, 3, 31, 22, tzinfo=UTC)


def test_an_external_id_belongs_to_one_account(alice):
    with nothing_written(), pytest.raises(pools.ExternalIdTaken):
        make_account(alice.external_id)


def test_an_account_whose_pool_cannot_be_made_is_not_made_either(db):
    with nothing_written(), pytest.raises(IntegrityError):
        make_account("odd", policy="burst", burst_limit=Decimal(-1))
    assert not Account.objects.exists()


def test_a_pool_key_belongs_to_one_pool_of_an_account(alice, team, mallory):
    with nothing_written(), pytest.raises(pools.PoolKeyTaken):
        pools.open_pool(account=alice, key="research", name="Another", now=NOW)
    # In another account it is free.
    pools.open_pool(account=mallory.account, key="research", name="Mine", now=NOW)


def test_a_pool_with_a_negative_limit_is_refused_for_that(alice):
    with nothing_written(), pytest.raises(IntegrityError):
        pools.open_pool(account=alice, key="odd", name="Odd", burst_limit=Decimal(-1), now=NOW)


def test_an_account_has_one_main_pool(alice, pool):
    with nothing_written(), pytest.raises(IntegrityError), transaction.atomic():
        CreditPool.objects.create(
            account=alice, key="second", name="x", last_posted_at=NOW, cycle_starts_at=NOW, cycle_ends_at=NOW,
            created_at=NOW,
        )  # fmt: skip


def test_the_main_pool_of_an_account_that_is_not_there_is_not_found(db):
    with pytest.raises(CreditPool.DoesNotExist):
        pools.get_main_pool(999_999)


def test_a_policy_can_be_changed(pool):
    changed = pools.set_policy(pool_id=pool.pk, policy="overage", burst_limit=Decimal(1), overage_cap=Decimal(2))
    assert (changed.policy, changed.burst_limit, changed.overage_cap) == ("overage", 1, 2)
    pool.refresh_from_db()
    assert (pool.policy, pool.burst_limit, pool.overage_cap) == ("overage", 1, 2)


@pytest.mark.parametrize("limits", [{"burst_limit": -1}, {"overage_cap": -1}])
def test_a_negative_limit_is_refused(pool, limits):
    given = {"burst_limit": Decimal(0), "overage_cap": None, **limits}
    with nothing_written(), pytest.raises(IntegrityError):
        pools.set_policy(pool_id=pool.pk, policy="burst", **given)
