"""L7 on PostgreSQL: capturing a hold, wholly, in parts, and beyond it."""

from decimal import Decimal

import pytest

from billing.ledger import holds, posting
from billing.ledger.models import Hold, Posting
from tests.ledger.makers import (
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
