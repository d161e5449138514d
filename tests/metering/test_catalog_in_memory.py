"""What rating takes from the catalog is whole, and fits as JSON has it."""

from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection

from billing.catalog import prices
from billing.catalog.models import RateCard
from billing.catalog.pricing import best_price
from tests.catalog.pricing_makers import price
from tests.factories import make_meter
from tests.metering.makers import NOW, event, publish, rate, send_one

D = Decimal


@contextmanager
def after_each_statement(act):
    """Do something after each statement of the block, as another process might."""
    acting = False

    def wrapper(execute, *statement):
        nonlocal acting
        result = execute(*statement)
        if not acting:
            acting = True
            act()
            acting = False
        return result

    with connection.execute_wrapper(wrapper):
        yield


def test_a_version_published_while_the_catalog_loads_comes_with_its_rates_or_not_at_all(tokens):
    publish(rate(tokens))
    count = 0

    def publish_another():
        nonlocal count
        count += 1
        later = NOW + timedelta(days=count)
        publish(rate(tokens, "2"), rate(make_meter(f"m{count}"), "3"), effective_at=later, now=NOW)

    with after_each_statement(publish_another):
        loaded = prices.load_catalog(1)
    (versions,) = loaded.cards.values()
    assert count > 1
    assert all(version.prices[tokens.pk] for version in versions)
    known = {meter.id for meter in loaded.meters.values()}
    assert all(known.issuperset(version.prices) for version in versions)


def test_the_default_card_is_one_whose_rates_are_known(tokens):
    publish(rate(tokens))

    count = 0

    def change_default():
        nonlocal count
        count += 1
        RateCard.objects.update(is_default=False)
        publish(rate(tokens, "2"), key=f"card{count}")

    with after_each_statement(change_default):
        loaded = prices.load_catalog(1)
    assert loaded.default_card_id in loaded.cards


def test_the_catalog_is_two_queries_however_large_it_is(tokens, django_assert_num_queries):
    others = [make_meter(f"m{number}") for number in range(20)]
    card = publish(rate(tokens), *(rate(meter) for meter in others))
    for number in range(5):
        publish(rate(tokens, str(number)), effective_at=NOW + timedelta(days=number + 1), now=NOW)
    with django_assert_num_queries(2):
        loaded = prices.load_catalog(1)
    assert len(loaded.meters) == 21
    assert [version.prices[tokens.pk][0].price for version in loaded.cards[card.pk]] == [1, 0, 1, 2, 3, 4]


def test_a_meter_without_a_rate_is_known(acme, priced):
    make_meter("images")
    assert send_one(event(meter="images")).code == "no_rate"
    assert send_one(event(meter="videos")).code == "unknown_meter"


@pytest.mark.parametrize(
    ("wanted", "found", "fits"),
    [
        (True, True, True), (True, 1, False), (1, True, False), (False, 0, False), (False, D(0), False),
        (0, False, False), (1, D("1.0"), True), (D("1.5"), D("1.50"), True), ("1", 1, False), (None, None, True),
        (None, False, False),
    ],
)  # fmt: skip
def test_a_rate_matches_values_as_json_tells_them_apart(wanted, found, fits):
    chosen = best_price([price(match=(("batch", wanted),)), price(rate_id=2)], {"batch": found})
    assert chosen is not None
    assert (chosen.rate_id == 1) == fits


def test_a_null_is_not_the_same_as_no_such_property():
    assert best_price([price(match=(("batch", None),))], {}) is None


def test_a_rate_for_true_prices_no_event_that_says_one(acme, tokens):
    publish(rate(tokens, "1"), rate(tokens, "9", match={"batch": True}))
    assert send_one(event(properties={"batch": 1})).credits == 1
    assert send_one(event(properties={"batch": True})).credits == 9


def test_arrivals_are_summed_up_as_they_pour_in(db):
    """Listings walk the BRIN index of arrivals: pages that it has not summed up are all read."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = 'usage_event_arrival'")
        assert "autosummarize=on" in cursor.fetchone()[0]
