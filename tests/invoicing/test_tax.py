"""Which tax a sale bears: where, when, of what, and by whom it is owed."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from billing.accounts import details
from billing.invoicing import issuing, tax
from billing.invoicing.tax_models import TaxExemption, TaxRate
from tests.factories import NOW, make_account, make_issuer
from tests.invoicing.makers import issue, plain_line

DAY = date(2025, 3, 1)


def decide(issuer, country, *, region="", tax_number="", category="standard", on=DAY, includes_tax=False):
    """How a line of 100.00 is taxed."""
    buyer = make_account(country=country)
    details.change(account_id=buyer.pk, changes={"region": region, "tax_number": tax_number})
    buyer.refresh_from_db()
    line = plain_line(category=category, includes_tax=includes_tax)
    quoted = issuing.quote(account=buyer, currency="EUR", lines=[line], on=on)
    found = quoted.lines[0]
    return tax.Tax(found.tax_name, found.tax_percent, found.treatment, quoted.tax_note)


def rate(country, percent, **fields):
    return TaxRate.objects.create(
        **{"country": country, "percent": Decimal(percent), "valid_from": date(2020, 1, 1), **fields}
    )


@pytest.fixture
def issuer(db):
    return make_issuer(tax_countries=["US", "CH"])


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
    [
        ("FR", "FR40303265045"),
        ("AT", "ATU 1234.5675"),
        ("GR", "EL 094259216"),
        ("ES", "es-b58378431"),
        ("NL", "NL004495445B01"),
        ("MC", "FR53000004605"),
    ],
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
        ("MC", "MC53000004605"),
        ("FR", "FR40303265046"),
        ("FR", "FR" + "1" * 13),
        ("FR", "FR\u0661\u0662\u0663"),
    ],
)
def test_everybody_else_pays_the_tax_of_their_country(issuer, country, number):
    if country != "DE":
        rate({"MC": "FR"}.get(country, country), "8.1")
    found = decide(issuer, country, tax_number=number)
    assert (found.treatment, found.percent > 0, found.note) == ("taxed", True, "")


def test_an_issuer_outside_the_union_has_no_reverse_charge(db):
    swiss = make_issuer(country="CH", rates={"FR": "20"}, tax_countries=["FR"])
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


def test_tax_is_charged_only_where_the_issuer_is_registered(issuer):
    rate("JP", "10")
    assert decide(issuer, "JP").treatment == "untaxed"
    issuer.tax_countries = ["JP"]
    issuer.save()
    assert decide(issuer, "JP").percent == 10


def test_an_issuer_of_the_union_charges_in_all_of_it_and_others_only_at_home(issuer):
    for country in ("FR", "CH"):
        rate(country, "8")
    assert decide(issuer, "FR").percent == 8
    issuer.country, issuer.tax_countries = "CH", []
    issuer.save()
    assert [decide(issuer, country).percent for country in ("CH", "FR", "DE")] == [8, 0, 0]
    assert decide(issuer, "FR").note == ""


def test_a_rate_changes_at_midnight_where_the_account_is(issuer):
    rate("US", "7", valid_to=date(2025, 7, 1))
    rate("US", "8", valid_from=date(2025, 7, 1))
    account = make_account("denver", country="US", currency="USD", time_zone="America/Denver")
    for at, percent in (
        (datetime(2025, 7, 1, 5, 59, 59, tzinfo=UTC), 7),
        (datetime(2025, 7, 1, 6, tzinfo=UTC), 8),
    ):
        invoice = issue(account, plain_line(), reference=f"r{percent}", currency="USD", now=at)
        assert invoice.lines.get().tax_percent == percent


@pytest.mark.parametrize("number", ["FR40303265045", "DE136695976"])
def test_only_one_who_buys_from_abroad_owes_the_tax(issuer, number):
    """A price that includes tax stays what is paid; where the buyer owes the tax, all of it is net."""
    rate("FR", "20")
    buyer = make_account("paris", country=number[:2], tax_number=number)
    invoice = issue(buyer, plain_line("120.00", includes_tax=True))
    is_french = number.startswith("FR")
    assert invoice.total == 120
    assert invoice.subtotal == (120 if is_french else Decimal("100.84"))
    assert invoice.lines.get().tax_treatment == ("reverse_charge" if is_french else "taxed")


def exempt(account, **fields):
    given = {
        "country": account.country, "number": "EX-7", "valid_from": date(2025, 1, 1), "created_at": NOW, **fields
    }  # fmt: skip
    return TaxExemption.objects.create(account=account, **given)


def treatment(account, on):
    return issuing.quote(account=account, currency="EUR", lines=[plain_line()], on=on).lines[0].treatment


def test_a_certificate_frees_from_tax_on_its_days(issuer, account):
    exempt(account, valid_to=date(2025, 3, 1))
    days = [date(2024, 12, 31), date(2025, 1, 1), date(2025, 2, 28), date(2025, 3, 1)]
    assert [treatment(account, day) for day in days] == ["taxed", "exempt", "exempt", "taxed"]


def test_a_certificate_without_an_end_goes_on(issuer, account):
    exempt(account)
    assert treatment(account, date(2099, 1, 1)) == "exempt"


def test_an_invoice_names_the_certificate(issuer, account):
    exempt(account)
    invoice = issue(account, plain_line("119.00", includes_tax=True), plain_line("1.00"))
    assert (invoice.subtotal, invoice.tax_total, invoice.total) == (120, 0, 120)
    assert invoice.tax_note == "Exempt from tax by certificate EX-7."
    assert {line.tax_treatment for line in invoice.lines.all()} == {"exempt"}


@pytest.mark.parametrize(
    "fields", [{"country": "FR"}, {"region": "BY"}, {"withdrawn_at": NOW}], ids=["country", "region", "withdrawn"]
)
def test_a_certificate_of_elsewhere_or_withdrawn_frees_from_nothing(issuer, account, fields):
    exempt(account, **fields)
    assert treatment(account, DAY) == "taxed"


def test_the_certificate_of_another_account_frees_from_nothing(issuer, account):
    exempt(make_account("stranger"))
    assert treatment(account, DAY) == "taxed"


def test_a_regions_certificate_is_named_before_the_countrys(issuer):
    rate("US", "6")
    buyer = make_account("austin", country="US", region="TX")
    exempt(buyer)
    exempt(buyer, region="TX", number="TX-1", valid_from=date(2025, 2, 1))
    assert "EX-7" in issue(buyer, plain_line(), now=datetime(2025, 1, 15, tzinfo=UTC)).tax_note
    assert "TX-1" in issue(buyer, plain_line(), reference="r2").tax_note


def test_where_no_tax_is_charged_a_certificate_changes_nothing(issuer):
    buyer = make_account("tokyo", country="JP")
    exempt(buyer)
    assert treatment(buyer, DAY) == "untaxed"


def test_two_businesses_of_the_union_need_no_certificate(issuer):
    buyer = make_account("paris", country="FR", tax_number="FR40303265045")
    exempt(buyer)
    assert treatment(buyer, DAY) == "reverse_charge"


def test_a_certificate_ends_after_it_begins_and_has_a_number(account):
    for wrong in ({"valid_to": date(2025, 1, 1)}, {"number": ""}):
        with pytest.raises(IntegrityError), transaction.atomic():
            exempt(account, **wrong)
    assert not TaxExemption.objects.exists()
