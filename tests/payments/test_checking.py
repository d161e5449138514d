import itertools
from datetime import timedelta

import pytest
from django.core import mail

from billing.ledger import pools
from billing.ledger.models import Posting
from billing.notifications import delivery, fanout
from billing.notifications.models import Notification
from billing.payments import checking, paying
from billing.payments.gateways import sandbox
from billing.payments.gateways.contract import GatewayUnavailable
from billing.payments.models import Payment
from billing.payments.sandbox_models import SandboxCharge
from tests.factories import NOW
from tests.payments import makers
from tests.payments.makers import make_card, pay

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def kinds() -> list[str]:
    return list(Notification.objects.order_by("pk").values_list("kind", flat=True))


def balance(invoice):
    return pools.get_main_pool(invoice.account_id).balance


def run_until_ended(payment, *, limit: int = 100):
    """Let the beat look whenever the payment is due; the moments at which the gateway was asked."""
    asked = []
    for _ in range(limit):
        payment.refresh_from_db()
        if payment.next_check_at is None:
            return asked
        asked.append(payment.next_check_at)
        assert checking.check_due(now=asked[-1], limit=10).asked == 1
        assert checking.check_due(now=asked[-1], limit=10).asked == 0
    raise AssertionError("still under way")


def test_a_payment_whose_outcome_is_unknown_for_25_hours_is_charged_granted_and_mailed_once(invoice):
    payment = pay(invoice, makers.BLACKOUT)
    assert payment.state == "unknown"
    other = make_card(invoice.account)
    refused = 0
    moments = [NOW]
    while payment.state not in ("succeeded", "failed"):
        moments.append(payment.next_check_at)
        checking.check_due(now=moments[-1], limit=10)
        payment.refresh_from_db()
        if payment.state == "unknown":
            with pytest.raises(paying.PaymentUnderWay):
                paying.pay(invoice_id=invoice.pk, method_id=other.pk, key="k2", off_session=False, now=moments[-1])
            assert paying.submit(payment_id=payment.pk, return_url="", now=moments[-1]).state == "unknown"
            refused += 1
    assert moments[-1] - NOW >= timedelta(hours=25)
    assert refused == len(moments) - 2 > 30
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert gaps == sorted(gaps)
    assert gaps[0] == 10 * SECOND
    assert gaps[-1] == HOUR
    assert payment.state == "succeeded"
    assert SandboxCharge.objects.count() == Payment.objects.count() == Posting.objects.count() == 1
    assert balance(invoice) == 10_000
    assert kinds() == ["receipt"]
    # Late and doubled reports, and sweeps at any time, mail it to the billing address no second time.
    for hours in range(3):
        later = moments[-1] + hours * HOUR
        told = sandbox.find_charge(paying.request_of(payment), now=later)
        paying.record(payment_id=payment.pk, outcome=told, now=later)
        fanout.expand_due(now=later, limit=10)
        delivery.deliver_due(now=later, limit=10)
    assert [sent.to for sent in mail.outbox] == [[invoice.account.billing_email]]


def test_it_is_asked_about_for_ever_while_no_answer_comes(invoice, monkeypatch):
    def no_answer(*_, **__):
        raise GatewayUnavailable

    payment = pay(invoice, makers.BLACKOUT)
    monkeypatch.setattr(sandbox, "find_charge", no_answer)
    Payment.objects.update(checks=30_000)
    later = NOW + timedelta(days=400)
    assert checking.check_due(now=later, limit=10) == checking.Checked(asked=1, ended=0)
    payment.refresh_from_db()
    assert (payment.state, payment.next_check_at) == ("unknown", later + HOUR)


