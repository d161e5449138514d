"""L12 and the calendar: a cycle's allocation, the crossings of 75, 90 and 100 %, and where months begin."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from billing.ledger import moves
from billing.ledger.book import charged_as_of, draft
from billing.ledger.burn import settle_overdraft
from billing.ledger.cycles import begin_cycle, month_after, month_start, percent_spent, roll_cycle
from tests.ledger.makers import DAY, HOUR, NOW, assert_identity, charge, fact, grant, make_book, make_lot, undos_of

APRIL = datetime(2026, 4, 1, tzinfo=UTC)


def crossed(book):
    return [(crossing.threshold, crossing.cycle_number, crossing.arming) for crossing in book.crossings]


def test_each_threshold_is_crossed_once():
    book = make_book(make_lot(100))
    seen = []
    for _ in range(100):
        charge(book, 1)
        seen.append(len(book.crossings))
    # Silent up to 74 credits, told at exactly 75, 90 and 100.
    assert [seen[spent - 1] for spent in (74, 75, 89, 90, 99, 100)] == [0, 1, 1, 2, 2, 3]
    assert crossed(book) == [(75, 1, 0), (90, 1, 0), (100, 1, 0)]


@pytest.mark.parametrize(("credits", "told"), [("74.999999", []), (75, [75]), (92, [75, 90]), (100, [75, 90, 100])])
def test_a_jump_tells_of_every_threshold_it_passes(credits, told):
    book = make_book(make_lot(100))
    charge(book, credits)
    assert [crossing.threshold for crossing in book.crossings] == told


def test_spending_on_overage_counts_too():
    book = make_book(make_lot(100), policy="overage")
    charge(book, 250)
    assert percent_spent(book) == 250
    assert [crossing.threshold for crossing in book.crossings] == [75, 90, 100]
    assert (book.crossings[0].spent, book.crossings[0].allocation) == (250, 100)


def test_without_an_allocation_there_is_no_percentage_to_cross():
    book = make_book(policy="overage")
    charge(book, 5)
    assert (percent_spent(book), book.crossings) == (0, [])


def test_a_top_up_arms_again_the_thresholds_that_are_ahead_again():
    book = make_book(make_lot(100))
    charge(book, 92)
    # 92 of 115 are 80 %: 90 and 100 lie ahead again, 75 does not.
    grant(book, 15)
    charge(book, 12)
    assert crossed(book) == [(75, 1, 0), (90, 1, 0), (90, 1, 1)]


def test_a_top_up_that_changes_no_threshold_arms_nothing():
    book = make_book(make_lot(100))
    charge(book, 80)
    grant(book, 1)
    charge(book, 1)
    assert crossed(book) == [(75, 1, 0)]


def test_a_large_top_up_arms_all_three():
    book = make_book(make_lot(100))
    charge(book, 100)
    # 100 of 1,100 are 9 %.
    grant(book, 1000)
    charge(book, 1000)
    assert crossed(book) == [(75, 1, 0), (90, 1, 0), (100, 1, 0), (75, 1, 1), (90, 1, 1), (100, 1, 1)]


def test_a_reversal_is_not_told_and_what_is_spent_again_is_not_told_twice():
    book = make_book(make_lot(100))
    posting = charge(book, 80)
    moves.reverse(book, draft(book, act="reverse", reference="r", now=NOW), undos_of(posting), repaid_by={})
    assert (book.cycle_spent, percent_spent(book)) == (0, 0)
    charge(book, 80)
    assert crossed(book) == [(75, 1, 0)]


def test_a_new_cycle_begins_with_what_is_left_and_arms_anew():
    book = make_book(make_lot(100))
    charge(book, 80)
    roll_cycle(book, now=APRIL)
    assert (book.cycle_number, book.cycle_allocation, book.cycle_spent, book.alert_level) == (2, 20, 0, 0)
    assert (book.cycle_starts_at, book.cycle_ends_at) == (APRIL, datetime(2026, 5, 1, tzinfo=UTC))
    charge(book, 15, occurred_at=APRIL)
    assert crossed(book) == [(75, 1, 0), (75, 2, 0)]


def test_a_cycle_lasts_until_but_not_at_its_end():
    book = make_book(make_lot(100))
    roll_cycle(book, now=APRIL - (APRIL - NOW) / 10**6)
    assert book.cycle_number == 1
    roll_cycle(book, now=APRIL)
    assert book.cycle_number == 2


def test_a_new_cycles_allocation_counts_what_is_good_then_or_becomes_good_in_it():
    ended = make_lot(1, expires_at=APRIL)
    running = make_lot(2, expires_at=APRIL + DAY)
    coming = make_lot(4, effective_at=APRIL + DAY)
    beyond = make_lot(8, effective_at=datetime(2026, 5, 1, tzinfo=UTC))
    held = make_lot(16)
    held.held = Decimal(16)
    book = make_book(ended, running, coming, beyond, held, held=Decimal(16))
    roll_cycle(book, now=APRIL)
    assert book.cycle_allocation == 2 + 4 + 16


def test_months_without_any_act_are_cycles_too():
    book = make_book(make_lot(5, expires_at=APRIL + DAY), make_lot(7))
    roll_cycle(book, now=datetime(2027, 1, 15, tzinfo=UTC))
    # March 2026 was 1, January 2027 is 11.
    assert (book.cycle_number, book.cycle_starts_at) == (11, datetime(2027, 1, 1, tzinfo=UTC))
    assert book.cycle_allocation == 7


def test_overage_starts_a_new_lot_each_cycle_and_the_old_one_is_closed_after_the_next():
    book = make_book(policy="overage", overage_cap=Decimal(10))
    charge(book, 10)
    first = book.lots[0]
    first.changed = False
    roll_cycle(book, now=APRIL)
    assert (first.is_open, first.changed, book.cycle_overage) == (True, False, 0)
    charge(book, 4, occurred_at=APRIL)
    assert [(lot.kind, lot.amount) for lot in book.lots] == [("overage", 10), ("overage", 4)]
    roll_cycle(book, now=datetime(2026, 5, 1, tzinfo=UTC))
    assert [lot.is_open for lot in book.lots] == [False, True]
    assert_identity(book)


def test_reversing_last_cycles_overage_leaves_this_cycles_count_alone():
    book = make_book(policy="overage")
    posting = charge(book, 10)
    roll_cycle(book, now=APRIL)
    charge(book, 4, occurred_at=APRIL)
    moves.reverse(book, draft(book, act="reverse", reference="r", now=APRIL), undos_of(posting), repaid_by={})
    assert book.cycle_overage == 4
    assert [lot.amount - lot.revoked for lot in book.lots] == [0, 4]
    assert_identity(book)


def test_old_debt_lowers_the_new_allocation_once_when_it_is_repaid():
    # 30 owed; 100 become good at the very start of April: 70 of them are for April.
    book = make_book(make_lot(100, effective_at=APRIL), policy="burst", burst_limit=Decimal(50))
    fact(book, 30)
    roll_cycle(book, now=APRIL)
    assert (book.cycle_allocation, book.cycle_carried) == (100, 30)
    settle_overdraft(book, now=APRIL)
    assert (book.cycle_allocation, book.cycle_carried, book.cycle_spent) == (70, 0, 0)


def test_debt_of_this_cycle_does_not_lower_its_allocation():
    book = make_book(policy="burst", burst_limit=Decimal(50))
    fact(book, 30)
    grant(book, 100)
    # 30 of 100 are spent, whichever lot they came from.
    assert (book.cycle_allocation, book.cycle_spent) == (100, 30)


def test_old_and_new_debt_repaid_together_lower_it_by_the_old_part():
    book = make_book(policy="burst", burst_limit=Decimal(50))
    fact(book, 30)
    roll_cycle(book, now=APRIL)
    fact(book, 5, occurred_at=APRIL)
    grant(book, 100)
    assert (book.overdraft, book.cycle_allocation, book.cycle_spent) == (0, 70, 5)


def test_a_grant_for_a_later_cycle_does_not_count_in_this_one():
    book = make_book(make_lot(100))
    grant(book, 50, effective_at=APRIL)
    assert book.cycle_allocation == 100
    roll_cycle(book, now=APRIL)
    assert book.cycle_allocation == 150


def test_a_revocation_lowers_the_allocation_of_the_cycle_the_lot_counts_in():
    lot, later = make_lot(100), make_lot(50, effective_at=APRIL)
    book = make_book(lot, later, cycle_allocation=Decimal(100))
    moves.revoke(book, draft(book, act="revoke", reference="a", now=NOW), later, Decimal(50))
    assert book.cycle_allocation == 100
    moves.revoke(book, draft(book, act="revoke", reference="b", now=NOW), lot, Decimal(40))
    assert book.cycle_allocation == 60


@pytest.mark.parametrize(
    ("at", "zone", "start", "after"),
    [
        # 31 March 2026 23:30 UTC is 1 April 01:30 in Berlin (summer time since 29 March, +2).
        ("2026-03-31T23:30", "Europe/Berlin", "2026-03-31T22:00", "2026-04-30T22:00"),
        ("2026-03-31T21:59", "Europe/Berlin", "2026-02-28T23:00", "2026-03-31T22:00"),
        ("2026-10-20T00:00", "Europe/Berlin", "2026-09-30T22:00", "2026-10-31T23:00"),
        ("2026-12-31T10:00", "Asia/Tokyo", "2026-11-30T15:00", "2026-12-31T15:00"),
        ("2026-12-31T16:00", "Asia/Tokyo", "2026-12-31T15:00", "2027-01-31T15:00"),
        ("2026-03-01T04:59", "America/New_York", "2026-02-01T05:00", "2026-03-01T05:00"),
        ("2026-03-15T00:00", "America/New_York", "2026-03-01T05:00", "2026-04-01T04:00"),
        ("2024-02-29T12:00", "Asia/Kathmandu", "2024-01-31T18:15", "2024-02-29T18:15"),
        # Midnight of 1 October 2023 did not exist in Asuncion: clocks went from 24:00 to 01:00.
        ("2023-10-15T12:00", "America/Asuncion", "2023-10-01T04:00", "2023-11-01T03:00"),
        ("2023-09-15T12:00", "America/Asuncion", "2023-09-01T04:00", "2023-10-01T04:00"),
    ],
)
def test_months_begin_at_midnight_of_the_accounts_zone(at, zone, start, after):
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert month_start(moment, zone).isoformat()[:16] == start
    assert month_after(moment, zone).isoformat()[:16] == after


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Asuncion", "Pacific/Apia", "Australia/Lord_Howe"])
def test_twenty_years_of_months_follow_each_other_without_gap_or_overlap(zone):
    moment = month_start(datetime(2005, 1, 15, tzinfo=UTC), zone)
    for number in range(240):
        following = month_after(moment, zone)
        assert moment < following
        assert month_start(following, zone) == following
        assert month_start(following - DAY / 86400, zone) == moment
        local = following.astimezone(ZoneInfo(zone))
        assert (local.day, (local.year - 2005) * 12 + local.month) == (1, number + 2)
        moment = following


def test_usage_of_the_last_cycle_stands_on_its_overage_and_leaves_this_cycles_figures_alone():
    """March, cap 10: 6 in time and 3 within the grace are March's 9; of 5 more the cap takes 1, the rest is owed."""
    book = make_book(make_lot(20, effective_at=APRIL), policy="overage", overage_cap=Decimal(10))
    charge(book, 6)
    roll_cycle(book, now=APRIL)
    fact(book, 3, occurred_at=NOW)
    assert (book.lots[-1].kind, book.lots[-1].amount, book.lots[0].remaining) == ("overage", 9, 20)
    assert (book.cycle_allocation, book.cycle_spent, book.cycle_overage, crossed(book)) == (20, 0, 0, [])
    fact(book, 5, occurred_at=NOW)
    assert (book.lots[1].amount, book.overdraft, book.cycle_carried) == (10, 4, 4)
    settle_overdraft(book, now=APRIL)
    assert (book.cycle_allocation, book.cycle_spent, book.overdraft) == (16, 0, 0)
    assert_identity(book)


