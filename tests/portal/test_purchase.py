"""What became of a purchase: the page one comes back to."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone

from billing.accounts.ids import encode
from billing.catalog.pack_models import Pack
from billing.invoicing.models import Invoice
from billing.payments import checking
from billing.payments.models import Payment
from billing.payments.sandbox_models import SandboxCharge
from billing.purchases import checkout
from billing.purchases.models import Purchase
from tests.payments import makers as cards
from tests.portal.conftest import MAX_QUERIES, Stage
from tests.portal.shop import NEW_CARD, make_card, sign_in_as, text_of


def _buy(stage: Stage, pack: Pack, number: str = cards.SUCCESS) -> str:
    """Alice buys 10,000 credits with this card; the page of the purchase."""
    bought = checkout.buy(
        token=uuid.uuid4(), account_id=stage.account.pk, pack_id=pack.pk, pool_id=stage.pool.pk,
        credits=Decimal(10_000), method_id=make_card(stage, number).pk, buyer_id=stage.alice.pk,
        return_url="http://testserver/", now=stage.now,
    )  # fmt: skip
    return f"{stage.url}/purchases/{bought.token}"


def test_a_success_says_where_the_credits_are_and_until_when(alice: Client, stage: Stage, shop: Pack) -> None:
    page = text_of(alice.get(_buy(stage, shop)))
    until = timezone.localtime(stage.now + timedelta(days=365), timezone.get_fixed_timezone(-300))
    assert "10,000 credits are in Main pool" in page
    assert f"They are good until {until.day} {until:%B %Y}. The pool's balance then was 10,749.5 credits." in page
    assert "Invoice INV-000001" in page


@pytest.mark.parametrize(
    ("number", "said", "waits"),
    [
        (cards.DECLINE, "The card was declined.", False),
        (
            cards.INSUFFICIENT,
            "The card has insufficient funds. Nothing was charged. Pay with another card, or try",
            False,
        ),
        (
            cards.EXPIRED,
            "The card has expired. Use another card. Nothing was charged. Please pay with another card.",
            False,
        ),
        (cards.ACTION, "Confirm at your bank", True),
        (cards.SLOW, "Your payment is under way", True),
        (cards.BLACKOUT, "The bank has not answered yet", True),
    ],
)
def test_each_outcome_is_said_with_what_to_do(
    alice: Client, stage: Stage, shop: Pack, number: str, said: str, waits: bool
) -> None:
    response = alice.get(_buy(stage, shop, number))
    assert said in text_of(response)
    assert ("hx-trigger" in response.content.decode()) == waits
    assert ("Pay $1,190.00" in text_of(response)) != waits


def test_it_may_be_loaded_as_often_as_one_likes(alice: Client, stage: Stage, shop: Pack) -> None:
    page = _buy(stage, shop)
    assert len({text_of(alice.get(page)) for _ in range(3)}) == 1
    assert Purchase.objects.count() == SandboxCharge.objects.count() == 1


def test_a_waiting_page_is_told_to_load_anew_once_something_changed(alice: Client, stage: Stage, shop: Pack) -> None:
    page = _buy(stage, shop, cards.SLOW)
    look = {"path": f"{page}?state=processing&every=2", "headers": {"HX-Request": "true"}}
    response = alice.get(**look)  # type: ignore[arg-type]
    assert (response.status_code, response.content) == (204, b"")
    checking.check_due(now=stage.now + timedelta(minutes=2), limit=10)
    assert alice.get(**look)["HX-Refresh"] == "true"  # type: ignore[arg-type]
    assert "10,000 credits are in" in text_of(alice.get(page))


def test_a_page_that_waits_long_looks_less_often(alice: Client, stage: Stage, shop: Pack) -> None:
    page = _buy(stage, shop, cards.BLACKOUT)
    assert 'hx-trigger="every 2s"' in alice.get(page).content.decode()
    Payment.objects.update(created_at=stage.now - timedelta(minutes=2))
    assert 'hx-trigger="every 15s"' in alice.get(page).content.decode()


def test_back_from_the_bank_it_waits_for_the_answer(alice: Client, stage: Stage, shop: Pack) -> None:
    page = _buy(stage, shop, cards.ACTION)
    shown = text_of(alice.get(f"{page}?from=bank"))
    assert "Waiting for your bank's answer" in shown
    assert "Not confirmed yet? Open your bank's page." in shown


def test_after_a_decline_another_card_pays_and_comes_back_here(alice: Client, stage: Stage, shop: Pack) -> None:
    page = _buy(stage, shop, cards.DECLINE)
    invoice = Invoice.objects.get()
    response = alice.post(
        f"{stage.url}/invoices/{encode('ivc', invoice.pk)}/pay", {"token": str(uuid.uuid4()), **NEW_CARD}
    )
    assert response["Location"] == page
    assert "10,000 credits are in Main pool" in text_of(alice.get(page))


def test_a_declined_purchase_can_be_cancelled(alice: Client, stage: Stage, shop: Pack) -> None:
    page = _buy(stage, shop, cards.DECLINE)
    assert "Cancel this purchase" in text_of(alice.get(page))
    response = alice.post(f"{page}/cancel", follow=True)
    assert "This purchase was cancelled" in text_of(response)
    assert Invoice.objects.get().state == "void"


def test_a_paid_purchase_cannot(alice: Client, stage: Stage, shop: Pack) -> None:
    page = _buy(stage, shop)
    assert "Cancel this purchase" not in text_of(alice.get(page))
    assert "cannot be cancelled now" in text_of(alice.post(f"{page}/cancel", follow=True))
    assert Invoice.objects.get().state == "paid"


@pytest.mark.parametrize("act", ["", "/cancel"])
def test_nobody_else_gets_at_it(client: Client, stage: Stage, shop: Pack, act: str) -> None:
    page = _buy(stage, shop, cards.DECLINE) + act
    assert client.post(page)["Location"].startswith("/login") if act else client.get(page).status_code == 302
    client.force_login(stage.mallory)
    hers = f"/a/{encode('acc', stage.mallory.memberships.get().account_id)}"
    for address in (page, page.replace(stage.url, hers)):
        assert (client.post(address) if act else client.get(address)).status_code == 404
    sign_in_as(client, stage, "member")
    assert (client.post(page) if act else client.get(page)).status_code == 403
    assert Invoice.objects.get().state == "open"


def test_an_unknown_token_is_404(alice: Client, stage: Stage, shop: Pack) -> None:
    assert alice.get(f"{stage.url}/purchases/{uuid.uuid4()}").status_code == 404
    assert alice.post(f"{stage.url}/purchases/{uuid.uuid4()}/cancel").status_code == 404
    assert alice.get(f"{stage.url}/purchases/nonsense").status_code == 404


@pytest.mark.parametrize("number", [cards.SUCCESS, cards.DECLINE])
def test_the_page_reads_little(
    alice: Client, stage: Stage, shop: Pack, django_assert_max_num_queries: object, number: str
) -> None:
    page = _buy(stage, shop, number)
    with django_assert_max_num_queries(MAX_QUERIES):  # type: ignore[operator]
        alice.get(page)
