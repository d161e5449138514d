"""Acts of one account side by side: the issuer's row is locked last, so nobody waits in a circle."""

import threading
from decimal import Decimal

import pytest
from django.db import OperationalError, connection, transaction

from billing.invoicing import crediting, issuing, numbering, pending, settling
from billing.invoicing.crediting import CreditItem
from billing.invoicing.models import CreditNote, Invoice, PendingItem
from billing.ledger import pools, posting
from billing.ledger.models import CreditGrant
from billing.payments import paying
from billing.purchases import refunds
from tests.factories import NOW, make_account, make_issuer
from tests.invoicing.makers import credits_line, issue, plain_line
from tests.ledger.makers import assert_proven
from tests.ledger.racing import race
from tests.payments.makers import make_card

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def account(transactional_db):
    make_issuer()
    return make_account("northwind", currency="EUR")


def numbers_of(model):
    return [row.number for row in model.objects.order_by("number")]


def assert_gapless():
    assert numbers_of(Invoice) == [f"INV-{each:06d}" for each in range(1, Invoice.objects.count() + 1)]
    assert numbers_of(CreditNote) == [f"CN-{each:06d}" for each in range(1, CreditNote.objects.count() + 1)]


def bought(account, number):
    """An invoice of 10,000 credits, paid by card: they are there to be refunded."""
    invoice = issue(account, reference=f"bought:{number}")
    payment = paying.pay(
        invoice_id=invoice.pk, method_id=make_card(account).pk, key=f"k:{number}", off_session=True, now=NOW
    )
    assert payment.state == "succeeded"
    return invoice


def test_paying_refunding_issuing_and_spending_side_by_side_never_wait_in_a_circle(account):
    pool = pools.get_main_pool(account.pk)
    paid = [bought(account, each) for each in range(4)]
    opened = [issue(account, reference=f"open:{each}") for each in range(4)]

    def settling_of(invoice):
        return lambda: settling.settle(invoice_id=invoice.pk, amount=Decimal("1190.00"), now=NOW) and None

    def refunding_of(invoice):
        def refund():
            refunds.refund(
                line_id=invoice.lines.get().pk, credits=Decimal(100), reason="r", actor="user:1",
                reference=f"r:{invoice.pk}", now=NOW,
            )  # fmt: skip

        return refund

    def free_of(number):
        return lambda: issue(account, credits_line(account, "0.00", "5"), reference=f"free:{number}") and None

    def spending_of(number):
        return lambda: posting.spend(pool_id=pool.pk, credits=Decimal(1), reference=f"s:{number}", now=NOW) and None

    works = [
        *(settling_of(invoice) for invoice in opened),
        *(refunding_of(invoice) for invoice in paid),
        *(free_of(each) for each in range(4)),
        *(spending_of(each) for each in range(4)),
    ]
    assert race(works) == {"done": 16}
    assert_gapless()
    assert (Invoice.objects.count(), CreditNote.objects.count()) == (12, 4)
    assert CreditGrant.objects.count() == 12
    assert_proven()


def test_a_number_that_is_drawn_before_the_pools_are_locked_ends_in_a_circle(account, monkeypatch):
    """The positive control: one holds the pool and wants a number, the other has the number and wants the pool."""
    pool = pools.get_main_pool(account.pk)
    free = credits_line(account, "0.00", "5")
    holds_pool, holds_number = threading.Event(), threading.Event()
    draw = numbering.draw_invoice_number

    def draw_and_wait(issuer_id):
        number = draw(issuer_id)
        if not holds_number.is_set():
            holds_number.set()
            holds_pool.wait(timeout=30)
        return number

    monkeypatch.setattr(pools, "lock", lambda _: None)
    monkeypatch.setattr(numbering, "draw_invoice_number", draw_and_wait)

    def renewing():
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM billing_creditpool WHERE id = %s FOR NO KEY UPDATE", [pool.pk])
            holds_number.wait(timeout=30)
            holds_pool.set()
            issue(account, plain_line(), reference="renewal")

    outcome = race([renewing, lambda: issue(account, free, reference="free") and None], expected=(OperationalError,))
    assert outcome == {"done": 1, "OperationalError": 1}
    assert_gapless()


def test_equal_references_at_once_take_a_pending_item_once(account):
    pending.add(
        account_id=account.pk, currency="EUR", reference="p:1", description="Setup", amount=Decimal("5.00"), now=NOW
    )

    def issuing_of(reference):
        return lambda: issuing.issue(
            account_id=account.pk, reference=reference, currency="EUR", lines=[plain_line("10.00")], now=NOW,
            take_pending=True,
        ) and None  # fmt: skip

    assert race([issuing_of(f"r:{each % 2}") for each in range(16)]) == {"done": 16}
    assert sorted(invoice.subtotal for invoice in Invoice.objects.all()) == [10, 15]
    assert PendingItem.objects.get().invoice_line.amount == 5
    assert_gapless()


def test_credit_notes_at_once_on_many_invoices_have_numbers_without_gap(account):
    invoices = [bought(account, each) for each in range(8)]

    def crediting_of(invoice, part):
        item = CreditItem(invoice.lines.get().pk, Decimal("1.00"))
        return lambda: (
            crediting.credit(
                invoice_id=invoice.pk, reference=f"{part}:{invoice.pk}", reason="r", items=[item], actor="", now=NOW
            )
            and None
        )

    assert race([crediting_of(invoice, part) for invoice in invoices for part in "ab"]) == {"done": 16}
    assert_gapless()
