"""Which tax a sale bears, and that it adds up."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.accounts import details
from billing.catalog.pricing import cost_per_credit, part_of_money, round_money, share_tax
from billing.invoicing import issuing, tax
from billing.invoicing.models import TaxRate
from tests.factories import make_account, make_issuer
from tests.invoicing.makers import issue, plain_line

DAY = date(2025, 3, 1)


def decide(issuer, country, *, region="", tax_number="", category="standard", on=DAY):
    return tax.decide(country=country, region=region, tax_number=tax_number, issuer=issuer, category=category, on=on)


def rate(country, percent, **fields):
    return TaxRate.objects.create(
        **{"country": country, "percent": Decimal(percent), "valid_from": date(2020, 1, 1), **fields}
    )


def test_the_rate_in_force_on_the_day_applies(issuer):
    rate("FR", "20", valid_from=date(2024, 1, 1), valid_to=date(2025, 3, 1), name="TVA")
    rate("FR", "21", valid_from=date(2025, 3, 1), name="TVA")
    days = [DAY - timedelta(days=1), DAY, DAY + timedelta(days=999), date(2023, 12, 31)]
    assert [decide(issuer, "FR", on=day).percent for day in days] == [20, 21, 21, 0]
    assert decide(issuer, "FR").name == "TVA"
    assert decide(issuer, "FR", on=date(2023, 12, 31)).treatment == "untaxed"


def test_rates_of_one_place_and_category_do_not_overlap(issuer):
    rate("FR", "20", valid_to=date(2026, 1, 1))
    with pytest.raises(IntegrityError), transaction.atomic():
        rate("FR", "19", valid_from=date(2025, 12, 31))
    rate("FR", "19", valid_from=date(2026, 1, 1))


def test_a_regions_rate_goes_before_its_countrys(issuer):
    rate("US", "7.25", region="CA", name="Sales tax")
    assert decide(issuer, "US", region="CA").percent == Decimal("7.25")
    assert decide(issuer, "US", region="NY").treatment == "untaxed"
    rate("US", "1")
    assert [decide(issuer, "US", region=region).percent for region in ("CA", "NY", "")] == [Decimal("7.25"), 1, 1]


def test_a_category_without_a_rate_of_its_own_bears_the_standard_one(issuer):
    rate("DE", "7", category="books")
    assert decide(issuer, "DE", category="books").percent == 7
    assert decide(issuer, "DE", category="tea").percent == 19


@pytest.mark.parametrize(
    ("country", "number"),
    [("FR", "FR40303265045"), ("AT", "ATU 1234.5678"), ("GR", "EL123456789"), ("ES", "esx1234567-y"), ("NL", "NL1B+*")],
)
def test_a_business_of_another_eu_country_owes_the_tax_itself(issuer, country, number):
    rate(country, "20")
    found = decide(issuer, country, tax_number=number)
    assert (found.percent, found.treatment) == (0, "reverse_charge")
    assert "Article 196" in found.note


@pytest.mark.parametrize(
    ("country", "number"),
    [
        ("DE", "DE123456789"),
        ("CH", "CHE123456789"),
        ("FR", ""),
        ("FR", "none"),
        ("FR", "FRANCE"),
        ("FR", "DE123456789"),
        ("FR", "123456789"),
        ("GR", "GR123456789"),
        ("FR", "FR" + "1" * 13),
        ("FR", "FR\u0661\u0662\u0663"),
    ],
)
def test_everybody_else_pays_the_tax_of_their_country(issuer, country, number):
    if country != "DE":
        rate(country, "8.1")
    found = decide(issuer, country, tax_number=number)
    assert (found.treatment, found.percent > 0, found.note) == ("taxed", True, "")


def test_an_issuer_outside_the_union_has_no_reverse_charge(db):
    swiss = make_issuer(country="CH", rates={"FR": "20"})
    assert decide(swiss, "FR", tax_number="FR40303265045").treatment == "taxed"


def test_a_sale_out_of_the_union_is_not_taxed_and_says_so(issuer):
    found = decide(issuer, "JP")
    assert (found.percent, found.treatment) == (0, "untaxed")
    assert "outside the European Union" in found.note


def test_the_invoice_states_what_the_tax_rules_ask_for(issuer):
    account = make_account("paris", country="FR", tax_number="FR40303265045")
    invoice = issue(account, plain_line("100.00"), plain_line("1.00", category="books"))
    assert (invoice.tax_total, invoice.total) == (0, 101)
    assert invoice.tax_note.count("Reverse charge") == 1
    assert set(invoice.lines.values_list("tax_treatment", flat=True)) == {"reverse_charge"}
    details.change(account_id=account.pk, changes={"tax_number": ""})
    assert issue(account, plain_line(), reference="r2").tax_note == ""


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
def test_worked_numbers_of_tax(amounts, percent, currency, taxes):
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
    assert quoted.subtotal == sum(line.draft.amount for line in quoted.lines)
    assert quoted.tax_total == sum(line.tax_amount for line in quoted.lines)
    assert quoted.total == quoted.subtotal + quoted.tax_total
    for percent in {line.tax_percent for line in quoted.lines}:
        taxed = [line for line in quoted.lines if line.tax_percent == percent]
        net = sum(line.draft.amount for line in taxed)
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
