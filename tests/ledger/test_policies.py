"""L8: what happens when credits run out, for charges and for facts; and how overdraft is repaid."""

from decimal import Decimal

import pytest

from billing.ledger.burn import InsufficientCredits, settle_overdraft
from billing.ledger.pool_state import available, available_for
from tests.ledger.makers import (
    DAY,
    HOUR,
    NOW,
    assert_identity,
    burned,
    charge,
    fact,
    grant,
    lines_of,
    make_lot,
    make_state,
)


def debt(state, kind):
    return next(lot for lot in state.lots if lot.kind == kind)


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({"policy": "block"}, 10),
        ({"policy": "block", "burst_limit": Decimal(5), "overage_cap": Decimal(5)}, 10),
        ({"policy": "burst", "burst_limit": Decimal(5)}, 15),
        ({"policy": "burst", "burst_limit": Decimal(0)}, 10),
        ({"policy": "burst", "burst_limit": Decimal(5), "held_uncovered": Decimal(2)}, 13),
        ({"policy": "overage", "overage_cap": Decimal(7)}, 17),
        ({"policy": "overage", "overage_cap": Decimal(0)}, 10),
        ({"policy": "overage", "overage_cap": Decimal(7), "cycle_overage": Decimal(3)}, 14),
        ({"policy": "overage", "overage_cap": Decimal(7), "held_uncovered": Decimal(3)}, 14),
    ],
)
def test_a_charge_reaches_exactly_as_far_as_lots_and_policy(fields, most):
    state = make_state(make_lot(10), **fields)
    with pytest.raises(InsufficientCredits) as refused:
        charge(state, most + Decimal("0.000001"))
    assert (refused.value.required, refused.value.available) == (most + Decimal("0.000001"), 10)
    assert (state.version, state.balance, state.changed) == (0, 10, False)
    posting = charge(state, most)
    assert (posting.credits, state.balance, state.cycle_spent) == (most, 0, most)
    assert_identity(state)


def test_overage_without_a_cap_has_no_end():
    state = make_state(make_lot(10), policy="overage")
    charge(state, 10**12)
    assert state.cycle_overage == 10**12 - 10
    assert state.overdraft == 0


def test_a_burst_becomes_an_overdraft_lot_granted_and_spent_at_once():
    lot = make_lot(10)
    state = make_state(lot, policy="burst", burst_limit=Decimal(5))
    posting = charge(state, 13)
    assert lines_of(posting) == [(lot.id, "spend", -10), (None, "grant", 3), (None, "spend", -3)]
    assert (posting.credits, posting.amount, posting.overdraft_after) == (13, -10, 3)
    overdraft = debt(state, "overdraft")
    assert (overdraft.amount, overdraft.spent, overdraft.remaining, overdraft.is_open) == (3, 3, 0, True)
    assert state.overdraft == 3


def test_further_shortfall_of_a_posting_joins_its_lines_and_that_of_a_pool_its_lot():
    state = make_state(policy="burst", burst_limit=Decimal(9))
    fact(state, 2)
    posting = fact(state, 3)
    assert lines_of(posting) == [(None, "grant", 3), (None, "spend", -3)]
    assert [lot.amount for lot in state.lots] == [5]


def test_the_same_posting_spending_on_debt_twice_has_two_lines_not_four():
    from billing.ledger.burn import burn

    state = make_state(policy="overage")
    posting = fact(state, 2)
    burn(state, posting, Decimal(3), lots=[])
    assert lines_of(posting) == [(None, "grant", 5), (None, "spend", -5)]
    assert posting.credits == 5


def test_a_charge_within_the_lots_is_never_refused_for_old_overdraft():
    # 8 owed of a limit of 5 (it was lowered), nothing general left, 10 for meter 7 alone.
    state = make_state(make_lot(10, meter_id=7), policy="burst", burst_limit=Decimal(5), overdraft=Decimal(8))
    assert available_for(state, at=NOW, meter_id=7) == 10
    charge(state, 10, meter_id=7)
    with pytest.raises(InsufficientCredits):
        charge(state, 1)


def test_overdraft_lowers_what_general_credits_are_available_and_leaves_a_meters_alone():
    state = make_state(make_lot(10, meter_id=7), make_lot(4), overdraft=Decimal(6))
    # 4 general credits would go to the 6 owed; the meter's 10 cannot.
    assert available(state, at=NOW) == 10
    assert available_for(state, at=NOW, meter_id=None) == 0


