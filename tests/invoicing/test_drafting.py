"""Drafts: written, changed, thrown away or issued; a number only in the end."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.accounts import details
from billing.invoicing import drafting, issuing, settling, verification
from billing.invoicing.models import Invoice, InvoiceLine, Issuer
from billing.invoicing.tax_models import ExchangeRate, TaxRate
from billing.ledger.models import CreditGrant
from tests.factories import NOW, make_account
from tests.invoicing.makers import credits_line, issue, plain_line

pytestmark = pytest.mark.django_db

LATER = NOW + timedelta(days=40)


def draft(account, *lines, reference="draft:1", **fields):
    given = {"currency": "EUR", "now": NOW, **fields}
    return drafting.draft(account_id=account.pk, reference=reference, lines=lines or [plain_line("100.00")], **given)


def test_a_draft_says_what_it_would_cost_and_draws_no_number(issuer, account):
    made = draft(account)
    assert (made.state, made.number, made.issued_at, made.content_hash) == ("draft", None, None, "")
    assert (made.subtotal, made.tax_total, made.total, made.owed) == (100, 19, 119, 0)
    issuer.refresh_from_db()
    assert issuer.last_invoice_number == 0
    with pytest.raises(settling.NotPayable):
        settling.settle(invoice_id=made.pk, amount=Decimal(1), now=NOW)


def test_a_draft_is_made_once_per_reference(issuer, account):
    assert draft(account).pk == draft(account, plain_line("5.00")).pk
    with pytest.raises(issuing.ReferenceTaken):
        draft(make_account("stranger"))
    assert (Invoice.objects.count(), InvoiceLine.objects.count()) == (1, 1)


def test_a_draft_can_be_changed(issuer, account):
    made = draft(account)
    drafting.edit(
        invoice_id=made.pk, currency="USD", lines=[plain_line("5.00"), plain_line("7.00")], due_at=LATER, now=NOW
    )
    made.refresh_from_db()
    assert (made.currency, made.subtotal, made.due_at, made.lines.count()) == ("USD", 12, LATER, 2)


def test_lines_that_no_invoice_can_hold_leave_a_draft_as_it_was(issuer, account):
    made = draft(account)
    with pytest.raises(ValueError, match="needs a line"):
        drafting.edit(invoice_id=made.pk, currency="USD", lines=[], now=NOW)
    made.refresh_from_db()
    assert (made.currency, made.lines.count()) == ("EUR", 1)


def test_issuing_a_draft_uses_the_parties_the_tax_and_the_rate_of_then(issuer, account):
    made = draft(account, credits_line(account, "1000.00"), plain_line("50.00"), currency="USD")
    details.change(account_id=account.pk, changes={"name": "Renamed"})
    TaxRate.objects.update(percent=20)
    Issuer.objects.update(base_currency="EUR", payment_terms_days=30)
    ExchangeRate.objects.create(currency="USD", on=LATER.date(), rate="1.25")
    issued = drafting.issue_draft(invoice_id=made.pk, now=LATER)
    assert (issued.number, issued.state, issued.issued_at, issued.created_at) == ("INV-000001", "open", LATER, NOW)
    assert (issued.tax_total, issued.total, issued.tax_in_base) == (210, 1260, 168)
    assert (issued.customer["name"], issued.due_at) == ("Renamed", LATER + timedelta(days=30))
    assert verification.verify().findings == []
    settling.settle(invoice_id=issued.pk, amount=issued.total, now=LATER)
    assert CreditGrant.objects.get().amount == 10_000


def test_a_draft_keeps_the_due_date_it_was_given(issuer, account):
    made = draft(account, due_at=LATER)
    assert drafting.issue_draft(invoice_id=made.pk, now=NOW).due_at == LATER


def test_issuing_a_draft_again_returns_the_invoice(issuer, account):
    made = draft(account)
    first = drafting.issue_draft(invoice_id=made.pk, now=NOW)
    again = drafting.issue_draft(invoice_id=made.pk, now=LATER)
    assert (again.number, again.issued_at) == (first.number, NOW)
    issuer.refresh_from_db()
    assert issuer.last_invoice_number == 1


def test_a_draft_of_nothing_to_pay_is_paid_when_it_is_issued(issuer, account):
    made = draft(account, plain_line("10.00"), plain_line("-10.00", quantity=Decimal(-1), unit_price=Decimal(10)))
    assert drafting.issue_draft(invoice_id=made.pk, now=NOW).state == "paid"


def test_a_draft_that_is_thrown_away_leaves_nothing(issuer, account):
    made = draft(account)
    drafting.discard(invoice_id=made.pk)
    assert not Invoice.objects.exists()
    with pytest.raises(Invoice.DoesNotExist):
        drafting.discard(invoice_id=made.pk)


def test_an_issued_invoice_is_neither_changed_nor_thrown_away(issuer, account):
    invoice = issue(account)
    with pytest.raises(drafting.NotDraft):
        drafting.edit(invoice_id=invoice.pk, currency="EUR", lines=[plain_line("1.00")], now=NOW)
    with pytest.raises(drafting.NotDraft):
        drafting.discard(invoice_id=invoice.pk)
    assert Invoice.objects.get().subtotal == 1000
