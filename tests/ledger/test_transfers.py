"""The act transfer on PostgreSQL."""

from decimal import Decimal

import pytest

from billing.accounts.models import Account
from billing.ledger import pool_acts, pool_store, posting
from billing.ledger.models import CreditGrant, Posting
from tests.ledger.makers import (
    DAY,
    HOUR,
    NOW,
    assert_proven,
    available_in,
    entries_of,
    give,
    hold,
    nothing_written,
    set_policy,
    take,
)


def transfer(source, target, amount, **fields):
    given = {"reference": "t", "now": NOW, **fields}
    return posting.transfer(from_pool_id=source.pk, to_pool_id=target.pk, amount=Decimal(amount), **given)


def test_a_transfer_moves_credits_with_their_expiry_and_cost(pool, team):
    soon = give(pool, 10, expires_at=NOW + DAY, priority=20)
    bought = give(pool, 10, kind="purchase", cost_basis=Decimal("0.07"))
    out = transfer(pool, team, 14, note="for alice", actor="user:1")
    assert entries_of(out) == [(soon.pk, "transfer", -10), (bought.pk, "transfer", -4)]
    into = Posting.objects.get(pk=out.counterpart_id)
    assert (into.pool, into.counterpart_id, into.reference, into.credits) == (team, out.pk, "t", 14)
    assert (out.amount, into.amount, out.actor, into.note) == (-14, 14, "user:1", "for alice")
    twins = CreditGrant.objects.filter(pool=team).order_by("pk")
    assert list(twins.values_list("kind", "amount", "expires_at", "cost_basis", "priority", "source_id")) == [
        ("transfer", 10, NOW + DAY, 0, 20, soon.pk),
        ("transfer", 4, None, Decimal("0.07"), 50, bought.pk),
    ]
    assert (available_in(pool), available_in(team)) == (6, 14)
    assert_proven()


def test_a_transfer_happens_once_per_reference(pool, team):
    give(pool, 10)
    first = transfer(pool, team, 4)
    with nothing_written():
        assert transfer(pool, team, 4) == first


def test_a_reference_used_for_another_request_is_a_conflict(pool, team):
    give(pool, 10)
    transfer(pool, team, 4, fingerprint=b"one")
    with nothing_written(), pytest.raises(posting.ReferenceConflict):
        transfer(pool, team, 5, fingerprint=b"two")


@pytest.mark.parametrize("policy", ["block", "burst", "overage"])
def test_no_more_is_transferred_than_is_free_whatever_the_policy(pool, team, policy):
    set_policy(pool, policy, burst=100)
    give(pool, 10)
    hold(pool, 3, expires_in_seconds=7200)
    give(pool, 5, expires_at=NOW + HOUR)
    with nothing_written(), pytest.raises(posting.NotEnoughLeft) as refused:
        transfer(pool, team, 8, now=NOW + HOUR)
    assert (refused.value.required, refused.value.free) == (8, 7)


@pytest.mark.parametrize(
    ("mark", "refusal"), [("parked_at", pool_acts.AccountParked), ("paused_at", pool_acts.AccountPaused)]
)
def test_a_parked_or_paused_account_cannot_transfer(pool, team, mark, refusal):
    give(pool, 10)
    Account.objects.filter(pk=pool.account_id).update(**{mark: NOW})
    with nothing_written(), pytest.raises(refusal):
        transfer(pool, team, 1)


def test_a_transfer_to_another_account_is_refused(pool, mallory):
    give(pool, 10)
    with nothing_written(), pytest.raises(ValueError, match="one account"):
        transfer(pool, mallory, 1)


@pytest.mark.parametrize("amount", [0, -1])
def test_transferring_nothing_or_less_is_refused(pool, team, amount):
    give(pool, 10)
    with nothing_written(), pytest.raises(ValueError, match="positive"):
        transfer(pool, team, amount)


def test_a_transfer_to_itself_or_to_nowhere_is_refused(pool, team):
    give(pool, 10)
    with nothing_written(), pytest.raises(ValueError, match="two pools"):
        transfer(pool, pool, 1)
    team.pk = 999_999
    with nothing_written(), pytest.raises(pool_store.PoolNotFound):
        transfer(pool, team, 1)


def test_a_transfer_repays_what_the_target_owes(pool, team):
    set_policy(team, "burst", burst=50)
    take(team, 30)
    give(pool, 100)
    transfer(pool, team, 40)
    assert Posting.objects.get(act="repay").pool == team
    assert (available_in(pool), available_in(team)) == (60, 10)
    assert_proven()


def test_a_transfer_moves_the_cycles_allocation_along(pool, team):
    give(pool, 100)
    transfer(pool, team, 40)
    for each, allocation in ((pool, 60), (team, 40)):
        each.refresh_from_db()
        assert each.cycle_allocation == allocation
