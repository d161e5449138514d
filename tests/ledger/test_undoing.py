"""L9: a reversal returns credits to the lots they came from, last burned first; debt is undone or given back."""

from datetime import UTC, datetime
from decimal import Decimal

from billing.ledger import moves
from billing.ledger.pool_state import draft
from tests.ledger.makers import DAY, NOW, assert_identity, charge, fact, grant, lines_of, make_lot, make_state, undos_of


def undo(state, posting, *, repaid_by=None, undos=None):
    back = draft(state, act="reverse", reference=f"reverse:{state.version}", now=NOW)
    moves.reverse(state, back, undos_of(posting) if undos is None else undos, repaid_by=repaid_by or {})
    assert_identity(state)
    return back


def lot_of(state, kind):
    return next(lot for lot in state.lots if lot.kind == kind)


def test_credits_return_in_reverse_order_of_the_burn():
    first, second = make_lot(10, priority=1), make_lot(10, priority=2)
    state = make_state(first, second)
    posting = charge(state, 15)
    back = undo(state, posting)
    assert lines_of(back) == [(second.id, "reverse", 5), (first.id, "reverse", 10)]
    # Each line says which of the burn's lines it undoes.
    assert [line.reverses_line for line in back.lines] == [2, 1]
    assert (back.credits, back.amount, state.balance, state.cycle_spent) == (15, 15, 20, 0)
    assert (first.spent, first.reversed, first.remaining, first.is_open) == (10, 10, 10, True)


def test_a_part_returns_the_part_asked_for():
    lot = make_lot(10)
    state = make_state(lot)
    posting = charge(state, 8)
    undo(state, posting, undos=[moves.Undo(1, lot, Decimal(3))])
    assert (lot.spent, lot.reversed, lot.remaining, state.cycle_spent) == (8, 3, 5, 5)


def test_credits_of_an_expired_lot_return_to_it_and_wait_for_its_expiry():
    lot = make_lot(10, expires_at=NOW + DAY)
    state = make_state(lot)
    posting = charge(state, 10)
    assert not lot.is_open
    lot.expires_at = NOW - DAY
    undo(state, posting)
    assert (lot.remaining, lot.is_open) == (10, True)
    assert not lot.is_valid_at(NOW)


def test_overage_is_undone_not_given_back():
    state = make_state(make_lot(10), policy="overage", overage_cap=Decimal(20))
    posting = charge(state, 25)
    undo(state, posting)
    overage = lot_of(state, "overage")
    assert (state.balance, state.cycle_overage, overage.revoked, overage.remaining) == (10, 0, 15, 0)
    # The whole cap is there again.
    charge(state, 30)
    assert state.cycle_overage == 20


def test_overdraft_still_owed_is_cancelled():
    state = make_state(make_lot(10), policy="burst", burst_limit=Decimal(20))
    posting = charge(state, 25)
    back = undo(state, posting)
    overdraft = lot_of(state, "overdraft")
    assert [(line.flow, line.amount) for line in back.lines] == [("reverse", 15), ("revoke", -15), ("reverse", 10)]
    assert (state.overdraft, state.balance, overdraft.is_open) == (0, 10, False)


def test_overdraft_already_repaid_goes_back_to_who_repaid_it():
    state = make_state(policy="burst", burst_limit=Decimal(30))
    posting = charge(state, 30)
    grant(state, 100)
    payer, overdraft = lot_of(state, "bonus"), lot_of(state, "overdraft")
    overdraft.id = 900
    back = undo(state, posting, repaid_by={900: [(payer, Decimal(30))]})
    assert [(line.lot, line.flow, line.amount, line.repays) for line in back.lines] == [
        (payer, "reverse", 30, overdraft)
    ]
    assert (state.balance, state.overdraft, payer.remaining) == (100, 0, 100)


def test_overdraft_repaid_in_part_is_first_cancelled_then_given_back():
    # 30 owed, 12 repaid: 18 are cancelled, 12 go back to the payer.
    state = make_state(policy="burst", burst_limit=Decimal(30))
    posting = charge(state, 30)
    grant(state, 12)
    payer, overdraft = lot_of(state, "bonus"), lot_of(state, "overdraft")
    overdraft.id = 900
    undo(state, posting, repaid_by={900: [(payer, Decimal(12))]})
    assert (state.overdraft, state.balance, payer.remaining, overdraft.outstanding) == (0, 12, 12, 0)


def test_several_payers_get_theirs_back_newest_first_and_no_more_than_they_paid():
    state = make_state(policy="burst", burst_limit=Decimal(30))
    first, second = fact(state, 10), fact(state, 10)
    grant(state, 12)
    grant(state, 8)
    older, newer = [lot for lot in state.lots if lot.kind == "bonus"]
    overdraft = lot_of(state, "overdraft")
    overdraft.id = 900
    paid = {900: [(newer, Decimal(8)), (older, Decimal(12))]}
    undo(state, first, repaid_by=paid)
    assert (newer.remaining, older.remaining) == (8, 2)
    undo(state, second, repaid_by=paid)
    assert (newer.remaining, older.remaining, state.balance) == (8, 12, 20)


def test_the_spent_amount_of_a_cycle_never_falls_below_zero():
    state = make_state(make_lot(10))
    posting = charge(state, 10)
    state.cycle_spent = Decimal(4)
    undo(state, posting)
    assert state.cycle_spent == 0


def test_undoing_old_debt_takes_it_out_of_what_was_carried():
    from billing.ledger.cycles import roll_cycle

    april = datetime(2026, 4, 1, tzinfo=UTC)
    state = make_state(policy="burst", burst_limit=Decimal(30))
    posting = charge(state, 10)
    roll_cycle(state, now=april)
    undo(state, posting)
    assert (state.overdraft, state.cycle_carried, state.cycle_allocation) == (0, 0, 0)
