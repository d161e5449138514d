"""Charging through Stripe: a small Stripe in another process."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from billing.admin.payments.payment_queue import list_needing_staff
from billing.invoicing.models import Invoice
from billing.ledger import pools
from billing.payments import checking, paying, refunding
from billing.payments.gateways import contract, stripe_api, stripe_words
from billing.payments.models import Payment
from tests.invoicing.makers import issue, plain_line
from tests.ledger.racing import race
from tests.payments.stripe_process import Stripe, fake

__all__ = ["fake"]
pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def pay(fake: Stripe, invoice: Invoice, card: str = "pm_ok", *, off_session: bool = False, key: str = "k") -> Payment:
    method = fake.card(invoice.account, card)
    return paying.pay(
        invoice_id=invoice.pk, method_id=method.pk, key=key, off_session=off_session,
        return_url="https://florin.example/back", now=timezone.now(),
    )  # fmt: skip


def check(payment: Payment, *, after: timedelta = timedelta()) -> Payment:
    return checking.check(payment_id=payment.pk, now=timezone.now() + after)


def assert_adds_up(fake: Stripe, invoice: Invoice) -> None:
    """Captured less refunded is paid less given back, and what was granted is what was paid for."""
    intents = [each for each in fake.things("payment_intent") if each["status"] == "succeeded"]
    kept = sum(Decimal(each["amount"] - each["refunded"]) for each in intents) / 100
    invoice.refresh_from_db()
    rows = Payment.objects.filter(invoice=invoice, state="succeeded")
    assert kept == sum(row.amount - row.amount_refunded for row in rows)
    assert kept == invoice.amount_paid - invoice.amount_refunded
    assert pools.get_main_pool(invoice.account_id).balance == (10_000 if invoice.state == "paid" else 0)


@pytest.mark.parametrize("off_session", [False, True])
def test_a_charge_that_succeeds_pays_the_invoice(fake, invoice, off_session):
    payment = pay(fake, invoice, off_session=off_session)
    assert (payment.state, payment.gateway) == ("succeeded", "stripe")
    intent = fake.things("payment_intent")[0]
    assert (intent["id"], intent["amount"], intent["currency"]) == (payment.gateway_reference, 119_000, "eur")
    assert intent["metadata"] == {"florin_key": "k"}
    assert intent["description"] == invoice.number
    assert_adds_up(fake, invoice)


@pytest.mark.parametrize(
    ("card", "code", "hard"),
    [
        ("pm_declined", "card_declined", False),
        ("pm_poor", "insufficient_funds", False),
        ("pm_stolen", "card_unusable", True),
        ("pm_expired", "expired_card", True),
        ("pm_gone", "card_unusable", True),
    ],
)
def test_a_decline_says_why_in_our_words(fake, invoice, card, code, hard):
    payment = pay(fake, invoice, card)
    assert (payment.state, payment.failure_code, payment.failure_is_hard) == ("failed", code, hard)
    assert "stolen" not in payment.failure_message
    assert payment.failure_message.endswith((".", "!"))
    assert_adds_up(fake, invoice)


def test_without_the_customer_a_card_that_wants_a_proof_is_declined(fake, invoice):
    assert pay(fake, invoice, "pm_bank", off_session=True).failure_code == "authentication_required"


@pytest.mark.parametrize(("result", "state"), [("succeeded", "succeeded"), ("authentication", "failed")])
def test_the_customer_confirms_at_the_bank(fake, invoice, result, state):
    payment = pay(fake, invoice, "pm_bank")
    assert payment.state == "requires_action"
    assert payment.action_url == f"https://hooks.stripe.example/3ds/{payment.gateway_reference}"
    fake.do("settle", intent=payment.gateway_reference, result=result)
    assert check(payment).state == state
    assert_adds_up(fake, invoice)


OTHERS = {"customer": "cus_other", "amount_received": "100", "currency": "usd", "metadata[florin_key]": "other"}


@pytest.mark.parametrize("asked", ["check", "report"])
def test_an_answer_that_is_not_the_one_asked_for_grants_nothing_and_is_shown_to_staff(fake, invoice, asked):
    payment = pay(fake, invoice, "pm_slow")
    fake.do("settle", intent=payment.gateway_reference, result="succeeded")
    true = {**fake.things("payment_intent")[0], "metadata[florin_key]": "k"}
    for name, value in OTHERS.items():
        fake.do("change", id=payment.gateway_reference, event="x", **{name: value})
        if asked == "check":
            check(payment)
        else:
            intent = stripe_words.charge_outcome(fake.things("payment_intent")[0])
            with pytest.raises(paying.ReportRefused):
                paying.record(payment_id=payment.pk, outcome=intent, now=timezone.now())
        payment.refresh_from_db()
        assert (payment.state, payment in list_needing_staff()) == ("processing", True), name
        assert pools.get_main_pool(invoice.account_id).balance == 0
        fake.do("change", id=payment.gateway_reference, event="x", **{name: true[name]})
    assert check(payment).problem == ""
    assert_adds_up(fake, invoice)


def test_who_does_not_confirm_within_an_hour_is_waited_for_no_longer(fake, invoice):
    payment = pay(fake, invoice, "pm_bank")
    assert check(payment, after=HOUR / 2).state == "requires_action"
    ended = check(payment, after=HOUR)
    assert (ended.state, ended.failure_code) == ("failed", "authentication_expired")
    assert fake.things("payment_intent")[0]["status"] == "canceled"


def test_a_charge_that_was_confirmed_while_it_was_given_up_counts(fake, invoice):
    payment = pay(fake, invoice, "pm_bank")
    fake.fail(f"POST /v1/payment_intents/{payment.gateway_reference}/cancel", "400")
    assert check(payment, after=HOUR).state == "requires_action"
    fake.do("settle", intent=payment.gateway_reference, result="succeeded")
    assert check(payment, after=HOUR).state == "succeeded"
    assert_adds_up(fake, invoice)


@pytest.mark.parametrize("card", ["pm_ok", "pm_declined"])
def test_an_answer_that_is_lost_after_the_charge_is_found_by_asking(fake, invoice, card):
    fake.fail("POST /v1/payment_intents")
    payment = pay(fake, invoice, card)
    assert (payment.state, payment.gateway_reference) == ("unknown", "")
    with pytest.raises(paying.PaymentUnderWay):
        pay(fake, invoice, key="k2")
    assert check(payment).state == ("succeeded" if card == "pm_ok" else "failed")
    assert len(fake.things("payment_intent")) == 1
    assert_adds_up(fake, invoice)


@pytest.mark.parametrize("status", [500, 429, 409, 403])
def test_a_request_that_stripe_never_took_is_sent_again_under_its_key(fake, invoice, status):
    fake.fail("POST /v1/payment_intents", str(status))
    payment = pay(fake, invoice)
    assert payment.state == "unknown"
    fake.fail("GET /v1/payment_intents", str(status))
    assert check(payment).state == "unknown"
    assert check(payment).state == "succeeded"
    assert len(fake.things("payment_intent")) == 1


def test_with_a_wrong_key_nothing_is_known_and_nothing_lost(fake, invoice, settings):
    settings.FLORIN_STRIPE_SECRET_KEY = "sk_test_1"
    method = fake.card(invoice.account)
    settings.FLORIN_STRIPE_SECRET_KEY = "wrong"
    payment = paying.pay(invoice_id=invoice.pk, method_id=method.pk, key="k", off_session=True, now=timezone.now())
    assert payment.state == "unknown"
    settings.FLORIN_STRIPE_SECRET_KEY = "sk_test_1"
    assert check(payment).state == "succeeded"


def test_a_stripe_that_cannot_be_reached_leaves_the_outcome_unknown(fake, invoice, settings):
    method = fake.card(invoice.account)
    settings.FLORIN_STRIPE_API_BASE = "http://127.0.0.1:9"
    payment = paying.pay(invoice_id=invoice.pk, method_id=method.pk, key="k", off_session=True, now=timezone.now())
    assert payment.state == "unknown"
    assert not fake.things("payment_intent")


@pytest.mark.django_db(transaction=True)
def test_ten_equal_charges_at_once_charge_once(fake, invoice):
    method = fake.card(invoice.account)
    request = contract.Charge(
        "k", Decimal("11.90"), "EUR", "pm_ok", True, "", "x", customer_reference=method.customer_reference
    )
    assert race([lambda: stripe_api.charge(request, now=timezone.now())] * 10) == {"done": 10}
    assert len(fake.things("payment_intent")) == 1
    with pytest.raises(ValueError, match="one request"):
        stripe_api.charge(
            contract.Charge(
                "k", Decimal(12), "EUR", "pm_ok", True, "", "x", customer_reference=method.customer_reference
            ),
            now=timezone.now(),
        )


def test_a_charge_among_many_is_found_and_one_that_never_was_is_not(fake, invoice):
    method = fake.card(invoice.account)

    def ask(number: int) -> contract.Charge:
        return contract.Charge(
            f"k{number}", Decimal(number), "EUR", "pm_ok", True, "", "", customer_reference=method.customer_reference
        )

    for number in range(1, 106):
        stripe_api.charge(ask(number), now=timezone.now())
    found = stripe_api.find_charge(ask(1), now=timezone.now())
    assert found is not None
    assert (found.state, found.amount) == ("succeeded", 1)
    assert stripe_api.find_charge(ask(999), now=timezone.now()) is None


@pytest.mark.parametrize(
    ("currency", "amount", "units"), [("JPY", "1190", 1190), ("KWD", "11.900", 11_900), ("UGX", "1190", 119_000)]
)
def test_other_currencies_are_charged_in_their_own_minor_units(fake, account, currency, amount, units):
    invoice = issue(account, plain_line(str(Decimal(amount) / Decimal("1.19"))), currency=currency)
    payment = pay(fake, invoice)
    assert (payment.state, fake.things("payment_intent")[0]["amount"]) == ("succeeded", units)
    assert payment.amount == Decimal(amount)


@pytest.mark.parametrize(
    ("currency", "net", "total", "units"),
    [("KWD", "1.001", "1.191", 1_190), ("BHD", "1.004", "1.195", 1_200), ("TND", "9.999", "11.899", 11_900)],
)
def test_what_stripe_cannot_charge_to_the_third_decimal_is_rounded_and_pays_and_goes_back(
    fake, account, currency, net, total, units
):
    """Stripe's last digit of three must be zero; in parts as much goes back as was charged."""
    invoice = issue(account, plain_line(net), currency=currency)
    payment = pay(fake, invoice)
    invoice.refresh_from_db()
    assert (payment.state, payment.amount, invoice.state) == ("succeeded", Decimal(total), "paid")
    assert fake.things("payment_intent")[0]["amount"] == units
    for key, part in enumerate(["0.004", "0.333", str(Decimal(total) - Decimal("0.337"))]):
        refund = start_refund(payment, part, key=f"r{key}")
        assert refunding.submit(refund_id=refund, now=timezone.now()).state == "succeeded"
    assert fake.things("payment_intent")[0]["refunded"] == units


