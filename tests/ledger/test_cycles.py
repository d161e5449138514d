"""L12 and the calendar: a cycle's allocation, the crossings of 75, 90 and 100 %, and where months begin."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from billing.ledger import moves
from billing.ledger.burn import settle_overdraft
from billing.ledger.cycles import begin_cycle, month_after, month_start, percent_spent, roll_cycle
from billing.ledger.pool_state import charged_as_of, draft
from tests.ledger.makers import DAY, HOUR, NOW, assert_identity, charge, fact, grant, make_lot, make_state, undos_of

APRIL = datetime(2026, 4, 1, tzinfo=UTC)


def crossed(state):
    return [(crossing.threshold, crossing.cycle_number, crossing.arming) for crossing in state.crossings]


def test_each_threshold_is_crossed_once():
    state = make_state(make_lot(100))
    seen = []
    for _ in range(100):
        charge(state, 1)
        seen.append(len(state.crossings))
    # Silent up to 74 credits, told at exactly 75, 90 and 100.
    assert [seen[spent - 1] for spent in (74, 75, 89, 90, 99, 100)] == [0, 1, 1, 2, 2, 3]
    assert crossed(state) == [(75, 1, 0), (90, 1, 0), (100, 1, 0)]


@pytest.mark.parametrize(("credits", "told"), [("74.999999", []), (75, [75]), (92, [75, 90]), (100, [75, 90, 100])])
def test_a_jump_tells_of_every_threshold_it_passes(credits, told):
    state = make_state(make_lot(100))
    charge(state, credits)
    assert [crossing.threshold for crossing in state.crossings] == told


def test_spending_on_overage_counts_too():
    state = make_state(make_lot(100), policy="overage")
    charge(state, 250)
    assert percent_spent(state) == 250
    assert [crossing.threshold for crossing in state.crossings] == [75, 90, 100]
    assert (state.crossings[0].spent, state.crossings[0].allocation) == (250, 100)


def test_without_an_allocation_there_is_no_percentage_to_cross():
    state = make_state(policy="overage")
    charge(state, 5)
    assert (percent_spent(state), state.crossings) == (0, [])


def test_a_top_up_arms_again_the_thresholds_that_are_ahead_again():
    state = make_state(make_lot(100))
    charge(state, 92)
    # 92 of 115 are 80 %: 90 and 100 lie ahead again, 75 does not.
    grant(state, 15)
    charge(state, 12)
    assert crossed(state) == [(75, 1, 0), (90, 1, 0), (90, 1, 1)]


def test_a_top_up_that_changes_no_threshold_arms_nothing():
    state = make_state(make_lot(100))
    charge(state, 80)
    grant(state, 1)
    charge(state, 1)
    assert crossed(state) == [(75, 1, 0)]


def test_a_large_top_up_arms_all_three():
    state = make_state(make_lot(100))
    charge(state, 100)
    # 100 of 1,100 are 9 %.
    grant(state, 1000)
    charge(state, 1000)
    assert crossed(state) == [(75, 1, 0), (90, 1, 0), (100, 1, 0), (75, 1, 1), (90, 1, 1), (100, 1, 1)]


def test_a_reversal_is_not_told_and_what_is_spent_again_is_not_told_twice():
    state = make_state(make_lot(100))
    posting = charge(state, 80)
    moves.reverse(state, draft(state, act="reverse", reference="r", now=NOW), undos_of(posting), repaid_by={})
    assert (state.cycle_spent, percent_spent(state)) == (0, 0)
    charge(state, 80)
    assert crossed(state) == [(75, 1, 0)]


def test_a_new_cycle_begins_with_what_is_left_and_arms_anew():
    state = make_state(make_lot(100))
    charge(state, 80)
    roll_cycle(state, now=APRIL)
    assert (state.cycle_number, state.cycle_allocation, state.cycle_spent, state.alert_level) == (2, 20, 0, 0)
    assert (state.cycle_starts_at, state.cycle_ends_at) == (APRIL, datetime(2026, 5, 1, tzinfo=UTC))
    charge(state, 15, occurred_at=APRIL)
    assert crossed(state) == [(75, 1, 0), (75, 2, 0)]


def test_a_cycle_lasts_until_but_not_at_its_end():
    state = make_state(make_lot(100))
    roll_cycle(state, now=APRIL - (APRIL - NOW) / 10**6)
    assert state.cycle_number == 1
    roll_cycle(state, now=APRIL)
    assert state.cycle_number == 2


def test_a_new_cycles_allocation_counts_what_is_good_then_or_becomes_good_in_it():
    ended = make_lot(1, expires_at=APRIL)
    running = make_lot(2, expires_at=APRIL + DAY)
    coming = make_lot(4, effective_at=APRIL + DAY)
    beyond = make_lot(8, effective_at=datetime(2026, 5, 1, tzinfo=UTC))
    held = make_lot(16)
    held.held = Decimal(16)
    state = make_state(ended, running, coming, beyond, held, held=Decimal(16))
    roll_cycle(state, now=APRIL)
    assert state.cycle_allocation == 2 + 4 + 16


def test_months_without_any_act_are_cycles_too():
    state = make_state(make_lot(5, expires_at=APRIL + DAY), make_lot(7))
    roll_cycle(state, now=datetime(2027, 1, 15, tzinfo=UTC))
    # March 2026 was 1, January 2027 is 11.
    assert (state.cycle_number, state.cycle_starts_at) == (11, datetime(2027, 1, 1, tzinfo=UTC))
    assert state.cycle_allocation == 7


def test_overage_starts_a_new_lot_each_cycle_and_the_old_one_is_closed_after_the_next():
    state = make_state(policy="overage", overage_cap=Decimal(10))
    charge(state, 10)
    first = state.lots[0]
    first.changed = False
    roll_cycle(state, now=APRIL)
    assert (first.is_open, first.changed, state.cycle_overage) == (True, False, 0)
    charge(state, 4, occurred_at=APRIL)
    assert [(lot.kind, lot.amount) for lot in state.lots] == [("overage", 10), ("overage", 4)]
    roll_cycle(state, now=datetime(2026, 5, 1, tzinfo=UTC))
    assert [lot.is_open for lot in state.lots] == [False, True]
    assert_identity(state)


def test_reversing_last_cycles_overage_leaves_this_cycles_count_alone():
    state = make_state(policy="overage")
    posting = charge(state, 10)
    roll_cycle(state, now=APRIL)
    charge(state, 4, occurred_at=APRIL)
    moves.reverse(state, draft(state, act="reverse", reference="r", now=APRIL), undos_of(posting), repaid_by={})
    assert state.cycle_overage == 4
    assert [lot.amount - lot.revoked for lot in state.lots] == [0, 4]
    assert_identity(state)


def test_old_debt_lowers_the_new_allocation_once_when_it_is_repaid():
    # 30 owed; 100 become good at the very start of April: 70 of them are for April.
    state = make_state(make_lot(100, effective_at=APRIL), policy="burst", burst_limit=Decimal(50))
    fact(state, 30)
    roll_cycle(state, now=APRIL)
    assert (state.cycle_allocation, state.cycle_carried) == (100, 30)
    settle_overdraft(state, now=APRIL)
    assert (state.cycle_allocation, state.cycle_carried, state.cycle_spent) == (70, 0, 0)


def test_debt_of_this_cycle_does_not_lower_its_allocation():
    state = make_state(policy="burst", burst_limit=Decimal(50))
    fact(state, 30)
    grant(state, 100)
    # 30 of 100 are spent, whichever lot they came from.
    assert (state.cycle_allocation, state.cycle_spent) == (100, 30)


def test_old_and_new_debt_repaid_together_lower_it_by_the_old_part():
    state = make_state(policy="burst", burst_limit=Decimal(50))
    fact(state, 30)
    roll_cycle(state, now=APRIL)
    fact(state, 5, occurred_at=APRIL)
    grant(state, 100)
    assert (state.overdraft, state.cycle_allocation, state.cycle_spent) == (0, 70, 5)


def test_a_grant_for_a_later_cycle_does_not_count_in_this_one():
    state = make_state(make_lot(100))
    grant(state, 50, effective_at=APRIL)
    assert state.cycle_allocation == 100
    roll_cycle(state, now=APRIL)
    assert state.cycle_allocation == 150


def test_a_revocation_lowers_the_allocation_of_the_cycle_the_lot_counts_in():
    lot, later = make_lot(100), make_lot(50, effective_at=APRIL)
    state = make_state(lot, later, cycle_allocation=Decimal(100))
    moves.revoke(state, draft(state, act="revoke", reference="a", now=NOW), later, Decimal(50))
    assert state.cycle_allocation == 100
    moves.revoke(state, draft(state, act="revoke", reference="b", now=NOW), lot, Decimal(40))
    assert state.cycle_allocation == 60


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
    state = make_state(make_lot(20, effective_at=APRIL), policy="overage", overage_cap=Decimal(10))
    charge(state, 6)
    roll_cycle(state, now=APRIL)
    fact(state, 3, occurred_at=NOW)
    assert (state.lots[-1].kind, state.lots[-1].amount, state.lots[0].remaining) == ("overage", 9, 20)
    assert (state.cycle_allocation, state.cycle_spent, state.cycle_overage, crossed(state)) == (20, 0, 0, [])
    fact(state, 5, occurred_at=NOW)
    assert (state.lots[1].amount, state.overdraft, state.cycle_carried) == (10, 4, 4)
    settle_overdraft(state, now=APRIL)
    assert (state.cycle_allocation, state.cycle_spent, state.overdraft) == (16, 0, 0)
    assert_identity(state)


def test_usage_of_the_last_cycle_burns_what_was_good_then_and_lowers_this_cycles_allocation():
    old, bought = make_lot(10, kind="allocation", expires_at=APRIL), make_lot(30)
    new = make_lot(100, kind="allocation", effective_at=APRIL)
    state = make_state(old, bought, new)
    roll_cycle(state, now=APRIL)
    fact(state, 15, occurred_at=NOW)
    assert [lot.remaining for lot in (old, bought, new)] == [0, 25, 100]
    assert (state.cycle_allocation, state.cycle_spent) == (125, 0)


def test_usage_ahead_of_its_cycle_waits_for_that_cycles_credits():
    old, bought = make_lot(10, kind="allocation", expires_at=APRIL), make_lot(5)
    state = make_state(old, bought, policy="overage")
    fact(state, 8, occurred_at=APRIL)
    assert (old.remaining, bought.remaining, state.cycle_spent, state.cycle_overage) == (10, 0, 0, 0)
    fact(state, 12, occurred_at=NOW)
    assert [(lot.amount, lot.effective_at) for lot in state.lots if lot.kind == "overage"] == [(3, APRIL), (2, NOW)]
    roll_cycle(state, now=APRIL)
    assert (state.cycle_spent, state.cycle_overage) == (3, 3)


def test_a_cycle_that_is_cut_short_has_no_grace():
    state = make_state(make_lot(50))
    begin_cycle(state, starts_at=NOW + DAY, ends_at=APRIL)
    assert charged_as_of(state, NOW, now=NOW + DAY, grace_seconds=3600) == NOW + DAY
    roll_cycle(state, now=APRIL)
    moments = [(APRIL - DAY, APRIL), (APRIL - DAY, APRIL + HOUR), (NOW, APRIL), (APRIL, APRIL + DAY)]
    found = [charged_as_of(state, occurred_at, now=now, grace_seconds=3600) for occurred_at, now in moments]
    assert found == [APRIL - DAY, APRIL + HOUR, APRIL, APRIL]
