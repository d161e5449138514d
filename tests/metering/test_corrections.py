"""U3 with reversals: whatever is taken back in between, the events that stand pay what their quantities cost."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.catalog.models import Rate
from billing.catalog.prices import price_of
from billing.catalog.pricing import AmountTooLarge, credits_by_turns, settle
from billing.metering import estimates, reversal
from billing.metering.models import UsageCounter, UsageEvent
from billing.metering.quotes import Asked
from tests.factories import give_credits, make_account
from tests.metering.makers import (
    DAY,
    NOW,
    START,
    assert_proven,
    available_in,
    charge,
    event,
    publish,
    rate,
    send,
    send_one,
    spent_by,
)

D = Decimal
RISING = [{"up_to": "100", "price": "1"}, {"up_to": None, "price": "2"}]


def reverse(account, event_id):
    return reversal.reverse_event(account_id=account.pk, event_id=event_id, now=NOW)


def correction():
    return UsageCounter.objects.aggregate(total=Sum("correction"))["total"] or D(0)


@pytest.fixture
def packages(tokens):
    publish(rate(tokens, "2", model="per_package", unit_size=D(1000)))
    return tokens


def test_a_package_that_others_still_use_is_charged_to_the_next_event(acme, packages):
    results = send(event(600, id="a"), event(400, id="b")).results
    assert [result.credits for result in results] == [2, 0]
    assert reverse(acme, "a").credits == 2
    assert send_one(event(600)).credits == 2
    assert spent_by(acme) == 2
    assert correction() == 0
    assert_proven()


def test_what_a_dear_tier_took_too_much_comes_off_the_next_event(acme, tokens):
    publish(rate(tokens, model="graduated", tiers=RISING))
    results = send(event(100, id="a"), event(100, id="b")).results
    assert [result.credits for result in results] == [100, 200]
    assert reverse(acme, "a").credits == 100
    assert send_one(event(100)).credits == 100
    assert spent_by(acme) == 300
    assert_proven()


def test_more_than_an_event_costs_is_carried_on_and_nothing_is_paid_out(acme, tokens):
    publish(rate(tokens, model="graduated", tiers=RISING))
    send(event(100, id="a"), event(100, id="b"))
    reverse(acme, "a")
    assert [result.credits for result in send(event(30), event(10), event(20)).results] == [0, 0, 20]
    assert correction() == 0
    assert spent_by(acme) == 100 + 2 * 60


def test_an_event_that_counts_nothing_is_charged_nothing(acme, packages):
    send(event(600, id="a"), event(400, id="b"))
    reverse(acme, "a")
    assert send_one(event(0)).credits == 0
    assert correction() == -2
    assert charge(600).credits == 2


def test_an_estimate_tells_what_the_correction_will_make_it(acme, packages):
    send(event(600, id="a"), event(400, id="b"))
    reverse(acme, "a")
    told = estimates.estimate(account="acme", lines=[Asked("tokens", D(600)), Asked("tokens", D(600))], now=NOW)
    assert [line.credits for line in told.lines] == [2, 2]
    assert [result.credits for result in send(event(600), event(600)).results] == [2, 2]


def test_reversing_everything_leaves_no_correction(acme, packages):
    send(event(600, id="a"), event(400, id="b"), event(900, id="c"))
    for event_id in ("b", "a", "c"):
        reverse(acme, event_id)
    assert (available_in(acme), correction()) == (1000, 0)
    assert send_one(event(1)).credits == 2


def test_reversals_across_a_new_version_leave_nobody_a_gift(acme, tokens):
    publish(rate(tokens, model="graduated", tiers=RISING))
    publish(rate(tokens, "5"), effective_at=NOW - DAY, now=NOW - DAY)
    results = send(event(100, id="a", at=NOW - 2 * DAY), event(100, id="b")).results
    assert [result.credits for result in results] == [100, 500]
    assert reverse(acme, "a").credits == 100
    assert correction() == 0
    assert send_one(event(100)).credits == 500
    assert reverse(acme, "b").credits == 500
    assert spent_by(acme) == 500


def test_a_minimum_is_kept_when_its_payer_is_reversed(acme, tokens):
    publish(rate(tokens, minimum=D(10)))
    assert [result.credits for result in send(event(2, id="a"), event(3, id="b")).results] == [10, 0]
    reverse(acme, "a")
    assert send_one(event(1)).credits == 10


def test_each_dimension_has_a_correction_of_its_own(acme, tokens):
    big = {"model": "big"}
    packed = {"model": "per_package", "unit_size": D(1000)}
    publish(rate(tokens, "2", **packed), rate(tokens, "7", match=big, **packed))
    send(event(600, id="a"), event(400), event(600, id="b", properties=big), event(400, properties=big))
    reverse(acme, "a")
    assert send_one(event(1, properties=big)).credits == 7  # the package begun after 1,000
    reverse(acme, "b")
    assert send_one(event(1, properties=big)).credits == 0  # 402 units, two packages paid, one given back
    assert send_one(event(1)).credits == 2


@given(st.decimals(0, 10**6, places=2), st.decimals(-(10**6), 10**6, places=2))
def test_settling_charges_no_less_than_nothing_and_loses_nothing(credits, owed):
    charged, left = settle(credits, owed)
    assert charged >= 0
    assert left == owed + charged - credits
    assert left == 0 or (charged == 0 and 0 < left <= owed)


def test_settling_refuses_what_no_column_holds():
    with pytest.raises(AmountTooLarge):
        settle(D(10**18 - 2), D(-1))


prices = st.integers(1, 9)
rates = st.one_of(
    st.fixed_dictionaries({"price": prices, "minimum": st.sampled_from([D(0), D(50)])}),
    st.fixed_dictionaries({"model": st.just("per_package"), "price": prices, "unit_size": st.integers(1, 1500)}),
    st.builds(
        lambda end, first, second: {
            "model": "graduated",
            "tiers": [{"up_to": str(end), "price": str(first)}, {"up_to": None, "price": str(second)}],
        },
        st.integers(1, 2000), prices, prices,
    ),
)  # fmt: skip
acts = st.lists(st.one_of(st.integers(1, 2000), st.integers(-20, -1)), min_size=1, max_size=12)


def run(account, old, new, name=""):
    """Acts before and after a change of prices: a quantity is used, a negative number reverses some event."""
    live = []
    for since, part in ((NOW - 2 * DAY, old), (NOW, new)):
        for number, act in enumerate(part):
            if act > 0:
                event_id = f"{name}{since:%d}-{number}"
                send(event(act, id=event_id, account=account.external_id, at=since + timedelta(seconds=number)))
                live.append(event_id)
            elif live:
                reverse(account, live.pop(act % len(live)))


def cost_of_live_events(account):
    """What the quantities that stand cost one version after the other, and what is left to correct."""
    gone = account.eventreversal_set.values_list("event_id", flat=True)
    left = UsageEvent.objects.filter(account=account).exclude(event_id__in=list(gone))
    by_rate = left.values_list("rate_id").annotate(Sum("counted")).order_by("rate_id")
    return credits_by_turns([(price_of(Rate.objects.get(pk=rate_id)), total) for rate_id, total in by_rate])


@pytest.mark.django_db
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=rates, second=rates, old=acts, new=acts)
def test_what_stands_in_the_end_has_paid_what_it_costs(tokens, first, second, old, new):
    with transaction.atomic():
        publish(rate(tokens, **first))
        publish(rate(tokens, **second), effective_at=NOW - DAY, now=NOW - DAY)
        account = make_account("org", now=START)
        give_credits(account, "100000000", now=START)
        run(account, old, new)
        assert spent_by(account) == cost_of_live_events(account) + correction()
        send(event(1_000_000, account="org"))
        assert correction() == 0
        assert spent_by(account) == cost_of_live_events(account)
        transaction.set_rollback(True)


@pytest.mark.django_db
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=rates, second=rates,
    old=st.lists(st.integers(0, 2000), min_size=1, max_size=6), new=st.lists(st.integers(0, 2000), max_size=6),
)  # fmt: skip
def test_any_grouping_costs_the_same_across_a_change_of_prices(tokens, first, second, old, new):
    with transaction.atomic():
        publish(rate(tokens, **first))
        publish(rate(tokens, **second), effective_at=NOW - DAY, now=NOW - DAY)
        accounts = [make_account(name, now=START) for name in ("whole", "single", "sums")]
        used = [(quantity, NOW - 2 * DAY) for quantity in old] + [(quantity, NOW) for quantity in new]
        send(*(event(quantity, at=at, account="whole") for quantity, at in used))
        for quantity, at in used:
            send(event(quantity, at=at, account="single"))
        send(event(sum(old), at=NOW - 2 * DAY, account="sums"))
        send(event(sum(new), account="sums"))
        assert len({spent_by(account) for account in accounts}) == 1
        assert correction() == 0
        transaction.set_rollback(True)
