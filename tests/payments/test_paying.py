from decimal import Decimal

import pytest
from django.db import transaction

from billing.invoicing.models import Invoice
from billing.ledger import pools
from billing.notifications.models import Notification
from billing.payments import methods, paying
from billing.payments.models import Payment
from billing.payments.sandbox_models import SandboxCharge
from tests.factories import NOW, make_account
from tests.invoicing.makers import issue
from tests.payments import makers
from tests.payments.makers import make_card, pay


def kinds() -> list[str]:
    return list(Notification.objects.order_by("pk").values_list("kind", flat=True))


def balance(invoice) -> Decimal:
    return pools.get_main_pool(invoice.account_id).balance


def test_a_card_that_works_pays_the_invoice_and_fulfils_it(invoice):
    payment = pay(invoice)
    assert (payment.state, payment.amount, payment.currency) == ("succeeded", Decimal("1190.00"), "EUR")
    assert payment.gateway_reference == SandboxCharge.objects.get().reference
    assert (payment.finished_at, payment.next_check_at) == (NOW, None)
    invoice.refresh_from_db()
    assert (invoice.state, invoice.amount_paid) == ("paid", Decimal("1190.00"))
    assert balance(invoice) == 10_000
    assert kinds() == ["receipt"]


@pytest.mark.parametrize(
    ("number", "code", "hard"),
    [
        (makers.DECLINE, "card_declined", False),
        (makers.INSUFFICIENT, "insufficient_funds", False),
        (makers.EXPIRED, "expired_card", True),
    ],
)
def test_a_card_that_is_declined_leaves_the_invoice_open_and_says_why(invoice, number, code, hard):
    payment = pay(invoice, number)
    assert (payment.state, payment.failure_code, payment.failure_is_hard) == ("failed", code, hard)
    assert payment.failure_message
    invoice.refresh_from_db()
    assert (invoice.state, invoice.amount_paid, balance(invoice)) == ("open", 0, 0)
    (told,) = Notification.objects.all()
    assert told.kind == "payment_failed"
    assert told.payload == {
        "invoice_id": str(invoice.pk),
        "number": invoice.number,
        "total": "1190.00",
        "currency": "EUR",
        "reason": payment.failure_message,
    }


def test_after_a_decline_another_card_pays(invoice):
    pay(invoice, makers.DECLINE, key="k1")
    assert pay(invoice, makers.SUCCESS, key="k2").state == "succeeded"
    assert kinds() == ["payment_failed", "receipt"]


@pytest.mark.parametrize(
    ("number", "code"), [(makers.ACTION, "authentication_required"), (makers.OFF_SESSION, "card_declined")]
)
def test_what_needs_the_customer_is_declined_without_them(invoice, number, code):
    payment = pay(invoice, number, off_session=True)
    assert (payment.state, payment.failure_code) == ("failed", code)


def test_the_same_key_pays_once_and_returns_the_first_payment(invoice):
    first = pay(invoice)
    again = pay(invoice)
    assert again.pk == first.pk
    assert SandboxCharge.objects.count() == 1
    assert balance(invoice) == 10_000


def test_a_key_of_another_invoice_is_refused(invoice):
    pay(invoice)
    other = issue(invoice.account, reference="purchase:2")
    with pytest.raises(paying.KeyTaken):
        pay(other)
    assert Payment.objects.count() == 1


def test_a_paid_invoice_takes_no_second_payment(invoice):
    pay(invoice, key="k1")
    with pytest.raises(paying.InvoiceNotPayable):
        pay(invoice, key="k2")
    assert Payment.objects.count() == SandboxCharge.objects.count() == 1


def test_a_void_invoice_takes_none(invoice):
    Invoice.objects.filter(pk=invoice.pk).update(state="void", voided_at=NOW)
    with pytest.raises(paying.InvoiceNotPayable):
        pay(invoice)
    assert not Payment.objects.exists()


def test_while_a_payment_is_under_way_no_other_begins(invoice):
    first = pay(invoice, makers.SLOW, key="k1")
    with pytest.raises(paying.PaymentUnderWay) as refused:
        pay(invoice, key="k2")
    assert refused.value.payment == first
    assert Payment.objects.count() == SandboxCharge.objects.count() == 1


def test_a_removed_method_and_one_of_another_account_are_refused(invoice):
    removed = make_card(invoice.account)
    methods.remove(account_id=invoice.account_id, method_id=removed.pk, now=NOW)
    foreign = make_card(make_account("evil"))
    for method in (removed, foreign):
        with pytest.raises(paying.MethodNotUsable):
            paying.start(invoice_id=invoice.pk, method_id=method.pk, key="k", off_session=False, now=NOW)
    assert not Payment.objects.exists()


def test_an_attempt_that_was_only_opened_is_not_charged(invoice):
    card = make_card(invoice.account)
    payment = paying.start(invoice_id=invoice.pk, method_id=card.pk, key="k", off_session=False, now=NOW)
    assert payment.state == "created"
    assert payment.next_check_at > NOW
    assert not SandboxCharge.objects.exists()
    assert paying.submit(payment_id=payment.pk, return_url="", now=NOW).state == "succeeded"


@pytest.mark.django_db(transaction=True)
def test_no_gateway_is_called_inside_a_transaction(transactional_db, invoice):
    card = make_card(invoice.account)
    payment = paying.start(invoice_id=invoice.pk, method_id=card.pk, key="k", off_session=False, now=NOW)
    calls = (
        lambda: paying.pay(invoice_id=invoice.pk, method_id=card.pk, key="k", off_session=False, now=NOW),
        lambda: paying.submit(payment_id=payment.pk, return_url="", now=NOW),
        lambda: make_card(invoice.account),
    )
    for call in calls:
        with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
            call()
    payment.refresh_from_db()
    assert payment.state == "created"
    assert not SandboxCharge.objects.exists()
    # The positive control.
    assert calls[1]().state == "succeeded"
