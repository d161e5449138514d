"""Many schedulers at once on real PostgreSQL: each step of a collection is made once."""

from collections import Counter
from datetime import timedelta

import pytest

from billing.accounts.models import Account
from billing.invoicing.models import Invoice
from billing.notifications.models import Notification
from billing.payments import by_hand, collecting, methods, paying
from billing.payments.gateways import sandbox
from billing.payments.models import Collection, Payment
from billing.payments.sandbox_models import SandboxCharge
from tests.factories import NOW, make_account
from tests.ledger.racing import race
from tests.payments import makers
from tests.payments.collectors import DAY, make_collection, told_on
from tests.payments.makers import die_in, make_card

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def starts(monkeypatch) -> list[int]:
    """The invoices for which a payment was begun."""
    made: list[int] = []
    real = paying.start

    def start(**asked):
        made.append(asked["invoice_id"])
        return real(**asked)

    monkeypatch.setattr(paying, "start", start)
    return made


def run(now=NOW):
    collecting.run_due(now=now, limit=100)


@pytest.mark.parametrize("card", ["SUCCESS", "DECLINE", "SLOW", "LOST_ANSWER", "EXPIRED"])
def test_of_ten_schedulers_one_charges(transactional_db, account, starts, card):
    make_card(account, getattr(makers, card))
    make_collection(account)
    assert race([run] * 10) == {"done": 10}
    assert (len(starts), SandboxCharge.objects.count(), Payment.objects.count()) == (1, 1, 1)
    assert race([run] * 10) == {"done": 10}
    assert (len(starts), Notification.objects.count() <= 1) == (1, True)


def test_without_the_look_under_the_locks_each_would_charge(transactional_db, account, starts, monkeypatch):
    """The positive control: what keeps the others out is asking again under the invoice's lock; the payment's key is
    the second guard."""
    make_card(account)
    make_collection(account)

    def unlocked(collection_id, *, now):
        return Collection.objects.select_related("invoice__account").get(pk=collection_id)

    monkeypatch.setattr(collecting, "_lock", unlocked)
    monkeypatch.setattr(collecting, "MOST_LOOKS", 1)
    race([run] * 10, expected=(Exception,))
    assert len(starts) > 1
    assert SandboxCharge.objects.count() == 1


def test_a_whole_dunning_by_four_schedulers_is_as_by_one(transactional_db, account, starts):
    make_card(account, makers.DECLINE)
    make_collection(account)
    for hours in range(0, 16 * 24, 12):
        race([lambda now=NOW + timedelta(hours=hours): run(now)] * 4)
    assert (len(starts), Payment.objects.count()) == (3, 3)
    assert (told_on("payment_overdue"), told_on("payment_reminder")) == ([0], [4, 9])
    assert Collection.objects.get().state == "exhausted"


def test_forty_collections_are_shared_by_four_schedulers(transactional_db, account, starts):
    del account
    for number in range(40):
        other = make_account(f"org{number}", currency="EUR")
        make_card(other, makers.DECLINE if number % 2 else makers.SUCCESS)
        make_collection(other, reference=f"renewal:{number}")
    race([run] * 4)
    run()
    assert (len(starts), len(set(starts)), SandboxCharge.objects.count()) == (40, 40, 40)
    assert Counter(Collection.objects.values_list("state", flat=True)) == {"paid": 20, "overdue": 20}
    assert Counter(Notification.objects.values_list("kind", flat=True)) == {"receipt": 20, "payment_overdue": 20}


def test_the_customer_and_the_scheduler_pay_once(transactional_db, account):
    card = make_card(account)
    row = make_collection(account)

    def by_customer():
        paying.pay(invoice_id=row.invoice_id, method_id=card.pk, key="portal", off_session=False, now=NOW)

    refusals = (paying.PaymentUnderWay, paying.InvoiceNotPayable)
    race([run, by_customer] * 5, expected=refusals)
    run()
    assert (Payment.objects.filter(state="succeeded").count(), Collection.objects.get().state) == (1, "paid")
    assert Invoice.objects.get().amount_paid == row.invoice.total


def test_staff_who_press_ten_times_charge_once(transactional_db, account, starts):
    make_card(account, makers.DECLINE)
    row = make_collection(account)
    run()

    def press():
        by_hand.retry_now(collection_id=row.pk, key="form", now=NOW + DAY)

    assert race([press] * 10) == {"done": 10}
    assert (Payment.objects.count(), SandboxCharge.objects.count()) == (2, 2)


def test_a_new_card_and_a_scheduler_at_once_lose_nothing(transactional_db, account: Account):
    make_card(account, makers.DECLINE)
    row = make_collection(account)
    run()
    good = make_card(account)
    now = NOW + DAY
    race([lambda: methods.set_default(account_id=account.pk, method_id=good.pk, now=now), *[lambda: run(now)] * 5])
    run(now)
    row.refresh_from_db()
    assert (row.state, Payment.objects.count()) == ("paid", 2)


@pytest.mark.parametrize("charged", [False, True])
def test_a_worker_that_dies_in_the_middle_of_a_try_is_made_up_for(transactional_db, account, monkeypatch, charged):
    import os
    import signal

    from billing.payments import checking

    make_card(account)
    make_collection(account)
    real = sandbox.charge

    def dying(request, *, now):
        if charged:
            real(request, now=now)
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(sandbox, "charge", dying)
        die_in(run)
    run()
    assert Payment.objects.get().state == "processing"
    later = NOW + timedelta(minutes=1)
    checking.check_due(now=later, limit=10)
    run(later)
    assert (Collection.objects.get().state, SandboxCharge.objects.count()) == ("paid", 1)