def test_usage_of_the_last_cycle_burns_what_was_good_then_and_lowers_this_cycles_allocation():
    old, bought = make_lot(10, kind="allocation", expires_at=APRIL), make_lot(30)
    new = make_lot(100, kind="allocation", effective_at=APRIL)
    book = make_book(old, bought, new)
    roll_cycle(book, now=APRIL)
    fact(book, 15, occurred_at=NOW)
    assert [lot.remaining for lot in (old, bought, new)] == [0, 25, 100]
    assert (book.cycle_allocation, book.cycle_spent) == (125, 0)


def test_usage_ahead_of_its_cycle_waits_for_that_cycles_credits():
    old, bought = make_lot(10, kind="allocation", expires_at=APRIL), make_lot(5)
    book = make_book(old, bought, policy="overage")
    fact(book, 8, occurred_at=APRIL)
    assert (old.remaining, bought.remaining, book.cycle_spent, book.cycle_overage) == (10, 0, 0, 0)
    fact(book, 12, occurred_at=NOW)
    assert [(lot.amount, lot.effective_at) for lot in book.lots if lot.kind == "overage"] == [(3, APRIL), (2, NOW)]
    roll_cycle(book, now=APRIL)
    assert (book.cycle_spent, book.cycle_overage) == (3, 3)


def test_a_cycle_that_is_cut_short_has_no_grace():
    book = make_book(make_lot(50))
    begin_cycle(book, starts_at=NOW + DAY, ends_at=APRIL)
    assert charged_as_of(book, NOW, now=NOW + DAY, grace_seconds=3600) == NOW + DAY
    roll_cycle(book, now=APRIL)
    moments = [(APRIL - DAY, APRIL), (APRIL - DAY, APRIL + HOUR), (NOW, APRIL), (APRIL, APRIL + DAY)]
    found = [charged_as_of(book, occurred_at, now=now, grace_seconds=3600) for occurred_at, now in moments]
    assert found == [APRIL - DAY, APRIL + HOUR, APRIL, APRIL]
