"""Prices with worked numbers: each rate model, its rounding and minimum, packs and money."""

from decimal import Decimal

import pytest

from billing.catalog.pricing import (
    AmountTooLarge,
    best_price,
    charge_credits,
    check_tiers,
    cumulative_credits,
    pack_price,
    round_credits,
    round_money,
    round_quantity,
    settle,
    specific_first,
    units_of,
)
from tests.catalog.pricing_makers import D, price, tiers

pytestmark = pytest.mark.smoke

TOKENS = price(price="4", unit_size="1000")
PACKAGES = price("per_package", price="2", unit_size="1000")
# The first 1,000 units at 2 credits, the next 9,000 at 1, everything beyond at a half.
SLICES = price("graduated", tiers=tiers((1000, 2), (10_000, 1), (None, "0.5")))


@pytest.mark.parametrize(
    ("rate", "quantity", "credits"),
    [
        (TOKENS, "0", "0"),
        (TOKENS, "1", "0.004"),
        (TOKENS, "1000", "4"),
        (TOKENS, "1234.5", "4.938"),
        (price(price="0"), "5", "0"),
        (price(price="0.000000000001"), "1000000", "0.000001"),
        (PACKAGES, "0.000001", "2"),
        (PACKAGES, "999.999999", "2"),
        (PACKAGES, "1000", "2"),
        (PACKAGES, "1000.000001", "4"),
        (PACKAGES, "5000", "10"),
        (SLICES, "1", "2"),
        (SLICES, "1000", "2000"),
        (SLICES, "1000.000001", "2000.000001"),
        # 1,000 x 2 + 9,000 x 1.
        (SLICES, "10000", "11000"),
        # ... + 5,000 x 0.5.
        (SLICES, "15000", "13500"),
        # A third has no last digit: 1 / 3 and 2 / 3, rounded once.
        (price(unit_size="3"), "1", "0.333333"),
        (price(unit_size="3"), "2", "0.666667"),
        (price(unit_size="3"), "3", "1"),
    ],
)
def test_a_periods_quantity_costs(rate, quantity, credits):
    assert cumulative_credits(rate, D(quantity)) == D(credits)


def test_graduated_prices_may_be_per_unit_size_too():
    rate = price("graduated", unit_size="1000", tiers=tiers((2000, 4), (None, 1)))
    # 2 thousand at 4, half a thousand at 1.
    assert cumulative_credits(rate, D(2500)) == D("8.5")


@pytest.mark.parametrize(("quantity", "credits"), [("0", "0"), ("0.000001", "5"), ("5", "5"), ("5.5", "5.5")])
def test_a_minimum_is_due_once_anything_was_used(quantity, credits):
    assert cumulative_credits(price(minimum="5"), D(quantity)) == D(credits)


@pytest.mark.parametrize(
    ("rounding", "half", "above", "below"),
    [
        ("half_even", "0.2", "0.3", "0.2"),
        ("half_up", "0.3", "0.3", "0.2"),
        ("up", "0.3", "0.3", "0.3"),
        ("down", "0.2", "0.2", "0.2"),
    ],
)
def test_the_rate_names_how_it_rounds(rounding, half, above, below):
    rate = price(rounding=rounding, decimals=1)
    found = [cumulative_credits(rate, D(quantity)) for quantity in ("0.25", "0.251", "0.249")]
    assert found == [D(half), D(above), D(below)]
    # Exact amounts are left alone whatever the mode.
    assert cumulative_credits(rate, D("0.2")) == D("0.2")


@pytest.mark.parametrize(("decimals", "credits"), [(0, "1"), (2, "1.23"), (4, "1.2346"), (6, "1.234568")])
def test_the_rate_names_how_many_decimals_it_keeps(decimals, credits):
    assert cumulative_credits(price(decimals=decimals), D("1.2345678")) == D(credits)


def test_packages_are_rounded_up_once_per_period_not_per_event():
    # 600 + 600 begin a first and a second package: 2, then 2; and 400 more begin none.
    assert charge_credits(PACKAGES, before=D(0), quantity=D(600)) == 2
    assert charge_credits(PACKAGES, before=D(600), quantity=D(600)) == 2
    assert charge_credits(PACKAGES, before=D(1200), quantity=D(400)) == 0
    assert cumulative_credits(PACKAGES, D(1600)) == 4


def test_a_charge_over_the_edge_of_a_slice_costs_each_part_at_its_price():
    # 900 used; 200 more: 100 at 2, 100 at 1.
    assert charge_credits(SLICES, before=D(900), quantity=D(200)) == 300


def test_a_thousand_events_of_a_third_cost_what_they_cost_together():
    rate, before, total = price(unit_size="3"), D(0), D(0)
    for _ in range(1000):
        total += charge_credits(rate, before=before, quantity=D(1))
        before += 1
    assert total == D("333.333333")


def test_amounts_the_columns_could_not_hold_are_refused():
    assert round_credits(D("999999999999999998.999999")) == D("999999999999999998.999999")
    for amount in (D(10) ** 18 - 1, D(10) ** 18, D("Infinity")):
        with pytest.raises(AmountTooLarge):
            round_credits(amount)
    with pytest.raises(AmountTooLarge):
        cumulative_credits(price(price="1000000"), D(10) ** 13)


def test_large_quantities_lose_no_digit():
    # 999,999,999,999.999999 x 0.123456789012 = 123,456,789,011.999999876543..., rounded at the sixth decimal.
    exact = D("999999999999.999999") * D("0.123456789012")
    found = cumulative_credits(price(price="0.123456789012"), D("999999999999.999999"))
    assert found == exact.quantize(D("0.000001"))
    assert found == D("123456789012.000000")


