"""L2 and L6: which lots a spend burns, in which order. Amounts of 10 unless the number matters."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.ledger.pool_state import available, available_for, spendable
from tests.ledger.makers import DAY, HOUR, NOW, assert_identity, burned, charge, fact, make_lot, make_state

EARLIER = {
    "lower priority number": ({"priority": 10}, {"priority": 20}),
    "priority before a meter's scope": ({"priority": 10}, {"priority": 20, "meter_id": 7}),
    "scoped to the meter before general": ({"meter_id": 7}, {}),
    "scope before expiry": ({"meter_id": 7}, {"expires_at": NOW + HOUR}),
    "soonest expiry": ({"expires_at": NOW + HOUR}, {"expires_at": NOW + DAY}),
    "any expiry before never": ({"expires_at": NOW + 999 * DAY}, {}),
    "expiry before promotional": ({"expires_at": NOW + HOUR, "cost_basis": Decimal("0.1")}, {"expires_at": NOW + DAY}),
    "promotional before paid": ({}, {"cost_basis": Decimal("0.1")}),
    "promotional before effective time": (
        {"effective_at": NOW - HOUR},
        {"effective_at": NOW - DAY, "cost_basis": Decimal("0.1")},
    ),
    "earlier effective": ({"effective_at": NOW - 2 * DAY}, {"effective_at": NOW - DAY}),
    "lower id": ({}, {}),
}


@pytest.mark.parametrize("case", EARLIER)
def test_burning_starts_with(case):
    first_fields, second_fields = EARLIER[case]
    first, second = make_lot(10, **first_fields), make_lot(10, **second_fields)
    state = make_state(second, first)
    # 15 of 10 + 10: all of the first, half of the second.
    assert burned(charge(state, 15, meter_id=7)) == [(first.id, 10), (second.id, 5)]
    assert_identity(state)


def test_the_lower_id_decides_only_when_all_else_is_equal():
    older, newer = make_lot(10), make_lot(10, priority=40)
    assert older.id < newer.id
    assert burned(charge(make_state(older, newer), 10)) == [(newer.id, 10)]


def test_bonus_credits_burn_before_bought_ones_that_expire_no_sooner():
    bonus = make_lot(10, expires_at=NOW + DAY)
    bought = make_lot(10, kind="purchase", cost_basis=Decimal("0.1"), expires_at=NOW + DAY)
    assert burned(charge(make_state(bought, bonus), 12)) == [(bonus.id, 10), (bought.id, 2)]


def test_a_meters_lot_serves_its_meter_and_no_other():
    scoped, general = make_lot(10, meter_id=7), make_lot(10)
    state = make_state(scoped, general)
    assert spendable(state, now=NOW, charged_at=NOW, meter_id=8) == [general]
    assert spendable(state, now=NOW, charged_at=NOW, meter_id=None) == [general]
    assert spendable(state, now=NOW, charged_at=NOW, meter_id=7) == [scoped, general]
    assert [available_for(state, at=NOW, meter_id=meter) for meter in (7, 8, None)] == [20, 10, 10]
    # What is available to anything at all counts both.
    assert available(state, at=NOW) == 20


def test_held_credits_are_not_burned():
    lot = make_lot(10)
    lot.held = Decimal(4)
    state = make_state(lot, held=Decimal(4))
    assert available(state, at=NOW) == 6
    assert burned(charge(state, 6)) == [(lot.id, 6)]


def test_a_lot_is_valid_from_its_start_up_to_but_not_at_its_end():
    lot = make_lot(10, effective_at=NOW, expires_at=NOW + HOUR)
    state = make_state(lot)
    moments = [NOW - timedelta(microseconds=1), NOW, NOW + HOUR - timedelta(microseconds=1), NOW + HOUR]
    assert [available(state, at=moment) for moment in moments] == [0, 10, 10, 0]


def test_a_late_event_burns_what_was_good_when_it_happened():
    # Ended an hour ago, breakage not posted yet; the usage happened two hours ago.
    ended, running = make_lot(10, expires_at=NOW - HOUR), make_lot(10)
    state = make_state(ended, running)
    assert burned(fact(state, 12, occurred_at=NOW - 2 * HOUR)) == [(ended.id, 10), (running.id, 2)]


def test_usage_of_now_does_not_burn_an_ended_lot():
    ended, running = make_lot(10, expires_at=NOW - HOUR), make_lot(10)
    assert burned(fact(make_state(ended, running), 5)) == [(running.id, 5)]


def test_usage_that_happened_at_the_very_end_of_a_lot_does_not_burn_it():
    ended, running = make_lot(10, expires_at=NOW - HOUR), make_lot(10)
    assert burned(fact(make_state(ended, running), 5, occurred_at=NOW - HOUR)) == [(running.id, 5)]


def test_a_late_event_may_burn_what_became_effective_since():
    young = make_lot(10, effective_at=NOW - HOUR)
    assert burned(fact(make_state(young), 5, occurred_at=NOW - 2 * HOUR)) == [(young.id, 5)]


def test_nobody_burns_what_is_not_yet_effective():
    coming = make_lot(10, effective_at=NOW + HOUR)
    assert spendable(make_state(coming), now=NOW, charged_at=NOW, meter_id=None) == []


def test_one_charge_over_many_lots_is_one_posting_with_a_line_each():
    lots = [make_lot(1) for _ in range(5)]
    state = make_state(*lots)
    posting = charge(state, "4.5")
    assert burned(posting) == [(lot.id, Decimal(1)) for lot in lots[:4]] + [(lots[4].id, Decimal("0.5"))]
    assert (posting.balance_before, posting.amount, posting.balance_after) == (5, Decimal("-4.5"), Decimal("0.5"))
    assert [lot.is_open for lot in lots] == [False] * 4 + [True]
