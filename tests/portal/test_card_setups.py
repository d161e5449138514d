"""Adding a card on the gateway's own page, and paying where no cards are typed here."""

import uuid
from typing import Any

import pytest
from django.test import Client, override_settings

from billing.accounts.ids import encode
from billing.invoicing.models import Issuer
from billing.payments import disputes, transfers
from billing.payments.gateways.contract import DisputeReport
from billing.payments.models import CardSetup, PaymentMethod
from tests.payments.stripe_process import Stripe, fake
from tests.portal.conftest import MAX_QUERIES, Stage, make_stage
from tests.portal.shop import make_card, make_invoice, pay_with, sign_in_as, text_of

__all__ = ["fake"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stage(db: None) -> Stage:
    return make_stage()


@pytest.fixture
def url(stage: Stage) -> str:
    return f"{stage.url}/payment-methods"


def begin(client: Client, url: str, **fields: str) -> tuple[Any, str]:
    """Press the button; the answer, and the address of the way to the page."""
    token = str(uuid.uuid4())
    return client.post(f"{url}/setup", {"token": token, **fields}), f"{url}/setup/{token}"


def test_the_card_is_typed_on_the_gateways_page_and_saved_on_coming_back(fake: Stripe, alice: Client, url: str) -> None:
    page = alice.get(url).content.decode()
    assert "Add a card" in page
    assert 'name="number"' not in page
    answer, address = begin(alice, url, make_default="on", next="/a/acc_1/buy")
    assert answer["Location"] == f"{address}?next=%2Fa%2Facc_1%2Fbuy"
    setup = CardSetup.objects.get()
    assert f'href="{setup.url}"' in alice.get(answer["Location"]).content.decode()
    fake.do("card", session=setup.gateway_reference, card="pm_ok")
    assert alice.get(answer["Location"])["Location"] == "/a/acc_1/buy"
    assert alice.get(address)["Location"] == url
    assert PaymentMethod.objects.get().is_default
    assert "Visa •••• 4242" in text_of(alice.get(url))
    alice.post(f"{url}/setup", {"token": address.rpartition("/")[2]})
    assert (CardSetup.objects.count(), PaymentMethod.objects.count()) == (1, 1)


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "evil"])
def test_nobody_is_led_elsewhere_afterwards(fake: Stripe, alice: Client, url: str, elsewhere: str) -> None:
    answer, address = begin(alice, url, next=elsewhere)
    assert answer["Location"] == address
    fake.do("card", session=CardSetup.objects.get().gateway_reference, card="pm_ok")
    assert alice.get(f"{address}?next={elsewhere}")["Location"] == url


def test_a_page_that_expired_says_so(fake: Stripe, alice: Client, url: str) -> None:
    _answer, address = begin(alice, url)
    fake.do("card", session=CardSetup.objects.get().gateway_reference, card="pm_ok", status="expired")
    assert "no card was saved" in text_of(alice.get(address))
    assert not PaymentMethod.objects.exists()


def test_when_the_gateway_is_silent_it_says_so(fake: Stripe, alice: Client, url: str) -> None:
    fake.fail("POST /v1/checkout/sessions")
    _answer, address = begin(alice, url)
    assert "gives no answer just now" in text_of(alice.get(url))
    assert alice.post(f"{url}/setup", {"token": address.rpartition("/")[2]})["Location"] == address
    fake.fail(f"GET /v1/checkout/sessions/{CardSetup.objects.get().gateway_reference}")
    assert "gives no answer just now" in text_of(alice.get(address))
    assert "Continue to the payment provider" in text_of(alice.get(address))


def test_where_cards_are_typed_here_there_is_no_such_page(alice: Client, url: str) -> None:
    answer, address = begin(alice, url)
    assert answer["Location"] == url
    assert "Cards cannot be taken at the moment." in text_of(alice.get(url))
    assert alice.get(address).status_code == 404
    assert alice.post(f"{url}/setup", {"token": "none"}).status_code == 404


def test_a_card_typed_here_is_refused_where_they_are_typed_there(fake: Stripe, alice: Client, url: str) -> None:
    form = {"token": str(uuid.uuid4()), "number": "4242424242424242", "expiry": "08/40", "cvc": "123"}
    assert "Cards cannot be taken at the moment." in text_of(alice.post(url, form))
    assert not PaymentMethod.objects.exists()


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_only_owners_and_admins_go_there(fake: Stripe, client: Client, stage: Stage, url: str, role: str) -> None:
    sign_in_as(client, stage, role)
    answer, address = begin(client, url)
    assert (answer.status_code, client.get(address).status_code) == (403, 403)
    client.logout()
    assert begin(client, url)[0]["Location"].startswith("/login")
    client.force_login(stage.mallory)
    assert begin(client, url)[0].status_code == 404
    assert not CardSetup.objects.exists()


