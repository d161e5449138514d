"""L7: reserving and capturing, as arithmetic with worked numbers."""

from decimal import Decimal

import pytest

from billing.ledger import burn
from billing.ledger.burn import InsufficientCredits
from billing.ledger.pool_state import available, draft, spendable
from tests.ledger.makers import HOUR, NOW, assert_identity, charge, lines_of, make_lot, make_state


def reserve(state, amount, meter_id=None):
    return burn.reserve(state, Decimal(amount), now=NOW, meter_id=meter_id)


def capture(state, parts, *, uncovered=0, extra=0):
    posting = draft(state, act="spend", reference="capture", now=NOW)
    lots = spendable(state, now=NOW, charged_at=NOW, meter_id=None)
    burn.capture(state, posting, parts, uncovered=Decimal(uncovered), extra=Decimal(extra), lots=lots)
    assert_identity(state)
    return posting


def test_reserving_takes_lots_in_burn_order_and_changes_no_balance():
    first, second, third = (make_lot(10, priority=number) for number in (1, 2, 3))
    state = make_state(first, second, third)
    parts, uncovered = reserve(state, 14)
    # No part of nothing on the third.
    assert (parts, uncovered) == ([(first, 10), (second, 4)], 0)
    assert (state.balance, state.held, available(state, at=NOW), state.version) == (30, 14, 16, 0)
    assert state.changed
    assert_identity(state)


def test_a_second_reservation_takes_what_the_first_left():
    lot = make_lot(10)
    state = make_state(lot)
    reserve(state, 6)
    with pytest.raises(InsufficientCredits) as refused:
        reserve(state, "4.000001")
    assert (refused.value.required, refused.value.available) == (Decimal("4.000001"), 4)
    assert (lot.held, state.held, state.held_uncovered) == (6, 6, 0)
    reserve(state, 4)
    assert available(state, at=NOW) == 0


def test_what_lots_do_not_cover_is_reserved_on_the_policy():
    state = make_state(make_lot(10), policy="burst", burst_limit=Decimal(5))
    parts, uncovered = reserve(state, 13)
    assert (sum(part for _, part in parts), uncovered, state.held_uncovered) == (10, 3, 3)
    # Of the limit of 5, 2 are left: for holds and charges alike.
    with pytest.raises(InsufficientCredits):
        charge(state, 3)
    charge(state, 2)
    assert (state.overdraft, state.held) == (2, 10)


def test_giving_back_frees_lots_and_policy():
    state = make_state(make_lot(10), policy="burst", burst_limit=Decimal(5))
    burn.unreserve(state, *reserve(state, 13))
    assert (state.held, state.held_uncovered, available(state, at=NOW)) == (0, 0, 10)


def test_capturing_spends_what_was_reserved():
    lot = make_lot(10)
    state = make_state(lot)
    parts, _ = reserve(state, 6)
    posting = capture(state, parts)
    assert lines_of(posting) == [(lot.id, "spend", -6)]
    assert (lot.held, lot.spent, state.held, state.balance, state.cycle_spent) == (0, 6, 0, 4, 6)


def test_capturing_a_part_leaves_the_rest_reserved():
    lot = make_lot(10)
    state = make_state(lot)
    reserve(state, 6)
    capture(state, [(lot, Decimal(2))])
    assert (lot.held, lot.spent, state.held, available(state, at=NOW)) == (4, 2, 4, 4)


def test_capturing_a_reserved_lot_works_after_its_end():
    lot = make_lot(10, expires_at=NOW + HOUR)
    state = make_state(lot)
    parts, _ = reserve(state, 10)
    lot.expires_at = NOW - HOUR
    assert capture(state, parts).credits == 10
    assert lot.spent == 10


def test_what_was_reserved_on_the_policy_becomes_overdraft_or_overage():
    for policy, fields in [("burst", {"burst_limit": Decimal(5)}), ("overage", {"overage_cap": Decimal(5)})]:
        state = make_state(make_lot(10), policy=policy, **fields)
        parts, uncovered = reserve(state, 13)
        posting = capture(state, parts, uncovered=uncovered)
        assert (posting.credits, posting.amount, state.held_uncovered, state.balance) == (13, -10, 0, 0)
        assert (state.overdraft, state.cycle_overage) == ((3, 0) if policy == "burst" else (0, 3))


def test_the_uncovered_part_burns_credits_that_came_meanwhile_before_it_becomes_debt():
    state = make_state(policy="burst", burst_limit=Decimal(5))
    parts, uncovered = reserve(state, 5)
    fresh = make_lot(3)
    state.lots.append(fresh)
    state.balance += 3
    posting = capture(state, parts, uncovered=uncovered)
    assert (fresh.spent, state.overdraft, posting.amount) == (3, 2, -3)


def test_what_exceeds_the_hold_burns_free_lots_and_not_what_others_hold():
    first, second = make_lot(10, priority=1), make_lot(10, priority=2)
    state = make_state(first, second, policy="burst", burst_limit=Decimal(9))
    mine, _ = reserve(state, 4)
    reserve(state, 12)  # someone else's: 6 of the first lot, 6 of the second
    posting = capture(state, mine, extra=7)
    assert [(line.lot.kind, line.flow, line.amount) for line in posting.lines] == [
        ("bonus", "spend", -4),
        ("bonus", "spend", -4),
        ("overdraft", "grant", 3),
        ("overdraft", "spend", -3),
    ]
    assert (state.held, first.held, second.held, state.balance) == (12, 6, 6, 12)


def test_a_capture_counts_in_the_cycle_and_crosses_thresholds():
    state = make_state(make_lot(10))
    parts, _ = reserve(state, 8)
    assert (state.cycle_spent, state.crossings) == (0, [])
    capture(state, parts)
    assert (state.cycle_spent, [crossing.threshold for crossing in state.crossings]) == (8, [75])


def test_a_hold_of_a_meter_reserves_its_own_credits_first():
    scoped, general = make_lot(5, meter_id=7), make_lot(5)
    parts, _ = reserve(make_state(general, scoped), 7, meter_id=7)
    assert parts == [(scoped, 5), (general, 2)]
