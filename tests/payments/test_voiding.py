"""Voiding by staff: only while no money has come and none is on its way."""

import pytest

from billing.invoicing import crediting, settling
from billing.invoicing.models import Invoice
from billing.payments import paying, voiding
from tests.factories import NOW, make_account, make_issuer
from tests.invoicing.makers import issue
from tests.payments.makers import make_card

pytestmark = pytest.mark.django_db


@pytest.fixture
def invoice():
    make_issuer()
    return issue(make_account("northwind", currency="EUR"))


def test_an_open_invoice_becomes_void_and_keeps_its_number(invoice):
    assert voiding.void(invoice_id=invoice.pk, now=NOW).state == "void"
    again = voiding.void(invoice_id=invoice.pk, now=NOW)
    assert (again.number, again.voided_at, again.owed) == ("INV-000001", NOW, 0)


def test_an_invoice_that_was_given_up_can_still_be_voided(invoice):
    settling.mark_uncollectible(invoice_id=invoice.pk, now=NOW)
    assert voiding.void(invoice_id=invoice.pk, now=NOW).state == "void"


def test_while_a_payment_is_under_way_it_cannot(invoice):
    paying.start(invoice_id=invoice.pk, method_id=make_card(invoice.account).pk, key="k", off_session=True, now=NOW)
    with pytest.raises(paying.PaymentUnderWay):
        voiding.void(invoice_id=invoice.pk, now=NOW)
    assert Invoice.objects.get().state == "open"


def test_once_money_has_come_it_cannot(invoice):
    settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=NOW)
    with pytest.raises(crediting.NotVoidable):
        voiding.void(invoice_id=invoice.pk, now=NOW)
    assert Invoice.objects.get().state == "paid"