@pytest.mark.parametrize(
    ("fields", "overage", "overdraft"),
    [
        ({"policy": "block"}, 0, 20),
        ({"policy": "burst", "burst_limit": Decimal(5)}, 0, 20),
        ({"policy": "overage"}, 20, 0),
        # Up to the cap it is invoiced, beyond it is owed: 7 + 13.
        ({"policy": "overage", "overage_cap": Decimal(7)}, 7, 13),
        ({"policy": "overage", "overage_cap": Decimal(7), "cycle_overage": Decimal(7)}, 0, 20),
        ({"policy": "overage", "overage_cap": Decimal(7), "held_uncovered": Decimal(3)}, 4, 16),
    ],
)
def test_a_fact_is_never_refused(fields, overage, overdraft):
    state = make_state(make_lot(10), **fields)
    before = state.cycle_overage
    posting = fact(state, 30)
    assert posting.credits == 30
    assert (state.cycle_overage - before, state.overdraft) == (overage, overdraft)
    assert_identity(state)


def test_a_grant_repays_what_is_owed_first():
    state = make_state(policy="burst", burst_limit=Decimal(50))
    charge(state, 30)
    owed = debt(state, "overdraft")
    grant(state, 100)
    repaid = state.drafts[-1]
    assert (repaid.act, repaid.reference, repaid.credits, repaid.amount) == ("repay", "repay:3", 30, -30)
    # The spend moves from the overdraft lot to the real one: 100 - 30 = 70 are left, nothing is owed.
    assert [(line.flow, line.amount) for line in repaid.lines] == [("spend", -30), ("reverse", 30), ("revoke", -30)]
    assert repaid.lines[0].repays is owed
    assert (state.balance, state.overdraft, owed.outstanding, owed.is_open) == (70, 0, 0, False)
    # Counted when it happened, not again.
    assert state.cycle_spent == 30
    assert_identity(state)


def test_a_small_grant_repays_a_part():
    state = make_state(policy="burst", burst_limit=Decimal(50))
    charge(state, 30)
    grant(state, 12)
    assert (state.balance, state.overdraft) == (0, 18)
    assert debt(state, "overdraft").is_open
    grant(state, 20)
    assert (state.balance, state.overdraft) == (2, 0)
    assert_identity(state)


def test_credits_of_a_meter_do_not_repay():
    state = make_state(policy="burst", burst_limit=Decimal(50))
    charge(state, 30)
    grant(state, 100, meter_id=7)
    assert (state.balance, state.overdraft) == (100, 30)


def test_credits_that_are_not_yet_good_repay_when_they_are():
    state = make_state(policy="burst", burst_limit=Decimal(50))
    charge(state, 30)
    grant(state, 100, effective_at=NOW + HOUR)
    assert state.overdraft == 30
    assert settle_overdraft(state, now=NOW + HOUR).credits == 30
    assert (state.balance, state.overdraft) == (70, 0)


def test_repaying_burns_in_burn_order():
    state = make_state(policy="burst", burst_limit=Decimal(50))
    charge(state, 30)
    grant(state, 20, effective_at=NOW + HOUR, expires_at=NOW + 9 * DAY)
    grant(state, 20, effective_at=NOW + HOUR, expires_at=NOW + 8 * DAY)
    posting = settle_overdraft(state, now=NOW + HOUR)
    spent = [line for line in posting.lines if line.flow == "spend"]
    assert [(line.lot.expires_at, line.amount) for line in spent] == [(NOW + 8 * DAY, -20), (NOW + 9 * DAY, -10)]


def test_without_debt_or_credits_nothing_is_repaid():
    assert settle_overdraft(make_state(make_lot(10)), now=NOW) is None
    indebted = make_state()
    fact(indebted, 3)
    assert settle_overdraft(indebted, now=NOW) is None
    assert indebted.version == 1


def test_overage_is_never_repaid_from_credits():
    state = make_state(policy="overage")
    charge(state, 30)
    grant(state, 100)
    assert (state.balance, state.overdraft, state.cycle_overage) == (100, 0, 30)
    assert burned(charge(state, 10))[0][1] == 10
