"""Tax, parts of money, cost per credit and savings, with the figures worked by hand."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.pricing import (
    Tier,
    cost_per_credit,
    part_of_money,
    percent_saved,
    round_money,
    round_parts,
    share_tax,
)
from tests.catalog.pricing_makers import D, price


@pytest.mark.parametrize(
    ("amounts", "percent", "currency", "taxes"),
    [
        # 19 % of 0.33 is 0.0627, of 0.66 is 0.1254, of 1.00 is 0.19: 0.06, 0.13, 0.19, and their differences.
        (["0.33", "0.33", "0.34"], "19", "EUR", ["0.06", "0.07", "0.06"]),
        (["100"], "7.7", "CHF", ["7.70"]),
        # 10 % of 105 yen is 10.5, rounded half-up to 11; of 210 it is 21.
        (["105", "105"], "10", "JPY", ["11", "10"]),
        # Three places in Kuwait: 5 % of 1.01 is 0.0505, rounded half-up to 0.051.
        (["1.01"], "5", "KWD", ["0.051"]),
        (["0", "10"], "20", "EUR", ["0", "2.00"]),
        ([], "19", "EUR", []),
    ],
)
def test_tax_is_shared_so_that_it_adds_up_to_the_tax_of_the_sum(amounts, percent, currency, taxes):
    assert share_tax([D(each) for each in amounts], D(percent), currency) == [D(each) for each in taxes]


@given(st.lists(st.integers(0, 10**9), max_size=20), st.integers(0, 100_000))
def test_no_share_is_negative_or_off_by_more_than_a_cent(cents, thousandths):
    amounts, percent = [D(each) / 100 for each in cents], D(thousandths) / 1000
    taxes = share_tax(amounts, percent, "EUR")
    assert sum(taxes) == round_money(sum(amounts, D(0)) * percent / 100, "EUR")
    for amount, tax in zip(amounts, taxes, strict=True):
        assert tax >= 0
        assert abs(tax - amount * percent / 100) <= D("0.01")


@pytest.mark.parametrize(
    ("parts", "currency", "rounded"),
    [
        (["3.3333", "3.3333", "3.3334"], "EUR", ["3.33", "3.33", "3.34"]),
        (["0.005", "0.005"], "EUR", ["0.01", "0.00"]),
        # What goes back is shared out the same way.
        (["-3.3333", "-6.6667"], "EUR", ["-3.33", "-6.67"]),
        (["101.006", "-100.002"], "EUR", ["101.00", "-100.00"]),
        (["0.6", "0.7", "0.7"], "JPY", ["0", "1", "1"]),
        ([], "EUR", []),
    ],
)
def test_parts_are_rounded_by_largest_remainder(parts, currency, rounded):
    assert round_parts([D(each) for each in parts], currency) == [D(each) for each in rounded]


@given(st.lists(st.integers(-(10**9), 10**9), max_size=9))
def test_rounded_parts_add_up_and_none_is_off_by_a_cent(parts):
    exact = [D(each) / 10_000 for each in parts]
    rounded = round_parts(exact, "EUR")
    assert sum(rounded) == round_money(sum(exact, D(0)), "EUR")
    assert all(abs(part - each) < D("0.01") for part, each in zip(rounded, exact, strict=True))


@pytest.mark.parametrize(
    ("whole", "part", "of", "share"),
    [
        # A third of 19.00 is 6.3333.
        ("19.00", "1", "3", "6.33"),
        # Half of 0.01 is 0.005: half-up to a cent.
        ("0.01", "1", "2", "0.01"),
        ("19.00", "250", "250", "19.00"),
        ("19.00", "0", "250", "0"),
        ("0", "0", "0", "0"),
    ],
)
def test_a_part_of_money_is_rounded_once(whole, part, of, share):
    assert part_of_money(D(whole), part=D(part), of=D(of), currency="EUR") == D(share)


@pytest.mark.parametrize(
    ("amount", "credits", "cost"),
    [
        ("900", "10000", "0.09"),
        # 1 / 3, to twelve places; 2 / 3 rounds up in the last.
        ("1", "3", "0.333333333333"),
        ("2", "3", "0.666666666667"),
        # 0.0000000000005 and 0.0000000000015 lie half-way: to the even neighbour.
        ("0.000000000001", "2", "0"),
        ("0.000000000003", "2", "0.000000000002"),
    ],
)
def test_a_credit_costs_what_its_lot_cost_to_twelve_places(amount, credits, cost):
    assert cost_per_credit(D(amount), D(credits)) == D(cost)
    assert cost_per_credit(D(amount), D(credits)).as_tuple().exponent == -12


@pytest.mark.parametrize(
    ("unit_price", "dearest", "percent"),
    [
        ("0.07", "0.10", 30),
        # 41.67 %, rounded down so as not to boast.
        ("0.07", "0.12", 41),
        ("0.10", "0.10", 0),
        ("0.11", "0.10", 0),
        ("0", "0.10", 100),
        ("0", "0", 0),
    ],
)
def test_a_saving_is_told_in_whole_percent_rounded_down(unit_price, dearest, percent):
    assert percent_saved(D(unit_price), dearest=D(dearest)) == percent


def test_prices_cannot_be_changed_once_made():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Tier(None, D(1)).price = D(2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        price("1").price = D(2)
