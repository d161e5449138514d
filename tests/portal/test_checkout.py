"""The checkout: the whole price before paying, and one purchase per rendered form."""

import re
import uuid
from decimal import Decimal

import pytest
from django.test import Client

from billing.accounts.ids import encode
from billing.accounts.models import Account
from billing.catalog.pack_models import Pack, PackTier
from billing.invoicing.models import Invoice, Issuer
from billing.ledger import pools
from billing.ledger.models import CreditGrant
from billing.payments.gateways import contract
from billing.payments.models import Payment, PaymentMethod
from billing.payments.sandbox_models import SandboxCharge
from billing.purchases.models import Purchase
from tests.factories import make_plan
from tests.portal.conftest import MAX_QUERIES, Stage
from tests.portal.shop import checkout_form, make_card, sign_in_as, text_of

pytestmark = pytest.mark.smoke


def _nothing_was_written() -> bool:
    return not any(model.objects.exists() for model in (Purchase, Invoice, Payment, PaymentMethod, SandboxCharge))


@pytest.fixture
def url(stage: Stage, shop: Pack) -> str:
    return f"{stage.url}/buy/{shop.key}"


def test_it_shows_the_whole_price_before_anything_is_paid(alice: Client, url: str) -> None:
    page = text_of(alice.get(f"{url}?credits=10000", follow=True))
    assert "10,000 credits" in page
    assert "Good for 1 year: if you pay today, until" in page
    assert "Price per credit $0.10 16% saved" in page
    assert "Net price $1,000.00 VAT 19% $190.00 Total $1,190.00" in page
    assert "Pay $1,190.00" in page
    assert _nothing_was_written()


def test_who_has_given_no_address_is_asked_for_it_before_an_invoice_lacks_it(
    alice: Client, stage: Stage, url: str
) -> None:
    make_plan("team")
    pages = (url, f"{stage.url}/plans/team")
    asked = "Your invoices show no address yet. Add it in the billing details before you pay"
    assert [asked in text_of(alice.get(page, follow=True)) for page in pages] == [True, True]
    Account.objects.filter(pk=stage.account.pk).update(address="Hafen 1")
    assert [asked in text_of(alice.get(page, follow=True)) for page in pages] == [False, False]


def test_it_begins_with_the_smallest_amount(alice: Client, url: str) -> None:
    for query in ("", "?credits=", "?credits=nonsense", "?credits=NaN", "?credits=-5", "?credits=1E%2B400"):
        assert "Total $142.80" in text_of(alice.get(url + query, follow=True))


def test_each_rendering_has_a_token_of_its_own(alice: Client, url: str) -> None:
    tokens = {
        re.findall(r'name="token" value="([^"]+)"', alice.get(url, follow=True).content.decode())[0] for _ in range(3)
    }
    assert len(tokens) == 3


@pytest.mark.parametrize("credits", ["500", "1500", "2000000"])
def test_an_amount_that_is_not_sold_has_no_price_and_no_button(alice: Client, url: str, credits: str) -> None:
    page = text_of(alice.get(f"{url}?credits={credits}", follow=True))
    assert "from 1,000 to 1,000,000 credits, in steps of 1,000" in page
    assert "Pay $" not in page


def test_the_price_alone_is_refreshed_as_the_amount_is_typed(alice: Client, url: str) -> None:
    response = alice.get(f"{url}?credits=100000", headers={"HX-Request": "true"})
    assert response.content.decode().lstrip().startswith('<section class="card quote"')
    assert "Total $8,330.00" in text_of(response)


def test_without_javascript_a_button_asks_for_the_price(alice: Client, stage: Stage, url: str) -> None:
    form = {"act": "quote", "token": str(uuid.uuid4()), "credits": "100000", "pool": stage.pool.pk, "method": "new"}
    response = alice.post(url, form)
    assert response.status_code == 200
    page = response.content.decode()
    assert "Pay $8,330.00" in page
    assert form["token"] in page
    assert "errorlist" not in page
    assert _nothing_was_written()


