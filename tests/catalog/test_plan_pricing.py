"""Overage, true-ups, discounts, loyalty and rollover, with the figures worked by hand."""

import pytest

from billing.catalog.plan_pricing import (
    RolloverRule,
    check_loyalty,
    check_overage,
    discount,
    loyalty_credits,
    overage_charge,
    overage_price,
    overage_tiers,
    rollover_rule,
    share_money,
    true_up,
)
from tests.catalog.pricing_makers import D, tiers

# Per 1,000 credits: the first 10,000 at 2.00, up to 50,000 at 1.50, beyond at 1.00.
TIERS = tiers((10_000, 2), (50_000, "1.5"), (None, 1))


def _price(model, credits, *, of=TIERS, unit="1000", currency="EUR"):
    return overage_price(model=model, tiers=of, unit=D(unit), credits=D(credits), currency=currency)


@pytest.mark.parametrize(
    ("credits", "graduated", "volume"),
    [
        ("0", "0", "0"),
        ("1", "0.00", "0.00"),
        # 2.5 credits at 2 a thousand are 0.005: half-up to a cent.
        ("2.5", "0.01", "0.01"),
        ("10000", "20.00", "20.00"),
        # The credit after the bound: 20 + 0.0015; or all 10,001 at 1.5.
        ("10001", "20.00", "15.00"),
        ("12500", "23.75", "18.75"),
        ("50000", "80.00", "75.00"),
        ("60000", "90.00", "60.00"),
    ],
)
def test_overage_is_priced_by_slices_or_by_the_tier_it_reaches(credits, graduated, volume):
    assert _price("graduated", credits) == D(graduated)
    assert _price("volume", credits) == D(volume)


@pytest.mark.parametrize(
    ("credits", "unit", "currency", "price"),
    [
        ("12345", "1000", "EUR", "24.69"),
        # 2,250 yen and a half: half-up; three places in Kuwait.
        ("2250.5", "1", "JPY", "4501"),
        ("2250.25", "1", "JPY", "4501"),
        ("1", "3000", "KWD", "0.001"),
        ("0.000001", "0.000001", "EUR", "2.00"),
    ],
)
def test_flat_overage_is_credits_by_the_unit_rounded_once(credits, unit, currency, price):
    assert _price("flat", credits, of=tiers((None, 2)), unit=unit, currency=currency) == D(price)


def test_overage_beyond_a_last_bound_costs_what_the_last_tier_says():
    assert _price("volume", "100", of=tiers((10, 2), (20, 1)), unit="1") == D(100)


def test_large_overage_loses_no_digit_before_it_is_rounded():
    assert _price("flat", "999999999999999.999999", of=tiers((None, "0.123456789012")), unit="1") == D(
        "123456789012000.00"
    )


@pytest.mark.parametrize(("model", "credits", "of"), [("flat", "-1", TIERS), ("graduated", "1", ())])
def test_there_is_no_price_of_less_than_nothing_or_without_tiers(model, credits, of):
    with pytest.raises(ValueError, match="some credits"):
        _price(model, credits, of=of)


def _charge(model, before, credits):
    return overage_charge(model=model, tiers=TIERS, unit=D(1000), before=D(before), credits=D(credits), currency="EUR")


def test_a_part_of_overage_is_charged_as_the_difference_it_makes():
    assert _charge("graduated", 0, 8_000) == D("16.00")
    assert _charge("graduated", 8_000, 4_500) == D("7.75")  # 2,000 at 2.00 and 2,500 at 1.50
    assert _charge("graduated", 12_500, -2_500) == D("-3.75")
    # 12,500 by volume cost 18.75, and the first 8,000 were billed at 16.00; 10,000 cost 20.00 already.
    assert _charge("volume", 8_000, 4_500) == D("2.75")
    assert _charge("volume", 10_000, 2_500) == D("-1.25")


@pytest.mark.parametrize(
    ("model", "found", "fault"),
    [
        ("flat", tiers((None, 2)), None),
        ("graduated", TIERS, None),
        ("volume", TIERS, None),
        ("flat", TIERS, "single tier"),
        ("flat", (), "needs a price"),
        ("flat", tiers((10, 2)), "last tier"),
        ("volume", tiers((10, 2), (5, 1), (None, 1)), "end above"),
        ("graduated", tiers((10, -2), (None, 1)), "zero or more"),
    ],
)
def test_overage_tiers_are_checked(model, found, fault):
    said = check_overage(model, found)
    assert said is None if fault is None else fault in str(said)


def test_overage_tiers_are_read_from_what_the_column_holds():
    assert overage_tiers([{"up_to": "10000", "price": "2"}, {"up_to": None, "price": "1.5"}]) == tiers(
        (10_000, 2), (None, "1.5")
    )
    assert overage_tiers([]) == ()


@pytest.mark.parametrize("raw", ["12", 5, None, {"price": "2"}])
def test_what_is_no_list_is_no_tiers(raw):
    with pytest.raises(ValueError, match="are a list"):
        overage_tiers(raw)


@pytest.mark.parametrize("raw", [[{"price": "2"}], [{"up_to": "x", "price": "2"}], [5]])
def test_what_is_no_tier_is_named(raw):
    with pytest.raises(ValueError, match="Write tiers as"):
        overage_tiers(raw)


