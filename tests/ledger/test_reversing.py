"""The act reverse on PostgreSQL (L9)."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.ledger import expiry, pools, posting
from billing.ledger.models import CreditGrant, CreditPool, MemberLimit, Posting
from tests.ledger.makers import (
    DAY,
    HOUR,
    NOW,
    assert_proven,
    available_in,
    entries_of,
    give,
    nothing_written,
    set_policy,
    take,
)

APRIL = datetime(2026, 4, 1, tzinfo=UTC)


def reverse(spent, **fields):
    return posting.reverse(posting_id=spent.pk, **{"now": NOW, **fields})


def test_a_reversal_returns_credits_to_their_lots(pool):
    first, second = give(pool, 10, priority=1), give(pool, 10, priority=2)
    spent = take(pool, 15)
    back = reverse(spent, note="failed job", actor="user:1")
    assert entries_of(back) == [(second.pk, "reverse", 5), (first.pk, "reverse", 10)]
    assert list(back.entries.order_by("line").values_list("reverses_line", flat=True)) == [2, 1]
    assert (back.act, back.reverses, back.credits, back.amount, back.note) == ("reverse", spent, 15, 15, "failed job")
    assert available_in(pool) == 20
    assert_proven()


def test_a_spend_is_reversed_once(pool):
    give(pool, 10)
    spent = take(pool, 5)
    reverse(spent)
    with nothing_written(), pytest.raises(posting.AlreadyReversed):
        reverse(spent)


def test_only_spends_can_be_reversed(pool, team):
    give(pool, 10)
    spent = take(pool, 5)
    back = reverse(spent)
    granted = Posting.objects.get(act="grant")
    out = posting.transfer(from_pool_id=pool.pk, to_pool_id=team.pk, amount=Decimal(1), reference="t", now=NOW)
    for other in (granted, back, out):
        with nothing_written(), pytest.raises(posting.NotReversible):
            reverse(other)


def test_reversing_a_posting_that_is_not_there_is_refused(pool):
    with nothing_written(), pytest.raises(Posting.DoesNotExist):
        posting.reverse(posting_id=999_999, now=NOW)


def test_a_part_is_returned_first_and_the_whole_then_returns_the_rest(pool):
    from django.db import transaction

    first, second = give(pool, 10, priority=1), give(pool, 10, priority=2)
    spent = take(pool, 20)
    with transaction.atomic():
        # The credits from offset 8 to 13: 2 of the first lot, 3 of the second.
        window = (Decimal(8), Decimal(13))
        opened, _ = posting.reverse_part(spent, now=NOW, reference="event:1", window=window)
        posting.write_pools(opened, now=NOW)
    assert entries_of(Posting.objects.get(reference="event:1")) == [
        (second.pk, "reverse", 3),
        (first.pk, "reverse", 2),
    ]
    rest = reverse(spent)
    assert entries_of(rest) == [(second.pk, "reverse", 7), (first.pk, "reverse", 8)]
    with nothing_written(), pytest.raises(posting.AlreadyReversed):
        reverse(spent)
    assert_proven()


def test_credits_of_a_lot_that_ended_return_to_it_and_expire_again(pool):
    lot = give(pool, 10, expires_at=NOW + DAY)
    spent = take(pool, 6)
    later = NOW + 3 * DAY
    assert expiry.expire_due(now=later, grace_seconds=3600) == 1
    reverse(spent, now=later)
    lot.refresh_from_db()
    assert (lot.remaining, lot.is_open, available_in(pool, later)) == (6, True, 0)
    assert expiry.expire_due(now=later, grace_seconds=3600) == 1
    assert list(Posting.objects.filter(act="expire").order_by("version").values_list("credits", flat=True)) == [4, 6]
    assert_proven()


def test_debt_still_owed_is_cancelled(pool):
    set_policy(pool, "burst", burst=50)
    spent = take(pool, 30)
    reverse(spent)
    pool.refresh_from_db()
    assert (pool.overdraft, pool.balance) == (0, 0)
    assert CreditGrant.objects.get().is_open is False
    assert_proven()


def test_debt_that_was_repaid_goes_back_to_the_lot_that_repaid_it(pool):
    set_policy(pool, "burst", burst=50)
    spent = take(pool, 30)
    payer = give(pool, 100)
    reverse(spent)
    payer.refresh_from_db()
    assert (payer.spent, payer.reversed, payer.remaining) == (30, 30, 100)
    assert available_in(pool) == 100
    assert_proven()


def test_debt_repaid_by_several_and_owed_in_part_is_undone_to_the_last_credit(pool):
    set_policy(pool, "burst", burst=50)
    first, second = take(pool, 20), take(pool, 20)
    give(pool, 15)
    give(pool, 10)
    # 40 owed, 25 repaid, 15 still owed.
    reverse(first)
    pool.refresh_from_db()
    # Those 15 are cancelled first; 5 go back to who repaid last.
    assert (pool.overdraft, pool.balance) == (0, 5)
    reverse(second)
    pool.refresh_from_db()
    assert (pool.overdraft, pool.balance) == (0, 25)
    assert_proven()


def test_returned_credits_repay_what_is_still_owed(pool):
    set_policy(pool, "burst", burst=50)
    give(pool, 10)
    first = take(pool, 10)
    take(pool, 30)
    reverse(first)
    pool.refresh_from_db()
    assert (pool.overdraft, pool.balance) == (20, 0)
    assert_proven()


def test_reversing_overage_of_a_cycle_that_ended_leaves_the_running_ones_count(pool):
    set_policy(pool, "overage", cap=50)
    spent = take(pool, 30)
    take(pool, 10, now=APRIL)
    reverse(spent, now=APRIL + HOUR)
    pool.refresh_from_db()
    assert pool.cycle_overage == 10
    assert_proven()


def test_a_reversal_may_be_the_first_act_of_a_cycle(pool):
    set_policy(pool, "overage", cap=50)
    spent = take(pool, 30)
    reverse(spent, now=APRIL)
    assert CreditPool.objects.get(pk=pool.pk).cycle_overage == 0
    assert CreditGrant.objects.get().revoked == 30
    assert_proven()


def test_a_reversal_gives_a_member_room_again(pool, bob):
    give(pool, 100)
    pools.set_member_limit(member_id=bob.pk, amount=Decimal(10), now=NOW)
    spent = take(pool, 10, member_id=bob.pk)
    reverse(spent)
    assert MemberLimit.objects.get().spent == 0
    take(pool, 10, member_id=bob.pk)