@pytest.mark.parametrize("currency", ["KWD", "EUR"])
def test_an_amount_that_stripe_cannot_charge_fails_for_good(fake, account, currency):
    net = "0.010" if currency == "KWD" else "0.10"
    payment = pay(fake, issue(account, plain_line(net), currency=currency))
    assert (payment.state, payment.failure_code, payment.failure_is_hard) == ("failed", "amount_not_chargeable", True)
    assert not fake.things("payment_intent")


# --- Giving money back ----------------------------------------------------------------------------------------------
def start_refund(payment: Payment, amount: str, key: str = "r") -> int:
    return refunding.start(
        payment_id=payment.pk, credit_note_id=None, amount=Decimal(amount), key=key, now=timezone.now()
    ).pk


def test_money_goes_back_once_though_the_answer_is_lost(fake, invoice):
    payment = pay(fake, invoice)
    fake.fail("POST /v1/refunds")
    refund = start_refund(payment, "19.00")
    assert refunding.submit(refund_id=refund, now=timezone.now()).state == "unknown"
    assert refunding.check(refund_id=refund, now=timezone.now()).state == "succeeded"
    assert refunding.check(refund_id=refund, now=timezone.now()).state == "succeeded"
    assert fake.things("payment_intent")[0]["refunded"] == 1_900
    assert [each["metadata"] for each in fake.things("refund")] == [{"florin_key": "r"}]


