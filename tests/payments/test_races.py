"""Many at once, and workers that die, on real PostgreSQL."""

import os
import signal
from collections.abc import Callable
from datetime import timedelta

import pytest

from billing.ledger import pools
from billing.ledger.models import Posting
from billing.notifications.models import Notification
from billing.payments import checking, paying
from billing.payments.gateways import sandbox
from billing.payments.models import Payment
from billing.payments.sandbox_models import SandboxCharge
from tests.factories import NOW
from tests.ledger.racing import race
from tests.payments import makers
from tests.payments.makers import die_in, make_card

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """The keys with which the gateway was asked to charge."""
    made: list[str] = []
    real = sandbox.charge

    def charge(request, *, now):
        made.append(request.key)
        return real(request, now=now)

    monkeypatch.setattr(sandbox, "charge", charge)
    return made


# One that succeeds, one that is declined, and one whose outcome is known only later. Each card there is goes through
# the same in test_checkout_races.
@pytest.mark.parametrize("card", ["SUCCESS", "DECLINE", "LOST_ANSWER"])
def test_of_ten_equal_requests_one_charges(transactional_db, invoice, calls, card):
    method = make_card(invoice.account, getattr(makers, card))

    def submit():
        paying.pay(invoice_id=invoice.pk, method_id=method.pk, key="k", off_session=False, return_url="/", now=NOW)

    assert race([submit] * 10) == {"done": 10}
    assert calls == ["k"]
    assert SandboxCharge.objects.count() == Payment.objects.count() == 1
    # However it goes on, by asking: one grant or none, one message.
    later = NOW + timedelta(hours=26)
    race([lambda: checking.check_due(now=later, limit=10)] * 4)
    payment = Payment.objects.get()
    granted = int(payment.state == "succeeded")
    assert payment.state in ("succeeded", "failed")
    assert calls == ["k"]
    assert Posting.objects.count() == granted
    assert pools.get_main_pool(invoice.account_id).balance == 10_000 * granted
    assert Notification.objects.count() == 1


def test_without_the_claim_each_would_charge(transactional_db, invoice, calls):
    """The positive control: the claim is what keeps the others from the gateway; the key is the second guard."""
    method = make_card(invoice.account)
    payment = paying.start(invoice_id=invoice.pk, method_id=method.pk, key="k", off_session=False, now=NOW)
    payment = Payment.objects.select_related("invoice", "method").get(pk=payment.pk)

    def send():
        paying.send(payment=payment, now=NOW)

    race([send] * 10)
    assert len(calls) == 10
    assert SandboxCharge.objects.count() == Posting.objects.count() == 1


def test_of_ten_requests_with_keys_of_their_own_one_pays(transactional_db, invoice, calls):
    method = make_card(invoice.account)

    def submit(key: str) -> Callable[[], None]:
        def run():
            paying.pay(invoice_id=invoice.pk, method_id=method.pk, key=key, off_session=False, now=NOW)

        return run

    outcomes = race(
        [submit(f"k{number}") for number in range(10)], expected=(paying.PaymentUnderWay, paying.InvoiceNotPayable)
    )
    assert outcomes["done"] == 1
    assert SandboxCharge.objects.count() == Payment.objects.count() == len(calls) == 1


@pytest.mark.parametrize("charged", [False, True])
def test_a_worker_that_dies_between_claim_and_answer_is_made_up_for(transactional_db, invoice, monkeypatch, charged):
    method = make_card(invoice.account)
    payment = paying.start(invoice_id=invoice.pk, method_id=method.pk, key="k", off_session=False, now=NOW)
    real = sandbox.charge

    def dying(request, *, now):
        if charged:
            real(request, now=now)
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(sandbox, "charge", dying)
        die_in(lambda: paying.submit(payment_id=payment.pk, return_url="", now=NOW))
    payment.refresh_from_db()
    assert (payment.state, SandboxCharge.objects.count()) == ("processing", int(charged))
    # Nobody else takes it, until it is due.
    assert paying.submit(payment_id=payment.pk, return_url="", now=NOW).state == "processing"
    assert checking.check_due(now=NOW + timedelta(seconds=59), limit=10).asked == 0
    assert checking.check_due(now=NOW + timedelta(seconds=60), limit=10).ended == 1
    payment.refresh_from_db()
    assert payment.state == "succeeded"
    assert SandboxCharge.objects.count() == Posting.objects.count() == Notification.objects.count() == 1
