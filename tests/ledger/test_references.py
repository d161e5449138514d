"""L3: a reference belongs to one act. Its exact repeat returns the first posting; any other act that carries it is
refused, and writes nothing."""

from decimal import Decimal

import pytest

from billing.ledger import posting
from billing.ledger.models import CreditGrant, Posting
from tests.ledger.makers import NOW, assert_proven, give, nothing_written, take

D = Decimal


def grant(pool, amount, reference):
    return posting.grant(pool_id=pool.pk, amount=D(amount), kind="bonus", reference=reference, now=NOW)


def revoke(lot, reference, amount=None):
    return posting.revoke(grant_id=lot.pk, reference=reference, amount=amount, now=NOW)


def transfer(source, target, amount, reference):
    return posting.transfer(
        from_pool_id=source.pk, to_pool_id=target.pk, amount=D(amount), reference=reference, now=NOW
    )


def refused():
    return pytest.raises(posting.ReferenceConflict)


def test_a_grants_reference_revokes_nothing(pool):
    # Else a revocation would seem done, and the 100 would stay.
    lot = give(pool, 100, reference="r")
    with nothing_written(), refused() as conflict:
        revoke(lot, "r")
    assert conflict.value.posting.act == "grant"


def test_a_revocations_reference_revokes_no_second_lot(pool):
    first, second = give(pool, 100), give(pool, 100)
    revoke(first, "chargeback")
    with nothing_written(), refused():
        revoke(second, "chargeback")
    second.refresh_from_db()
    assert second.remaining == 100


def test_a_revocations_reference_revokes_no_other_amount(pool):
    lot = give(pool, 100)
    revoke(lot, "r", D(5))
    with nothing_written():
        for other in (D(6), None):
            with refused():
                revoke(lot, "r", other)


def test_a_revocations_reference_grants_nothing(pool):
    lot = give(pool, 100)
    revoke(lot, "r")
    with nothing_written(), refused():
        grant(pool, 100, "r")


@pytest.mark.parametrize("taken_by", ["grant", "revoke"])
def test_a_reference_of_another_act_spends_nothing(pool, taken_by):
    lot = give(pool, 100, reference="grant")
    revoke(lot, "revoke", D(1))
    with nothing_written(), refused():
        take(pool, 5, reference=taken_by)


def test_a_spends_reference_grants_and_revokes_nothing(pool):
    lot = give(pool, 100)
    take(pool, 5, reference="r")
    with nothing_written():
        with refused():
            grant(pool, 5, "r")
        with refused():
            revoke(lot, "r")


def test_a_reference_taken_in_the_target_transfers_nothing(pool, team):
    give(pool, 100)
    give(team, 10, reference="x")
    with nothing_written(), refused() as conflict:
        transfer(pool, team, 5, "x")
    assert conflict.value.posting.pool_id == team.pk


def test_a_reference_taken_in_the_source_transfers_nothing(pool, team):
    give(pool, 100, reference="x")
    with nothing_written(), refused():
        transfer(pool, team, 5, "x")


def test_a_transfers_reference_takes_nothing_back_the_other_way(pool, team):
    # 50 to the team; "x" the other way is another act, not the first one done already.
    give(pool, 100)
    transfer(pool, team, 50, "x")
    with nothing_written():
        for amount in (50, 10):
            with refused():
                transfer(team, pool, amount, "x")
    team.refresh_from_db()
    assert team.balance == 50


def test_a_callers_fingerprint_does_not_make_the_other_way_a_repeat(pool, team):
    give(pool, 100)
    there = {"amount": D(50), "reference": "x", "now": NOW, "fingerprint": b"same"}
    posting.transfer(from_pool_id=pool.pk, to_pool_id=team.pk, **there)
    with nothing_written(), refused():
        posting.transfer(from_pool_id=team.pk, to_pool_id=pool.pk, **there)


def test_a_transfers_reference_moves_no_other_amount(pool, team):
    give(pool, 100)
    transfer(pool, team, 50, "x")
    with nothing_written(), refused():
        transfer(pool, team, 10, "x")


def test_an_exact_repeat_returns_the_first(pool, team):
    granted = grant(pool, 100, "g")
    lot = CreditGrant.objects.get(entries__posting=granted)
    spent = take(pool, 5, reference="s")
    revoked = revoke(lot, "r", D(10))
    moved = transfer(pool, team, "20.50", "t")
    with nothing_written():
        assert grant(pool, 100, "g") == granted
        assert take(pool, 5, reference="s") == spent
        assert revoke(lot, "r", D(10)) == revoked
        # The same amount, however it is written.
        assert transfer(pool, team, "20.5", "t") == moved
    assert (moved.pool_id, moved.amount) == (pool.pk, D("-20.5"))
    assert_proven()


def test_the_repeat_of_a_revocation_of_all_returns_the_first(pool):
    lot = give(pool, 100)
    first = revoke(lot, "r")
    with nothing_written():
        assert revoke(lot, "r") == first
    assert (first.credits, Posting.objects.count()) == (100, 2)


def test_pools_do_not_share_references(pool, team):
    grant(pool, 10, "g")
    grant(team, 20, "g")
    assert sorted(Posting.objects.values_list("credits", flat=True)) == [10, 20]