def test_it_buys_with_a_new_card(alice: Client, stage: Stage, url: str) -> None:
    form = checkout_form(stage)
    response = alice.post(url, form)
    assert response["Location"] == f"{stage.url}/purchases/{form['token']}"
    bought = Purchase.objects.get()
    assert (str(bought.token), bought.buyer, bought.credits) == (form["token"], stage.alice, 10_000)
    assert bought.invoice.state == "paid"
    assert PaymentMethod.objects.get().last4 == "4242"
    assert "10,000 credits are in" in text_of(alice.get(response["Location"]))


def test_it_buys_with_a_saved_card_for_a_team_pool(alice: Client, stage: Stage, url: str) -> None:
    team = pools.open_pool(account=stage.account, key="team", name="Team", now=stage.now)
    card = make_card(stage)
    response = alice.post(url, checkout_form(stage, method=card.pk, pool=team.pk, number="", expiry="", cvc=""))
    assert response.status_code == 302
    assert CreditGrant.objects.get(pool=team).amount == 10_000


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"number": ""}, "This is needed for a new card."),
        ({"number": "12"}, "A card number has 12 to 19 digits."),
        ({"number": "4111111111111111"}, "Only test cards work here"),
        ({"expiry": "13/40"}, "Type month and year as on the card"),
        ({"expiry": "01/20"}, "This card is not good any more."),
        ({"cvc": "12"}, "The three or four digits on the card."),
        ({"cvc": "1234"}, "Enter the security code, 3 digits."),
        ({"method": ""}, "Choose a card."),
        ({"method": "999999"}, "Choose one of these cards."),
        ({"credits": "1500"}, "in steps of 1,000"),
        ({"credits": ""}, "This field is required."),
        ({"credits": "NaN"}, "Enter a number."),
        ({"pool": "999999"}, "Select a valid choice."),
        ({"token": "nonsense"}, "Pay"),
        ({"seen": "142.80 USD"}, "The price has changed since you saw it."),
        ({"seen": ""}, "The price has changed since you saw it."),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_bought(
    alice: Client, stage: Stage, url: str, fields: dict[str, str], complaint: str
) -> None:
    response = alice.post(url, checkout_form(stage, **fields))
    assert response.status_code == 422
    assert complaint in text_of(response)
    assert _nothing_was_written()


def test_card_details_are_never_shown_again(alice: Client, stage: Stage, url: str) -> None:
    page = alice.post(url, checkout_form(stage, number="4000056655665556", cvc="987", expiry="11/39")).content.decode()
    for secret in ("4000056655665556", "987", "11/39"):
        assert f'value="{secret}"' not in page


def test_a_price_that_rose_meanwhile_is_shown_and_not_charged(alice: Client, stage: Stage, url: str) -> None:
    PackTier.objects.filter(from_credits=10_000).update(unit_price=Decimal("0.11"))
    response = alice.post(url, checkout_form(stage))
    assert "Pay $1,309.00" in text_of(response)
    assert _nothing_was_written()


def test_sending_the_form_again_buys_once(alice: Client, stage: Stage, url: str) -> None:
    form = checkout_form(stage)
    places = {alice.post(url, form)["Location"] for _ in range(3)}
    assert places == {f"{stage.url}/purchases/{form['token']}"}
    assert Purchase.objects.count() == Payment.objects.count() == PaymentMethod.objects.count() == 1


def test_going_back_and_buying_more_with_the_same_form_says_what_it_had_bought(
    alice: Client, stage: Stage, url: str
) -> None:
    form = checkout_form(stage)
    alice.post(url, form)
    response = alice.post(url, {**form, "credits": "100000", "seen": "8330.00 USD"}, follow=True)
    assert "That form had bought these credits already. Nothing more was charged." in text_of(response)
    assert Purchase.objects.get().credits == 10_000
    assert SandboxCharge.objects.count() == 1


