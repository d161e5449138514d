"""Stripe Tax as the engine: asked outside of transactions, read inside them, against a server in another process."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import transaction

from billing.accounts import details
from billing.invoicing import engines, issuing, stripe_tax, tax
from billing.invoicing.models import Invoice
from billing.invoicing.tax_models import TaxCalculation, TaxExemption
from tests.factories import NOW, make_account
from tests.invoicing.makers import credits_line, issue, plain_line

TODAY = datetime(2025, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def stripe_is_the_engine(services, settings):
    settings.FLORIN_TAX_ENGINE = "stripe"
    settings.FLORIN_STRIPE_TAX_CODES = {"books": "txcd_35010000", "free": "txcd_free"}


def issue_with_tax(account, *lines, **options):
    return engines.with_tax(lambda: issue(account, *lines, **options), now=NOW)


def test_an_invoice_waits_until_its_tax_is_worked_out(issuer, account, services):
    with pytest.raises(tax.TaxNotPrepared) as caught:
        issue(account)
    assert not Invoice.objects.exists()
    assert services.calls() == []
    engines.prepare(caught.value.sale, now=NOW)
    invoice = issue(account)
    assert (invoice.subtotal, invoice.tax_total, invoice.total) == (1000, 190, 1190)
    line = invoice.lines.get()
    assert (line.tax_name, line.tax_percent, line.tax_treatment) == ("VAT", 19, "taxed")


def test_what_is_asked(issuer, account, services):
    details.change(account_id=account.pk, changes={"postal_code": "10967", "region": "BE"})
    issue_with_tax(account, plain_line("100.00"), plain_line("10.00", category="books", includes_tax=True))
    (call,) = services.calls()
    assert {name: call[name] for name in call if name != "key"} == {
        "path": "/v1/tax/calculations", "currency": "eur", "tax_date": str(int(TODAY.timestamp())),
        "customer_details[address][country]": "DE", "customer_details[address][state]": "BE",
        "customer_details[address][postal_code]": "10967", "customer_details[address_source]": "billing",
        "line_items[0][reference]": "0", "line_items[0][amount]": "10000", "line_items[0][tax_behavior]": "exclusive",
        "line_items[1][reference]": "1", "line_items[1][amount]": "1000", "line_items[1][tax_behavior]": "inclusive",
        "line_items[1][tax_code]": "txcd_35010000", "expand[0]": "line_items.data.tax_breakdown",
    }  # fmt: skip
    assert call["key"] == "Bearer sk_test_florin"


def test_the_same_sale_is_asked_about_once(issuer, account, services):
    on = issuing.supply_date(account, NOW)
    quoted = engines.with_tax(
        lambda: issuing.quote(account=account, currency="EUR", lines=[credits_line(account)], on=on), now=NOW
    )
    invoice = issue_with_tax(account)
    assert quoted.total == invoice.total
    assert issue_with_tax(account, reference="second").total == 1190
    assert (len(services.calls()), TaxCalculation.objects.count()) == (1, 1)


@pytest.mark.parametrize(
    "change",
    [{"country": "FR"}, {"region": "BE"}, {"postal_code": "1"}, {"tax_number": "FR40303265045", "country": "FR"}],
)
def test_another_buyer_is_another_sale(issuer, account, services, change):
    issue_with_tax(account)
    details.change(account_id=account.pk, changes=change)
    with pytest.raises(tax.TaxNotPrepared):
        issue(account, reference="second")


def test_several_lines_share_the_tax_and_add_up(issuer, account, services):
    invoice = issue_with_tax(account, *[plain_line("0.33") for _ in range(3)], plain_line("10.00", includes_tax=True))
    assert [(line.amount, line.tax_amount) for line in invoice.lines.all()] == [
        (Decimal("0.33"), Decimal("0.06")), (Decimal("0.33"), Decimal("0.07")), (Decimal("0.33"), Decimal("0.06")),
        (Decimal("8.40"), Decimal("1.60")),
    ]  # fmt: skip


def test_what_is_taken_off_takes_its_tax_along(issuer, account, services):
    """Stripe takes no negative amounts: it is asked about the 100.00, and 20.00 take a fifth of their tax away."""
    off = plain_line("-20.00", quantity=Decimal(-1))
    invoice = issue_with_tax(account, plain_line("100.00"), off)
    assert (invoice.subtotal, invoice.tax_total) == (80, Decimal("15.2"))
    assert services.calls()[0]["line_items[0][amount]"] == "10000"


def test_a_category_that_only_takes_away_has_its_tax_taken_away(issuer, account, services):
    lines = [plain_line("100.00"), plain_line("-10.00", quantity=Decimal(-1), category="books")]
    invoice = issue_with_tax(account, *lines)
    assert [line.tax_amount for line in invoice.lines.all()] == [19, Decimal("-1.9")]


@pytest.mark.parametrize(
    ("currency", "amount", "asked", "tax_total"),
    [
        ("JPY", "1099", "1099", "209"), ("KWD", "1.235", "1235", "0.235"), ("UGX", "1099", "109900", "209"),
        ("ISK", "5", "500", "1"), ("MGA", "1099.50", "1100", "209"),
    ],
)  # fmt: skip
def test_amounts_are_asked_about_in_stripes_minor_units(issuer, account, services, currency, amount, asked, tax_total):
    invoice = issue_with_tax(account, plain_line(amount), currency=currency)
    assert services.calls()[0]["line_items[0][amount]"] == asked
    assert invoice.tax_total == Decimal(tax_total)


def test_taxes_of_a_state_and_a_city_stand_as_one(issuer, services):
    buyer = make_account("la", country="US", region="CA", currency="USD")
    details.change(account_id=buyer.pk, changes={"postal_code": "90001"})
    line = issue_with_tax(buyer, plain_line("100.00"), currency="USD").lines.get()
    assert (line.tax_percent, line.tax_amount) == (Decimal("9.5"), Decimal("9.5"))
    assert line.tax_name == "California sales tax, Los Angeles sales "


def test_businesses_owe_the_tax_themselves_and_prices_stay(issuer, services):
    buyer = make_account("paris", country="FR", tax_number="FR40303265045", currency="EUR")
    invoice = issue_with_tax(buyer, plain_line("120.00", includes_tax=True))
    assert (invoice.subtotal, invoice.total) == (120, 120)
    assert "Article 196" in invoice.tax_note
    assert services.calls()[0]["customer_details[tax_ids][0][value]"] == "FR40303265045"


def test_certificates_are_told_and_named(issuer, account, services):
    TaxExemption.objects.create(account=account, country="DE", number="EX-7", valid_from=TODAY.date(), created_at=NOW)
    invoice = issue_with_tax(account)
    assert (invoice.tax_total, invoice.lines.get().tax_treatment) == (0, "exempt")
    assert "EX-7" in invoice.tax_note
    assert services.calls()[0]["customer_details[taxability_override]"] == "customer_exempt"


def test_goods_without_tax_and_places_where_none_is_collected(issuer, account, services):
    assert issue_with_tax(account, plain_line(category="free")).lines.get().tax_treatment == "exempt"
    invoice = issue_with_tax(make_account("tokyo", country="JP"), plain_line(), reference="r2")
    assert (invoice.tax_total, invoice.lines.get().tax_treatment) == (0, "untaxed")
    assert "outside the European Union" in invoice.tax_note


def test_nothing_is_asked_about_what_costs_nothing(issuer, account, services):
    assert issue_with_tax(account, credits_line(account, "0.00", "50")).state == "paid"
    assert services.calls() == []


@pytest.mark.parametrize("fault", ["down", "slow", "cut"])
def test_one_fault_is_tried_again(issuer, account, services, fault):
    services.go_wrong(fault)
    assert issue_with_tax(account).total == 1190


def test_without_an_answer_nothing_is_issued(issuer, account, services):
    services.go_wrong(*["down"] * 9)
    with pytest.raises(tax.TaxUnavailable, match="no answer"):
        issue_with_tax(account)
    assert not Invoice.objects.exists()
    assert not TaxCalculation.objects.exists()


def test_a_place_that_stripe_cannot_tell_is_said_to_be_missing(issuer, services):
    buyer = make_account("la", country="US", region="CA", currency="USD")
    with pytest.raises(tax.TaxUnavailable, match="postal code"):
        issue_with_tax(buyer, plain_line(), currency="USD")


def test_a_renewal_that_is_late_asks_about_the_oldest_day_that_stripe_takes(issuer, account, services):
    late = NOW + timedelta(days=45)
    engines.with_tax(lambda: issue(account, now=NOW), now=late)
    asked = datetime.fromtimestamp(int(services.calls()[0]["tax_date"]), UTC)
    assert asked == late - timedelta(days=30)


@pytest.mark.django_db(transaction=True)
def test_others_are_never_asked_inside_a_transaction(transactional_db, services):
    from tests.factories import make_issuer

    make_issuer()
    account = make_account("northwind", currency="EUR")
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        issue_with_tax(account)
    assert services.calls() == []


def test_answers_that_nobody_will_read_again_are_forgotten(issuer, account, services):
    issue_with_tax(account)
    assert stripe_tax.purge(now=NOW + timedelta(days=60), limit=10) == 0
    assert stripe_tax.purge(now=NOW + timedelta(days=61), limit=10) == 1
    assert not TaxCalculation.objects.exists()