def test_the_most_specific_match_wins():
    general = price(rate_id=1)
    big = price(rate_id=2, match=(("model", "big"),))
    big_eu = price(rate_id=3, match=(("model", "big"), ("region", "eu")))
    eu = price(rate_id=4, match=(("region", "eu"),))
    prices = specific_first([general, big, big_eu, eu])
    found = [
        best_price(prices, properties).rate_id
        for properties in (
            {},
            {"model": "small"},
            {"model": "big"},
            {"model": "big", "region": "us"},
            {"model": "big", "region": "eu", "more": 1},
            {"model": "small", "region": "eu"},
            {"model": None},
        )
    ]
    assert found == [1, 1, 2, 2, 3, 4, 1]


def test_of_equally_specific_matches_the_older_rate_wins():
    prices = specific_first([price(rate_id=9, match=(("a", 1),)), price(rate_id=8, match=(("b", 1),))])
    assert best_price(prices, {"a": 1, "b": 1}).rate_id == 8


def test_without_a_match_there_is_no_price():
    assert best_price([], {}) is None
    assert best_price([price(match=(("model", "big"),))], {"model": "small"}) is None
    # A property that is not there does not match one that shall be null.
    assert best_price([price(match=(("model", None),))], {}) is None
    assert best_price([price(match=(("model", None),))], {"model": None}) is not None


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (tiers((None, 1)), None),
        (tiers((10, 2), (20, 0), (None, 1)), None),
        ((), "at least one"),
        (tiers((10, 1)), "only the last"),
        (tiers((None, 1), (None, 2)), "only the last"),
        (tiers((10, 1), (10, 2), (None, 1)), "above the one before"),
        (tiers((0, 1), (None, 1)), "above the one before"),
        (tiers(("Infinity", 1), (None, 1)), "above the one before"),
        (tiers(("NaN", 1), (None, 1)), "above the one before"),
        (tiers((None, -1)), "zero or more"),
        (tiers((None, "NaN")), "zero or more"),
        (tiers((None, "Infinity")), "zero or more"),
    ],
)
def test_faulty_tiers_are_told_apart(given, fault):
    found = check_tiers(given)
    assert (found is None) if fault is None else (fault in found)


PACK = [(D(10_000), D("0.10")), (D(100_000), D("0.07"))]


@pytest.mark.parametrize(
    ("credits", "unit_price", "total"),
    [
        ("10000", "0.10", "1000.00"),
        ("10001", "0.10", "1000.10"),
        ("99999", "0.10", "9999.90"),
        # All of it at the lower price, not only what lies beyond 100,000.
        ("100000", "0.07", "7000.00"),
        ("250000", "0.07", "17500.00"),
    ],
)
def test_a_pack_costs_the_reached_tiers_price_for_all_of_it(credits, unit_price, total):
    assert pack_price(PACK, D(credits), "USD") == (D(unit_price), D(total))
    assert pack_price(PACK[::-1], D(credits), "USD") == (D(unit_price), D(total))


def test_fewer_credits_than_the_first_tier_have_no_price():
    with pytest.raises(ValueError, match="first tier"):
        pack_price(PACK, D("9999.999999"), "USD")


@pytest.mark.parametrize(
    ("amount", "currency", "rounded"),
    [
        ("1.005", "EUR", "1.01"),
        ("1.004999", "EUR", "1.00"),
        ("-1.005", "EUR", "-1.01"),
        ("1234.5", "JPY", "1235"),
        ("1234.4", "JPY", "1234"),
        ("1.2345", "KWD", "1.235"),
        ("1.2344", "KWD", "1.234"),
        ("0", "USD", "0.00"),
    ],
)
def test_money_is_rounded_half_up_to_the_currencys_minor_units(amount, currency, rounded):
    found = round_money(D(amount), currency)
    assert (found, found.as_tuple().exponent) == (D(rounded), Decimal(rounded).as_tuple().exponent)


def test_a_pack_in_yen_costs_whole_yen():
    assert pack_price([(D(1), D("0.333"))], D(100), "JPY") == (D("0.333"), D(33))


def test_levels_over_time_become_units():
    # 7,200 GB-seconds are 2 GB-hours; a second of one GB is a 3,600th.
    assert units_of(D(7200), 3600) == 2
    assert units_of(D(1), 3600) == D("0.000278")
    assert round_quantity(D("0.0000005")) == 0
    assert round_quantity(D("0.0000015")) == D("0.000002")


@pytest.mark.parametrize(
    ("credits", "correction", "settled"),
    [
        ("5", "0", ("5", "0")),
        # Charged 8 too much before: nothing now, 3 are left to come off later.
        ("5", "8", ("0", "3")),
        ("5", "5", ("0", "0")),
        ("5", "2", ("3", "0")),
        # Charged 2 too little before.
        ("5", "-2", ("7", "0")),
    ],
)
def test_a_correction_comes_off_what_is_due_and_is_never_paid_back(credits, correction, settled):
    assert settle(D(credits), D(correction)) == tuple(map(D, settled))


def test_a_correction_cannot_lift_a_charge_beyond_what_the_columns_hold():
    assert settle(D(10**18 - 3), D(-1)) == (10**18 - 2, 0)
    with pytest.raises(AmountTooLarge):
        settle(D(10**18 - 2), D(-1))
