"""Collecting an invoice that is paid, or will be."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.invoicing import crediting
from billing.invoicing.models import Invoice
from billing.payments import checking, collecting, paying
from billing.payments.models import Collection, Payment
from billing.payments.sandbox_models import SandboxCharge
from tests.factories import NOW
from tests.invoicing.makers import issue, plain_line
from tests.payments import makers
from tests.payments.collectors import DAY, POLICY, collect, make_collection, run, run_days, told, tries
from tests.payments.makers import make_card

pytestmark = pytest.mark.django_db


def state():
    row = Collection.objects.get()
    return row.state, row.has_news, row.next_at


def test_an_invoice_is_charged_at_once_and_once(account):
    card = make_card(account)
    row = make_collection(account)
    assert run() == collecting.Round(looked=1, charged=1, paid=1)
    assert run(NOW + 30 * DAY) == collecting.Round()
    payment = Payment.objects.get()
    assert (payment.idempotency_key, payment.method, payment.off_session) == (f"collection:{row.pk}:1", card, True)
    assert payment.amount == Decimal("119.00")
    assert state() == ("paid", True, None)
    assert (len(told("receipt")), told("payment_overdue")) == (1, [])


def test_the_named_method_is_charged_rather_than_the_default(account):
    make_card(account, makers.DECLINE)
    card = make_card(account)
    make_collection(account, method_id=card.pk)
    run()
    assert (Payment.objects.get().method, state()[0]) == (card, "paid")


def test_a_named_method_that_was_removed_gives_way_to_the_default(account):
    default, named = make_card(account), make_card(account)
    make_collection(account, method_id=named.pk)
    collecting.methods.remove(account_id=account.pk, method_id=named.pk, now=NOW)
    run()
    assert (Payment.objects.get().method, state()[0]) == (default, "paid")


def test_an_invoice_of_nothing_to_pay_is_collected_from_the_start(account):
    invoice = issue(account, plain_line("0.00"))
    collect(invoice, purpose="subscription:1", policy=POLICY, method_id=None, is_automatic=True)
    assert state() == ("paid", True, None)
    assert run() == collecting.Round()
    assert not Payment.objects.exists()


@pytest.mark.parametrize(
    ("card", "hours"), [(makers.SLOW, 1), (makers.LOST_ANSWER, 1), (makers.VERY_LATE, 4), (makers.BLACKOUT, 26)]
)
def test_while_the_outcome_is_unknown_nothing_else_is_charged_or_told(account, card, hours):
    make_card(account, card)
    make_collection(account)
    assert run() == collecting.Round(looked=1, charged=1)
    for minutes in range(0, hours * 60, 20):
        checking.check_due(now=NOW + timedelta(minutes=minutes), limit=10)
        run(NOW + timedelta(minutes=minutes))
    done = NOW + timedelta(hours=hours)
    checking.check_due(now=done, limit=10)
    run(done)
    assert (SandboxCharge.objects.count(), Payment.objects.count(), state()) == (1, 1, ("paid", True, None))
    assert told("payment_overdue") == []


def test_a_slow_decline_is_overdue_when_it_is_known(account):
    make_card(account, makers.SLOW_DECLINE)
    make_collection(account)
    run()
    assert state()[0] == "open"
    later = NOW + timedelta(minutes=1)
    checking.check_due(now=later, limit=10)
    assert run(later).overdue == 1
    assert Collection.objects.get().overdue_at == later


def test_what_the_customer_pays_meanwhile_is_not_charged_again(account):
    card = make_card(account)
    row = make_collection(account)
    paying.pay(invoice_id=row.invoice_id, method_id=card.pk, key="by-hand", off_session=False, now=NOW)
    assert run() == collecting.Round(looked=1, paid=1)
    assert Payment.objects.count() == 1


def test_a_payment_that_the_customer_is_making_is_waited_for(account):
    card = make_card(account, makers.ACTION)
    row = make_collection(account)
    paying.pay(invoice_id=row.invoice_id, method_id=card.pk, key="by-hand", off_session=False, now=NOW)
    assert run() == collecting.Round(looked=1)
    assert (state()[0], Payment.objects.count()) == ("open", 1)
    # It is not confirmed in time, so the first try of ours comes, and fails for want of the customer.
    late = NOW + timedelta(hours=2)
    checking.check_due(now=late, limit=10)
    run(late)
    assert (state()[0], Payment.objects.count()) == ("overdue", 2)
    assert told("payment_overdue")[0]["reason"].startswith("The bank wants you to confirm")


def test_an_invoice_for_a_transfer_waits_until_it_is_due(account):
    make_card(account)
    row = make_collection(account, is_automatic=False)
    assert row.next_at == row.invoice.due_at == NOW + 14 * DAY
    run_days(13)
    assert state()[0] == "open"
    run(NOW + 14 * DAY)
    assert state()[:2] == ("overdue", True)
    (said,) = told("payment_overdue")
    assert (said["reason"], said["next_try_at"], said["is_automatic"]) == ("", "", "")
    run_days(40, start=NOW + 15 * DAY)
    assert (state()[0], Payment.objects.exists(), len(told("payment_reminder"))) == ("exhausted", False, 2)


def test_a_void_invoice_is_collected_no_more(account):
    row = make_collection(account)
    crediting.void(invoice_id=row.invoice_id, now=NOW)
    assert run() == collecting.Round(looked=1, stopped=1)
    assert (state(), told("payment_overdue")) == (("stopped", True, None), [])


def test_an_invoice_is_collected_once(account):
    from django.db import IntegrityError, transaction

    row = make_collection(account)
    with pytest.raises(IntegrityError), transaction.atomic():
        collect(row.invoice, purpose="x", policy=POLICY, method_id=None, is_automatic=True)
    assert Collection.objects.count() == 1


def test_one_account_can_be_looked_at_alone(account):
    from tests.factories import make_account

    other = make_account("other", currency="EUR")
    for number, each in enumerate((account, other)):
        make_card(each)
        make_collection(each, reference=f"renewal:{number}")
    assert collecting.run_due(now=NOW, limit=10, account_id=other.pk).paid == 1
    assert [invoice.state for invoice in Invoice.objects.order_by("pk")] == ["open", "paid"]


def test_a_fault_with_one_is_written_down_and_the_others_go_on(account, monkeypatch):
    from tests.factories import make_account

    make_card(account)
    broken = make_collection(account)
    Collection.objects.filter(pk=broken.pk).update(state="overdue", overdue_at=NOW, policy={})
    other = make_account("other", currency="EUR")
    make_card(other)
    make_collection(other, reference="renewal:2")
    assert run().paid == 1
    broken.refresh_from_db()
    assert (broken.state, broken.next_at) == ("overdue", NOW + collecting.FAULT_GAP)
    assert "final_days" in broken.last_error
    assert tries() == [(0, "succeeded")]
