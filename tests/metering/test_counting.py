"""What rates count by: the billing period of the account's plan, or calendar months, as the card's version says."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.metering import estimates, gauges
from billing.metering.models import UsageCounter, UsageEvent
from billing.metering.quotes import Asked
from billing.subscriptions.renewal import renewals
from tests.factories import make_account, make_issuer, make_meter
from tests.metering.makers import DAY, HOUR, assert_proven, event, publish, rate, send
from tests.subscriptions.makers import make_team, subscribe

D = Decimal
START = datetime(2026, 1, 15, 9, tzinfo=UTC)
FEBRUARY, RENEWAL = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 15, tzinfo=UTC)
TIERS = [{"up_to": "1000", "price": "2"}, {"up_to": None, "price": "1"}]
BOTH = pytest.mark.parametrize("counts_by", ["billing_period", "calendar_month"])


@pytest.fixture
def acme(db):
    """On a monthly plan since 15 January."""
    make_issuer()
    account = make_account("acme", now=START - DAY)
    subscribe(account, make_team(included_credits=D(100_000)), now=START)
    return account


def card(counts_by, *rates):
    publish(*rates, counts_by=counts_by, now=START - DAY, effective_at=START - DAY)


def use(quantity, at, **fields):
    (done,) = send(event(quantity, at=at, **fields), now=at).results
    return done.credits


@BOTH
def test_a_package_is_paid_once_a_period(acme, counts_by):
    """600 on 20 January and 400 on 5 February are one package of 1,000 in the plan's period, and one in each month."""
    card(counts_by, rate(make_meter("tokens", now=START - DAY), "7", model="per_package", unit_size=D(1000)))
    paid = [use(600, START + 5 * DAY), use(400, FEBRUARY + 4 * DAY)]
    assert paid == {"billing_period": [7, 0], "calendar_month": [7, 7]}[counts_by]
    expected = {
        "billing_period": {START: 1000},
        "calendar_month": {datetime(2026, 1, 1, tzinfo=UTC): 600, FEBRUARY: 400},
    }
    assert dict(UsageCounter.objects.values_list("period_starts_at", "quantity")) == expected[counts_by]
    assert_proven(now=RENEWAL)


@BOTH
def test_tiers_go_on_to_the_end_of_the_period_and_an_estimate_says_so(acme, counts_by):
    """Of 1,200 the first 1,000 cost 2 each; 100 more cost 100 in the same period, and 200 in the next."""
    card(counts_by, rate(make_meter("tokens", now=START - DAY), model="graduated", tiers=TIERS))
    assert use(1200, START + DAY) == 2200
    found = [
        estimates.estimate(account="acme", lines=[Asked("tokens", D(100))], now=now).credits
        for now in (FEBRUARY - HOUR, FEBRUARY, RENEWAL - HOUR, RENEWAL)
    ]
    assert found == {"billing_period": [100, 100, 100, 200], "calendar_month": [100, 200, 200, 200]}[counts_by]
    assert use(100, FEBRUARY) == found[1]


@BOTH
def test_a_minimum_and_a_seat_count_once_a_period(acme, counts_by):
    seats = make_meter("seats", kind="unique", unique_property="user", now=START - DAY)
    card(counts_by, rate(make_meter("tokens", now=START - DAY), "1", minimum=D(50)), rate(seats, "5"))
    moments = (START + DAY, FEBRUARY + DAY, RENEWAL + DAY)
    renewals.run_due(now=RENEWAL, limit=1)
    tokens = [use(10, at) for at in moments[:2]] + [use(10, RENEWAL + DAY)]
    users = [use(1, at, meter="seats", properties={"user": "u"}) for at in moments]
    assert (tokens, users) == {
        "billing_period": ([50, 0, 50], [5, 0, 5]), "calendar_month": ([50, 50, 0], [5, 5, 0]),
    }[counts_by]  # fmt: skip


def test_without_a_plan_months_are_counted_either_way(db):
    make_account("acme", now=START - DAY)
    card("billing_period", rate(make_meter("tokens", now=START - DAY), "7", model="per_package", unit_size=D(1000)))
    assert [use(600, START), use(400, FEBRUARY - HOUR), use(400, FEBRUARY)] == [7, 0, 7]


def test_a_plan_begins_a_period_and_what_was_used_before_and_comes_after_is_late(db):
    """The month that the plan cuts short has no grace: nothing tells what its usage would have been charged to."""
    make_issuer()
    account = make_account("acme", now=START - DAY)
    card("billing_period", rate(make_meter("tokens", now=START - DAY), model="graduated", tiers=TIERS))
    assert use(900, START - HOUR) == 1800
    subscribe(account, make_team(included_credits=D(100_000)), now=START)
    (done,) = send(event(200, at=START - HOUR), now=START + timedelta(seconds=1)).results
    assert (done.late, done.credits) == (True, 400)
    assert UsageEvent.objects.get(quantity=200).period_starts_at == START


def test_a_gauge_is_split_where_a_plans_first_period_begins(db):
    """10 GiB from 08:00 on; the plan begins at 09:30, so half of the second hour is the month's."""
    make_issuer()
    begins = START + HOUR / 2
    account = make_account("acme", now=START - DAY)
    storage = make_meter("storage", kind="gauge", unit="GiB-hour", gauge_unit_seconds=3600, now=START - DAY)
    card("billing_period", rate(storage, "1"))
    use(10, START - HOUR, meter="storage")
    subscribe(account, make_team(included_credits=D(100_000)), now=begins)
    gauges.accrue_due(now=START + 2 * HOUR + 10 * timedelta(minutes=1), limit=9)
    events = UsageEvent.objects.filter(rate__isnull=False).order_by("occurred_at")
    assert list(events.values_list("occurred_at", "quantity", "late")) == [
        (START - HOUR, 15, True),
        (begins, 15, False),
    ]
