"""Whatever staff do to what belongs to an account on a test clock happens in the account's time."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.test import Client

from billing.accounts.models import Account
from billing.clock import advancing
from billing.invoicing import pending
from billing.invoicing.models import Invoice
from billing.payments import refunding, webhooks
from billing.payments.gateways.contract import Delivery
from billing.payments.models import BankTransfer, GatewayName, Payment
from billing.payments.sandbox_models import SandboxCharge, SandboxEvent
from tests.admin.conftest import Office, post, text_of
from tests.factories import make_account, make_issuer
from tests.invoicing.makers import issue
from tests.payments import makers
from tests.payments.makers import pay

THEN = datetime(2027, 1, 31, tzinfo=UTC)
TOKEN = "5a6b3c1e-9a3d-4d3e-8c54-1c5f7d1f0a11"


@pytest.fixture
def account(office: Office) -> Account:
    make_issuer()
    account = make_account("ahead", now=THEN, currency="EUR")
    advancing.open_clock(account_id=account.pk, starts_at=THEN, now=office.now)
    account.refresh_from_db()
    return account


@pytest.fixture
def invoice(account: Account) -> Invoice:
    return issue(account, now=THEN)


def test_a_pending_item_is_cancelled(staff: Client, account: Account) -> None:
    item = pending.add(
        account_id=account.pk, currency="EUR", reference="p", description="Setup", amount=Decimal("5.00"), now=THEN
    )
    assert "It is cancelled." in post(
        staff, f"/admin/billing/pendingitem/{item.pk}/cancel/", reason="Agreed", token=TOKEN
    )
    item.refresh_from_db()
    assert item.cancelled_at == THEN


def test_payments_are_asked_about(staff: Client, invoice: Invoice) -> None:
    payment = pay(invoice, makers.DECLINE, now=THEN)
    SandboxCharge.objects.update(state="succeeded")
    assert "1 has an outcome" in post(staff, "/admin/billing/payment/", action="ask", _selected_action=payment.pk)
    payment.refresh_from_db()
    invoice.refresh_from_db()
    assert (payment.finished_at, invoice.paid_at) == (THEN, THEN)


def test_refunds_are_tried_again_and_asked_about(staff: Client, invoice: Invoice) -> None:
    payment = pay(invoice, makers.REFUND_FAILS, now=THEN)
    refund = refunding.start(payment_id=payment.pk, credit_note_id=None, amount=Decimal(5), key="r", now=THEN)
    refunding.submit(refund_id=refund.pk, now=THEN)
    refund.refresh_from_db()
    assert refund.state == "failed"
    assert "1 is sent again" in post(staff, "/admin/billing/refund/", action="try_again", _selected_action=refund.pk)
    refund.refresh_from_db()
    assert refund.next_check_at == THEN
    assert "1 with an outcome" in post(staff, "/admin/billing/refund/", action="ask", _selected_action=refund.pk)
    refund.refresh_from_db()
    assert (refund.state, refund.finished_at) == ("succeeded", THEN)


def test_real_money_pays_no_invoice_of_a_test_account(staff: Client, office: Office, invoice: Invoice) -> None:
    transfer = BankTransfer.objects.create(
        reference="S-1", received_on=office.now.date(), amount=invoice.total, currency="EUR", recorded_at=office.now
    )
    sent = {"token": TOKEN, "invoice": invoice.number, "amount": ""}
    refused = "No invoice of this number has anything to be paid."
    assert refused in post(staff, f"/admin/billing/banktransfer/{transfer.pk}/match/", **sent)
    assert not Payment.objects.exists()


def test_what_can_be_refunded_is_worked_out(staff: Client, invoice: Invoice) -> None:
    pay(invoice, now=THEN)
    line = invoice.lines.get()
    page = text_of(staff, f"/admin/billing/invoice/{invoice.pk}/refund/{line.pk}/")
    assert "Nothing of this can be refunded" not in page
    assert "Can be taken back" in page


def test_what_a_gateway_reports_is_acted_upon(office: Office, invoice: Invoice) -> None:
    payment = pay(invoice, makers.SLOW, now=THEN)
    told = SandboxEvent.objects.filter(kind__contains="succeeded").first()
    assert told is not None
    report = Delivery(event_id=told.event_id, kind=told.kind, payload=told.payload)
    webhooks.accept(gateway_name=GatewayName.SANDBOX, delivery=report, now=office.now)
    payment.refresh_from_db()
    invoice.refresh_from_db()
    assert (payment.state, payment.finished_at, invoice.paid_at) == ("succeeded", THEN, THEN)
