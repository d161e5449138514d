"""L8: what happens when credits run out, for charges and for facts; and how overdraft is repaid."""

from decimal import Decimal

import pytest

from billing.ledger.book import available, available_for
from billing.ledger.burn import InsufficientCredits, settle_overdraft
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
    make_book,
    make_lot,
)


def debt(book, kind):
    return next(lot for lot in book.lots if lot.kind == kind)


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
    book = make_book(make_lot(10), **fields)
    with pytest.raises(InsufficientCredits) as refused:
        charge(book, most + Decimal("0.000001"))
    assert (refused.value.required, refused.value.available) == (most + Decimal("0.000001"), 10)
    assert (book.version, book.balance, book.changed) == (0, 10, False)
    posting = charge(book, most)
    assert (posting.credits, book.balance, book.cycle_spent) == (most, 0, most)
    assert_identity(book)


def test_overage_without_a_cap_has_no_end():
    book = make_book(make_lot(10), policy="overage")
    charge(book, 10**12)
    assert book.cycle_overage == 10**12 - 10
    assert book.overdraft == 0


def test_a_burst_becomes_an_overdraft_lot_granted_and_spent_at_once():
    lot = make_lot(10)
    book = make_book(lot, policy="burst", burst_limit=Decimal(5))
    posting = charge(book, 13)
    assert lines_of(posting) == [(lot.id, "spend", -10), (None, "grant", 3), (None, "spend", -3)]
    assert (posting.credits, posting.amount, posting.overdraft_after) == (13, -10, 3)
    overdraft = debt(book, "overdraft")
    assert (overdraft.amount, overdraft.spent, overdraft.remaining, overdraft.is_open) == (3, 3, 0, True)
    assert book.overdraft == 3


def test_further_shortfall_of_a_posting_joins_its_lines_and_that_of_a_pool_its_lot():
    book = make_book(policy="burst", burst_limit=Decimal(9))
    fact(book, 2)
    posting = fact(book, 3)
    assert lines_of(posting) == [(None, "grant", 3), (None, "spend", -3)]
    assert [lot.amount for lot in book.lots] == [5]


def test_the_same_posting_spending_on_debt_twice_has_two_lines_not_four():
    from billing.ledger.burn import burn

    book = make_book(policy="overage")
    posting = fact(book, 2)
    burn(book, posting, Decimal(3), lots=[])
    assert lines_of(posting) == [(None, "grant", 5), (None, "spend", -5)]
    assert posting.credits == 5


def test_a_charge_within_the_lots_is_never_refused_for_old_overdraft():
    # 8 owed of a limit of 5 (it was lowered), nothing general left, 10 for meter 7 alone.
    book = make_book(make_lot(10, meter_id=7), policy="burst", burst_limit=Decimal(5), overdraft=Decimal(8))
    assert available_for(book, at=NOW, meter_id=7) == 10
    charge(book, 10, meter_id=7)
    with pytest.raises(InsufficientCredits):
        charge(book, 1)


def test_overdraft_lowers_what_general_credits_are_available_and_leaves_a_meters_alone():
    book = make_book(make_lot(10, meter_id=7), make_lot(4), overdraft=Decimal(6))
    # 4 general credits would go to the 6 owed; the meter's 10 cannot.
    assert available(book, at=NOW) == 10
    assert available_for(book, at=NOW, meter_id=None) == 0


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
    book = make_book(make_lot(10), **fields)
    before = book.cycle_overage
    posting = fact(book, 30)
    assert posting.credits == 30
    assert (book.cycle_overage - before, book.overdraft) == (overage, overdraft)
    assert_identity(book)


def test_a_grant_repays_what_is_owed_first():
    book = make_book(policy="burst", burst_limit=Decimal(50))
    charge(book, 30)
    owed = debt(book, "overdraft")
    grant(book, 100)
    repaid = book.drafts[-1]
    assert (repaid.act, repaid.reference, repaid.credits, repaid.amount) == ("repay", "repay:3", 30, -30)
    # The spend moves from the overdraft lot to the real one: 100 - 30 = 70 are left, nothing is owed.
    assert [(line.flow, line.amount) for line in repaid.lines] == [("spend", -30), ("reverse", 30), ("revoke", -30)]
    assert repaid.lines[0].repays is owed
    assert (book.balance, book.overdraft, owed.outstanding, owed.is_open) == (70, 0, 0, False)
    # Counted when it happened, not again.
    assert book.cycle_spent == 30
    assert_identity(book)


def test_a_small_grant_repays_a_part():
    book = make_book(policy="burst", burst_limit=Decimal(50))
    charge(book, 30)
    grant(book, 12)
    assert (book.balance, book.overdraft) == (0, 18)
    assert debt(book, "overdraft").is_open
    grant(book, 20)
    assert (book.balance, book.overdraft) == (2, 0)
    assert_identity(book)


def test_credits_of_a_meter_do_not_repay():
    book = make_book(policy="burst", burst_limit=Decimal(50))
    charge(book, 30)
    grant(book, 100, meter_id=7)
    assert (book.balance, book.overdraft) == (100, 30)


def test_credits_that_are_not_yet_good_repay_when_they_are():
    book = make_book(policy="burst", burst_limit=Decimal(50))
    charge(book, 30)
    grant(book, 100, effective_at=NOW + HOUR)
    assert book.overdraft == 30
    assert settle_overdraft(book, now=NOW + HOUR).credits == 30
    assert (book.balance, book.overdraft) == (70, 0)


def test_repaying_burns_in_burn_order():
    book = make_book(policy="burst", burst_limit=Decimal(50))
    charge(book, 30)
    grant(book, 20, effective_at=NOW + HOUR, expires_at=NOW + 9 * DAY)
    grant(book, 20, effective_at=NOW + HOUR, expires_at=NOW + 8 * DAY)
    posting = settle_overdraft(book, now=NOW + HOUR)
    spent = [line for line in posting.lines if line.flow == "spend"]
    assert [(line.lot.expires_at, line.amount) for line in spent] == [(NOW + 8 * DAY, -20), (NOW + 9 * DAY, -10)]


def test_without_debt_or_credits_nothing_is_repaid():
    assert settle_overdraft(make_book(make_lot(10)), now=NOW) is None
    indebted = make_book()
    fact(indebted, 3)
    assert settle_overdraft(indebted, now=NOW) is None
    assert indebted.version == 1


def test_overage_is_never_repaid_from_credits():
    book = make_book(policy="overage")
    charge(book, 30)
    grant(book, 100)
    assert (book.balance, book.overdraft, book.cycle_overage) == (100, 0, 30)
    assert burned(charge(book, 10))[0][1] == 10
