"""Cards that are typed on the gateway's page."""

import pytest

from billing.accounts.ids import encode
from billing.payments.models import CardSetup, PaymentMethod
from tests.api.asking import assert_problem, not_refused
from tests.payments.stripe_process import Stripe, fake

__all__ = ["fake"]
pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/accounts/acme/card-setups"
ASKED = {"return_url": "https://acme.example/back", "make_default": True}


def test_the_customer_is_sent_there_and_the_card_is_kept(alice, acme, fake: Stripe):
    begun = alice.post(PATH, ASKED)
    assert begun.status_code == 201
    setup = CardSetup.objects.get()
    document = begun.json()
    assert (document["id"], document["state"], document["url"]) == (encode("cst", setup.pk), "open", setup.url)
    assert fake.things("checkout.session")[0]["success_url"] == "https://acme.example/back"
    assert alice.get(f"{PATH}/{encode('cst', setup.pk)}").json()["state"] == "open"
    fake.do("card", session=setup.gateway_reference, card="pm_ok")
    done = alice.get(f"{PATH}/{encode('cst', setup.pk)}").json()
    card = PaymentMethod.objects.get()
    assert (done["state"], done["payment_method"], card.is_default) == ("done", encode("pm", card.pk), True)


def test_the_same_request_begins_one(alice, acme, fake: Stripe):
    answers = [alice.post(PATH, ASKED, key="one").json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert CardSetup.objects.count() == 1


def test_a_card_sent_to_us_is_refused(alice, acme, fake: Stripe):
    card = {"number": "4242 4242 4242 4242", "exp_month": 12, "exp_year": 2040, "cvc": "123"}
    assert_problem(alice.post("/accounts/acme/payment-methods", card), 409, "cards_on_page")
    assert not PaymentMethod.objects.exists()


def test_a_silent_gateway_and_none_are_said_to_be(alice, acme, fake: Stripe, settings):
    fake.fail("POST /v1/customers")
    assert_problem(alice.post(PATH, ASKED), 503, "gateway_unavailable")
    settings.FLORIN_GATEWAY = "manual"
    assert_problem(alice.post(PATH, ASKED), 409, "no_gateway")
    assert not CardSetup.objects.exclude(url="").exists()


def test_a_request_that_makes_no_sense_is_refused(alice, acme):
    rows = [{"return_url": "javascript:x"}, {"return_url": 1}, {"make_default": "yes"}, {"x": 1}]
    answers = [(asked, alice.post(PATH, asked)) for asked in rows]
    assert not_refused(answers, 400, "invalid_request") == []
    assert not CardSetup.objects.exists()


def test_what_is_none_is_not_found(alice, acme):
    for name in ("cst_0000000000009", "pm_1", "x"):
        assert_problem(alice.get(f"{PATH}/{name}"), 404, "not_found")


def test_a_gateway_without_a_page_says_where_its_cards_go(alice, shop):
    problem = assert_problem(alice.post("/accounts/acme/card-setups"), 409, "no_card_page")
    assert "payment-methods" in problem["detail"]
