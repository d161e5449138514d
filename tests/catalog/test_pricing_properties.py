"""What holds for all prices and quantities, by Hypothesis."""

import math
from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.catalog.pricing import (
    charge_credits,
    check_tiers,
    cumulative_credits,
    pack_price,
    round_credits,
    round_money,
)
from tests.catalog.pricing_makers import D, price, tiers


def decimals(most: int, places: int, least: int = 0) -> st.SearchStrategy[Decimal]:
    """Numbers up to `most` with `places` decimals, small and large ones."""
    scale = 10**places
    return st.one_of(st.integers(least, 50 * scale), st.integers(least, most * scale)).map(
        lambda units: D(units).scaleb(-places)
    )


QUANTITIES = decimals(10**9, 6)
PRICES = decimals(1000, 12)
SIZES = decimals(10**6, 6, least=1000)
ROUNDINGS = {
    "rounding": st.sampled_from(["half_even", "half_up", "up", "down"]),
    "decimals": st.integers(0, 6),
    "minimum": st.one_of(st.just(D(0)), decimals(100, 6)),
}


@st.composite
def graduated(draw):
    bounds = sorted(draw(st.sets(decimals(10**6, 3, least=1), max_size=4)))
    slices = tiers(*((bound, draw(PRICES)) for bound in [*bounds, None]))
    assert check_tiers(slices) is None
    return price("graduated", tiers=slices, unit_size=draw(SIZES), **{k: draw(v) for k, v in ROUNDINGS.items()})


PLAIN = st.builds(price, st.sampled_from(["per_unit", "per_package"]), price=PRICES, unit_size=SIZES, **ROUNDINGS)
ANY_PRICE = st.one_of(PLAIN, graduated())


def exact(rate, quantity):
    """A price in fractions, independently: no rounding at all."""
    quantity, size = Fraction(quantity), Fraction(rate.unit_size)
    if rate.model == "per_unit":
        return quantity * Fraction(rate.price) / size
    if rate.model == "per_package":
        return math.ceil(quantity / size) * Fraction(rate.price)
    total, begins = Fraction(0), Fraction(0)
    for tier in rate.tiers:
        ends = quantity if tier.up_to is None else Fraction(tier.up_to)
        total += max(min(quantity, ends) - begins, 0) * Fraction(tier.price) / size
        begins = max(begins, min(quantity, ends))
    return total


@given(ANY_PRICE, st.lists(QUANTITIES, max_size=8), st.randoms(use_true_random=False))
@settings(max_examples=300)
def test_events_in_any_grouping_and_order_cost_the_same(rate, quantities, random):
    def total(groups):
        before, credits = D(0), D(0)
        for quantity in groups:
            credits += charge_credits(rate, before=before, quantity=quantity)
            before += quantity
        return credits

    whole = total(quantities)
    assert whole == cumulative_credits(rate, sum(quantities, D(0)))
    shuffled = random.sample(quantities, len(quantities))
    assert total(shuffled) == whole
    cut = random.randint(0, len(shuffled))
    assert total([sum(shuffled[:cut], D(0)), sum(shuffled[cut:], D(0))]) == whole


@given(ANY_PRICE, QUANTITIES, QUANTITIES)
@settings(max_examples=300)
def test_more_usage_never_costs_less(rate, first, second):
    low, high = sorted((first, second))
    assert 0 <= cumulative_credits(rate, low) <= cumulative_credits(rate, high)
    assert charge_credits(rate, before=low, quantity=high - low) >= 0


@given(ANY_PRICE, QUANTITIES)
@settings(max_examples=300)
def test_credits_are_the_exact_price_rounded_once(rate, quantity):
    found = cumulative_credits(rate, quantity)
    if not quantity:
        assert found == 0
        return
    wanted = max(exact(rate, quantity), Fraction(rate.minimum))
    step = Fraction(1, 10**rate.decimals)
    error = Fraction(found) - wanted
    if rate.rounding in ("half_even", "half_up"):
        assert abs(error) <= step / 2
    else:
        assert 0 <= error < step if rate.rounding == "up" else -step < error <= 0
    assert Fraction(found) % step == 0


@given(st.builds(price, st.just("per_package"), price=PRICES, unit_size=SIZES), QUANTITIES)
def test_packages_are_paid_in_full_and_none_too_many(rate, quantity):
    packages = math.ceil(Fraction(quantity) / Fraction(rate.unit_size))
    assert cumulative_credits(rate, quantity) == round_credits(packages * rate.price)


@given(decimals(10**6, 6), st.sampled_from(["half_even", "half_up", "up", "down"]), st.integers(0, 6))
def test_rounding_again_changes_nothing(amount, rounding, places):
    once = round_credits(amount, rounding=rounding, decimals=places)
    assert round_credits(once, rounding=rounding, decimals=places) == once


@given(st.sets(st.integers(1, 10**6), min_size=1, max_size=5), st.integers(1, 2 * 10**6), st.data())
def test_a_pack_is_priced_by_the_highest_tier_it_reaches(starts, credits, data):
    pairs = [(D(start), data.draw(decimals(10, 9))) for start in starts]
    reached = [pair for pair in pairs if pair[0] <= credits]
    if not reached:
        return
    unit_price, total = pack_price(data.draw(st.permutations(pairs)), D(credits), "USD")
    assert unit_price == dict(pairs)[max(start for start, _ in reached)]
    assert abs(total - unit_price * credits) <= D("0.005")


@given(st.integers(-(10**15), 10**15), st.sampled_from([("EUR", 2), ("JPY", 0), ("KWD", 3)]))
def test_money_is_off_by_half_a_minor_unit_at_most_and_symmetric(units, currency):
    amount, (code, places) = D(units).scaleb(-6), currency
    rounded = round_money(amount, code)
    assert abs(rounded - amount) <= D(5).scaleb(-places - 1)
    assert rounded == -round_money(-amount, code)
    assert rounded.as_tuple().exponent == -places