def test_going_back_to_the_form_leads_to_what_it_bought(alice: Client, stage: Stage, url: str) -> None:
    address = alice.get(f"{url}?credits=10000")["Location"]
    token = re.findall(r'name="token" value="([^"]+)"', alice.get(address).content.decode())[0]
    assert token in address
    alice.post(url, checkout_form(stage, token=token))
    response = alice.get(address, follow=True)
    assert response.redirect_chain == [(f"{stage.url}/purchases/{token}", 302)]
    assert "That form had bought these credits already. Nothing more was charged." in text_of(response)
    assert SandboxCharge.objects.count() == 1


def test_a_token_of_another_account_buys_nothing(client: Client, stage: Stage, url: str) -> None:
    client.force_login(stage.alice)
    form = checkout_form(stage)
    client.post(url, form)
    client.force_login(stage.mallory)
    hers = stage.mallory.memberships.get().account
    theirs = checkout_form(stage, token=form["token"], pool=pools.get_main_pool(hers.pk).pk)
    response = client.post(f"/a/{encode('acc', hers.pk)}/buy/credits", theirs)
    assert response.status_code == 422
    assert form["token"] not in response.content.decode()
    assert Purchase.objects.count() == 1
    assert not hers.invoices.exists()


def test_a_silent_gateway_is_told_and_the_next_try_has_a_token_of_its_own(
    alice: Client, stage: Stage, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(**_: object) -> None:
        raise contract.GatewayUnavailable

    monkeypatch.setattr("billing.payments.gateways.sandbox.store_card", silent)
    form = checkout_form(stage)
    response = alice.post(url, form)
    assert "The card could not be checked just now. Nothing was charged" in text_of(response)
    assert form["token"] not in response.content.decode()
    assert _nothing_was_written()


def test_without_an_issuer_nothing_can_be_sold(alice: Client, stage: Stage, url: str) -> None:
    Issuer.objects.update(is_default=False)
    assert "Nothing can be sold at the moment" in text_of(alice.get(url, follow=True))
    assert alice.post(url, checkout_form(stage)).status_code == 422
    assert _nothing_was_written()


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_only_owners_and_admins_buy(client: Client, stage: Stage, url: str, role: str) -> None:
    sign_in_as(client, stage, role)
    for response in (client.get(url), client.post(url, checkout_form(stage))):
        assert response.status_code == 403
        assert "You may not do this" in text_of(response)
    assert _nothing_was_written()


def test_the_anonymous_and_strangers_do_not_get_in(client: Client, stage: Stage, url: str) -> None:
    assert client.post(url, checkout_form(stage))["Location"].startswith("/login")
    client.force_login(stage.mallory)
    assert client.get(url).status_code == 404
    assert client.post(url, checkout_form(stage)).status_code == 404
    assert _nothing_was_written()


@pytest.mark.parametrize(
    "fields", [{"is_active": False}, {"currency": "EUR"}, {"target_segments": ["whale"]}], ids=lambda each: str(each)
)
def test_a_pack_that_is_not_for_the_account_is_404(
    alice: Client, stage: Stage, shop: Pack, url: str, fields: dict[str, object]
) -> None:
    Pack.objects.filter(pk=shop.pk).update(**fields)
    assert alice.get(url).status_code == 404
    assert alice.post(url, checkout_form(stage)).status_code == 404
    assert _nothing_was_written()


def test_the_page_reads_little(alice: Client, stage: Stage, url: str, django_assert_max_num_queries: object) -> None:
    for _ in range(3):
        make_card(stage)
    with django_assert_max_num_queries(MAX_QUERIES):  # type: ignore[operator]
        assert alice.get(f"{url}?form={uuid.uuid4()}").status_code == 200


def test_saved_cards_come_first_and_the_default_is_chosen(alice: Client, stage: Stage, url: str) -> None:
    make_card(stage)
    chosen = make_card(stage, "5555555555554444", make_default=True)
    page = alice.get(url, follow=True).content.decode()
    assert re.search(rf'value="{chosen.pk}"[^>]* checked', page)
