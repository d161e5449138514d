"""L7 on PostgreSQL: place, release, extend, expire."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.accounts.models import Account
from billing.ledger import expiry, holds, pool_acts, pools, posting
from billing.ledger.models import Hold, MemberLimit, Posting
from tests.ledger.makers import (
    DAY,
    HOUR,
    NOW,
    assert_proven,
    available_in,
    give,
    hold,
    nothing_written,
    set_policy,
    take,
)


def capture(placed, amount, **fields):
    return holds.capture(hold_id=placed.pk, amount=Decimal(amount), **{"now": NOW, **fields})


def test_a_hold_reserves_without_moving(pool, bob):
    lot = give(pool, 10)
    placed = hold(pool, 6, reference="h", member_id=bob.pk, note="a job", expires_in_seconds=60)
    assert (placed.state, placed.amount, placed.uncovered, placed.captured) == ("open", 6, 0, 0)
    assert (placed.created_at, placed.expires_at) == (NOW, NOW + timedelta(seconds=60))
    assert list(placed.lines.values_list("grant_id", "position", "amount")) == [(lot.pk, 1, 6)]
    pool.refresh_from_db()
    assert (pool.balance, pool.held, available_in(pool)) == (10, 6, 4)
    assert Posting.objects.count() == 1
    assert_proven()


def test_a_hold_is_placed_once_per_reference(pool):
    give(pool, 10)
    first = hold(pool, 6, reference="h", fingerprint=b"one")
    with nothing_written():
        assert hold(pool, 6, reference="h", fingerprint=b"one") == first
        with pytest.raises(holds.HoldConflict):
            hold(pool, 5, reference="h", fingerprint=b"two")


def test_more_than_is_available_cannot_be_held(pool):
    give(pool, 10)
    hold(pool, 6)
    with nothing_written(), pytest.raises(posting.InsufficientCredits) as refused:
        hold(pool, 5)
    assert (refused.value.required, refused.value.available) == (5, 4)


def test_held_credits_cannot_be_spent_otherwise(pool):
    give(pool, 10)
    hold(pool, 6)
    with nothing_written(), pytest.raises(posting.InsufficientCredits):
        take(pool, 5)
    take(pool, 4)


@pytest.mark.parametrize("amount", [0, -1])
def test_holding_nothing_or_less_is_refused(pool, amount):
    give(pool, 10)
    with nothing_written(), pytest.raises(ValueError, match="positive"):
        hold(pool, amount)


@pytest.mark.parametrize("seconds", [0, -1, 24 * 3600 + 1])
def test_a_hold_lasts_a_day_at_most(pool, seconds):
    give(pool, 10)
    placed = hold(pool, 1, expires_in_seconds=24 * 3600)
    with nothing_written(), pytest.raises(holds.HoldTooLong):
        hold(pool, 1, expires_in_seconds=seconds)
    with nothing_written(), pytest.raises(holds.HoldTooLong):
        holds.extend(hold_id=placed.pk, expires_in_seconds=seconds, now=NOW)


@pytest.mark.parametrize(
    ("mark", "refusal"), [("parked_at", pool_acts.AccountParked), ("paused_at", pool_acts.AccountPaused)]
)
def test_a_parked_or_paused_account_cannot_hold_nor_capture_more_than_it_held(pool, mark, refusal):
    give(pool, 10)
    placed = hold(pool, 2)
    Account.objects.filter(pk=pool.account_id).update(**{mark: NOW})
    with nothing_written(), pytest.raises(refusal):
        hold(pool, 1)
    with nothing_written(), pytest.raises(refusal):
        capture(placed, 3)
    # What was reserved before is not refused.
    capture(placed, 2)


def test_a_members_limit_binds_holds_and_what_exceeds_them(pool, bob):
    give(pool, 100)
    pools.set_member_limit(member_id=bob.pk, amount=Decimal(10), now=NOW)
    with nothing_written(), pytest.raises(pool_acts.SpendLimitReached):
        hold(pool, 11, member_id=bob.pk)
    placed = hold(pool, 8, member_id=bob.pk)
    with nothing_written(), pytest.raises(pool_acts.SpendLimitReached):
        capture(placed, 11)
    capture(placed, 10)
    assert MemberLimit.objects.get().spent == 10


def test_releasing_gives_all_back_once(pool):
    give(pool, 10)
    placed = hold(pool, 6)
    released = holds.release(hold_id=placed.pk, now=NOW)
    assert (released.state, released.closed_at, available_in(pool)) == ("released", NOW, 10)
    with nothing_written():
        assert holds.release(hold_id=placed.pk, now=NOW + HOUR) == released
    assert_proven()


@pytest.mark.parametrize("closing", ["captured", "released", "expired"])
def test_a_closed_hold_stays_closed(pool, closing):
    give(pool, 10)
    placed = hold(pool, 6)
    if closing == "captured":
        capture(placed, 6)
    elif closing == "released":
        holds.release(hold_id=placed.pk, now=NOW)
    else:
        assert holds.expire_due(now=NOW + HOUR) == 1
    with nothing_written():
        with pytest.raises(holds.HoldClosed) as error:
            capture(placed, 5)
        assert error.value.hold.state == closing
        with pytest.raises(holds.HoldClosed):
            holds.extend(hold_id=placed.pk, expires_in_seconds=60, now=NOW)
        if closing != "released":
            with pytest.raises(holds.HoldClosed):
                holds.release(hold_id=placed.pk, now=NOW)


def test_a_hold_expires_at_its_end_and_not_before(pool):
    give(pool, 10)
    placed = hold(pool, 6, expires_in_seconds=60)
    with nothing_written():
        assert holds.expire_due(now=NOW + timedelta(seconds=59)) == 0
    assert holds.expire_due(now=NOW + timedelta(seconds=60)) == 1
    assert (Hold.objects.get(pk=placed.pk).state, available_in(pool)) == ("expired", 10)
    assert holds.expire_due(now=NOW + DAY) == 0
    assert_proven()


def test_a_hold_whose_time_is_up_cannot_be_captured_even_before_the_job_ran(pool):
    give(pool, 10)
    placed = hold(pool, 6, expires_in_seconds=60)
    with nothing_written(), pytest.raises(holds.HoldClosed):
        capture(placed, 6, now=NOW + timedelta(seconds=60))


def test_an_extended_hold_lasts_longer(pool):
    give(pool, 10)
    placed = hold(pool, 6, expires_in_seconds=60)
    holds.extend(hold_id=placed.pk, expires_in_seconds=3600, now=NOW + timedelta(seconds=30))
    assert holds.expire_due(now=NOW + HOUR) == 0
    assert Hold.objects.get().expires_at == NOW + HOUR + timedelta(seconds=30)
    capture(placed, 6, now=NOW + HOUR)


def test_what_is_held_does_not_expire_until_the_hold_ends(pool):
    lot = give(pool, 10, expires_at=NOW + HOUR)
    placed = hold(pool, 6, expires_in_seconds=24 * 3600)
    later = NOW + 5 * HOUR
    with nothing_written():
        assert expiry.expire_due(now=later, grace_seconds=3600) == 0
    capture(placed, 4, now=later)
    assert expiry.expire_due(now=later, grace_seconds=3600) == 1
    lot.refresh_from_db()
    assert (lot.spent, lot.expired, lot.is_open) == (4, 6, False)
    assert_proven()


def test_a_hold_that_is_not_there_is_not_found(pool):
    for call in (
        lambda: holds.release(hold_id=999_999, now=NOW),
        lambda: holds.extend(hold_id=999_999, expires_in_seconds=1, now=NOW),
        lambda: holds.capture(hold_id=999_999, amount=Decimal(1), now=NOW),
    ):
        with nothing_written(), pytest.raises(Hold.DoesNotExist):
            call()


def test_releasing_repays_what_is_owed_with_the_next_act(pool):
    set_policy(pool, "burst", burst=10)
    give(pool, 10)
    placed = hold(pool, 10)
    take(pool, 4)
    holds.release(hold_id=placed.pk, now=NOW)
    assert available_in(pool) == 6
    take(pool, 6)
    pool.refresh_from_db()
    assert (pool.overdraft, pool.balance) == (0, 0)
    assert_proven()
