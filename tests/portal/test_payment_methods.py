"""The account's cards."""

import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client, override_settings

from billing.accounts.ids import encode
from billing.catalog.pack_models import Pack
from billing.payments.models import PaymentMethod
from billing.purchases import topups
from tests.portal.conftest import MAX_QUERIES, Stage
from tests.portal.shop import make_card, sign_in_as, text_of


def _form(**fields: Any) -> dict[str, Any]:
    given = {"token": str(uuid.uuid4()), "number": "4242424242424242", "expiry": "08/40", "cvc": "123", **fields}
    return {"make_default": "on", **given}


@pytest.fixture
def url(stage: Stage) -> str:
    return f"{stage.url}/payment-methods"


def test_without_a_card_it_says_what_one_is_good_for(alice: Client, url: str) -> None:
    assert "No card yet Add one to buy credits in one step" in text_of(alice.get(url))


def test_it_adds_a_card_and_shows_what_it_is_told_by(alice: Client, url: str) -> None:
    response = alice.post(url, _form(), follow=True)
    page = text_of(response)
    assert "The card is saved." in page
    assert "Visa •••• 4242 Default" in page
    assert "Good until 08/2040" in page
    assert "4242424242424242" not in response.content.decode().replace("4242 4242 4242 4242", "")


def test_the_same_form_adds_one_card(alice: Client, url: str) -> None:
    form = _form()
    for _ in range(3):
        alice.post(url, form)
    assert PaymentMethod.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"number": ""}, "This field is required."),
        ({"number": "4242424242424243"}, "This is not a card's number."),
        ({"expiry": "0840x"}, "Type month and year"),
        ({"cvc": ""}, "This field is required."),
    ],
)
def test_a_card_that_cannot_be_is_refused(alice: Client, url: str, fields: dict[str, str], complaint: str) -> None:
    response = alice.post(url, _form(**fields))
    assert response.status_code == 422
    assert complaint in text_of(response)
    assert not PaymentMethod.objects.exists()


def test_test_cards_are_named_in_a_sandbox_only(alice: Client, url: str) -> None:
    assert "4000 0000 0000 9995 Is declined for lack of funds." in text_of(alice.get(url))
    with override_settings(FLORIN_GATEWAY=""):
        assert "4000 0000 0000 9995" not in text_of(alice.get(url))
        assert "Cards cannot be taken at the moment." in text_of(alice.post(url, _form()))
    assert not PaymentMethod.objects.exists()


def test_another_card_becomes_the_default(alice: Client, stage: Stage, url: str) -> None:
    make_card(stage)
    other = make_card(stage, "5555555555554444")
    page = text_of(alice.post(f"{url}/{encode('pm', other.pk)}/default", follow=True))
    assert "Mastercard •••• 4444 is the default card now." in page
    assert PaymentMethod.objects.get(is_default=True) == other


def test_removing_asks_first(alice: Client, stage: Stage, url: str) -> None:
    card = make_card(stage)
    assert "Remove Visa •••• 4242?" in text_of(alice.get(f"{url}/{encode('pm', card.pk)}/remove"))
    card.refresh_from_db()
    assert card.removed_at is None
    assert "Visa •••• 4242 is removed." in text_of(alice.post(f"{url}/{encode('pm', card.pk)}/remove", follow=True))
    card.refresh_from_db()
    assert card.removed_at
    assert "No card yet" in text_of(alice.get(url))


def test_removing_says_which_top_up_hangs_on_the_card(alice: Client, stage: Stage, shop: Pack, url: str) -> None:
    card, other = make_card(stage), make_card(stage)
    topups.save_rule(
        account=stage.account, pool_id=stage.pool.pk, threshold=Decimal(100), pack_id=shop.pk, credits=Decimal(1_000),
        method_id=None, max_count=1, max_money=Decimal(500), now=stage.now,
    )  # fmt: skip
    assert "The automatic top-up of Main pool pays with this card" in text_of(
        alice.get(f"{url}/{encode('pm', card.pk)}/remove")
    )
    assert "automatic top-up" not in text_of(alice.get(f"{url}/{encode('pm', other.pk)}/remove")).partition("?")[2]


@pytest.mark.parametrize("act", ["default", "remove"])
def test_a_card_of_another_account_is_404(client: Client, stage: Stage, url: str, act: str) -> None:
    card = make_card(stage)
    client.force_login(stage.mallory)
    hers = f"/a/{encode('acc', stage.mallory.memberships.get().account_id)}/payment-methods"
    for address in (url, hers):
        assert client.post(f"{address}/{encode('pm', card.pk)}/{act}").status_code == 404
    assert client.get(f"{hers}/{encode('pm', card.pk)}/remove").status_code == 404
    card.refresh_from_db()
    assert card.is_default
    assert card.removed_at is None


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_only_owners_and_admins_get_at_cards(client: Client, stage: Stage, url: str, role: str) -> None:
    card = make_card(stage)
    sign_in_as(client, stage, role)
    answers = [client.get(url), client.post(url, _form())]
    answers += [client.post(f"{url}/{encode('pm', card.pk)}/{act}") for act in ("default", "remove")]
    assert {answer.status_code for answer in answers} == {403}
    assert PaymentMethod.objects.get().removed_at is None


def test_the_anonymous_sign_in_first(client: Client, stage: Stage, url: str) -> None:
    card = make_card(stage)
    for address in (url, f"{url}/{encode('pm', card.pk)}/default", f"{url}/{encode('pm', card.pk)}/remove"):
        assert client.post(address)["Location"].startswith("/login")
    assert PaymentMethod.objects.get().removed_at is None


def test_making_default_is_no_link(alice: Client, stage: Stage, url: str) -> None:
    assert alice.get(f"{url}/{encode('pm', make_card(stage).pk)}/default").status_code == 405


def test_the_page_reads_little(alice: Client, stage: Stage, url: str, django_assert_max_num_queries: Any) -> None:
    for _ in range(3):
        make_card(stage)
    with django_assert_max_num_queries(MAX_QUERIES):
        alice.get(url)
