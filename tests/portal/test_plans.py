"""The plans on offer, side by side, and subscribing to one."""

import re
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from billing.accounts.ids import encode
from billing.catalog.models import Coupon, Plan, PlanVersion
from billing.catalog.pack_models import Pack
from billing.invoicing.models import Invoice, Issuer
from billing.ledger import balance
from billing.payments.models import Payment, PaymentMethod
from billing.subscriptions.agreement import contracts
from billing.subscriptions.agreement.contracts import Agreed
from billing.subscriptions.models import Subscription
from tests.factories import make_plan
from tests.payments import makers as cards
from tests.portal.conftest import MAX_QUERIES, Stage
from tests.portal.shop import NEW_CARD, make_card, sign_in_as, text_of

OVERAGE = [{"up_to": None, "price": "12"}]


@pytest.fixture
def team(stage: Stage, shop: Pack) -> PlanVersion:
    """10,000 credits and three seats for 49.00 a month, 58.31 with tax."""
    return make_plan(
        "team", prices={"USD": {"fee": "49", "seat_price": "9", "overage_tiers": OVERAGE}}, seats_included=3,
        seats_max=50, included_credits=Decimal(10_000), policy="overage", overage_unit=Decimal(1000),
        rollover="share", rollover_percent=Decimal(50), rollover_periods=2,
    )  # fmt: skip


@pytest.fixture
def url(stage: Stage, team: PlanVersion) -> str:
    return f"{stage.url}/plans/team"


def _form(**fields: Any) -> dict[str, Any]:
    """A filled form for team with its three seats, as its page shows it."""
    given = {"act": "confirm", "token": str(uuid.uuid4()), "seats": "3", "seen": "58.31 USD False", **NEW_CARD}
    return {**given, **fields}


def _available(stage: Stage) -> Decimal:
    return balance.read(pool_id=stage.pool.pk, now=timezone.now()).available


def test_plans_stand_side_by_side_in_plain_words(alice: Client, stage: Stage, team: PlanVersion) -> None:
    price = {"fee": "0", "minimum": "100", "overage_tiers": [{"up_to": None, "price": "0.014"}]}
    make_plan("metered", prices={"USD": price}, policy="overage")
    page = text_of(alice.get(f"{stage.url}/plans"))
    assert "Team $49.00 a month" in page
    assert "10,000 credits each month" in page
    assert "When they run out, usage goes on at $12.00 per 1,000 credits" in page
    assert "Rollover of unused credits: up to 50% of what is included, 2 times" in page
    assert "3 seats included, each further seat $9.00 a month, at most 50" in page
    assert "Pay for what you use: $0.014 a credit" in page
    assert "Side by side Team Metered Fee $49.00 a month No fee" in page
    assert "Prices are before tax." in page


def test_a_price_agreed_with_the_account_stands_on_the_plan_it_is_for(
    alice: Client, stage: Stage, team: PlanVersion
) -> None:
    make_plan("scale", prices={"USD": {"fee": "99"}}, prices_include_tax=True)
    contracts.agree(
        account_id=stage.account.pk, agreed=Agreed(team.plan_id, "USD", fee=Decimal(39)), starts_at=stage.now,
        ends_at=None, note="x", actor="x", now=stage.now,
    )  # fmt: skip
    page = text_of(alice.get(f"{stage.url}/plans"))
    assert "Team $39.00 a month before tax Agreed with you" in page
    assert "Scale $99.00 a month tax included" in page
    assert "Side by side Team Scale Fee $39.00 a month $99.00 a month" in page
    assert "Prices " not in page


def test_plans_stand_in_the_order_that_staff_gave_them(alice: Client, stage: Stage, team: PlanVersion) -> None:
    for position, key in enumerate(("small", "large", "middle")):
        version = make_plan(key, prices={"USD": {"fee": "5"}})
        Plan.objects.filter(pk=version.plan_id).update(position=9 - position)
    assert "Side by side Team Middle Large Small Fee" in text_of(alice.get(f"{stage.url}/plans"))