@pytest.mark.parametrize(
    ("minimum", "charged", "part", "of", "due"),
    [
        ("500", "120", 1, 1, "380.00"),
        ("500", "500", 1, 1, "0"),
        ("500", "500.01", 1, 1, "0"),
        # Ten days of thirty: 166.67 less 120.00.
        ("500", "120", 10, 30, "46.67"),
        ("500", "166.67", 10, 30, "0"),
        ("500", "0", 0, 30, "0"),
        ("0", "0", 1, 1, "0"),
    ],
)
def test_a_true_up_is_what_the_minimum_of_the_days_exceeds_what_was_charged_by(minimum, charged, part, of, due):
    assert true_up(minimum=D(minimum), charged=D(charged), part=part, of=of, currency="EUR") == D(due)


def test_a_true_up_is_of_the_whole_period_unless_told_otherwise():
    assert true_up(minimum=D(500), charged=D(120), currency="EUR") == D(380)


@pytest.mark.parametrize(
    ("amount", "percent", "off", "taken"),
    [
        ("49.99", "20", None, "10.00"),
        ("0.01", "50", None, "0.01"),  # half a cent: half-up
        ("49.00", "100", None, "49.00"),
        ("49.00", None, "10", "10"),
        ("20.00", None, "30", "20.00"),
        ("0", "50", None, "0"),
        ("-5", "50", None, "0"),
        ("-5", None, "1", "0"),
        ("49.00", None, None, "0"),
    ],
)
def test_a_discount_takes_a_part_or_an_amount_and_never_more_than_there_is(amount, percent, off, taken):
    found = discount(amount=D(amount), percent=percent and D(percent), off=off and D(off), currency="EUR")
    assert found == D(taken)


@pytest.mark.parametrize(
    ("whole", "weights", "currency", "parts"),
    [
        ("10", (1, 1, 1), "EUR", ("3.33", "3.34", "3.33")),
        ("-10", (1, 1, 1), "EUR", ("-3.33", "-3.34", "-3.33")),
        ("10.00", (49, 0, 51), "EUR", ("4.90", "0", "5.10")),
        ("100", (1, 2), "JPY", ("33", "67")),
    ],
)
def test_money_is_shared_such_that_its_parts_add_up(whole, weights, currency, parts):
    assert share_money(D(whole), [D(each) for each in weights], currency) == [D(each) for each in parts]


@pytest.mark.parametrize("weights", [(), (0, 0), (2, -1)])
def test_money_is_not_shared_by_nothing(weights):
    with pytest.raises(ValueError, match="positive"):
        share_money(D(1), [D(each) for each in weights], "EUR")


STEPS = [{"from_period": 7, "percent": "5"}, {"from_period": 13, "percent": "10"}]


@pytest.mark.parametrize(("period", "bonus"), [(1, "0"), (6, "0"), (7, "50"), (12, "50"), (13, "100"), (99, "100")])
def test_loyalty_gives_the_percent_of_the_last_step_reached(period, bonus):
    assert loyalty_credits(steps=STEPS, period=period, included=D(1000)) == D(bonus)
    assert loyalty_credits(steps=STEPS[::-1], period=period, included=D(1000)) == D(bonus)


def test_a_bonus_is_rounded_to_six_places_half_even():
    step = [{"from_period": 1, "percent": "50"}]
    assert loyalty_credits(steps=step, period=1, included=D("0.000001")) == D(0)
    assert loyalty_credits(steps=step, period=1, included=D("0.000003")) == D("0.000002")
    assert loyalty_credits(steps=[], period=1, included=D(1)) == D(0)


@pytest.mark.parametrize(
    ("steps", "fault"),
    [
        ([], None),
        (STEPS, None),
        ([{"from_period": 1, "percent": "1000"}], None),
        ([{"from_period": 1, "percent": "0.1"}], None),
        ([{"from_period": 0, "percent": "5"}], "later period"),
        (STEPS[::-1], "later period"),
        ([STEPS[0], STEPS[0]], "later period"),
        ([{"from_period": 1, "percent": "0"}], "more than 0"),
        ([{"from_period": 1, "percent": "1000.1"}], "more than 0"),
        ([{"from_period": 1, "percent": "NaN"}], "more than 0"),
        ([{"from_period": 1}], "Write loyalty steps"),
        ([{"from_period": "x", "percent": "5"}], "Write loyalty steps"),
        ([{"from_period": 1, "percent": "x"}], "Write loyalty steps"),
        ([5], "Write loyalty steps"),
        ("no", "are a list"),
        (7, "are a list"),
    ],
)
def test_loyalty_steps_are_checked(steps, fault):
    said = check_loyalty(steps)
    assert said is None if fault is None else fault in str(said)


def _rule(rollover, *, percent=None, amount=None, periods=1, cap=None, included="10000"):
    return rollover_rule(
        rollover=rollover, percent=percent and D(percent), amount=amount and D(amount), periods=periods,
        cap=cap and D(cap), included=D(included),
    )  # fmt: skip


def test_what_may_roll_over_is_nothing_a_share_an_amount_or_all():
    assert _rule("none") is None
    assert _rule("share", percent="25", periods=3) == RolloverRule(D(2500), 3, None)
    assert _rule("share", percent="33.333", included="0.00001") == RolloverRule(D("0.000003"), 1, None)
    assert _rule("amount", amount="500", cap="2000") == RolloverRule(D(500), 1, D(2000))
    assert _rule("all", periods=12, cap="30000") == RolloverRule(None, 12, D(30000))
    assert _rule("all", periods=0) is None
