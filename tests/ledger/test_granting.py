"""The acts grant and revoke on PostgreSQL."""

import itertools
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DataError, IntegrityError, connection, transaction

from billing.ledger import pool_store, posting
from billing.ledger.models import CreditGrant, Posting
from tests.ledger.makers import (
    DAY,
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


def test_a_grant_is_a_lot_a_posting_and_a_balance(pool):
    granted = posting.grant(
        pool_id=pool.pk, amount=Decimal("100.5"), kind="purchase", reference="buy:1", now=NOW, priority=20,
        effective_at=NOW + DAY, expires_at=NOW + 9 * DAY, cost_basis=Decimal("0.07"), currency="EUR", note="a pack",
        actor="user:1",
    )  # fmt: skip
    lot = CreditGrant.objects.get()
    assert entries_of(granted) == [(lot.pk, "grant", Decimal("100.5"))]
    assert (lot.pool, lot.kind, lot.amount, lot.remaining, lot.priority) == (pool, "purchase", 100.5, 100.5, 20)
    assert (lot.effective_at, lot.expires_at, lot.created_at) == (NOW + DAY, NOW + 9 * DAY, NOW)
    assert (lot.cost_basis, lot.currency, lot.note) == (Decimal("0.07"), "EUR", "a pack")
    assert (granted.act, granted.version, granted.credits, granted.amount) == ("grant", 1, 100.5, 100.5)
    assert (granted.balance_before, granted.balance_after, granted.posted_at) == (0, 100.5, NOW)
    assert (granted.actor, granted.note) == ("user:1", "a pack")
    pool.refresh_from_db()
    assert (pool.balance, pool.version, pool.last_posted_at) == (100.5, 1, NOW)
    # Not good before tomorrow.
    assert (available_in(pool), available_in(pool, NOW + DAY)) == (0, 100.5)
    assert_proven()


def test_a_grant_happens_once_per_reference(pool):
    first = posting.grant(pool_id=pool.pk, amount=Decimal(10), kind="bonus", reference="g", now=NOW)
    with nothing_written():
        again = posting.grant(pool_id=pool.pk, amount=Decimal(10), kind="bonus", reference="g", now=NOW + DAY)
    assert again == first


def test_the_same_reference_in_another_pool_is_another_act(pool, team):
    give(pool, 10, reference="g")
    give(team, 10, reference="g")
    assert (available_in(pool), available_in(team)) == (10, 10)


@pytest.mark.parametrize("same", [True, False])
def test_a_reference_used_for_another_request_is_a_conflict(pool, same):
    first = posting.grant(pool_id=pool.pk, amount=Decimal(10), kind="bonus", reference="g", now=NOW, fingerprint=b"one")
    with nothing_written():
        if same:
            repeated = posting.grant(
                pool_id=pool.pk, amount=Decimal(10), kind="bonus", reference="g", now=NOW, fingerprint=b"one"
            )
            assert repeated == first
            return
        with pytest.raises(posting.ReferenceConflict) as conflict:
            posting.grant(pool_id=pool.pk, amount=Decimal(9), kind="bonus", reference="g", now=NOW, fingerprint=b"two")
    assert conflict.value.posting == first


def test_a_senseless_grant_is_refused(pool):
    for fields in (
        {"amount": 0},
        {"amount": -1},
        {"kind": "overdraft"},
        {"kind": "overage"},
        {"kind": "transfer"},
        {"kind": "rollover"},
        {"kind": "gift"},
        {"expires_at": NOW},
        {"expires_at": NOW - DAY},
        {"effective_at": NOW + DAY, "expires_at": NOW + DAY},
    ):
        with nothing_written(), pytest.raises(ValueError, match="a grant needs"):
            give(pool, **{"amount": 10, **fields})


def test_a_grant_to_a_pool_that_is_not_there_is_refused(pool):
    with nothing_written(), pytest.raises(pool_store.PoolNotFound):
        posting.grant(pool_id=pool.pk + 999, amount=Decimal(1), kind="bonus", reference="g", now=NOW)


def test_the_database_keeps_impossible_amounts_out(pool):
    give(pool, 10)
    changes = (
        "billing_creditgrant SET amount = %s, remaining = %s",
        "billing_creditgrant SET held = %s WHERE 0 <> %s",
        "billing_creditpool SET balance = %s WHERE 0 <> %s",
        "billing_creditpool SET overdraft = %s, cycle_overage = %s",
        "billing_creditpool SET cycle_allocation = %s, cycle_spent = %s",
    )
    taken = []
    for change, bad in itertools.product(changes, ("NaN", "Infinity", "-Infinity", "1e18", "-1")):
        with nothing_written(), suppress(IntegrityError, DataError), transaction.atomic():
            connection.cursor().execute(f"UPDATE {change}", [bad, bad])
            taken.append((change, bad))
            transaction.set_rollback(True)
    assert taken == []


def test_the_database_keeps_the_identity_of_each_lot(pool):
    lot = give(pool, 10)
    for wrong in (
        {"remaining": 9},
        {"spent": 1},
        {"held": 11},
        {"amount": 11},
        {"spent": 10, "remaining": 0, "held": 1},
    ):
        with nothing_written(), pytest.raises(IntegrityError), transaction.atomic():
            CreditGrant.objects.filter(pk=lot.pk).update(**wrong)


def test_revoking_takes_what_is_asked(pool):
    lot = give(pool, 10)
    revoked = posting.revoke(grant_id=lot.pk, amount=Decimal(4), reference="r", now=NOW, note="why", actor="user:1")
    assert entries_of(revoked) == [(lot.pk, "revoke", -4)]
    assert (revoked.act, revoked.credits, revoked.actor, revoked.note) == ("revoke", 4, "user:1", "why")
    assert available_in(pool) == 6
    assert_proven()


def test_revoking_without_an_amount_takes_all_that_is_free(pool):
    lot = give(pool, 10)
    take(pool, 3)
    hold(pool, 2)
    assert posting.revoke(grant_id=lot.pk, reference="r", now=NOW).credits == 5
    assert available_in(pool) == 0
    assert_proven()


def test_revoking_happens_once_per_reference(pool):
    lot = give(pool, 10)
    first = posting.revoke(grant_id=lot.pk, amount=Decimal(4), reference="r", now=NOW)
    with nothing_written():
        assert posting.revoke(grant_id=lot.pk, amount=Decimal(4), reference="r", now=NOW) == first


def test_no_more_is_revoked_than_is_free(pool):
    lot = give(pool, 10)
    take(pool, 3)
    hold(pool, 2)
    with nothing_written(), pytest.raises(posting.NotEnoughLeft) as refused:
        posting.revoke(grant_id=lot.pk, amount=Decimal("5.000001"), reference="r", now=NOW)
    assert (refused.value.required, refused.value.free) == (Decimal("5.000001"), 5)


def test_what_is_used_up_or_debt_cannot_be_revoked(pool):
    lot = give(pool, 10)
    set_policy(pool, "burst", burst=5)
    take(pool, 12)
    overdraft = CreditGrant.objects.get(kind="overdraft")
    for grant_id in (lot.pk, overdraft.pk):
        with nothing_written(), pytest.raises(posting.NotEnoughLeft):
            posting.revoke(grant_id=grant_id, reference="r", now=NOW)


@pytest.mark.parametrize("amount", [0, -5])
def test_revoking_nothing_or_less_is_refused(pool, amount):
    lot = give(pool, 10)
    with nothing_written(), pytest.raises(ValueError, match="positive"):
        posting.revoke(grant_id=lot.pk, amount=Decimal(amount), reference="r", now=NOW)


def test_revoking_a_lot_that_is_not_there_is_refused(pool):
    with nothing_written(), pytest.raises(posting.GrantNotFound):
        posting.revoke(grant_id=999_999, reference="r", now=NOW)


def test_a_grant_repays_overdraft_in_the_same_transaction(pool):
    set_policy(pool, "burst", burst=50)
    take(pool, 30)
    lot = give(pool, 100)
    repaid = Posting.objects.get(act="repay")
    owed = CreditGrant.objects.get(kind="overdraft")
    assert entries_of(repaid) == [(lot.pk, "spend", -30), (owed.pk, "reverse", 30), (owed.pk, "revoke", -30)]
    assert repaid.entries.get(line=1).repays_id == owed.pk
    assert (repaid.credits, repaid.balance_after, repaid.overdraft_after) == (30, 70, 0)
    assert not owed.is_open
    assert available_in(pool) == 70
    assert_proven()


def test_a_lot_that_becomes_good_later_repays_with_the_next_act_and_reads_so_before(pool):
    set_policy(pool, "burst", burst=50)
    take(pool, 30)
    give(pool, 100, effective_at=NOW + DAY)
    assert available_in(pool, NOW + DAY) == 70
    take(pool, 1, now=NOW + DAY)
    assert Posting.objects.filter(act="repay", credits=30).count() == 1
    assert available_in(pool, NOW + DAY) == 69
    assert_proven()


def test_times_are_kept_to_the_microsecond_and_never_run_backwards(pool):
    moment = NOW + timedelta(microseconds=1)
    give(pool, 1, now=moment)
    give(pool, 1, now=NOW)
    assert list(Posting.objects.order_by("version").values_list("posted_at", flat=True)) == [moment, moment]
