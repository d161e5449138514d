"""L7 on PostgreSQL: place, capture, release, extend, expire."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.accounts.models import Account
from billing.ledger import expiry, holds, pools, posting
from billing.ledger.models import Hold, MemberLimit, Posting
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


def test_a_parked_account_cannot_hold_nor_capture_more_than_it_held(pool):
    give(pool, 10)
    placed = hold(pool, 2)
    Account.objects.filter(pk=pool.account_id).update(parked_at=NOW)
    with nothing_written(), pytest.raises(posting.AccountParked):
        hold(pool, 1)
    with nothing_written(), pytest.raises(posting.AccountParked):
        capture(placed, 3)
    # What was reserved before is not refused.
    capture(placed, 2)


def test_a_members_limit_binds_holds_and_what_exceeds_them(pool, bob):
    give(pool, 100)
    pools.set_member_limit(member_id=bob.pk, amount=Decimal(10), now=NOW)
    with nothing_written(), pytest.raises(posting.SpendLimitReached):
        hold(pool, 11, member_id=bob.pk)
    placed = hold(pool, 8, member_id=bob.pk)
    with nothing_written(), pytest.raises(posting.SpendLimitReached):
        capture(placed, 11)
    capture(placed, 10)
    assert MemberLimit.objects.get().spent == 10


def test_capturing_all_spends_it_as_of_when_it_was_placed(pool):
    lot = give(pool, 10)
    placed = hold(pool, 6)
    closed, spent = capture(placed, 6, now=NOW + HOUR / 2, note="done", actor="key:1")
    assert entries_of(spent) == [(lot.pk, "spend", -6)]
    assert (spent.hold_id, spent.occurred_at, spent.posted_at) == (placed.pk, NOW, NOW + HOUR / 2)
    assert (spent.note, spent.actor) == ("done", "key:1")
    assert (closed.state, closed.captured, closed.closed_at) == ("captured", 6, NOW + HOUR / 2)
    assert available_in(pool) == 4
    assert_proven()


def test_capturing_less_releases_the_rest(pool):
    give(pool, 10)
    placed = hold(pool, 6)
    capture(placed, 2)
    pool.refresh_from_db()
    assert (pool.held, available_in(pool)) == (0, 8)
    assert_proven()


def test_capturing_nothing_releases_all(pool):
    give(pool, 10)
    placed = hold(pool, 6)
    closed, spent = capture(placed, 0)
    assert (closed.state, spent, available_in(pool)) == ("captured", None, 10)
    with nothing_written():
        assert capture(placed, 0) == (closed, None)


def test_partial_captures_add_up(pool):
    give(pool, 10)
    placed = hold(pool, 6)
    capture(placed, 2, final=False, reference="part:1")
    still, _ = capture(placed, 3, final=False, reference="part:2")
    pool.refresh_from_db()
    assert (still.state, still.captured, pool.held, available_in(pool)) == ("open", 5, 1, 4)
    assert_proven()
    capture(placed, 1, reference="part:3")
    assert Hold.objects.get().captured == 6
    assert Posting.objects.filter(hold=placed).count() == 3
    assert_proven()


def test_capturing_more_burns_what_is_free(pool):
    give(pool, 10)
    placed = hold(pool, 6)
    _, spent = capture(placed, 9)
    assert (spent.credits, available_in(pool)) == (9, 1)
    assert_proven()


def test_capturing_more_than_there_is_follows_the_policy(pool):
    give(pool, 10)
    placed = hold(pool, 6)
    with nothing_written(), pytest.raises(posting.InsufficientCredits) as refused:
        capture(placed, 11)
    # Beyond the 6 reserved, 5 are needed and 4 free.
    assert (refused.value.required, refused.value.available) == (5, 4)
    set_policy(pool, "burst", burst=1)
    _, spent = capture(placed, 11)
    assert (spent.credits, spent.overdraft_after) == (11, 1)
    assert_proven()


def test_a_hold_on_the_policy_is_captured_as_debt(pool):
    set_policy(pool, "burst", burst=10)
    give(pool, 4)
    placed = hold(pool, 9)
    assert placed.uncovered == 5
    # The policy keeps its promise to the hold though the limit is lowered meanwhile.
    set_policy(pool, "block")
    closed, spent = capture(placed, 9)
    assert (spent.overdraft_after, closed.uncovered) == (5, 0)
    pool.refresh_from_db()
    assert (pool.held, pool.held_uncovered) == (0, 0)
    assert_proven()


def test_a_capture_is_charged_to_lots_that_were_good_when_it_was_placed(pool):
    lot = give(pool, 10, expires_at=NOW + HOUR / 2)
    other = give(pool, 10)
    placed = hold(pool, 6)
    later = NOW + HOUR * 3 / 4
    # 8: the 6 reserved and 2 more of the same lot, which was good at NOW and whose expiry is not posted.
    _, spent = capture(placed, 8, now=later)
    assert entries_of(spent) == [(lot.pk, "spend", -8)]
    other.refresh_from_db()
    assert other.spent == 0


def test_a_repeated_capture_gives_the_first_answer(pool):
    give(pool, 10)
    placed = hold(pool, 6)
    first = capture(placed, 4)
    with nothing_written():
        assert capture(placed, 4) == first


def test_a_capture_by_a_reference_in_use_is_a_conflict(pool):
    give(pool, 20)
    placed = hold(pool, 6)
    capture(placed, 2, final=False)
    # The same reference for another amount.
    with nothing_written(), pytest.raises(posting.ReferenceConflict):
        capture(placed, 3)
    # Another act's reference, though the amount is the same.
    take(pool, 3, reference="job:1")
    with nothing_written(), pytest.raises(posting.ReferenceConflict):
        capture(placed, 3, reference="job:1")


def test_a_capture_cannot_be_negative(pool):
    give(pool, 10)
    placed = hold(pool, 6)
    with nothing_written(), pytest.raises(ValueError, match="negative"):
        capture(placed, -1)


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