def test_yearly_plans_have_a_shelf_of_their_own(alice: Client, stage: Stage, team: PlanVersion) -> None:
    make_plan(
        "yearly", prices={"USD": {"fee": "490"}}, interval="year", included_credits=Decimal(10_000), grants_monthly=True
    )
    page = text_of(alice.get(f"{stage.url}/plans"))
    assert "Billed monthly Billed yearly" in page
    assert "$490.00" not in page
    yearly = text_of(alice.get(f"{stage.url}/plans?every=year"))
    assert "$490.00 a year that is $40.83 a month" in yearly
    assert "10,000 credits each month" in yearly


def test_without_a_plan_on_offer_it_says_so(alice: Client, stage: Stage, shop: Pack) -> None:
    make_plan("euro", prices={"EUR": {"fee": "49"}})
    make_plan("vip", target_segments=["vip"])
    make_plan("draft", published=False)
    page = text_of(alice.get(f"{stage.url}/plans"))
    assert "No plan is on offer at the moment There is no plan in USD for this account." in page


def test_viewers_see_plans_and_cannot_choose(client: Client, stage: Stage, team: PlanVersion, url: str) -> None:
    sign_in_as(client, stage, "viewer")
    page = text_of(client.get(f"{stage.url}/plans"))
    assert "An owner or admin of this account can choose a plan." in page
    assert client.get(url).status_code == client.post(url, _form()).status_code == 403
    assert not Subscription.objects.exists()


def test_nobody_else_gets_there(client: Client, stage: Stage, team: PlanVersion, url: str) -> None:
    for page in (f"{stage.url}/plans", url):
        assert client.get(page)["Location"].startswith("/login")
    client.force_login(stage.mallory)
    for page in (f"{stage.url}/plans", url):
        assert client.get(page).status_code == 404
    assert client.post(url, _form()).status_code == 404
    assert not Subscription.objects.exists()


@pytest.mark.parametrize("key", ["nonsense", "draft"])
def test_a_plan_that_is_not_on_offer_is_not_found(alice: Client, stage: Stage, team: PlanVersion, key: str) -> None:
    make_plan("draft", published=False)
    assert alice.get(f"{stage.url}/plans/{key}").status_code == 404


def test_the_page_says_what_is_charged_today(alice: Client, url: str) -> None:
    page = text_of(alice.get(url, follow=True))
    assert "Subscribe to Team" in page
    assert "$58.31 today Team $49.00 VAT 19% $9.31 Due today $58.31" in page
    assert "10,000, as soon as it begins" in page
    assert "Pay $58.31 and subscribe" in page


def test_more_seats_and_a_coupon_change_the_price_without_doing_anything(alice: Client, stage: Stage, url: str) -> None:
    Coupon.objects.create(code="SPRING", name="Spring", percent=Decimal(10), created_at=stage.now)
    page = text_of(alice.post(url, _form(act="quote", seats="5", coupon="spring", method="")))
    assert "Team: 2 extra seats $18.00" in page
    # 49 + 18 = 67, less 6.70: 60.30, with 11.46 tax.
    assert "Due today $71.76" in page
    assert not Subscription.objects.exists()


def test_subscribing_pays_at_once_and_brings_the_credits(alice: Client, stage: Stage, url: str) -> None:
    page = text_of(alice.post(url, _form(), follow=True))
    assert "Your plan Active" in page
    assert "Team $49.00 a month" in page
    subscription = Subscription.objects.get()
    assert (subscription.state, subscription.seats) == ("active", 3)
    invoice, payment = Invoice.objects.get(), Payment.objects.get()
    assert (invoice.state, invoice.total, payment.off_session) == ("paid", Decimal("58.31"), False)
    assert payment.idempotency_key == f"collection:{invoice.collection.pk}:1"
    assert _available(stage) == Decimal("10749.5")


def test_sending_the_form_twice_subscribes_once(alice: Client, stage: Stage, url: str) -> None:
    form = _form()
    alice.post(url, form)
    page = text_of(alice.post(url, form, follow=True))
    assert "That form was used already. Nothing more was charged." in page
    assert "used already" in text_of(alice.get(f"{url}?form={form['token']}", follow=True))
    assert Subscription.objects.count() == Payment.objects.count() == 1


