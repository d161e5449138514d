"""What an engine is told of a sale and what it answers, without a database."""

from dataclasses import FrozenInstanceError, replace
from datetime import date
from decimal import Decimal as D

import pytest

from billing.invoicing import tax
from billing.invoicing.tax import LineTax, Sale, SaleLine, Tax, TaxNotPrepared, TaxUnavailable

LINE = SaleLine(amount=D("119.00"), category="standard", includes_tax=False)
SALE = Sale(
    seller="DE",
    seller_countries=("DE", "FR"),
    country="FR",
    region="",
    postal_code="75001",
    tax_number="FR40303265045",
    exemption="",
    currency="EUR",
    on=date(2025, 3, 1),
    lines=(LINE,),
)


@pytest.mark.parametrize(
    ("fields", "owed_by_buyer"),
    [
        ({}, True),
        ({"tax_number": ""}, False),
        ({"country": "DE"}, False),  # at home
        ({"country": "CH"}, False),  # the buyer is not in the union
        ({"seller": "US"}, False),  # nor is the seller
        ({"seller": "US", "country": "CH"}, False),
        ({"seller": "FR", "country": "DE"}, True),
    ],
)
def test_a_business_of_another_country_of_the_union_owes_the_tax(fields, owed_by_buyer):
    assert replace(SALE, **fields).is_reverse_charge is owed_by_buyer


def test_a_sale_is_written_as_json_has_it():
    assert SALE.document() == {
        "seller": "DE",
        "seller_countries": ["DE", "FR"],
        "country": "FR",
        "region": "",
        "postal_code": "75001",
        "tax_number": "FR40303265045",
        "exemption": "",
        "currency": "EUR",
        "on": "2025-03-01",
        "lines": [{"amount": "119", "category": "standard", "includes_tax": False}],
    }


def test_equal_sales_have_one_fingerprint():
    told = SALE.fingerprint()
    # However many noughts an amount is written with. Kept answers are found by it: it must not change by itself.
    assert told == replace(SALE, lines=(replace(LINE, amount=D("119.000")),)).fingerprint()
    assert told == "8845bfeb220450c4f7a6f8bf16e3dac9d8ac37ca92f504d44326b1533a98106d"


@pytest.mark.parametrize(
    "fields",
    [
        {"seller": "FR"},
        {"seller_countries": ("DE",)},
        {"country": "IT"},
        {"region": "IDF"},
        {"postal_code": "75002"},
        {"tax_number": ""},
        {"exemption": "X1"},
        {"currency": "USD"},
        {"on": date(2025, 3, 2)},
        {"lines": ()},
        {"lines": (LINE, LINE)},
        {"lines": (replace(LINE, amount=D("1190")),)},
        {"lines": (replace(LINE, category="reduced"),)},
        {"lines": (replace(LINE, includes_tax=True),)},
    ],
)
def test_whatever_differs_in_a_sale_has_another_fingerprint(fields):
    assert replace(SALE, **fields).fingerprint() != SALE.fingerprint()


def test_only_what_a_sale_is_made_of_is_written():
    with pytest.raises(TypeError, match="object"):
        replace(SALE, region=object()).document()


def test_the_note_of_a_reverse_charge_names_the_directive_within_the_union_only():
    within, abroad = tax.reverse_charge(SALE), tax.reverse_charge(replace(SALE, seller="US"))
    assert within == Tax(
        "VAT", D(0), tax.Treatment.REVERSE_CHARGE,
        "Reverse charge: the recipient owes the VAT (Article 196 of Directive 2006/112/EC).",
    )  # fmt: skip
    assert abroad == replace(within, note="Reverse charge: the recipient owes the tax.")
    assert tax.reverse_charge(replace(SALE, country="CH")) == abroad


def test_an_exemption_names_its_certificate_where_there_is_one():
    assert tax.exempt("C-7") == Tax("", D(0), tax.Treatment.EXEMPT, "Exempt from tax by certificate C-7.")
    assert tax.exempt("") == Tax("", D(0), tax.Treatment.EXEMPT, "Exempt from tax.")


@pytest.mark.parametrize(
    ("seller", "country", "says"), [("DE", "CH", True), ("DE", "FR", False), ("US", "CH", False), ("US", "DE", False)]
)
def test_a_sale_out_of_the_union_says_why_it_is_not_taxed(seller, country, says):
    note = "Not subject to EU VAT: supplied outside the European Union." if says else ""
    assert tax.untaxed(replace(SALE, seller=seller, country=country)) == Tax("", D(0), tax.Treatment.UNTAXED, note)


def test_tax_is_taken_out_of_a_price_that_includes_it():
    vat = Tax("VAT", D(19), tax.Treatment.TAXED, "")
    assert tax.line_tax(LINE, vat, D("22.61")) == LineTax(vat, D("119.00"), D("22.61"))
    assert tax.line_tax(replace(LINE, includes_tax=True), vat, D(19)) == LineTax(vat, D(100), D(19))


def test_what_keeps_tax_from_being_known_says_of_what():
    missing = TaxNotPrepared(SALE)
    assert (missing.sale, str(missing)) == (SALE, "The tax of this sale has still to be worked out.")
    unavailable = TaxUnavailable("no such postal code")
    assert (unavailable.reason, str(unavailable)) == ("no such postal code", "no such postal code")


@pytest.mark.parametrize(
    ("of", "name"),
    [
        (SALE, "country"),
        (LINE, "amount"),
        (tax.exempt(""), "note"),
        (tax.line_tax(LINE, tax.exempt(""), D(0)), "net"),
    ],
)
def test_what_was_said_of_a_sale_stays(of, name):
    with pytest.raises(FrozenInstanceError):
        setattr(of, name, getattr(of, name))
