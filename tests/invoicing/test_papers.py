"""A billing address, which has no login, gets the documents themselves."""

from decimal import Decimal
from typing import Any

import pytest

from billing import tasks
from billing.accounts.models import Account, Role
from billing.invoicing.models import CreditNote, Invoice
from billing.payments import credit_notes
from tests.factories import NOW, make_account, make_issuer, make_member, make_user
from tests.invoicing.makers import issue, plain_line
from tests.notifications.makers import tell
from tests.payments.makers import pay

pytestmark = pytest.mark.django_db


@pytest.fixture
def paid() -> Invoice:
    """119.00, paid by card, of an account with an owner and a billing address."""
    make_issuer()
    account = make_account("acme", billing_email="billing@acme.example")
    make_member(account, make_user("alice"), Role.OWNER)
    invoice = issue(account, plain_line(), reference="renewal:1", currency="EUR", now=NOW)
    pay(invoice)
    return invoice


def attached(mailoutbox: list[Any]) -> dict[str, list[tuple[str, bytes]]]:
    """The names and first bytes of what was attached, by address."""
    tasks.deliver_notifications()
    return {mail.to[0]: [(name, content[:5]) for name, content, _type in mail.attachments] for mail in mailoutbox}


def test_receipts_have_the_invoice_and_members_a_link(paid, mailoutbox):
    assert attached(mailoutbox) == {
        "billing@acme.example": [(f"{paid.number}.pdf", b"%PDF-")], "alice@example.com": [],
    }  # fmt: skip
    bodies = {mail.to[0]: mail.body for mail in mailoutbox}
    assert "The document is attached." in bodies["billing@acme.example"]
    assert "/invoices/" not in bodies["billing@acme.example"]
    assert "/invoices/" in bodies["alice@example.com"]


def test_credit_notes_are_attached(paid, mailoutbox):
    tasks.deliver_notifications()
    mailoutbox.clear()
    credit_notes.credit(
        invoice_id=paid.pk, amount=Decimal(10), refund_to="balance", reason="x", actor="t", reference="n:1", now=NOW
    )
    number = CreditNote.objects.get().number
    assert attached(mailoutbox)["billing@acme.example"] == [(f"{number}.pdf", b"%PDF-")]


def test_another_accounts_invoice_is_not(paid, mailoutbox):
    other: Account = make_account("evil", billing_email="billing@evil.example")
    tell(other, "receipt", invoice_id=str(paid.pk))
    assert attached(mailoutbox)["billing@evil.example"] == []
