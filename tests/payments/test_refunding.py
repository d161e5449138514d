import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from django.utils import timezone

from billing.invoicing import crediting
from billing.payments import checking, refunding
from billing.payments.gateways import sandbox, sandbox_webhooks
from billing.payments.gateways.contract import GatewayUnavailable, Outcome
from billing.payments.models import Payment, Refund
from billing.payments.sandbox_models import SandboxCharge, SandboxRefund
from tests.api.asking import Api
from tests.factories import NOW
from tests.ledger.racing import race
from tests.payments import makers
from tests.payments.makers import pay

TENTH = Decimal("119.00")


@pytest.fixture
def paid(invoice) -> Payment:
    return pay(invoice)


def credit(payment, amount: str = "100.00", reference: str = "r1") -> crediting.CreditNote:
    """A credit note of so much net money."""
    line = payment.invoice.lines.get()
    return crediting.credit(
        invoice_id=payment.invoice_id,
        reference=reference,
        reason="unused",
        items=[crediting.CreditItem(line.pk, Decimal(amount))],
        actor="user:1",
        now=NOW,
    )


def give_back(payment, *, key: str = "refund:1", amount: Decimal = TENTH, now=NOW) -> Refund:
    note = credit(payment, reference=key)
    return refunding.refund(payment_id=payment.pk, credit_note_id=note.pk, amount=amount, key=key, now=now)


def standing(payment) -> tuple[Decimal, Decimal, Decimal]:
    """Given back by the payment, by its invoice, and by the gateway."""
    payment.refresh_from_db()
    payment.invoice.refresh_from_db()
    return payment.amount_refunded, payment.invoice.amount_refunded, SandboxCharge.objects.get().refunded


def test_a_refund_goes_back_through_the_gateway_once_per_key(paid):
    first = give_back(paid)
    assert (first.state, first.finished_at, first.next_check_at) == ("succeeded", NOW, None)
    again = refunding.refund(
        payment_id=paid.pk, credit_note_id=first.credit_note_id, amount=TENTH, key="refund:1", now=NOW
    )
    assert again.pk == first.pk
    assert standing(paid) == (TENTH, TENTH, TENTH)
    assert SandboxRefund.objects.count() == 1


def test_a_key_of_another_refund_is_refused(paid):
    give_back(paid)
    with pytest.raises(ValueError, match="another"):
        refunding.start(payment_id=paid.pk, credit_note_id=None, amount=Decimal(1), key="refund:1", now=NOW)
    with pytest.raises(ValueError, match="number sign"):
        refunding.start(payment_id=paid.pk, credit_note_id=None, amount=Decimal(1), key="a#2", now=NOW)
    assert standing(paid) == (TENTH, TENTH, TENTH)


def test_no_more_than_was_paid_goes_back(paid):
    give_back(paid)
    for amount in (Decimal("1071.01"), Decimal(0), Decimal(-1)):
        with pytest.raises(refunding.TooMuch) as refused:
            refunding.start(payment_id=paid.pk, credit_note_id=None, amount=amount, key="more", now=NOW)
        assert refused.value.left == Decimal("1071.00")
    assert Refund.objects.count() == 1
    assert standing(paid) == (TENTH, TENTH, TENTH)


def test_what_was_not_paid_does_not_go_back(invoice):
    declined = pay(invoice, makers.DECLINE)
    with pytest.raises(refunding.NotRefundable):
        refunding.start(payment_id=declined.pk, credit_note_id=None, amount=TENTH, key="r", now=NOW)
    assert not Refund.objects.exists()


def test_a_refund_whose_answer_is_lost_is_asked_about_until_it_is_known(invoice):
    payment = pay(invoice, makers.LOST_ANSWER)
    checking.check_due(now=NOW + timedelta(minutes=1), limit=10)
    refund = give_back(payment, now=NOW)
    assert refund.state == "unknown"
    assert standing(payment) == (TENTH, 0, TENTH)
    while refund.next_check_at is not None:
        refunding.check_due(now=refund.next_check_at, limit=10)
        refund.refresh_from_db()
    assert refund.state == "succeeded"
    assert refund.finished_at - NOW >= timedelta(seconds=30)
    assert standing(payment) == (TENTH, TENTH, TENTH)
    assert SandboxRefund.objects.count() == 1


