"""Many invoices that reach for one invoice balance at once; and the same without locks, to show that it can fail."""

import threading
from decimal import Decimal

import pytest
from django.db import IntegrityError
from django.db.models import Sum

from billing.invoicing.models import Invoice
from billing.payments import credit_notes, invoice_credits
from billing.payments.models import InvoiceCredit, Payment
from tests.factories import NOW
from tests.invoicing.makers import issue, plain_line
from tests.invoicing.test_races import without_lock_of
from tests.ledger.racing import race
from tests.payments.makers import pay

pytestmark = pytest.mark.django_db(transaction=True)
WORKERS = 8


@pytest.fixture
def works(transactional_db, account):
    """Each pays an invoice of 11.90 of its own from the account's 42.80."""
    paid = issue(account, plain_line("100.00"), reference="renewal:0")
    pay(paid)
    credit_notes.credit(
        invoice_id=paid.pk, amount=Decimal("42.80"), refund_to="balance", reason="x", reference="r", actor="x", now=NOW
    )
    invoices = [issue(account, plain_line("10.00"), reference=f"renewal:{n}") for n in range(1, WORKERS + 1)]
    return [lambda pk=invoice.pk: invoice_credits.apply(invoice_id=pk, now=NOW) for invoice in invoices]


def moved():
    return Payment.objects.exclude(invoice_credit=None).aggregate(sum=Sum("amount"))["sum"]


def test_the_balance_is_used_once_however_many_reach_for_it(works):
    assert race(works) == {"done": WORKERS}
    assert moved() == InvoiceCredit.objects.get().amount_used == Decimal("42.80")
    assert Invoice.objects.filter(state="paid").count() == 1 + 3


def test_without_locks_only_the_unique_key_is_left(works, monkeypatch):
    barrier, use = threading.Barrier(WORKERS), invoice_credits._use

    def meet(*args, **kwargs):
        barrier.wait(timeout=30)
        return use(*args, **kwargs)

    for model in (Invoice, InvoiceCredit, Payment):
        without_lock_of(model, monkeypatch)
    monkeypatch.setattr(invoice_credits, "_use", meet)
    assert race(works, expected=(IntegrityError,)) == {"done": 1, "IntegrityError": WORKERS - 1}
