"""The sandbox by itself, as another process would be."""

import itertools
import os
import signal
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction

from billing.payments.gateways import sandbox, sandbox_cards
from billing.payments.gateways.contract import Charge, GatewayUnavailable, InvalidCard, Return
from billing.payments.sandbox_models import SandboxCard, SandboxCharge, SandboxRefund
from tests.factories import NOW
from tests.ledger.racing import race
from tests.payments import makers

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)

_keys = itertools.count(1)


def keep(number: str) -> str:
    key = f"card-{next(_keys)}"
    return sandbox.store_card(key=key, number=number, exp_month=12, exp_year=2030, cvc="123", now=NOW).reference


def request(card: str, *, key: str = "k", amount: str = "10.00", off_session: bool = False) -> Charge:
    return Charge(key, Decimal(amount), "EUR", card, off_session, "/back", "INV-1")


@pytest.mark.parametrize("card", sandbox_cards.CARDS, ids=lambda card: card.number)
def test_every_card_is_well_formed_and_documented(card):
    assert sandbox_cards.passes_luhn(card.number)
    assert card.number in (sandbox.__doc__ or "")
    assert str(card.meaning).endswith(".")
    cvc = "1234" if card.brand == "American Express" else "123"
    spaced = f"{card.number[:4]} {card.number[4:8]}-{card.number[8:]}"
    kept = sandbox.store_card(key="k", number=spaced, exp_month=NOW.month, exp_year=NOW.year, cvc=cvc, now=NOW)
    assert (kept.brand, kept.last4) == (card.brand, card.number[-4:])


def test_every_behaviour_has_a_card():
    assert {card.behaviour for card in sandbox_cards.CARDS} == set(SandboxCard.Behaviour)


@pytest.mark.parametrize(
    ("given", "errors"),
    [
        ({"number": ""}, {"number"}),
        ({"number": "4242"}, {"number"}),
        ({"number": "4" * 20}, {"number"}),
        ({"number": "4242424242424241"}, {"number"}),
        ({"exp_month": 0}, {"exp_month"}),
        ({"exp_month": 2, "exp_year": 2025}, {"exp_year"}),
        ({"exp_year": 25}, {"exp_year"}),
        ({"exp_year": 2046}, {"exp_year"}),
        ({"cvc": ""}, {"cvc"}),
        ({"cvc": "\u0661\u0662\u0663"}, {"cvc"}),
        ({"number": "378282246310005", "cvc": "123"}, {"cvc"}),
        ({"number": "x", "exp_month": 13, "cvc": "x"}, {"number", "exp_month", "cvc"}),
    ],
)
def test_a_card_with_wrong_details_is_refused_by_field(given, errors):
    card = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123", **given}
    with pytest.raises(InvalidCard) as refused:
        sandbox.store_card(key="k", **card, now=NOW)
    assert set(refused.value.errors) == errors
    assert not SandboxCard.objects.exists()


def test_a_card_that_is_no_test_card_is_refused_and_says_what_to_use():
    with pytest.raises(InvalidCard) as refused:
        keep("4000056655665556")
    assert "4242 4242 4242 4242" in refused.value.errors["number"]


def test_a_key_charges_once_and_belongs_to_one_request():
    card = keep(makers.SUCCESS)
    assert sandbox.charge(request(card), now=NOW) == sandbox.charge(request(card), now=NOW + HOUR)
    with pytest.raises(ValueError, match="another"):
        sandbox.charge(request(card, amount="11.00"), now=NOW)
    with pytest.raises(ValueError, match="another"):
        sandbox.charge(request(keep(makers.SUCCESS)), now=NOW)
    assert SandboxCharge.objects.count() == 1


def test_what_was_never_asked_is_not_known():
    assert sandbox.find_charge(request("?"), now=NOW) is None
    assert sandbox.find_refund(Return("k", "?", Decimal(1), "EUR"), now=NOW) is None


def test_a_lost_answer_is_found_by_asking_and_by_repeating():
    card = keep(makers.LOST_ANSWER)
    later = NOW + timedelta(seconds=30)
    with pytest.raises(GatewayUnavailable):
        sandbox.charge(request(card), now=NOW)
    with pytest.raises(GatewayUnavailable):
        sandbox.find_charge(request("?"), now=later - timedelta(microseconds=1))
    assert sandbox.find_charge(request("?"), now=later) == sandbox.charge(request(card), now=later)
    assert SandboxCharge.objects.count() == 1


