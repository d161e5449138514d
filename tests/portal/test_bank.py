"""The sandbox bank's page, where a payment is confirmed."""

from datetime import timedelta

import pytest
from django.test import Client

from billing.payments import checking
from billing.payments.models import Payment
from billing.payments.sandbox_models import SandboxCharge
from tests.factories import make_issuer, make_pack
from tests.payments.makers import ACTION, SUCCESS
from tests.portal.conftest import BuildOnce, Stage
from tests.portal.shop import checkout_form, make_invoice, pay_with, sign_in_as, text_of


def _buy(stage: Stage) -> str:
    make_issuer()
    make_pack()
    alice = Client()
    alice.force_login(stage.alice)
    alice.post(f"{stage.url}/buy/credits", checkout_form(stage, number=ACTION))
    return Payment.objects.get().action_url


@pytest.fixture(scope="module")
def shared_bank(build_once: BuildOnce, scene: Stage) -> str:
    return build_once(lambda: _buy(scene))


@pytest.fixture
def bank(shared_bank: str, stage: Stage) -> str:
    """The page that alice is sent to after a checkout with a card that must be confirmed."""
    return shared_bank


def test_the_purchase_leads_there_and_it_says_what_is_confirmed(alice: Client, stage: Stage, bank: str) -> None:
    token = Payment.objects.get().idempotency_key.removeprefix("purchase:")
    assert f'href="{bank}"' in alice.get(f"{stage.url}/purchases/{token}").content.decode()
    page = text_of(alice.get(bank))
    assert "Sandbox Bank" in page
    assert "To Lumen GmbH For INV-000001 Card Visa •••• 3184 Amount $1,190.00 Confirm Refuse" in page


@pytest.mark.parametrize(
    ("act", "state", "said"),
    [
        ("approve", "succeeded", "10,000 credits are in Main pool"),
        ("decline", "failed", "The payment was not confirmed."),
    ],
)
def test_the_decision_leads_back_to_the_purchase(
    alice: Client, stage: Stage, bank: str, act: str, state: str, said: str
) -> None:
    back = alice.post(bank, {"act": act})["Location"]
    assert back.startswith(f"http://testserver{stage.url}/purchases/")
    assert back.endswith("?from=bank")
    assert "Waiting for your bank's answer" in text_of(alice.get(back))
    checking.check_due(now=stage.now + timedelta(minutes=2), limit=10)
    assert Payment.objects.get().state == state
    assert said in text_of(alice.get(back))


def test_the_first_decision_stands(alice: Client, stage: Stage, bank: str) -> None:
    alice.post(bank, {"act": "approve"})
    alice.post(bank, {"act": "decline"})
    assert SandboxCharge.objects.get().state == "succeeded"
    assert "This payment is confirmed" in text_of(alice.get(bank))


def test_anything_but_a_confirmation_refuses(alice: Client, bank: str) -> None:
    alice.post(bank)
    assert SandboxCharge.objects.get().state == "failed"
    assert "This payment was refused" in text_of(alice.get(bank))


def test_after_an_hour_it_is_too_late(alice: Client, stage: Stage, bank: str) -> None:
    SandboxCharge.objects.update(action_until=stage.now - timedelta(minutes=1))
    assert "It is too late" in text_of(alice.get(bank))
    alice.post(bank, {"act": "approve"})
    assert SandboxCharge.objects.get().state == "requires_action"


def test_it_sends_nobody_to_another_host(alice: Client, stage: Stage, bank: str) -> None:
    SandboxCharge.objects.update(return_url="https://evil.example/")
    assert alice.post(bank, {"act": "approve"})["Location"].startswith(f"{stage.url}/invoices/")


def test_nobody_else_confirms(client: Client, stage: Stage, bank: str) -> None:
    client.logout()
    assert client.post(bank, {"act": "approve"})["Location"].startswith("/login")
    client.force_login(stage.mallory)
    assert client.get(bank).status_code == client.post(bank, {"act": "approve"}).status_code == 404
    sign_in_as(client, stage, "member")
    assert client.get(bank).status_code == client.post(bank, {"act": "approve"}).status_code == 403
    assert SandboxCharge.objects.get().state == "requires_action"


def test_what_needs_no_confirmation_has_no_page(alice: Client, stage: Stage, bank: str) -> None:
    pay_with(stage, make_invoice(stage), SUCCESS)
    assert alice.get(f"/sandbox/bank/{Payment.objects.latest('pk').gateway_reference}").status_code == 404
    assert alice.get("/sandbox/bank/nonsense").status_code == 404
    assert alice.post("/sandbox/bank/nonsense").status_code == 404
