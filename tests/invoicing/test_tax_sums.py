"""What lines and their tax add up to: exact to the minor unit, whether prices are net or have the tax in them."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.catalog.pricing import cost_per_credit, net_unit_price, part_of_money, round_money, share_money, share_tax
from billing.invoicing import issuing
from billing.invoicing.tax_models import TaxRate
from tests.invoicing.makers import credits_line, issue, plain_line

DAY = date(2025, 3, 1)


def rate(country, percent, **fields):
    return TaxRate.objects.create(
        **{"country": country, "percent": Decimal(percent), "valid_from": date(2020, 1, 1), **fields}
    )


def gross_line(amount, **fields):
    return plain_line(amount, includes_tax=True, **fields)


def said(invoice):
    return [(line.amount, line.tax_amount) for line in invoice.lines.all()]


def test_tax_is_rounded_once_per_rate(issuer, account):
    """Three times 0.33 at 19 % would be 0.18 line by line; of 0.99 it is 0.19."""
    TaxRate.objects.create(country="DE", category="books", percent=7, valid_from=date(2020, 1, 1))
    invoice = issue(
        account, plain_line("0.33"), plain_line("0.33"), plain_line("10.10", category="books"), plain_line("0.33")
    )
    taxes = list(invoice.lines.values_list("tax_amount", flat=True))
    assert taxes == [Decimal(cents).scaleb(-2) for cents in (6, 7, 71, 6)]
    assert invoice.tax_total == Decimal("0.90")


@pytest.mark.parametrize(
    ("amounts", "percent", "currency", "taxes"),
    [
        (["100"], "19", "EUR", ["19.00"]),
        (["0.13"], "19", "EUR", ["0.02"]),
        (["0.50"], "5", "EUR", ["0.03"]),  # 0.025: halves go up
        (["1", "1", "1"], "10", "JPY", ["0", "0", "0"]),
        (["5", "5", "5"], "10", "JPY", ["1", "0", "1"]),
        (["1099"], "10", "JPY", ["110"]),
        (["1.234", "1.234"], "5", "KWD", ["0.062", "0.061"]),
        (["33.33"], "8.875", "USD", ["2.96"]),
        (["0", "7"], "0", "EUR", ["0", "0"]),
        ([], "19", "EUR", []),
    ],
)
def test_worked_numbers_of_tax_on_net_prices(amounts, percent, currency, taxes):
    assert share_tax([Decimal(amount) for amount in amounts], Decimal(percent), currency) == [*map(Decimal, taxes)]


CURRENCIES = {"EUR": 2, "JPY": 0, "KWD": 3}
currencies = st.sampled_from(sorted(CURRENCIES))
percents = st.decimals(min_value=0, max_value=100, places=3)


@given(st.lists(st.integers(0, 10**9), max_size=12), percents, currencies)
def test_shares_of_tax_add_up_to_the_tax_of_the_sum(units, percent, currency):
    smallest = Decimal(1).scaleb(-CURRENCIES[currency])
    amounts = [unit * smallest for unit in units]
    shares = share_tax(amounts, percent, currency)
    assert sum(shares) == round_money(sum(amounts, Decimal(0)) * percent / 100, currency)
    for amount, share in zip(amounts, shares, strict=True):
        assert share >= 0
        assert share == round_money(share, currency)
        assert abs(share - amount * percent / 100) <= smallest


@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.sampled_from(["standard", "books", "tea"])), min_size=1, max_size=9),
    st.sampled_from(["DE", "FR", "JP"]),
    currencies,
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lines_and_their_tax_are_the_totals(issuer, account, drafts, country, currency):
    if not TaxRate.objects.filter(country="FR").exists():
        rate("FR", "5.5", category="books")
        rate("FR", "20")
        rate("DE", "7", category="books")
    account.country, smallest = country, Decimal(1).scaleb(-CURRENCIES[currency])
    lines = [plain_line(str(units * smallest), category=category) for units, category in drafts]
    quoted = issuing.quote(account=account, currency=currency, lines=lines, on=DAY)
    assert quoted.subtotal == sum(line.amount for line in quoted.lines)
    assert quoted.tax_total == sum(line.tax_amount for line in quoted.lines)
    assert quoted.total == quoted.subtotal + quoted.tax_total
    for percent in {line.tax_percent for line in quoted.lines}:
        taxed = [line for line in quoted.lines if line.tax_percent == percent]
        net = sum(line.amount for line in taxed)
        assert sum(line.tax_amount for line in taxed) == round_money(net * percent / 100, currency)


@given(st.integers(1, 10**9), percents, st.lists(st.integers(1, 10**9), max_size=8), currencies)
def test_parts_of_a_line_take_back_its_tax_and_no_more(units, percent, parts, currency):
    smallest = Decimal(1).scaleb(-CURRENCIES[currency])
    (whole,) = share_tax([units * smallest], percent, currency)
    taken, before = 0, Decimal(0)
    for part in [*parts, 10**10]:
        taken = min(taken + part, units)
        credited = part_of_money(whole, part=taken * smallest, of=units * smallest, currency=currency)
        assert before <= credited <= whole
        before = credited
    assert before == whole


def test_nothing_has_no_part():
    assert part_of_money(Decimal(0), part=Decimal(0), of=Decimal(0), currency="EUR") == 0


def test_the_cost_of_a_credit_has_twelve_decimals():
    assert cost_per_credit(Decimal(10), Decimal(3)) == Decimal("3.333333333333")
    assert round_money(cost_per_credit(Decimal(10), Decimal(3)) * 3, "EUR") == 10
    assert cost_per_credit(Decimal(0), Decimal(3)) == 0


@pytest.mark.parametrize(
    ("amounts", "percent", "currency", "taxes"),
    [
        (["119.00"], "19", "EUR", ["19.00"]),
        (["0.01"], "19", "EUR", ["0.00"]),
        (["0.03"], "19", "EUR", ["0.00"]),  # 0.03 net: at 19 % that would be 0.04 gross
        (["0.04"], "19", "EUR", ["0.01"]),
        (["9.99"], "19", "EUR", ["1.60"]),
        (["10.00"], "21", "EUR", ["1.74"]),
        (["0.03"], "20", "EUR", ["0.01"]),  # 0.005: halves of tax go up
        (["100.00"], "25.5", "EUR", ["20.32"]),
        (["10.00", "10.00", "10.00"], "19", "EUR", ["1.60", "1.59", "1.60"]),
        (["110"], "10", "JPY", ["10"]),
        (["1099"], "10", "JPY", ["100"]),
        (["7", "7", "7"], "10", "JPY", ["1", "0", "1"]),
        (["1.050"], "5", "KWD", ["0.050"]),
        (["1.234", "1.234"], "5", "KWD", ["0.059", "0.059"]),
        (["119.00", "-59.50"], "19", "EUR", ["19.00", "-9.50"]),
        (["-0.04", "0.05"], "19", "EUR", ["-0.01", "0.01"]),
        (["5.00"], "0", "EUR", ["0.00"]),
        (["2.00"], "100", "EUR", ["1.00"]),
    ],
)
def test_worked_numbers_of_tax_in_prices(amounts, percent, currency, taxes):
    found = share_tax([Decimal(amount) for amount in amounts], Decimal(percent), currency, included=True)
    assert found == [*map(Decimal, taxes)]


@given(st.lists(st.integers(-(10**9), 10**9), max_size=12), percents, currencies)
def test_tax_in_prices_is_a_part_of_each_and_adds_up(units, percent, currency):
    smallest = Decimal(1).scaleb(-CURRENCIES[currency])
    amounts = [unit * smallest for unit in units]
    shares = share_tax(amounts, percent, currency, included=True)
    assert sum(shares) == round_money(sum(amounts, Decimal(0)) * percent / (100 + percent), currency)
    for amount, share in zip(amounts, shares, strict=True):
        assert share == round_money(share, currency)
        assert min(amount, 0) <= share <= max(amount, 0)
        assert abs(share - amount * percent / (100 + percent)) <= smallest


def test_a_price_that_includes_tax_is_what_is_paid(issuer, account):
    invoice = issue(account, credits_line(account, "119.00", "1000", includes_tax=True))
    assert (invoice.subtotal, invoice.tax_total, invoice.total) == (100, 19, 119)
    line = invoice.lines.get()
    assert (line.amount, line.tax_amount, line.includes_tax, line.tax_percent) == (100, 19, True, 19)
    # The lot costs what is ours of the price, and the document's net unit price times its quantity is the net amount.
    assert (line.cost_basis, line.unit_price) == (Decimal("0.1"), Decimal("0.1"))


@pytest.mark.parametrize("cents", [1, 2, 3, 4, 7, 99, 101, 999, 1001, 2999, 4999, 12345, 99999])
def test_awkward_prices_stay_exact(issuer, account, cents):
    gross = Decimal(cents).scaleb(-2)
    invoice = issue(account, gross_line(str(gross)))
    assert invoice.total == gross == invoice.subtotal + invoice.tax_total
    assert said(invoice) == [(invoice.subtotal, invoice.tax_total)]


def test_several_lines_share_the_tax_in_their_prices(issuer, account):
    """Of 3 x 10.00 it is 4.79, not 3 x 1.60; each line stays at 10.00."""
    invoice = issue(account, gross_line("10.00"), gross_line("10.00"), gross_line("10.00"))
    assert said(invoice) == [
        (Decimal("8.40"), Decimal("1.60")), (Decimal("8.41"), Decimal("1.59")), (Decimal("8.40"), Decimal("1.60")),
    ]  # fmt: skip
    assert (invoice.subtotal, invoice.tax_total, invoice.total) == (Decimal("25.21"), Decimal("4.79"), 30)


def test_what_is_taken_off_a_price_takes_its_tax_along(issuer, account):
    off = gross_line("-23.80", quantity=Decimal(-1), unit_price=Decimal("23.80"))
    invoice = issue(account, gross_line("119.00"), off)
    assert said(invoice) == [(100, 19), (-20, Decimal("-3.8"))]
    assert (invoice.subtotal, invoice.tax_total, invoice.total) == (80, Decimal("15.2"), Decimal("95.2"))
    assert invoice.lines.last().unit_price == 20


def test_net_and_gross_prices_stand_on_one_invoice(issuer, account):
    invoice = issue(account, plain_line("100.00"), gross_line("119.00"), plain_line("0.33"), gross_line("0.03"))
    assert said(invoice) == [
        (100, 19), (100, 19), (Decimal("0.33"), Decimal("0.06")), (Decimal("0.03"), 0),
    ]  # fmt: skip
    assert invoice.total == Decimal("238.42")


def test_categories_in_one_price_list_bear_their_own_rates(issuer, account):
    rate("DE", "7", category="books")
    invoice = issue(account, gross_line("10.70", category="books"), gross_line("11.90"))
    assert said(invoice) == [(10, Decimal("0.70")), (10, Decimal("1.90"))]


@pytest.mark.parametrize(
    ("currency", "gross", "net"), [("JPY", "1099", "924"), ("KWD", "1.235", "1.038"), ("EUR", "0.05", "0.04")]
)
def test_prices_with_tax_have_their_currencys_digits(issuer, account, currency, gross, net):
    invoice = issue(account, gross_line(gross), currency=currency)
    assert (invoice.subtotal, invoice.total) == (Decimal(net), Decimal(gross))


def test_credits_against_dearer_taxed_lines_are_refused(issuer, account):
    """Nothing is to be paid, but the tax authority would owe us: no invoice can say so."""
    rate("DE", "7", category="books")
    lines = [plain_line("10.00", category="books"), plain_line("-10.00", quantity=Decimal(-1))]
    with pytest.raises(ValueError, match="less than nothing"):
        issue(account, *lines)


def test_money_is_shared_out_without_a_rest():
    shares = share_money(Decimal("0.10"), [Decimal(1)] * 3, of=Decimal(3), currency="EUR")
    assert shares == [Decimal("0.03"), Decimal("0.04"), Decimal("0.03")]
    assert share_money(Decimal(7), [Decimal(-5), Decimal(15)], of=Decimal(15), currency="JPY") == [-2, 7]
    assert share_money(Decimal(0), [Decimal(3)], of=Decimal(3), currency="EUR") == [0]


def test_a_unit_price_becomes_net_as_its_line_does():
    assert net_unit_price(Decimal("0.119"), net=Decimal(100), gross=Decimal(119)) == Decimal("0.1")
    assert net_unit_price(Decimal("9.99"), net=Decimal("8.39"), gross=Decimal("9.99")) == Decimal("8.39")
    assert net_unit_price(Decimal(1), net=Decimal(0), gross=Decimal(0)) == 1
    assert net_unit_price(Decimal(1), net=Decimal(2), gross=Decimal(3)) == Decimal("0.666666666667")
