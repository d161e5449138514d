"""Many at once on real PostgreSQL; and the same without the lock, to show that these tests can fail."""

import threading
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from billing.invoicing import crediting, numbering, settling
from billing.invoicing.crediting import CreditItem
from billing.invoicing.models import CreditNote, Invoice, Issuer
from billing.ledger.models import CreditGrant, Posting
from billing.notifications.models import Notification
from tests.factories import NOW, make_account, make_issuer
from tests.invoicing.makers import issue, plain_line
from tests.ledger.makers import assert_proven
from tests.ledger.racing import race

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 16


@pytest.fixture
def issuer(transactional_db):
    return make_issuer()


@pytest.fixture
def account(transactional_db):
    return make_account("northwind", currency="EUR")


def without_lock_of(model, monkeypatch):
    """Let the room read rows of a table without locking them."""
    lock = QuerySet.select_for_update
    monkeypatch.setattr(
        QuerySet,
        "select_for_update",
        lambda rows, **options: rows.all() if rows.model is model else lock(rows, **options),
    )


def meeting_before(monkeypatch, room, name, parties):
    """Let all parties arrive at a function before any of them goes into it for the first time."""
    barrier, act, arrived = threading.Barrier(parties), getattr(room, name), set()

    def meet(*args, **kwargs):
        if threading.get_ident() not in arrived:
            arrived.add(threading.get_ident())
            barrier.wait(timeout=30)
        return act(*args, **kwargs)

    monkeypatch.setattr(room, name, meet)


def issuing_of(account, number, *, lost=False):
    def work():
        with transaction.atomic():
            issue(account, plain_line("10.00"), reference=f"r:{number}")
            if lost:
                transaction.set_rollback(True)

    return work


def numbers():
    return [invoice.number for invoice in Invoice.objects.order_by("number")]


def test_sixteen_issue_at_once_and_the_numbers_have_no_gap(issuer, account):
    assert race([issuing_of(account, each) for each in range(THREADS)]) == {"done": THREADS}
    assert numbers() == [f"INV-{each:06d}" for each in range(1, THREADS + 1)]
    issuer.refresh_from_db()
    assert issuer.last_invoice_number == THREADS


def test_those_that_roll_back_meanwhile_leave_no_gap(issuer, account):
    race([issuing_of(account, each, lost=each % 2 == 1) for each in range(THREADS)])
    assert numbers() == [f"INV-{each:06d}" for each in range(1, THREADS // 2 + 1)]


def test_without_the_issuers_lock_two_draw_one_number(issuer, account, monkeypatch):
    """The positive control: only the database's unique index keeps the second from it."""

    def draw(issuer_id):
        return f"INV-{Issuer.objects.get(pk=issuer_id).last_invoice_number + 1:06d}"

    monkeypatch.setattr(numbering, "draw_invoice_number", draw)
    meeting_before(monkeypatch, Invoice, "save", 2)
    outcome = race([issuing_of(account, each) for each in range(2)], expected=(IntegrityError,))
    assert outcome == {"done": 1, "IntegrityError": 1}


def test_one_reference_is_issued_once(issuer, account):
    assert race([issuing_of(account, 0)] * THREADS) == {"done": THREADS}
    assert numbers() == ["INV-000001"]


def paying(invoice, amount):
    return lambda: settling.settle(invoice_id=invoice.pk, amount=Decimal(amount), now=NOW) and None


def test_sixteen_reports_of_one_payment_deliver_once(issuer, account):
    invoice = issue(account)
    outcome = race([paying(invoice, "1190.00")] * THREADS, expected=(settling.NotPayable,))
    assert outcome == {"done": 1, "NotPayable": THREADS - 1}
    assert (Posting.objects.count(), CreditGrant.objects.get().amount) == (1, 10_000)
    assert Notification.objects.filter(kind="receipt").count() == 1
    assert_proven()


def test_payments_of_parts_add_up_and_deliver_once(issuer, account):
    invoice = issue(account)
    assert race([paying(invoice, "119.00")] * 10) == {"done": 10}
    invoice.refresh_from_db()
    assert (invoice.state, invoice.amount_paid) == ("paid", 1190)
    assert Posting.objects.count() == 1


def test_without_the_invoices_lock_one_payment_is_taken_twice(issuer, account, monkeypatch):
    """The positive control. The credits still come once: the ledger knows the line."""
    invoice = issue(account)
    without_lock_of(Invoice, monkeypatch)
    meeting_before(monkeypatch, Invoice, "save", 2)
    assert race([paying(invoice, "1190.00")] * 2, expected=(settling.NotPayable,)) == {"done": 2}
    assert Posting.objects.count() == 1


def crediting_of(invoice, number, amount):
    item = CreditItem(invoice.lines.get().pk, Decimal(amount))
    return lambda: (
        crediting.credit(
            invoice_id=invoice.pk, reference=f"refund:{number}", reason="r", items=[item], actor="", now=NOW
        )
        and None
    )


def test_credit_notes_at_once_never_exceed_the_invoice(issuer, account):
    invoice = issue(account)
    paying(invoice, "1190.00")()
    works = [crediting_of(invoice, each, "200.00") for each in range(THREADS)]
    assert race(works, expected=(crediting.TooMuch,)) == {"done": 5, "TooMuch": THREADS - 5}
    invoice.refresh_from_db()
    assert invoice.amount_credited == invoice.total == sum(note.total for note in CreditNote.objects.all())
    assert [note.number for note in CreditNote.objects.order_by("pk")] == [f"CN-{each:06d}" for each in range(1, 6)]


def test_without_the_invoices_lock_more_is_credited_than_was_invoiced(issuer, account, monkeypatch):
    """The positive control: each of two sees a line of which nothing has been credited."""
    invoice = issue(account)
    paying(invoice, "1190.00")()
    without_lock_of(Invoice, monkeypatch)
    meeting_before(monkeypatch, crediting, "_take_back_of", 2)
    assert race([crediting_of(invoice, each, "600.00") for each in range(2)]) == {"done": 2}
    assert sum(note.total for note in CreditNote.objects.all()) > invoice.total
