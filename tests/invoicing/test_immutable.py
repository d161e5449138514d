"""What the database itself refuses: changing issued documents, skipping numbers, sums that do not add up."""

import itertools
import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction

from billing.invoicing import crediting, settling
from billing.invoicing.crediting import CreditItem
from billing.invoicing.models import Invoice, InvoiceLine, Issuer
from billing.invoicing.tax_models import ExchangeRate
from tests.factories import NOW
from tests.invoicing.makers import credits_line, issue, plain_line

# How an issued invoice stands, and what has become of a line, may change; nothing else.
FREE_OF_INVOICE = {
    "state",
    "amount_paid",
    "amount_credited",
    "amount_refunded",
    "paid_at",
    "voided_at",
    "uncollectible_at",
}
FREE_OF_LINE = {"amount_credited", "tax_credited", "credits_refunded", "fulfilled_at", "posting"}
OTHER = {
    "CharField": "'x'", "CurrencyField": "'GBP'", "JSONField": "'{\"name\": \"x\"}'", "DateTimeField": "now()",
    "DateField": "'2020-01-01'", "MoneyAmountField": "5", "DecimalField": "5", "PositiveSmallIntegerField": "9",
    "PositiveIntegerField": "9", "CreditsField": "9", "ForeignKey": "999999", "BigAutoField": "999999",
    "BooleanField": "true",
}  # fmt: skip


@pytest.fixture
def invoice(issuer, account):
    """In another currency than the books, so that every column says something."""
    Issuer.objects.update(base_currency="EUR")
    ExchangeRate.objects.create(currency="USD", on=NOW.date(), rate="1.25")
    return issue(account, credits_line(account), plain_line("5.00"), currency="USD")


@pytest.fixture
def draft(issuer, account):
    draft = Invoice.objects.create(account=account, issuer=issuer, reference="d", currency="EUR", created_at=NOW)
    InvoiceLine.objects.create(invoice=draft, position=1, description="x", quantity=1, unit_price=1, amount=1)
    return draft


def refused(statement, *values):
    assert allowed([statement], *values) == []


def allowed(statements, *values, error=ProgrammingError, reason=r"issued|one by one"):
    """Those of the statements that the database does not refuse for the reason; each is undone."""
    found = []
    for statement in statements:
        try:
            with transaction.atomic():
                connection.cursor().execute(statement, values)
                found.append(statement)
                transaction.set_rollback(True)
        except error as refusal:
            if not re.search(reason, str(refusal)):
                found.append(f"{statement}: {refusal}")
    return found


def other_than(field):
    """Some value of the field's kind, as SQL."""
    return OTHER.get(type(field).__name__) or OTHER[field.get_internal_type()]


def fields(model, free):
    return [field for field in model._meta.concrete_fields if field.name not in free]


def test_nothing_that_an_issued_invoice_says_can_be_changed(invoice, runtime_role):
    said = fields(Invoice, FREE_OF_INVOICE)
    changes = [f"UPDATE billing_invoice SET {field.column} = {other_than(field)}" for field in said]
    changes += [f"UPDATE billing_invoice SET {field.column} = NULL" for field in said if field.null]
    assert len(changes) >= 26
    assert allowed(changes) == []


def test_nothing_that_an_issued_line_says_can_be_changed(invoice, runtime_role):
    changes = [
        f"UPDATE billing_invoiceline SET {field.column} = {other_than(field)} WHERE position = 1"
        for field in fields(InvoiceLine, FREE_OF_LINE)
    ]
    assert len(changes) >= 23
    assert allowed(changes) == []


def test_issued_invoices_and_lines_are_not_deleted_and_get_no_more_lines(invoice, draft, runtime_role):
    refused("DELETE FROM billing_invoice WHERE id = %s", invoice.pk)
    refused("DELETE FROM billing_invoiceline WHERE invoice_id = %s", invoice.pk)
    refused("UPDATE billing_invoiceline SET invoice_id = %s, position = 9 WHERE invoice_id = %s", invoice.pk, draft.pk)
    refused("UPDATE billing_invoiceline SET invoice_id = %s WHERE invoice_id = %s", draft.pk, invoice.pk)
    refused(
        'INSERT INTO billing_invoiceline SELECT (jsonb_populate_record(line, \'{"id": 999, "position": 9}\')).*'
        " FROM billing_invoiceline line WHERE invoice_id = %s AND position = 2",
        invoice.pk,
    )
    assert invoice.lines.count() == 2


def test_the_runtime_role_cannot_empty_the_tables(invoice, runtime_role):
    for table in ("billing_invoice", "billing_invoiceline"):
        with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
            connection.cursor().execute(f"TRUNCATE {table} CASCADE")


def test_the_owner_is_refused_as_well(invoice):
    refused("UPDATE billing_invoice SET total = total + 1, subtotal = subtotal + 1")
    refused("DELETE FROM billing_invoiceline")


def test_a_line_is_not_fulfilled_by_another_posting_later(invoice, account, runtime_role):
    settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=NOW)
    refused("UPDATE billing_invoiceline SET posting_id = NULL WHERE position = 1")


def test_a_draft_may_change_and_go(draft, runtime_role):
    connection.cursor().execute("UPDATE billing_invoice SET reference = 'other'")
    connection.cursor().execute("DELETE FROM billing_invoiceline")
    connection.cursor().execute("DELETE FROM billing_invoice")
    assert not Invoice.objects.exists()


def test_numbers_are_neither_skipped_nor_given_back(invoice, issuer, runtime_role):
    Issuer.objects.filter(pk=issuer.pk).update(last_credit_note_number=1)
    columns = ("last_invoice_number", "last_credit_note_number")
    numbers = itertools.product(columns, (3, 0, -1))
    assert allowed([f"UPDATE billing_issuer SET {column} = {number}" for column, number in numbers]) == []


def test_an_issuer_saved_with_old_values_gives_no_number_back(invoice, issuer):
    assert issuer.last_invoice_number == 0
    with pytest.raises(ProgrammingError, match="one by one"), transaction.atomic():
        issuer.save()


def test_an_invoice_cannot_stand_as_no_invoice_can(invoice, runtime_role):
    changes = (
        "amount_paid = total + 0.01",
        "amount_paid = -1",
        "amount_credited = total + 0.01",
        "amount_refunded = 0.01",
        "state = 'paid'",
        "state = 'draft'",
        "amount_paid = 'NaN'",
    )
    assert allowed([f"UPDATE billing_invoice SET {each}" for each in changes], error=IntegrityError, reason="") == []


def test_a_line_cannot_be_credited_beyond_itself(invoice, runtime_role):
    changes = (
        "amount_credited = amount + 0.01",
        "tax_credited = tax_amount + 0.01",
        "credits_refunded = credits + 1",
    )
    changes = [f"UPDATE billing_invoiceline SET {each}" for each in changes]
    assert allowed(changes, error=IntegrityError, reason="") == []


def test_the_runtime_role_can_do_all_that_invoicing_needs(issuer, account, runtime_role):
    invoice = issue(account)
    settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=NOW)
    item = CreditItem(invoice.lines.get().pk, Decimal("100.00"), Decimal(1000))
    crediting.credit(invoice_id=invoice.pk, reference="r", reason="r", items=[item], actor="", now=NOW)
    crediting.note_refunded(invoice_id=invoice.pk, amount=Decimal(119))
    crediting.void(invoice_id=issue(account, reference="2").pk, now=NOW + timedelta(days=1))
    assert Issuer.objects.get(is_default=True).last_invoice_number == 2
