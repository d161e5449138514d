"""L7: reserving and capturing, as arithmetic with worked numbers."""

from decimal import Decimal

import pytest

from billing.ledger import burn
from billing.ledger.book import available, draft, spendable
from billing.ledger.burn import InsufficientCredits
from tests.ledger.makers import HOUR, NOW, assert_identity, charge, lines_of, make_book, make_lot


def reserve(book, amount, meter_id=None):
    return burn.reserve(book, Decimal(amount), now=NOW, meter_id=meter_id)


def capture(book, parts, *, uncovered=0, extra=0):
    posting = draft(book, act="spend", reference="capture", now=NOW)
    lots = spendable(book, now=NOW, charged_at=NOW, meter_id=None)
    burn.capture(book, posting, parts, uncovered=Decimal(uncovered), extra=Decimal(extra), lots=lots)
    assert_identity(book)
    return posting


def test_reserving_takes_lots_in_burn_order_and_changes_no_balance():
    first, second, third = (make_lot(10, priority=number) for number in (1, 2, 3))
    book = make_book(first, second, third)
    parts, uncovered = reserve(book, 14)
    # No part of nothing on the third.
    assert (parts, uncovered) == ([(first, 10), (second, 4)], 0)
    assert (book.balance, book.held, available(book, at=NOW), book.version) == (30, 14, 16, 0)
    assert book.changed
    assert_identity(book)


def test_a_second_reservation_takes_what_the_first_left():
    lot = make_lot(10)
    book = make_book(lot)
    reserve(book, 6)
    with pytest.raises(InsufficientCredits) as refused:
        reserve(book, "4.000001")
    assert (refused.value.required, refused.value.available) == (Decimal("4.000001"), 4)
    assert (lot.held, book.held, book.held_uncovered) == (6, 6, 0)
    reserve(book, 4)
    assert available(book, at=NOW) == 0


def test_what_lots_do_not_cover_is_reserved_on_the_policy():
    book = make_book(make_lot(10), policy="burst", burst_limit=Decimal(5))
    parts, uncovered = reserve(book, 13)
    assert (sum(part for _, part in parts), uncovered, book.held_uncovered) == (10, 3, 3)
    # Of the limit of 5, 2 are left: for holds and charges alike.
    with pytest.raises(InsufficientCredits):
        charge(book, 3)
    charge(book, 2)
    assert (book.overdraft, book.held) == (2, 10)


def test_giving_back_frees_lots_and_policy():
    book = make_book(make_lot(10), policy="burst", burst_limit=Decimal(5))
    burn.unreserve(book, *reserve(book, 13))
    assert (book.held, book.held_uncovered, available(book, at=NOW)) == (0, 0, 10)


def test_capturing_spends_what_was_reserved():
    lot = make_lot(10)
    book = make_book(lot)
    parts, _ = reserve(book, 6)
    posting = capture(book, parts)
    assert lines_of(posting) == [(lot.id, "spend", -6)]
    assert (lot.held, lot.spent, book.held, book.balance, book.cycle_spent) == (0, 6, 0, 4, 6)


def test_capturing_a_part_leaves_the_rest_reserved():
    lot = make_lot(10)
    book = make_book(lot)
    reserve(book, 6)
    capture(book, [(lot, Decimal(2))])
    assert (lot.held, lot.spent, book.held, available(book, at=NOW)) == (4, 2, 4, 4)


def test_capturing_a_reserved_lot_works_after_its_end():
    lot = make_lot(10, expires_at=NOW + HOUR)
    book = make_book(lot)
    parts, _ = reserve(book, 10)
    lot.expires_at = NOW - HOUR
    assert capture(book, parts).credits == 10
    assert lot.spent == 10


def test_what_was_reserved_on_the_policy_becomes_overdraft_or_overage():
    for policy, fields in [("burst", {"burst_limit": Decimal(5)}), ("overage", {"overage_cap": Decimal(5)})]:
        book = make_book(make_lot(10), policy=policy, **fields)
        parts, uncovered = reserve(book, 13)
        posting = capture(book, parts, uncovered=uncovered)
        assert (posting.credits, posting.amount, book.held_uncovered, book.balance) == (13, -10, 0, 0)
        assert (book.overdraft, book.cycle_overage) == ((3, 0) if policy == "burst" else (0, 3))


def test_the_uncovered_part_burns_credits_that_came_meanwhile_before_it_becomes_debt():
    book = make_book(policy="burst", burst_limit=Decimal(5))
    parts, uncovered = reserve(book, 5)
    fresh = make_lot(3)
    book.lots.append(fresh)
    book.balance += 3
    posting = capture(book, parts, uncovered=uncovered)
    assert (fresh.spent, book.overdraft, posting.amount) == (3, 2, -3)


def test_what_exceeds_the_hold_burns_free_lots_and_not_what_others_hold():
    first, second = make_lot(10, priority=1), make_lot(10, priority=2)
    book = make_book(first, second, policy="burst", burst_limit=Decimal(9))
    mine, _ = reserve(book, 4)
    reserve(book, 12)  # someone else's: 6 of the first lot, 6 of the second
    posting = capture(book, mine, extra=7)
    assert [(line.lot.kind, line.flow, line.amount) for line in posting.lines] == [
        ("bonus", "spend", -4),
        ("bonus", "spend", -4),
        ("overdraft", "grant", 3),
        ("overdraft", "spend", -3),
    ]
    assert (book.held, first.held, second.held, book.balance) == (12, 6, 6, 12)


def test_a_capture_counts_in_the_cycle_and_crosses_thresholds():
    book = make_book(make_lot(10))
    parts, _ = reserve(book, 8)
    assert (book.cycle_spent, book.crossings) == (0, [])
    capture(book, parts)
    assert (book.cycle_spent, [crossing.threshold for crossing in book.crossings]) == (8, [75])


def test_a_hold_of_a_meter_reserves_its_own_credits_first():
    scoped, general = make_lot(5, meter_id=7), make_lot(5)
    parts, _ = reserve(make_book(general, scoped), 7, meter_id=7)
    assert parts == [(scoped, 5), (general, 2)]
