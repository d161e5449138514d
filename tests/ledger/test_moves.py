"""Expiring, revoking, transferring and rolling over lots (L10), as arithmetic with worked numbers."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.ledger import moves
from billing.ledger.burn import NotEnoughLeft, ensure_free
from billing.ledger.cycles import roll_cycle
from billing.ledger.moves import RolloverRule
from billing.ledger.pool_state import draft
from tests.ledger.makers import DAY, NOW, assert_identity, charge, lines_of, make_lot, make_state

ENDS = datetime(2026, 4, 1, tzinfo=UTC)
NEXT = datetime(2026, 5, 1, tzinfo=UTC)


def act(state, name):
    return draft(state, act=name, reference=f"{name}:{state.version}", now=NOW)


def test_expiring_posts_what_is_left():
    lot = make_lot(10, expires_at=NOW)
    state = make_state(lot)
    charge_before_end = lot.remaining - 4
    lot.spent, lot.remaining, state.balance = charge_before_end, Decimal(4), Decimal(4)
    posting = act(state, "expire")
    moves.expire(state, posting, lot)
    assert lines_of(posting) == [(lot.id, "expire", -4)]
    assert (posting.credits, lot.expired, lot.is_open, state.balance) == (4, 4, False, 0)
    assert_identity(state)


def test_revoking_takes_a_part_and_then_the_rest():
    lot = make_lot(10)
    state = make_state(lot)
    posting = act(state, "revoke")
    moves.revoke(state, posting, lot, Decimal(4))
    assert (posting.credits, lot.revoked, lot.remaining, lot.is_open) == (4, 4, 6, True)
    moves.revoke(state, act(state, "revoke"), lot, Decimal(6))
    assert (lot.revoked, lot.remaining, lot.is_open, state.cycle_allocation) == (10, 0, False, 0)
    assert_identity(state)


@pytest.mark.parametrize(("amount", "refused"), [(6, False), ("6.000001", True), (10, True)])
def test_no_more_is_taken_than_is_free(amount, refused):
    # 10 less 4 held.
    if not refused:
        ensure_free(Decimal(amount), Decimal(6))
        return
    with pytest.raises(NotEnoughLeft) as error:
        ensure_free(Decimal(amount), Decimal(6))
    assert (error.value.required, error.value.free) == (Decimal(amount), 6)


def test_a_transfer_keeps_expiry_cost_priority_and_rollovers():
    early = make_lot(10, expires_at=NOW + DAY, priority=20)
    bought = make_lot(10, kind="purchase", cost_basis=Decimal("0.07"), currency="EUR", rollovers=2)
    source, target = make_state(early, bought), make_state(pool_id=2, key="team")
    out, into = act(source, "transfer"), act(target, "transfer")
    moves.transfer(source, target, Decimal(14), out=out, into=into, now=NOW)
    assert lines_of(out) == [(early.id, "transfer", -10), (bought.id, "transfer", -4)]
    assert (out.credits, out.amount, into.credits, into.amount) == (14, -14, 14, 14)
    # In the target's own burn order: the one that ends first.
    first, second = target.lots
    assert (first.kind, first.amount, first.expires_at, first.priority) == ("transfer", 10, NOW + DAY, 20)
    assert first.effective_at == early.effective_at
    assert (second.amount, second.expires_at, second.cost_basis, second.currency) == (4, None, Decimal("0.07"), "EUR")
    assert (second.rollovers, second.source) == (2, bought)
    assert (source.cycle_allocation, target.cycle_allocation) == (6, 14)
    for state in (source, target):
        assert_identity(state)


def test_a_transfer_leaves_meters_credits_and_held_ones_where_they_are():
    scoped, held, free = make_lot(10, meter_id=7), make_lot(10, priority=1), make_lot(10)
    held.held = Decimal(10)
    source, target = make_state(scoped, held, free, held=Decimal(10)), make_state(pool_id=2)
    moves.transfer(source, target, Decimal(10), out=act(source, "t"), into=act(target, "t"), now=NOW)
    assert (scoped.transferred, held.transferred, free.transferred) == (0, 0, 10)


def test_fractions_of_a_credit_move_too_and_untouched_lots_have_no_line():
    small, other = make_lot("0.25", priority=1), make_lot(10)
    here, there = make_state(small, other), make_state(pool_id=2)
    out = act(here, "t")
    moves.transfer(here, there, Decimal("0.25"), out=out, into=act(there, "t"), now=NOW)
    assert lines_of(out) == [(small.id, "transfer", Decimal("-0.25"))]


def test_there_and_back_loses_nothing():
    lot = make_lot(10, expires_at=NOW + DAY)
    here, there = make_state(lot), make_state(pool_id=2)
    moves.transfer(here, there, Decimal(10), out=act(here, "t"), into=act(there, "t"), now=NOW)
    moves.transfer(there, here, Decimal(10), out=act(there, "t"), into=act(here, "t"), now=NOW)
    assert (here.balance, there.balance) == (10, 0)
    assert [each.expires_at for each in here.lots if each.remaining] == [NOW + DAY]


def rolled(state, rule, **options):
    posting = act(state, "rollover")
    total = moves.roll_over(state, posting, ends_at=ENDS, new_expires_at=NEXT, rule=rule)
    assert_identity(state)
    new = [(lot.amount, lot.rollovers) for lot in state.lots if lot.kind == "rollover" and lot.id is None]
    return total, sorted(new), posting


def ending(amount, rollovers=0, **fields):
    kind = "rollover" if rollovers else "allocation"
    return make_lot(amount, kind=kind, rollovers=rollovers, expires_at=ENDS, **fields)


def test_what_rolls_is_the_smaller_of_what_is_left_and_the_cap():
    for left, cap, expected in [(400, 300, 300), (200, 300, 200), (400, None, 400), (400, 0, 0)]:
        state = make_state(ending(left))
        cap = None if cap is None else Decimal(cap)
        total, new, posting = rolled(state, RolloverRule(cap=cap, max_periods=1))
        assert total == expected
        assert new == ([(expected, 1)] if expected else [])
        assert (state.balance, posting.credits) == (expected, left)


def test_the_rest_expires_in_the_same_posting():
    lot = ending(400)
    state = make_state(lot)
    _, _, posting = rolled(state, RolloverRule(cap=Decimal(300), max_periods=1))
    assert lines_of(posting) == [(lot.id, "transfer", -300), (None, "grant", 300), (lot.id, "expire", -100)]
    half = ending("0.5")
    all_of_it = rolled(make_state(half), RolloverRule(cap=None, max_periods=1))[2]
    assert lines_of(all_of_it) == [(half.id, "transfer", Decimal("-0.5")), (None, "grant", Decimal("0.5"))]
    assert (lot.transferred, lot.expired, lot.remaining, lot.is_open) == (300, 100, 0, False)


def test_a_rolled_lot_has_its_own_validity_and_keeps_cost_priority_and_meter():
    old = ending(10, cost_basis=Decimal("0.05"), priority=30, meter_id=7)
    state = make_state(old)
    rolled(state, RolloverRule(cap=None, max_periods=1))
    twin = next(lot for lot in state.lots if lot.kind == "rollover")
    assert (twin.effective_at, twin.expires_at, twin.cost_basis) == (ENDS, NEXT, Decimal("0.05"))
    assert (twin.priority, twin.meter_id, twin.source) == (30, 7, old)


def test_a_credit_rolls_at_most_the_stated_number_of_times():
    state = make_state(ending(10, rollovers=2), ending(20, rollovers=1))
    total, new, _ = rolled(state, RolloverRule(cap=None, max_periods=2))
    assert (total, new) == (20, [(20, 2)])
    assert state.balance == 20


def test_the_cap_bounds_the_period_s_own_allocation_not_what_rolled_before():
    state = make_state(ending(400), ending(250, rollovers=1))
    total, new, _ = rolled(state, RolloverRule(cap=Decimal(300), max_periods=3))
    assert (total, new) == (550, [(250, 2), (300, 1)])


def test_two_allocations_share_one_cap():
    state = make_state(ending(200), ending(200))
    total, new, _ = rolled(state, RolloverRule(cap=Decimal(300), max_periods=1))
    assert (total, new) == (300, [(100, 1), (200, 1)])


def test_a_cumulative_cap_trims_the_oldest_rollover_first():
    # Cap 300, cumulative 500; left: 400 fresh, 250 rolled once, 100 rolled twice.
    # 300 of the 400 roll, then 200 of the 250, none of the 100; 100 + 50 + 100 expire.
    fresh, once, twice = ending(400), ending(250, rollovers=1), ending(100, rollovers=2)
    state = make_state(twice, once, fresh)
    rule = RolloverRule(cap=Decimal(300), max_periods=3, cumulative_cap=Decimal(500))
    total, new, posting = rolled(state, rule)
    assert (total, new) == (500, [(200, 2), (300, 1)])
    assert [lot.expired for lot in (fresh, once, twice)] == [100, 50, 100]
    assert posting.credits == 750


def test_only_allocations_and_rollovers_that_end_then_take_part():
    others = [
        make_lot(10, kind="purchase", expires_at=ENDS),
        make_lot(10, kind="bonus", expires_at=ENDS),
        make_lot(10, kind="allocation", expires_at=ENDS + DAY),
        make_lot(10, kind="allocation"),
    ]
    state = make_state(*others)
    assert moves.ending_lots(state, ENDS) == []
    assert rolled(state, RolloverRule(cap=None, max_periods=1))[0] == 0


def test_rolled_credits_count_in_the_cycle_that_had_not_counted_the_old_lot():
    state = make_state(ending(400), make_lot(50))
    roll_cycle(state, now=ENDS)
    # April began with the 50; the 300 that roll into it are granted since, though not the 100 that expire.
    assert state.cycle_allocation == 50
    rolled(state, RolloverRule(cap=Decimal(300), max_periods=1))
    assert state.cycle_allocation == 350


def test_rolled_credits_are_not_counted_twice_in_a_cycle_that_goes_on():
    middle = ENDS - 10 * DAY
    state = make_state(make_lot(400, kind="allocation", expires_at=middle))
    moves.roll_over(
        state, act(state, "r"), ends_at=middle, new_expires_at=NEXT, rule=RolloverRule(cap=None, max_periods=1)
    )
    assert state.cycle_allocation == 400


def test_held_credits_neither_roll_nor_expire():
    lot = ending(10)
    lot.held = Decimal(4)
    state = make_state(lot, held=Decimal(4))
    total, _, _ = rolled(state, RolloverRule(cap=None, max_periods=1))
    assert (total, lot.remaining, lot.held, lot.is_open) == (6, 4, 4, True)


def test_versions_and_times_of_postings_only_rise():
    state = make_state(make_lot(10), last_posted_at=NOW + DAY)
    first, second = charge(state, 1), charge(state, 1)
    # A clock that runs behind does not turn the order round.
    assert (first.version, second.version) == (1, 2)
    assert first.posted_at == second.posted_at == NOW + DAY
    assert first.balance_after == second.balance_before == 9