@pytest.mark.parametrize(
    ("number", "first", "last", "after"),
    [
        (makers.SLOW, "processing", "succeeded", 8 * SECOND),
        (makers.SLOW_DECLINE, "processing", "failed", 8 * SECOND),
        (makers.LOST_ANSWER, "unknown", "succeeded", 30 * SECOND),
        (makers.LATE, "processing", "succeeded", 5 * MINUTE),
        (makers.VERY_LATE, "processing", "succeeded", 3 * HOUR),
        (makers.ACTION, "requires_action", "failed", HOUR),
    ],
)
def test_an_outcome_that_comes_later_is_learned_by_asking(invoice, number, first, last, after):
    payment = pay(invoice, number)
    assert payment.state == first
    asked = run_until_ended(payment)
    assert payment.state == last
    assert after <= asked[-1] - NOW <= 2 * after + 10 * SECOND
    assert balance(invoice) == (10_000 if last == "succeeded" else 0)
    assert kinds() == (["receipt"] if last == "succeeded" else ["payment_failed"])
    assert SandboxCharge.objects.count() == 1


def test_an_attempt_that_was_opened_and_never_sent_is_sent(invoice):
    card = make_card(invoice.account)
    payment = paying.start(invoice_id=invoice.pk, method_id=card.pk, key="k", off_session=False, now=NOW)
    assert checking.check_due(now=NOW, limit=10).asked == 0
    assert checking.check_due(now=NOW + MINUTE, limit=10) == checking.Checked(asked=1, ended=1)
    payment.refresh_from_db()
    assert payment.state == "succeeded"
    assert SandboxCharge.objects.count() == 1


@pytest.fixture
def lost(invoice, monkeypatch) -> Payment:
    """A payment whose request never reached the gateway."""

    def lose(*_, **__):
        raise GatewayUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(sandbox, "charge", lose)
        payment = pay(invoice)
    assert payment.state == "unknown"
    assert not SandboxCharge.objects.exists()
    return payment


def test_a_request_that_never_arrived_is_sent_again_under_its_key(lost):
    checking.check_due(now=NOW + HOUR, limit=10)
    lost.refresh_from_db()
    assert lost.state == "succeeded"
    assert SandboxCharge.objects.get().idempotency_key == "k1"


def test_after_twelve_hours_it_has_failed_instead(lost):
    checking.check_due(now=NOW + checking.RESEND_FOR, limit=10)
    lost.refresh_from_db()
    assert (lost.state, lost.failure_code) == ("failed", "not_received")
    assert "Nothing was charged" in lost.failure_message
    assert not SandboxCharge.objects.exists()


def test_what_is_no_longer_owed_is_not_sent_again(lost):
    type(lost.invoice).objects.update(state="void", voided_at=NOW)
    checking.check_due(now=NOW + HOUR, limit=10)
    lost.refresh_from_db()
    assert lost.state == "failed"
    assert not SandboxCharge.objects.exists()


def test_a_fault_with_one_payment_does_not_keep_others_from_being_asked_about(invoice, monkeypatch):
    from tests.factories import make_account
    from tests.invoicing.makers import issue

    bad = pay(invoice, makers.SLOW, key="bad")
    good = pay(issue(make_account("other", currency="EUR"), reference="purchase:2"), makers.SLOW, key="good")
    real = sandbox.find_charge

    def broken(request, *, now):
        if request.key == "bad":
            raise KeyError("amount")
        return real(request, now=now)

    monkeypatch.setattr(sandbox, "find_charge", broken)
    assert checking.check_due(now=NOW + HOUR, limit=10) == checking.Checked(asked=2, ended=1)
    bad.refresh_from_db()
    good.refresh_from_db()
    assert (bad.state, good.state) == ("processing", "succeeded")
    assert "KeyError" in bad.problem
    assert bad.next_check_at == NOW + HOUR + MINUTE


def test_a_failed_payment_of_which_the_gateway_knows_nothing_stays_failed(lost):
    checking.check_due(now=NOW + checking.RESEND_FOR, limit=10)
    assert checking.check(payment_id=lost.pk, now=NOW).state == "failed"
    assert kinds() == ["payment_failed"]


def test_a_payment_that_has_succeeded_is_not_asked_about(invoice, monkeypatch):
    payment = pay(invoice)
    monkeypatch.delattr(sandbox, "find_charge")
    assert checking.check(payment_id=payment.pk, now=NOW).state == "succeeded"
