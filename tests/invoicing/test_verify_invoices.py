"""Proving documents: the hash of what they said, sums, numbers; and the command's exit codes."""

import json
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection

from billing.invoicing import contents, crediting, settling, verification
from billing.invoicing.crediting import CreditItem
from billing.invoicing.models import CreditNote, Invoice, Issuer
from billing.invoicing.tax_models import ExchangeRate
from tests.commands import exit_code
from tests.factories import NOW
from tests.invoicing.makers import credits_line, issue, plain_line

pytestmark = pytest.mark.django_db


@pytest.fixture
def papers(issuer, account):
    """An invoice in dollars of two lines, paid, and a credit note of a part of it."""
    Issuer.objects.update(base_currency="EUR")
    ExchangeRate.objects.create(currency="USD", on=NOW.date(), rate="1.1")
    invoice = issue(account, credits_line(account), plain_line("33.33"), currency="USD")
    settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=NOW)
    items = [CreditItem(line.pk, line.amount / 3) for line in invoice.lines.filter(position=2)]
    crediting.credit(invoice_id=invoice.pk, reference="c", reason="r", items=items, actor="", now=NOW)
    return invoice


def tamper(statement):
    """What no door can do: the triggers are switched off for it."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET session_replication_role = replica")
        for table in ("invoice", "invoiceline"):
            cursor.execute(f"ALTER TABLE billing_{table} DISABLE TRIGGER issued_immutable")
        for table in ("creditnote", "creditnoteline"):
            cursor.execute(f"ALTER TABLE billing_{table} DISABLE TRIGGER append_only")
        cursor.execute("ALTER TABLE billing_issuer DISABLE TRIGGER numbers_gapless")
        cursor.execute(statement)
        cursor.execute("SET session_replication_role = DEFAULT")


def findings():
    return [str(finding) for finding in verification.verify().findings]


def test_documents_as_they_were_issued_give_no_finding(papers, capsys):
    assert exit_code("verify_invoices") == 0
    assert capsys.readouterr().out == "1 invoices, 1 credit notes: 0 differences.\n"


def test_the_hash_is_the_same_from_memory_and_from_the_database(papers):
    kept = Invoice.objects.get()
    assert papers.content_hash == kept.content_hash == contents.hash_invoice(kept, kept.lines.all())
    assert papers.content_hash.startswith("1:")
    note = CreditNote.objects.get()
    assert note.content_hash == contents.hash_credit_note(note, note.lines.all())


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE billing_invoice SET seller = seller || \'{"name": "Other"}\'',
        "UPDATE billing_invoice SET due_at = due_at + interval '1 microsecond'",
        "UPDATE billing_invoice SET number = 'INV-000009'",
        "UPDATE billing_invoiceline SET description = 'other' WHERE position = 2",
        "UPDATE billing_invoiceline SET tax_percent = 7 WHERE position = 1",
    ],
)
def test_a_changed_invoice_is_found(papers, statement):
    tamper(statement)
    assert any("its content is not what it was" in finding for finding in findings())


def test_more_than_a_rate_of_tax_charged_is_named(issuer, account):
    issue(account, plain_line("100.00"), plain_line("-40.00", quantity=Decimal(-1), unit_price=Decimal(40)))
    assert findings() == []
    # The line has so much, but not what was charged with what was taken off it.
    tamper("UPDATE billing_invoiceline SET amount_credited = 61 WHERE position = 1")
    assert any("(standard) than was charged" in found for found in findings())


def test_each_difference_is_named(papers, capsys):
    tamper("UPDATE billing_invoiceline SET amount = amount + 1 WHERE position = 2")
    assert "INV-000001: its lines do not add up to its totals" in findings()
    tamper("UPDATE billing_invoice SET tax_in_base = 1")
    assert "INV-000001: its tax in EUR is not what its rate gives" in findings()
    tamper("UPDATE billing_invoice SET amount_credited = amount_credited + 1")
    assert "INV-000001: its credit notes do not add up to what was credited" in findings()
    tamper("UPDATE billing_invoiceline SET amount_credited = 1 WHERE position = 1")
    assert "INV-000001: line 1: its credit notes do not add up to what was credited" in findings()
    tamper("UPDATE billing_creditnote SET reason = 'other'")
    assert "CN-000001: its content is not what it was when it was issued" in findings()
    tamper("UPDATE billing_creditnoteline SET amount = amount + 1")
    assert "CN-000001: its lines do not add up to its totals" in findings()
    tamper("UPDATE billing_issuer SET last_invoice_number = 3, last_credit_note_number = 2")
    assert "Lumen GmbH: 3 invoice numbers were drawn, and 1 documents have one" in findings()
    assert "Lumen GmbH: 2 credit note numbers were drawn, and 1 documents have one" in findings()
    assert exit_code("verify_invoices", "--json") == 1
    assert len(json.loads(capsys.readouterr().out)["findings"]) == len(findings())


def test_documents_from_before_hashes_are_counted(papers, capsys):
    tamper("UPDATE billing_invoice SET content_hash = ''")
    assert exit_code("verify_invoices") == 0
    assert "(1 from before hashes were taken)" in capsys.readouterr().out


def test_a_check_that_cannot_run_exits_2(monkeypatch):
    def fail():
        raise DatabaseError("gone")

    monkeypatch.setattr(verification, "verify", fail)
    assert exit_code("verify_invoices") == 2
