"""U3: events in any grouping, and by any road, cost the same."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.metering.models import DailyUsage, UsageCounter, UsageEvent
from tests.factories import make_account
from tests.metering.makers import NOW, START, assert_proven, charge, event, publish, rate, send, spent_by

prices = st.decimals(min_value=0, max_value=100, places=6).map(str)
quantities = st.decimals(min_value=0, max_value=10_000, places=6)


@st.composite
def rates(draw):
    """The fields of any rate."""
    fields = {
        "model": draw(st.sampled_from(["per_unit", "per_package", "graduated"])),
        "price": Decimal(draw(prices)),
        "unit_size": draw(st.decimals(min_value="0.001", max_value=1000, places=3)),
        "minimum": draw(st.sampled_from([0, 0, Decimal("3.3")])),
        "rounding": draw(st.sampled_from(["half_even", "half_up", "up", "down"])),
        "decimals": draw(st.integers(0, 6)),
    }
    if fields["model"] == "graduated":
        bounds = sorted(draw(st.sets(st.integers(1, 9_000), max_size=3)))
        fields["tiers"] = [{"up_to": str(bound), "price": draw(prices)} for bound in bounds]
        fields["tiers"].append({"up_to": None, "price": draw(prices)})
    return fields


@pytest.mark.django_db
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=rates(), amounts=st.lists(quantities, min_size=1, max_size=8), data=st.data())
def test_any_grouping_of_the_same_events_costs_the_same(tokens, fields, amounts, data):
    with transaction.atomic():
        publish(rate(tokens, **{**fields, "price": str(fields["price"])}))
        accounts = [make_account(name, policy="overage", now=START) for name in ("whole", "cut", "shuffled", "charged")]
        send(*(event(amount, account="whole") for amount in amounts))
        cut = data.draw(st.integers(0, len(amounts)))
        for part in (amounts[:cut], amounts[cut:]):
            send(*(event(amount, account="cut") for amount in part))
        for amount in data.draw(st.permutations(amounts)):
            send(event(amount, account="shuffled"))
        for amount in amounts:
            charge(amount, account="charged")
        once = send(event(sum(amounts), account=make_account("once", now=START).external_id)).results[0].credits
        costs = {account.external_id: spent_by(account) for account in accounts}
        assert set(costs.values()) == {once}, (once, costs)
        for account in accounts:
            of_events = sum(UsageEvent.objects.filter(account=account).values_list("credits", flat=True))
            of_days = sum(DailyUsage.objects.filter(account=account).values_list("credits", flat=True))
            assert of_events == of_days == once
        transaction.set_rollback(True)


def test_batches_of_several_accounts_cost_each_what_it_alone_would(tokens):
    publish(rate(tokens, "3", model="per_package", unit_size=Decimal(7)))
    names = [make_account(now=START).external_id for _ in range(5)]
    batch = [event(number % 4, account=names[number % 5]) for number in range(100)]
    send(*batch[:30])
    send(*batch[30:31])
    send(*batch[31:])
    alone = make_account("alone", now=START)
    for name in names:
        mine = [each for each in batch if each["account"] == name]
        send(*({**each, "account": "alone"} for each in mine), now=NOW)
        theirs = UsageEvent.objects.filter(account__external_id=name).order_by("event_id")
        same = UsageEvent.objects.filter(account=alone, event_id__in=[each["id"] for each in mine])
        assert sum(row.credits for row in theirs) == sum(row.credits for row in same)
        send(*(event(7 - sum(each["quantity"] for each in mine) % 7, account="alone") for _ in range(1)))
    assert UsageCounter.objects.count() == 6
    assert_proven()


def test_a_long_minute_of_events_is_priced_in_the_order_they_come(acme, tokens):
    publish(rate(tokens, model="graduated", tiers=[{"up_to": "5", "price": "1"}, {"up_to": None, "price": "0"}]))
    results = send(*(event(2, at=NOW + timedelta(seconds=n)) for n in range(4))).results
    assert [result.credits for result in results] == [2, 2, 1, 0]
