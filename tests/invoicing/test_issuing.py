"""Issuing: the numbered document of some lines, once per reference."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import transaction

from billing.accounts import details
from billing.invoicing import issuing
from billing.invoicing.models import Invoice, InvoiceLine, Issuer
from billing.ledger.models import CreditGrant
from billing.notifications.models import Notification
from tests.factories import NOW, make_account
from tests.invoicing.makers import credits_line, issue, plain_line


def test_an_invoice_carries_its_lines_their_tax_and_the_totals(issuer, account):
    invoice = issue(account)
    assert (invoice.number, invoice.state, invoice.currency) == ("INV-000001", "open", "EUR")
    assert (invoice.subtotal, invoice.tax_total, invoice.total) == (1000, 190, 1190)
    assert (invoice.owed, invoice.amount_paid, invoice.tax_note) == (1190, 0, "")
    line = invoice.lines.get()
    assert (line.position, line.amount, line.tax_name, line.tax_percent, line.tax_amount) == (1, 1000, "VAT", 19, 190)
    assert (line.tax_treatment, line.credits, line.cost_basis) == ("taxed", 10_000, Decimal("0.1"))
    assert line.posting is None
    assert not CreditGrant.objects.exists()


def test_an_invoice_is_due_by_the_issuers_terms_unless_told_otherwise(issuer, account):
    assert issue(account).due_at == NOW + timedelta(days=14)
    assert issue(account, reference="purchase:2", due_at=NOW).due_at == NOW


def test_numbers_follow_one_another_whoever_buys(issuer, account):
    numbers = [issue(buyer, reference=f"r:{buyer.pk}").number for buyer in (account, make_account(), make_account())]
    assert numbers == ["INV-000001", "INV-000002", "INV-000003"]


def test_the_same_reference_returns_the_first_invoice_and_draws_no_number(issuer, account):
    first = issue(account)
    again = issue(account, plain_line("5.00"))
    assert again.pk == first.pk
    assert (Invoice.objects.count(), InvoiceLine.objects.count()) == (1, 1)
    issuer.refresh_from_db()
    assert issuer.last_invoice_number == 1


def test_a_reference_of_another_account_is_refused(issuer, account):
    issue(account)
    with pytest.raises(issuing.ReferenceTaken):
        issue(make_account("stranger"))
    assert Invoice.objects.count() == 1


def test_without_a_default_issuer_staff_are_told_to_add_one(account):
    Issuer.objects.create(key="other", name="Other", country="DE")
    with pytest.raises(issuing.NoIssuer, match="add one in the admin"):
        issue(account)
    with pytest.raises(issuing.NoIssuer):
        issuing.quote(account=account, currency="EUR", lines=[plain_line()], on=NOW.date())
    assert not Invoice.objects.exists()


def test_the_parties_stand_as_they_were_when_it_was_issued(issuer, account):
    invoice = issue(account)
    details.change(account_id=account.pk, changes={"name": "Renamed", "address": "Elsewhere"})
    Issuer.objects.filter(pk=issuer.pk).update(name="Sold GmbH")
    invoice.refresh_from_db()
    assert invoice.customer == {
        "name": "Northwind", "address": "", "country": "DE", "region": "", "tax_number": "",
        "email": "billing@northwind.example", "time_zone": "Europe/Berlin",
    }  # fmt: skip
    assert invoice.seller == {
        "name": "Lumen GmbH", "address": "Lichtstr. 1\n10115 Berlin", "country": "DE", "tax_number": "DE136695976",
        "email": "billing@lumen.example", "footer": "", "iban": "", "bic": "", "bank_name": "",
    }  # fmt: skip


def test_an_invoice_of_nothing_to_pay_is_paid_and_fulfilled_at_once(issuer, account):
    invoice = issue(account, credits_line(account, "0.00", "50"))
    assert (invoice.state, invoice.paid_at, invoice.total, invoice.owed) == ("paid", NOW, 0, 0)
    lot = CreditGrant.objects.get()
    assert (lot.amount, lot.kind, lot.cost_basis) == (50, "purchase", 0)
    assert Notification.objects.get(kind="receipt").payload["credits"] == "50.000000"


def test_a_quote_equals_the_invoice_that_follows(issuer, account):
    lines = [credits_line(account, "33.33", "1000"), plain_line("0.01"), plain_line("19.99", category="books")]
    quoted = issuing.quote(account=account, currency="EUR", lines=lines, on=issuing.supply_date(account, NOW))
    invoice = issue(account, *lines)
    assert (quoted.subtotal, quoted.tax_total, quoted.total, quoted.tax_note) == (
        invoice.subtotal, invoice.tax_total, invoice.total, invoice.tax_note,
    )  # fmt: skip
    said = [(each.tax_name, each.tax_percent, each.tax_amount, each.treatment.value) for each in quoted.lines]
    kept = invoice.lines.values_list("tax_name", "tax_percent", "tax_amount", "tax_treatment")
    assert said == list(kept)


def test_a_quote_writes_nothing(issuer, account):
    issuing.quote(account=account, currency="EUR", lines=[plain_line()], on=NOW.date())
    issuer.refresh_from_db()
    assert issuer.last_invoice_number == 0
    assert not Invoice.objects.exists()


def test_the_day_of_supply_is_the_accounts(account):
    late = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
    assert issuing.supply_date(account, late).isoformat() == "2027-01-01"


def test_a_rollback_leaves_no_gap(issuer, account):
    issue(account)
    with transaction.atomic():
        assert issue(account, reference="lost").number == "INV-000002"
        transaction.set_rollback(True)
    assert issue(account, reference="kept").number == "INV-000002"


@pytest.mark.parametrize(
    "wrong",
    [
        {"quantity": Decimal(0)},
        {"amount": Decimal("-1.00")},
        {"amount": Decimal("1.005")},
        {"credits": None},
        {"pool_id": None},
        {"grant_kind": ""},
    ],
)
def test_lines_that_no_invoice_can_hold_are_refused(issuer, account, wrong):
    with pytest.raises(ValueError, match=r"a line needs|a fulfilment needs"):
        issue(account, replace(credits_line(account), **wrong))
    assert not Invoice.objects.exists()


def test_a_currency_of_four_decimals_is_refused(issuer, account):
    with pytest.raises(ValueError, match="three decimals"):
        issue(account, plain_line("1.2345"), currency="CLF")
    assert not Invoice.objects.exists()


def test_an_invoice_needs_a_line(issuer, account):
    with pytest.raises(ValueError, match="needs a line"):
        issuing.issue(account_id=account.pk, reference="x", currency="EUR", lines=[], now=NOW)


def test_credits_go_to_the_accounts_own_pools_only(issuer, account):
    with pytest.raises(ValueError, match="another account"):
        issue(account, credits_line(make_account("stranger")))
    assert not Invoice.objects.exists()