def test_a_declined_card_leaves_the_plan_waiting_for_another(alice: Client, stage: Stage, url: str) -> None:
    page = text_of(alice.post(url, _form(number=cards.DECLINE), follow=True))
    assert "Waiting for payment" in page
    assert "The payment did not go through" in page
    assert Subscription.objects.get().state == "incomplete"
    assert _available(stage) == Decimal("749.5")
    invoice = Invoice.objects.get()
    sent = {"token": str(uuid.uuid4()), **NEW_CARD}
    answer = alice.post(f"{stage.url}/invoices/{encode('ivc', invoice.pk)}/pay", sent)
    assert answer["Location"] == f"{stage.url}/plan"
    assert "Your plan Active" in text_of(alice.get(f"{stage.url}/plan"))
    assert _available(stage) == Decimal("10749.5")


def test_a_bank_that_asks_is_waited_for(alice: Client, stage: Stage, url: str) -> None:
    page = text_of(alice.post(url, _form(number=cards.ACTION), follow=True))
    assert "Your bank wants you to confirm" in page
    assert Subscription.objects.get().state == "incomplete"


def test_a_trial_begins_without_a_card(alice: Client, stage: Stage, shop: Pack) -> None:
    make_plan("trial", trial_days=14, trial_credits=Decimal(500), included_credits=Decimal(10_000))
    url = f"{stage.url}/plans/trial"
    told = "Until then nothing is charged: requests are refused when its credits are used up"
    assert told in text_of(alice.get(url, follow=True))
    page = text_of(alice.get(url, follow=True))
    assert "$0.00 today: nothing is charged" in page
    assert "Then $58.31 a month, tax included" in page
    form = _form(seats="", method="later", number="", expiry="", cvc="", seen="58.31 USD True")
    page = text_of(alice.post(url, form, follow=True))
    assert "Free trial" in page
    assert "there is no card yet" in page
    assert Subscription.objects.get().state == "trialing"
    assert _available(stage) == Decimal("1249.5")


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"seen": "1.00 USD False"}, "What you saw has changed since."),
        ({"seats": "51", "seen": ""}, "This plan has at most 50 seats."),
        ({"coupon": "NONE", "seen": ""}, "There is no such coupon."),
        ({"method": ""}, "Choose a card."),
        ({"method": "999999"}, "Choose one of these cards."),
        ({"number": "4242"}, "A card number has 12 to 19 digits."),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_done(
    alice: Client, url: str, fields: dict[str, str], complaint: str
) -> None:
    response = alice.post(url, _form(**fields))
    assert response.status_code == 422
    assert complaint in response.content.decode() or complaint in text_of(response)
    assert not Subscription.objects.exists()
    assert not Invoice.objects.exists()


def test_without_an_issuer_nothing_is_sold(alice: Client, url: str) -> None:
    Issuer.objects.update(is_default=False)
    response = alice.post(url, _form())
    assert response.status_code == 422
    assert "the seller's details are missing" in text_of(response)
    assert not Subscription.objects.exists()


def test_a_card_of_another_account_pays_nothing(client: Client, stage: Stage, team: PlanVersion) -> None:
    card: PaymentMethod = make_card(stage)
    client.force_login(stage.mallory)
    hers = f"/a/{encode('acc', stage.mallory.memberships.get().account_id)}/plans/team"
    assert client.post(hers, _form(method=card.pk)).status_code == 422
    assert not Subscription.objects.exists()


def test_the_form_keeps_its_token_in_the_address(alice: Client, url: str) -> None:
    answer = alice.get(url)
    assert re.fullmatch(rf"{url}\?form=[0-9a-f-]{{36}}", answer["Location"])
    assert alice.get(f"{url}?form=nonsense").status_code == 302


def test_the_pages_read_little(alice: Client, stage: Stage, url: str, django_assert_max_num_queries: Any) -> None:
    make_card(stage)
    with django_assert_max_num_queries(MAX_QUERIES):
        alice.get(f"{stage.url}/plans")
    # A process keeps the published versions that it has met.
    alice.get(url, follow=True)
    with django_assert_max_num_queries(MAX_QUERIES):
        alice.get(f"{url}?form={uuid.uuid4()}")