@pytest.fixture
def waiting() -> str:
    """The reference of a charge that its customer has to confirm."""
    outcome = sandbox.charge(request(keep(makers.ACTION)), now=NOW)
    assert (outcome.state, outcome.action_url) == ("requires_action", f"/sandbox/bank/{outcome.reference}")
    return outcome.reference


@pytest.mark.parametrize(
    ("approve", "state", "code"), [(True, "succeeded", ""), (False, "failed", "authentication_failed")]
)
def test_the_customers_first_decision_stands(waiting, approve, state, code):
    asked = sandbox.find_action(waiting)
    assert asked is not None
    assert (asked.state, asked.amount, asked.currency, asked.description, asked.return_url, asked.expires_at) == (
        "requires_action", Decimal("10.00"), "EUR", "INV-1", "/back", NOW + HOUR,
    )  # fmt: skip
    for decision in (approve, not approve, approve):
        assert sandbox.confirm(waiting, approve=decision, now=NOW).state == state
    outcome = sandbox.find_charge(request("?"), now=NOW)
    assert outcome is not None
    assert (outcome.state, outcome.failure_code, outcome.action_url) == (state, code, "")


def test_after_an_hour_it_is_too_late_to_confirm(waiting):
    assert sandbox.confirm(waiting, approve=True, now=NOW + HOUR).state == "requires_action"
    outcome = sandbox.find_charge(request("?"), now=NOW + HOUR)
    assert outcome is not None
    assert (outcome.state, outcome.failure_code) == ("failed", "authentication_expired")


def test_only_what_waits_can_be_confirmed(waiting):
    paid = sandbox.charge(request(keep(makers.SUCCESS), key="k2"), now=NOW)
    for reference in (paid.reference, "sbx_ch_nothing", ""):
        assert sandbox.find_action(reference) is None
        with pytest.raises(sandbox.ActionNotFound):
            sandbox.confirm(reference, approve=True, now=NOW)


def test_no_more_than_was_charged_goes_back():
    charge = sandbox.charge(request(keep(makers.SUCCESS)), now=NOW).reference
    states = [
        sandbox.refund(Return(f"r{number}", charge, Decimal(amount), "EUR"), now=NOW).state
        for number, amount in enumerate(("6.00", "5.00", "4.00", "0.01"))
    ]
    assert states == ["succeeded", "failed", "succeeded", "failed"]
    assert SandboxCharge.objects.get().refunded == Decimal("10.00")
    declined = sandbox.charge(request(keep(makers.DECLINE), key="k2"), now=NOW).reference
    assert sandbox.refund(Return("r9", declined, Decimal(1), "EUR"), now=NOW).state == "failed"


@pytest.mark.django_db(transaction=True)
def test_ten_equal_charges_and_refunds_at_once_happen_once(transactional_db):
    card = keep(makers.SUCCESS)
    race([lambda: sandbox.charge(request(card), now=NOW)] * 10)
    reference = SandboxCharge.objects.get().reference
    race([lambda: sandbox.refund(Return("r", reference, Decimal(1), "EUR"), now=NOW)] * 10)
    assert SandboxRefund.objects.count() == 1
    assert SandboxCharge.objects.get().refunded == 1


@pytest.mark.django_db(transaction=True)
def test_what_it_did_stays_whatever_its_caller_does_after(transactional_db):
    """As another process: not even a kill of ours undoes a charge."""
    card = keep(makers.SUCCESS)

    def charge_and_die():
        sandbox.charge(request(card), now=NOW)
        os.kill(os.getpid(), signal.SIGKILL)

    makers.die_in(charge_and_die)
    assert SandboxCharge.objects.get().state == "succeeded"


@pytest.mark.django_db(transaction=True)
def test_it_refuses_to_run_inside_a_transaction(transactional_db):
    card = keep(makers.SUCCESS)
    waiting = sandbox.charge(request(keep(makers.ACTION), key="k2"), now=NOW).reference
    calls = (
        lambda: keep(makers.SUCCESS),
        lambda: sandbox.charge(request(card), now=NOW),
        lambda: sandbox.find_charge(request("?"), now=NOW),
        lambda: sandbox.refund(Return("r", waiting, Decimal(1), "EUR"), now=NOW),
        lambda: sandbox.find_refund(Return("r", waiting, Decimal(1), "EUR"), now=NOW),
        lambda: sandbox.confirm(waiting, approve=True, now=NOW),
    )
    for call in calls:
        with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
            call()
    assert (SandboxCard.objects.count(), SandboxCharge.objects.count()) == (2, 1)
