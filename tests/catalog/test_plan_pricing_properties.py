"""What holds for all overage, discounts and shares, by Hypothesis, against fractions worked independently."""

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.plan_pricing import (
    check_overage,
    discount,
    loyalty_credits,
    overage_charge,
    overage_price,
    share_money,
    true_up,
)
from tests.catalog.pricing_makers import D, tiers

CREDITS = st.integers(0, 10**12).map(lambda units: D(units).scaleb(-3))
PRICES = st.integers(0, 10**6).map(lambda units: D(units).scaleb(-4))
UNITS = st.sampled_from([D(1), D(100), D(1000), D("0.5"), D(7)])
MONEY = st.integers(0, 10**9).map(lambda cents: D(cents).scaleb(-2))
CURRENCIES = st.sampled_from(["EUR", "JPY", "KWD"])
PLACES = {"EUR": 2, "JPY": 0, "KWD": 3}


@st.composite
def slices(draw):
    bounds = sorted(draw(st.sets(st.integers(1, 10**8), max_size=4)))
    found = tiers(*((bound, draw(PRICES)) for bound in [*bounds, None]))
    assert check_overage("graduated", found) is None
    return found


def half_up(exact: Fraction, places: int) -> Decimal:
    scaled = exact * 10**places
    whole, rest = divmod(abs(scaled.numerator), scaled.denominator)
    if 2 * rest >= scaled.denominator:
        whole += 1
    return D(whole if scaled >= 0 else -whole).scaleb(-places)


def exact_price(model, found, unit, credits):
    if model == "volume":
        tier = next(tier for tier in found if tier.up_to is None or credits <= tier.up_to)
        return Fraction(credits) * Fraction(tier.price) / Fraction(unit)
    total, begins = Fraction(0), Fraction(0)
    for tier in found:
        ends = Fraction(credits) if tier.up_to is None else min(Fraction(credits), Fraction(tier.up_to))
        total += max(ends - begins, Fraction(0)) * Fraction(tier.price) / Fraction(unit)
        begins = max(ends, begins)
    return total


@given(st.sampled_from(["graduated", "volume"]), slices(), UNITS, CREDITS, CURRENCIES)
def test_overage_costs_its_exact_price_rounded_once(model, found, unit, credits, currency):
    price = overage_price(model=model, tiers=found, unit=unit, credits=credits, currency=currency)
    assert price == half_up(exact_price(model, found, unit, credits), PLACES[currency])


@given(st.sampled_from(["graduated", "volume"]), slices(), UNITS, st.lists(CREDITS, max_size=6))
def test_charges_of_a_period_add_up_to_the_price_of_all_of_it(model, found, unit, parts):
    terms = {"model": model, "tiers": found, "unit": unit, "currency": "EUR"}
    before, charged = D(0), D(0)
    for part in parts:
        charged += overage_charge(before=before, credits=part, **terms)
        before += part
    assert charged == overage_price(credits=before, **terms)
    # And taking all of it back costs nothing.
    assert charged + overage_charge(before=before, credits=-before, **terms) == 0


@given(slices(), UNITS, CREDITS, CREDITS)
def test_more_graduated_overage_never_costs_less(found, unit, before, more):
    assert overage_charge(model="graduated", tiers=found, unit=unit, before=before, credits=more, currency="EUR") >= 0


@given(MONEY, st.integers(0, 100_000), CURRENCIES)
def test_a_discount_lies_between_nothing_and_all_and_is_exact_to_half_a_unit(cents, thousandths, currency):
    amount = cents.quantize(D(1).scaleb(-PLACES[currency]), rounding=ROUND_HALF_UP)
    percent = D(thousandths) / 1000
    taken = discount(amount=amount, percent=percent, currency=currency)
    assert 0 <= taken <= amount
    assert taken == half_up(Fraction(amount) * Fraction(percent) / 100, PLACES[currency])


@given(MONEY, st.lists(MONEY, min_size=1, max_size=9).filter(any))
def test_shares_add_up_and_none_is_off_by_more_than_a_cent(whole, weights):
    parts = share_money(whole, weights, "EUR")
    assert sum(parts) == whole
    for part, weight in zip(parts, weights, strict=True):
        assert abs(Fraction(part) - Fraction(whole) * Fraction(weight) / Fraction(sum(weights))) <= Fraction(1, 100)
        assert part >= 0


@given(MONEY, MONEY, st.integers(0, 366), st.integers(1, 366))
def test_what_was_charged_and_its_true_up_reach_the_minimum_of_the_days(minimum, charged, part, of):
    due = true_up(minimum=minimum, charged=charged, part=part, of=of, currency="EUR")
    assert charged + due == max(charged, half_up(Fraction(minimum) * part / of, 2))


@given(st.integers(1, 60), CREDITS, st.lists(st.tuples(st.integers(1, 60), st.integers(1, 100)), max_size=5))
def test_a_bonus_is_that_of_the_step_reached_last(period, included, raw):
    steps = [{"from_period": start, "percent": percent} for start, percent in dict(raw).items()]
    reached = sorted((step["from_period"], step["percent"]) for step in steps if step["from_period"] <= period)
    wanted = Fraction(included) * (reached[-1][1] if reached else 0) / 100
    assert abs(Fraction(loyalty_credits(steps=steps, period=period, included=included)) - wanted) <= Fraction(
        1, 2_000_000
    )
