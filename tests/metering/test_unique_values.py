"""A value of a unique meter counts once in the period it was seen in, as long as any event of the period carries it."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.ledger import pools
from billing.ledger.models import CreditPool
from billing.metering import reversal
from billing.metering.models import DailyUsage, EventReversal, UniqueValue, UsageCounter
from tests.factories import give_credits, make_meter
from tests.metering.makers import (
    DAY,
    NOW,
    START,
    all_rows,
    assert_proven,
    available_in,
    charge,
    event,
    in_threads,
    publish,
    rate,
    send,
    send_one,
    spent_by,
)

D = Decimal
APRIL = datetime(2026, 4, 5, tzinfo=UTC)


@pytest.fixture
def seats(acme):
    meter = make_meter("seats", kind="unique", unique_property="user", now=START)
    publish(rate(meter, "5"))
    return meter


def seat(user="u", **fields):
    return event(meter="seats", properties={"user": user}, **fields)


def reverse(account, event_id, now=NOW):
    return reversal.reverse_event(account_id=account.pk, event_id=event_id, now=now)


def test_a_seat_stays_counted_while_another_event_of_it_stands(acme, seats):
    send(seat(id="a"), seat(id="b", at=NOW - DAY))
    done = reverse(acme, "a")
    assert (done.credits, done.posting) == (0, None)
    assert available_in(acme) == 995
    assert UsageCounter.objects.get().quantity == 1
    assert send_one(seat()).credits == 0
    totals = DailyUsage.objects.order_by("day").values_list("day", "events", "quantity", "credits")
    assert list(totals) == [((NOW - DAY).date(), 1, 0, 0), (NOW.date(), 1, 1, 5)]


def test_the_last_event_of_a_seat_returns_what_the_first_was_charged(acme, seats):
    send(seat(id="a"), seat(id="b", at=NOW - DAY))
    reverse(acme, "a")
    done = reverse(acme, "b")
    assert (done.credits, done.posting.reverses.act) == (5, "spend")
    assert (available_in(acme), UsageCounter.objects.get().quantity) == (1000, 0)
    assert not UniqueValue.objects.exists()
    assert not DailyUsage.objects.exclude(events=0, quantity=0, credits=0, cost=0).exists()
    assert send_one(seat()).credits == 5
    assert_proven()


def test_reversing_an_event_that_brought_no_new_seat_returns_nothing(acme, seats):
    send(seat(id="a"), seat(id="b"))
    assert reverse(acme, "b").credits == 0
    assert reverse(acme, "a").credits == 5
    assert spent_by(acme) == 0


def test_each_event_of_a_seat_is_reversed_once(acme, seats):
    send(seat(id="a"), seat(id="b"))
    reverse(acme, "a")
    before = all_rows()
    with pytest.raises(reversal.AlreadyReversed):
        reverse(acme, "a")
    assert all_rows() == before
    reverse(acme, "b")
    with pytest.raises(reversal.AlreadyReversed):
        reverse(acme, "a")


def test_a_seat_charged_to_a_team_is_returned_to_the_team(acme, seats):
    team = pools.open_pool(account=acme, key="team", name="Team", policy="burst", burst_limit=D(100), now=START)
    send(seat(id="a", pool="team"), seat(id="b"))
    reverse(acme, "a")
    done = reverse(acme, "b")
    assert done.posting.pool == team
    assert CreditPool.objects.get(pk=team.pk).overdraft == 0
    assert available_in(acme) == 1000
    assert_proven()


def test_a_charge_and_an_event_carry_the_same_seat(acme, seats):
    assert charge(1, id="c", meter_key="seats", properties={"user": "u"}).credits == 5
    assert send_one(seat(id="a")).credits == 0
    assert reverse(acme, "c").credits == 0
    assert reverse(acme, "a").credits == 5
    assert available_in(acme) == 1000


@pytest.mark.parametrize("user", ["u", 7, D("1.50"), D("1E+3"), True, D("-0.0"), 'q"\\é'])
def test_whatever_value_is_found_again_to_be_reversed(acme, seats, user):
    send(seat(user, id="a"), seat(user, id="b"))
    assert UniqueValue.objects.get().events == 2
    assert [reverse(acme, "a").credits, reverse(acme, "b").credits] == [0, 5]


def test_a_number_is_one_value_however_it_is_written_and_no_text(acme, seats):
    assert [result.credits for result in send(seat(1), seat(D("1.0")), seat("1"), seat(True)).results] == [5, 0, 5, 5]


def test_a_late_event_of_a_counted_seat_is_not_charged_again(acme, seats):
    assert send_one(seat(id="a")).credits == 5
    late = send_one(seat(id="b", at=NOW + DAY), now=APRIL)
    assert (late.late, late.credits) == (True, 0)
    assert send_one(seat(at=APRIL), now=APRIL).credits == 5
    assert available_in(acme, APRIL) == 990


def test_a_late_event_of_a_new_seat_is_priced_in_the_current_period(acme, seats):
    late = send_one(seat(id="a"), now=APRIL)
    assert (late.late, late.credits) == (True, 5)
    assert UsageCounter.objects.get().period_starts_at == datetime(2026, 4, 1, tzinfo=UTC)
    assert UniqueValue.objects.get().period_starts_at == datetime(2026, 3, 1, tzinfo=UTC)
    assert send_one(seat(id="b", at=APRIL), now=APRIL).credits == 5
    assert send_one(seat(at=NOW + DAY), now=APRIL).credits == 0


def test_a_seat_that_only_a_late_event_carries_is_returned_in_full(acme, seats):
    send(seat(id="a"))
    send(seat(id="b", at=NOW + DAY), now=APRIL)
    assert reverse(acme, "a", now=APRIL).credits == 0
    assert reverse(acme, "b", now=APRIL).credits == 5
    assert available_in(acme, APRIL) == 1000


def test_a_batch_that_is_copied_counts_its_seats_alike(acme, seats):
    users = [f"u{number % 7}" for number in range(100)]
    assert sum(result.credits for result in send(*(seat(user) for user in users)).results) == 35
    send(*(seat(user) for user in users[:50]))
    assert sum(UniqueValue.objects.values_list("events", flat=True)) == 150
    assert spent_by(acme) == 35


@pytest.mark.django_db(transaction=True)
def test_reversals_of_one_seat_at_once_return_it_once(acme, seats):
    give_credits(acme, "1", now=NOW)
    send(*(seat(id=f"e{number}") for number in range(8)))
    results = in_threads(8, lambda number: reverse(acme, f"e{number}"))
    assert all(isinstance(each, EventReversal) for each in results), results
    assert sorted(each.credits for each in results) == [0] * 7 + [5]
    assert available_in(acme) == 1001
    assert_proven()