def test_anothers_setup_is_404(fake: Stripe, alice: Client, client: Client, stage: Stage, url: str) -> None:
    _answer, address = begin(alice, url)
    other = Client()
    other.force_login(stage.mallory)
    account, token = encode("acc", stage.mallory.memberships.get().account_id), address.rpartition("/")[2]
    hers = f"/a/{account}/payment-methods/setup/{token}"
    assert (other.get(address).status_code, other.get(hers).status_code) == (404, 404)


# --- Paying an invoice ----------------------------------------------------------------------------------------------
def test_an_invoice_leads_to_the_gateways_page_and_is_paid_with_a_saved_card(
    fake: Stripe, alice: Client, stage: Stage, shop: object
) -> None:
    invoice = make_invoice(stage)
    address = f"{stage.url}/invoices/{encode('ivc', invoice.pk)}"
    page = alice.get(address).content.decode()
    assert f"payment-methods?next={address}" in page
    assert 'name="number"' not in page
    card = fake.card(stage.account)
    form = {"token": str(uuid.uuid4()), "method": card.pk}
    assert alice.post(f"{address}/pay", form).status_code == 302
    invoice.refresh_from_db()
    assert invoice.state == "paid"


def test_a_disputed_payment_says_so(alice: Client, stage: Stage, shop: object) -> None:
    invoice = make_invoice(stage)
    pay_with(stage, invoice, "4242424242424242")
    payment = invoice.payments.get()
    report = DisputeReport("k", "du_1", payment.amount, "USD", "fraudulent", "open", stage.now)
    disputes.record(payment_id=payment.pk, report=report, now=stage.now)
    page = text_of(alice.get(f"{stage.url}/invoices/{encode('ivc', invoice.pk)}"))
    assert "$1,190.00 disputed at the bank" in page


def test_a_bank_that_wants_a_proof_is_a_link_away(fake: Stripe, alice: Client, stage: Stage, shop: object) -> None:
    invoice = make_invoice(stage)
    card = fake.card(stage.account, "pm_bank")
    alice.post(f"{stage.url}/invoices/{encode('ivc', invoice.pk)}/pay", {"token": str(uuid.uuid4()), "method": card.pk})
    intent = fake.things("payment_intent")[0]["id"]
    page = alice.get(f"{stage.url}/invoices/{encode('ivc', invoice.pk)}").content.decode()
    assert f'href="https://hooks.stripe.example/3ds/{intent}"' in page


def test_an_open_invoice_says_how_to_transfer_and_a_part_leaves_it_payable(
    alice: Client, stage: Stage, shop: object, django_assert_max_num_queries: Any
) -> None:
    Issuer.objects.update(iban="DE89370400440532013000", bic="COBADEFFXXX", bank_name="Sample Bank")
    invoice = make_invoice(stage)
    address = f"{stage.url}/invoices/{encode('ivc', invoice.pk)}"
    with django_assert_max_num_queries(MAX_QUERIES):
        page = text_of(alice.get(address))
    assert "DE89 3704 0044 0532 0130 00" in page
    assert f"Reference {invoice.number}" in page
    row, _ = transfers.record(
        reference="r", received_on=stage.now.date(), amount=invoice.total - 1, currency="USD", actor="t", now=stage.now
    )
    transfers.match(transfer_id=row.pk, invoice_id=invoice.pk, key="1", now=stage.now)
    page = text_of(alice.get(address))
    assert "$1.00 still to pay" in page
    assert "Bank transfer" in page
    with override_settings(FLORIN_GATEWAY="manual"):
        page = alice.get(address).content.decode()
        assert "Pay it by bank transfer: the details are below." in page
        assert 'name="number"' not in page
        assert "can be paid by bank transfer" in text_of(alice.get(f"{stage.url}/payment-methods"))
    make_card(stage)
    with override_settings(FLORIN_GATEWAY=""):
        assert "Visa •••• 4242" in text_of(alice.get(address))


def test_without_bank_details_or_cards_the_customer_is_told_to_ask(alice: Client, stage: Stage, shop: object) -> None:
    invoice = make_invoice(stage)
    with override_settings(FLORIN_GATEWAY="manual"):
        page = text_of(alice.get(f"{stage.url}/invoices/{encode('ivc', invoice.pk)}"))
    assert "Please ask our staff how to pay." in page
    assert "IBAN" not in page