def test_a_refund_that_was_opened_and_never_sent_is_sent(paid):
    refunding.start(payment_id=paid.pk, credit_note_id=credit(paid).pk, amount=TENTH, key="r", now=NOW)
    assert refunding.check_due(now=NOW, limit=10).asked == 0
    assert refunding.check_due(now=NOW + timedelta(minutes=1), limit=10) == refunding.Checked(asked=1, ended=1)
    assert standing(paid) == (TENTH, TENTH, TENTH)


def test_a_refund_that_never_arrived_is_sent_again_under_its_key(paid, monkeypatch):
    def lose(*_, **__):
        raise GatewayUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(sandbox, "refund", lose)
        assert give_back(paid).state == "unknown"
    assert not SandboxRefund.objects.exists()
    refunding.check_due(now=NOW + timedelta(days=2), limit=10)
    assert Refund.objects.get().state == "succeeded"
    assert standing(paid) == (TENTH, TENTH, TENTH)


def test_a_failed_refund_puts_the_amount_back_and_can_be_tried_again(invoice):
    payment = pay(invoice, makers.REFUND_FAILS)
    failed = give_back(payment)
    assert (failed.state, failed.failure_message) == ("failed", "The card's account is closed.")
    assert standing(payment) == (0, 0, 0)
    again = refunding.retry(refund_id=failed.pk, now=NOW)
    assert (again.state, again.attempt, again.gateway_key) == ("created", 2, "refund:1#2")
    assert refunding.submit(refund_id=failed.pk, now=NOW).state == "succeeded"
    assert standing(payment) == (TENTH, TENTH, TENTH)
    with pytest.raises(refunding.NotFailed):
        refunding.retry(refund_id=failed.pk, now=NOW)


def test_a_failed_refund_cannot_be_tried_again_when_too_little_is_left(invoice):
    payment = pay(invoice, makers.REFUND_FAILS)
    failed = give_back(payment)
    Payment.objects.update(amount_refunded=Decimal("1190.00"))
    with pytest.raises(refunding.TooMuch):
        refunding.retry(refund_id=failed.pk, now=NOW)
    failed.refresh_from_db()
    assert (failed.state, failed.attempt) == ("failed", 1)


def test_reports_of_an_earlier_attempt_and_repeats_change_nothing(invoice):
    payment = pay(invoice, makers.REFUND_FAILS)
    refund = give_back(payment)
    refunding.retry(refund_id=refund.pk, now=NOW)
    for _ in range(2):
        refunding.record(refund_id=refund.pk, attempt=1, outcome=Outcome("failed", "re_1"), now=NOW)
    refund.refresh_from_db()
    assert refund.state == "created"
    assert standing(payment)[0] == TENTH
    processing, done = Outcome("processing", "re_2"), Outcome("succeeded", "re_2")
    for outcome, state in ((processing, "processing"), (done, "succeeded"), (Outcome("failed", "re_2"), "succeeded")):
        assert refunding.record(refund_id=refund.pk, attempt=2, outcome=outcome, now=NOW).state == state
    assert standing(payment)[:2] == (TENTH, TENTH)


@pytest.mark.parametrize(("amount", "currency"), [(Decimal("119.01"), "EUR"), (TENTH, "USD")])
def test_a_report_of_another_sum_is_refused(paid, amount, currency):
    opened = refunding.start(payment_id=paid.pk, credit_note_id=credit(paid).pk, amount=TENTH, key="r", now=NOW)
    with pytest.raises(refunding.ReportRefused):
        refunding.record(
            refund_id=opened.pk, attempt=1, outcome=Outcome("succeeded", "x", amount=amount, currency=currency), now=NOW
        )
    opened.refresh_from_db()
    assert opened.state == "created"
    assert opened.failure_message.startswith("The gateway reports")
    assert standing(paid)[1] == 0


