"""Reports of one payment in every order."""

import itertools
from decimal import Decimal

import pytest

from billing.ledger import pools
from billing.ledger.models import Posting
from billing.notifications.models import Notification
from billing.payments import checking, paying, refunding
from billing.payments.gateways.contract import Outcome
from billing.payments.models import Payment, Refund
from billing.payments.sandbox_models import SandboxCharge
from tests.factories import NOW
from tests.invoicing.makers import issue
from tests.payments import makers
from tests.payments.makers import make_card, pay
from tests.undoing import undone

PROCESSING = Outcome("processing", "ch_1")
ACTION = Outcome("requires_action", "ch_1", action_url="/bank")
FAILED = Outcome("failed", "ch_1", failure_code="card_declined", failure_message="No.")
SUCCEEDED = Outcome("succeeded", "ch_1", amount=Decimal("1190.00"), currency="EUR")


@pytest.fixture
def payment(invoice) -> Payment:
    """An attempt that a worker has claimed and nobody has heard of since."""
    card = make_card(invoice.account)
    opened = paying.start(invoice_id=invoice.pk, method_id=card.pk, key="k", off_session=False, now=NOW)
    Payment.objects.filter(pk=opened.pk).update(state="processing", submitted_at=NOW)
    return Payment.objects.get(pk=opened.pk)


def tell(payment, *outcomes) -> Payment:
    for outcome in outcomes:
        payment = paying.record(payment_id=payment.pk, outcome=outcome, now=NOW)
    return Payment.objects.get(pk=payment.pk)


def kinds() -> list[str]:
    return sorted(Notification.objects.values_list("kind", flat=True))


def orders(*outcomes: Outcome) -> list[tuple[Outcome, ...]]:
    """Every order in which these can be reported."""
    return list(dict.fromkeys(itertools.permutations(outcomes)))


def test_a_payment_of_which_success_is_ever_reported_has_succeeded_once(payment):
    wrong = []
    reports = orders(PROCESSING, ACTION, FAILED, SUCCEEDED, SUCCEEDED)
    for order in reports:
        with undone():
            told = tell(payment, *order)
            failed_first = order.index(FAILED) < order.index(SUCCEEDED)
            came = (told.state, told.failure_code, told.action_url, told.next_check_at, kinds())
            came += (pools.get_main_pool(payment.invoice.account_id).balance, Posting.objects.count())
            notices = ["payment_failed", "receipt"] if failed_first else ["receipt"]
            if came != ("succeeded", "", "", None, notices, 10_000, 1):
                wrong.append(([each.state for each in order], came))
    assert len(reports) == 60
    assert wrong == []


def test_a_payment_of_which_only_failure_is_reported_has_failed_once(payment):
    wrong = []
    reports = orders(PROCESSING, ACTION, FAILED, FAILED)
    for order in reports:
        with undone():
            told = tell(payment, *order)
            came = (told.state, told.failure_code, told.next_check_at, told.finished_at, kinds())
            if (*came, Posting.objects.count()) != ("failed", "card_declined", None, NOW, ["payment_failed"], 0):
                wrong.append(([each.state for each in order], came))
    assert len(reports) == 12
    assert wrong == []


def test_a_payment_that_waits_says_where_to_confirm_and_is_asked_about(payment):
    told = tell(payment, ACTION)
    assert (told.state, told.action_url, told.gateway_reference) == ("requires_action", "/bank", "ch_1")
    assert told.next_check_at > NOW
    assert tell(payment, PROCESSING).action_url == ""


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome("succeeded", "ch_1", amount=Decimal("1189.99"), currency="EUR"),
        Outcome("succeeded", "ch_1", amount=Decimal("1190.00"), currency="USD"),
        Outcome("succeeded", "ch_2", amount=Decimal("1190.00"), currency="EUR"),
        Outcome("failed", "ch_2"),
    ],
)
def test_a_report_about_another_amount_currency_or_charge_is_refused_and_shown_to_staff(payment, outcome):
    tell(payment, PROCESSING)
    with pytest.raises(paying.ReportRefused):
        tell(payment, outcome)
    payment.refresh_from_db()
    assert payment.state == "processing"
    assert payment.problem.startswith("The gateway reports")
    assert payment.invoice.state == "open"
    assert not Notification.objects.exists()
    # The true report is taken all the same, and clears it.
    assert tell(payment, SUCCEEDED).problem == ""


def test_an_answer_with_another_amount_leaves_the_outcome_unknown(invoice, monkeypatch):
    from billing.payments.gateways import sandbox

    monkeypatch.setattr(
        sandbox, "charge", lambda *_, **__: Outcome("succeeded", "x", amount=Decimal(1), currency="EUR")
    )
    payment = pay(invoice)
    assert payment.state == "unknown"
    assert "1 EUR" in payment.problem
    assert payment.next_check_at > NOW


def test_success_after_a_reported_failure_pays_the_invoice(invoice):
    payment = pay(invoice, makers.DECLINE)
    SandboxCharge.objects.update(state="succeeded")
    assert checking.check(payment_id=payment.pk, now=NOW).state == "succeeded"
    assert pools.get_main_pool(invoice.account_id).balance == 10_000


def test_money_that_comes_for_an_invoice_paid_meanwhile_goes_back(invoice):
    """The first card's failure was wrong, and the customer has paid with a second one."""
    first = pay(invoice, makers.DECLINE, key="k1")
    pay(invoice, key="k2")
    charge = SandboxCharge.objects.get(idempotency_key="k1")
    SandboxCharge.objects.filter(pk=charge.pk).update(state="succeeded")
    late = checking.check(payment_id=first.pk, now=NOW)
    assert late.state == "succeeded"
    assert "goes back" in late.problem
    invoice.refresh_from_db()
    assert (invoice.state, invoice.amount_paid) == ("paid", Decimal("1190.00"))
    assert pools.get_main_pool(invoice.account_id).balance == 10_000
    refunding.check_due(now=NOW, limit=10)
    refund = Refund.objects.get()
    assert (refund.state, refund.payment, refund.credit_note, refund.amount) == (
        "succeeded", first, None, Decimal("1190.00"),
    )  # fmt: skip
    charge.refresh_from_db()
    assert charge.refunded == Decimal("1190.00")
    invoice.refresh_from_db()
    assert invoice.amount_refunded == 0


def test_an_invoice_takes_one_payment_after_another_until_it_is_paid(invoice):
    for number, key in enumerate((makers.DECLINE, makers.INSUFFICIENT, makers.EXPIRED)):
        assert pay(invoice, key, key=f"k{number}").state == "failed"
    assert pay(invoice, key="k9").state == "succeeded"
    assert pay(issue(invoice.account, reference="purchase:2"), key="k10").state == "succeeded"
    assert pools.get_main_pool(invoice.account_id).balance == 20_000
