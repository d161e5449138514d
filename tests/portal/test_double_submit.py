"""The double-click storm: ten equal checkouts at once, over HTTP, whatever the card does."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from billing.catalog.pack_models import Pack
from billing.invoicing.models import Invoice
from billing.ledger.models import CreditGrant, GrantKind
from billing.payments import checking
from billing.payments.models import Payment, PaymentMethod
from billing.payments.sandbox_models import SandboxCharge
from billing.purchases.models import Purchase
from tests.payments import makers as cards
from tests.portal.conftest import Stage, make_stage
from tests.portal.shop import checkout_form, make_card

CLICKS = 10
# What the page says right after, and how it ends once the gateway has been asked a day later: credits bought or not.
# Storms of all the cards are in tests/purchases/test_checkout_races.py.
OUTCOMES = {
    cards.SUCCESS: ("are in Main pool", True),
    cards.DECLINE: ("The card was declined", False),
    cards.LOST_ANSWER: ("The bank has not answered yet", True),
}


@pytest.fixture
def stage(transactional_db: None) -> Stage:
    return make_stage()


def _click(stage: Stage, forms: list[dict[str, object]]) -> Counter[tuple[int, str]]:
    """Send the forms at the same moment, each by a browser and a connection of its own; how each was answered."""
    session = Client()
    session.force_login(stage.alice)
    barrier = Barrier(len(forms))

    def send(form: dict[str, object]) -> tuple[int, str]:
        browser = Client()
        browser.cookies = session.cookies.copy()
        try:
            barrier.wait(timeout=60)
            response = browser.post(f"{stage.url}/buy/credits", form)
            return response.status_code, response.headers.get("Location", "")
        finally:
            connection.close()

    with ThreadPoolExecutor(len(forms)) as threads:
        return Counter(threads.map(send, forms))


def _bought() -> list[CreditGrant]:
    return list(CreditGrant.objects.filter(kind=GrantKind.PURCHASE))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", OUTCOMES)
def test_ten_equal_checkouts_are_one_charge_and_at_most_one_grant(
    client: Client, stage: Stage, shop: Pack, number: str
) -> None:
    said, buys = OUTCOMES[number]
    form = checkout_form(stage, number=number)
    page = f"{stage.url}/purchases/{form['token']}"
    assert _click(stage, [form] * CLICKS) == {(302, page): CLICKS}
    for model in (Purchase, Invoice, Payment, SandboxCharge, PaymentMethod):
        assert model.objects.count() == 1, model
    client.force_login(stage.alice)
    for _ in range(2):
        assert said in client.get(page).content.decode()
    later = timezone.now() + timedelta(hours=26)
    checking.check_due(now=later, limit=10)
    checking.check_due(now=later + timedelta(hours=2), limit=10)
    assert _click(stage, [form] * 2) == {(302, page): 2}
    assert SandboxCharge.objects.count() == 1
    assert [grant.amount for grant in _bought()] == ([10_000] if buys else [])
    assert Invoice.objects.get().state == ("paid" if buys else "open")


@pytest.mark.django_db(transaction=True)
def test_ten_forms_of_their_own_are_ten_purchases(stage: Stage, shop: Pack) -> None:
    card = make_card(stage)
    answers = _click(stage, [checkout_form(stage, method=card.pk) for _ in range(CLICKS)])
    assert sum(answers.values()) == len(answers) == CLICKS
    assert SandboxCharge.objects.count() == len(_bought()) == CLICKS


@pytest.mark.django_db(transaction=True)
def test_two_amounts_under_one_token_buy_one_of_them(stage: Stage, shop: Pack) -> None:
    card = make_card(stage)
    form = checkout_form(stage, method=card.pk)
    other = {**form, "credits": "100000", "seen": "8330.00 USD"}
    answers = _click(stage, [form, other] * 4)
    assert answers == {(302, f"{stage.url}/purchases/{form['token']}"): 8}
    assert SandboxCharge.objects.count() == len(_bought()) == 1