@pytest.mark.parametrize("other", [{"payment_intent": "pi_other"}, {"amount": "1"}, {"metadata[florin_key]": "r#2"}])
def test_a_refund_that_is_not_the_one_asked_for_is_not_counted(fake, invoice, other):
    payment = pay(fake, invoice)
    fake.fail("POST /v1/refunds")
    refund = start_refund(payment, "19.00")
    refunding.submit(refund_id=refund, now=timezone.now())
    outcome = stripe_words.refund_outcome(fake.things("refund")[0])
    fake.do("change", id=outcome.reference, event="x", **other)
    told = stripe_words.refund_outcome(fake.things("refund")[0])
    with pytest.raises(refunding.ReportRefused):
        refunding.record(refund_id=refund, attempt=1, outcome=told, now=timezone.now())
    row = refunding.record(refund_id=refund, attempt=1, outcome=outcome, now=timezone.now())
    assert (row.state, row.failure_message) == ("succeeded", "")


def test_a_refund_that_stripe_never_took_is_sent_again(fake, invoice):
    payment = pay(fake, invoice)
    fake.fail("POST /v1/refunds", "500")
    refund = start_refund(payment, "19.00")
    assert refunding.submit(refund_id=refund, now=timezone.now()).state == "unknown"
    assert refunding.check(refund_id=refund, now=timezone.now()).state == "succeeded"
    assert len(fake.things("refund")) == 1


def test_a_refund_that_stripe_refuses_has_failed_and_says_why(fake, invoice):
    payment = pay(fake, invoice)
    fake.do("change", id=payment.gateway_reference, event="x", refunded=119_000)
    refund = start_refund(payment, "19.00")
    ended = refunding.submit(refund_id=refund, now=timezone.now())
    assert (ended.state, ended.failure_message) == ("failed", "Stripe says: Too much.")
    payment.refresh_from_db()
    assert payment.amount_refunded == 0
    again = refunding.retry(refund_id=refund, now=timezone.now())
    fake.do("change", id=payment.gateway_reference, event="x", refunded=0)
    assert refunding.submit(refund_id=again.pk, now=timezone.now()).state == "succeeded"