def test_an_answer_about_another_sum_is_shown_and_asked_about(paid, monkeypatch):
    with monkeypatch.context() as patch:
        wrong = Outcome("succeeded", "re", amount=Decimal(1), currency="EUR")
        patch.setattr(sandbox, "refund", lambda *_, **__: wrong)
        refund = give_back(paid)
    assert (refund.state, standing(paid)[1]) == ("processing", 0)
    assert "1 EUR" in refund.failure_message
    assert refunding.check(refund_id=refund.pk, now=NOW).state == "succeeded"
    assert standing(paid) == (TENTH, TENTH, TENTH)


def test_a_fault_with_one_refund_is_shown_and_tried_again(paid, monkeypatch):
    opened = refunding.start(payment_id=paid.pk, credit_note_id=credit(paid).pk, amount=TENTH, key="r", now=NOW)
    with monkeypatch.context() as patch:
        patch.delattr(sandbox, "refund")
        assert refunding.check_due(now=NOW + timedelta(minutes=1), limit=10) == refunding.Checked(asked=1, ended=0)
    opened.refresh_from_db()
    assert (opened.state, "AttributeError" in opened.failure_message) == ("processing", True)
    assert refunding.check_due(now=opened.next_check_at, limit=10).ended == 1
    opened.refresh_from_db()
    assert (opened.state, opened.failure_message) == ("succeeded", "")


def test_signed_reports_end_the_attempt_they_name(invoice):
    refund = give_back(pay(invoice, makers.REFUND_FAILS))
    refunding.retry(refund_id=refund.pk, now=NOW)
    api = Api(None)
    for key, state, expected in (
        ("refund:1", "failed", "created"),
        ("nobody's", "failed", "created"),
        ("refund:1#2", "processing", "processing"),
        ("refund:1#2", "succeeded", "succeeded"),
    ):
        data = {"key": key, "reference": "re", "state": state, "amount": "119.00", "currency": "EUR"}
        body = json.dumps({"type": f"refund.{state}", "data": data}).encode()
        headers = sandbox_webhooks.sign(f"evt-{key}-{state}", body, now=timezone.now())
        assert api.send("POST", "/gateways/sandbox/webhook", body, headers=headers).status_code == 200
        refund.refresh_from_db()
        assert refund.state == expected


@pytest.mark.django_db(transaction=True)
def test_ten_equal_refunds_at_once_give_back_once(transactional_db, paid):
    note = credit(paid)

    def work():
        refunding.refund(payment_id=paid.pk, credit_note_id=note.pk, amount=TENTH, key="r", now=NOW)

    assert race([work] * 10) == {"done": 10}
    assert SandboxRefund.objects.count() == Refund.objects.count() == 1
    assert standing(paid) == (TENTH, TENTH, TENTH)


@pytest.mark.django_db(transaction=True)
def test_many_refunds_at_once_never_exceed_what_was_paid(transactional_db, paid):
    def work(number: int) -> Callable[[], None]:
        def run():
            refunding.refund(
                payment_id=paid.pk, credit_note_id=None, amount=Decimal(500), key=f"r{number}", now=NOW
            )  # fmt: skip

        return run

    assert race([work(number) for number in range(8)], expected=(refunding.TooMuch,)) == {"done": 2, "TooMuch": 6}
    assert standing(paid) == (1000, 0, 1000)


@pytest.mark.django_db(transaction=True)
def test_no_refund_is_sent_inside_a_transaction(transactional_db, paid):
    opened = refunding.start(payment_id=paid.pk, credit_note_id=credit(paid).pk, amount=TENTH, key="r", now=NOW)
    for call in (refunding.submit, refunding.check):
        with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
            call(refund_id=opened.pk, now=NOW)
    assert not SandboxRefund.objects.exists()
    assert refunding.submit(refund_id=opened.pk, now=NOW).state == "succeeded"
