"""Automatic top-up: its settings, how it stands, what it bought."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from billing.accounts.ids import encode
from billing.catalog.pack_models import Pack
from billing.ledger import pools, posting
from billing.payments.models import PaymentMethod
from billing.purchases import topups
from billing.purchases.models import TopUpRule
from tests.payments import makers as cards
from tests.portal.conftest import MAX_QUERIES, Stage
from tests.portal.shop import make_card, sign_in_as, text_of


@pytest.fixture
def card(stage: Stage) -> PaymentMethod:
    return make_card(stage)


@pytest.fixture
def url(stage: Stage, shop: Pack) -> str:
    return f"{stage.url}/top-ups"


def _form(shop: Pack, **fields: Any) -> dict[str, Any]:
    given = {"threshold": "500", "pack": shop.pk, "credits": "1000", "method": "", "max_count": 3, "max_money": "1000"}
    return {"act": "save", **given, **fields}


def _set_up(stage: Stage, shop: Pack) -> TopUpRule:
    return topups.save_rule(
        account=stage.account, pool_id=stage.pool.pk, threshold=Decimal(500), pack_id=shop.pk, credits=Decimal(1_000),
        method_id=None, max_count=3, max_money=Decimal(1_000), now=stage.now,
    )  # fmt: skip


def _run_low(stage: Stage) -> None:
    """Spend all but 49.5 credits, and let the top-ups run."""
    posting.spend(pool_id=stage.pool.pk, credits=Decimal(700), reference="low", now=stage.now)
    topups.run_due(now=stage.now, limit=10)


def test_before_it_is_set_up_it_says_what_it_does(alice: Client, url: str) -> None:
    page = text_of(alice.get(url))
    assert "Not set up" in page
    assert "Automatic top-up needs a card. Add one first." in page


def test_saving_switches_it_on(alice: Client, stage: Stage, shop: Pack, card: PaymentMethod, url: str) -> None:
    page = text_of(alice.post(url, _form(shop), follow=True))
    assert "Automatic top-up of Main pool is on." in page
    assert "When fewer than 500 credits are left Buy 1,000 of Credits Pay with the default card" in page
    assert "0 of 3 top-ups, $0.00 of $1,000.00" in page
    rule = TopUpRule.objects.get()
    assert (rule.pool, rule.threshold, rule.credits, rule.method, rule.is_active) == (
        stage.pool,
        500,
        1_000,
        None,
        True,
    )


def test_it_can_be_changed_and_switched_off(
    alice: Client, stage: Stage, shop: Pack, card: PaymentMethod, url: str
) -> None:
    _set_up(stage, shop)
    alice.post(url, _form(shop, threshold="900", method=card.pk))
    rule = TopUpRule.objects.get()
    assert (rule.threshold, rule.method) == (900, card)
    page = text_of(alice.post(url, {"act": "off"}, follow=True))
    assert "Automatic top-up of Main pool is off." in page
    assert "Save and switch on" in page
    assert not TopUpRule.objects.get().is_active


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"threshold": ""}, "This field is required."),
        ({"threshold": "0"}, "greater than or equal to 1"),
        ({"threshold": "1000"}, "Choose less than the 1,000 credits that one top-up brings."),
        ({"credits": "1500"}, "in steps of 1,000"),
        ({"pack": "999999"}, "Select a valid choice."),
        ({"method": "999999"}, "Select a valid choice."),
        ({"max_count": "0"}, "greater than or equal to 1"),
        ({"max_money": "142.79"}, "One top-up costs $142.80, tax included. Choose at least that."),
        ({"max_money": "NaN"}, "Enter a number."),
    ],
)
def test_what_makes_no_sense_is_refused(
    alice: Client, shop: Pack, card: PaymentMethod, url: str, fields: dict[str, str], complaint: str
) -> None:
    response = alice.post(url, _form(shop, **fields))
    assert response.status_code == 422
    assert complaint in text_of(response)
    assert not TopUpRule.objects.exists()


def test_without_a_card_it_cannot_be_switched_on(alice: Client, shop: Pack, url: str) -> None:
    assert "There is no such card." in text_of(alice.post(url, _form(shop)))
    assert not TopUpRule.objects.exists()


def test_what_it_bought_is_listed(alice: Client, stage: Stage, shop: Pack, card: PaymentMethod, url: str) -> None:
    _set_up(stage, shop)
    _run_low(stage)
    page = text_of(alice.get(url))
    assert "1 of 3 top-ups, $142.80 of $1,000.00" in page
    assert "INV-000001 $142.80 Bought" in page


def test_after_a_decline_it_says_how_long_it_waits(alice: Client, stage: Stage, shop: Pack, url: str) -> None:
    make_card(stage, cards.DECLINE)
    _set_up(stage, shop)
    _run_low(stage)
    page = text_of(alice.get(url))
    assert "Waiting after a decline Visa •••• 0002 was declined. It is tried again after" in page
    assert "INV-000001 $142.80 Declined" in page


def test_it_says_why_it_switched_itself_off(
    alice: Client, stage: Stage, shop: Pack, card: PaymentMethod, url: str
) -> None:
    _set_up(stage, shop)
    Pack.objects.update(is_active=False)
    _run_low(stage)
    page = text_of(alice.get(url))
    assert "Switched off by itself The pack is no longer sold in this amount." in page
    assert "No pack is for sale at the moment" in page


def test_it_says_that_the_months_limit_is_reached(
    alice: Client, stage: Stage, shop: Pack, card: PaymentMethod, url: str
) -> None:
    _set_up(stage, shop)
    TopUpRule.objects.update(capped_until=stage.now + timedelta(days=3))
    assert "Paused: this month's limit is reached" in text_of(alice.get(url))


def test_each_pool_has_its_own(alice: Client, stage: Stage, shop: Pack, card: PaymentMethod, url: str) -> None:
    team = pools.open_pool(account=stage.account, key="team", name="Team", now=stage.now)
    response = alice.post(f"{url}?pool=team", _form(shop))
    assert response["Location"] == f"{url}?pool=team"
    assert TopUpRule.objects.get().pool == team
    assert "Not set up" in text_of(alice.get(url))
    assert alice.get(f"{url}?pool=nonsense").status_code == 404


@pytest.mark.parametrize("act", ["save", "off"])
def test_nobody_else_gets_at_it(
    client: Client, stage: Stage, shop: Pack, card: PaymentMethod, url: str, act: str
) -> None:
    _set_up(stage, shop)
    form = _form(shop, act=act, threshold="900")
    assert client.post(url, form)["Location"].startswith("/login")
    client.force_login(stage.mallory)
    assert client.post(url, form).status_code == 404
    sign_in_as(client, stage, "member")
    assert client.post(url, form).status_code == client.get(url).status_code == 403
    rule = TopUpRule.objects.get()
    assert (rule.threshold, rule.is_active) == (500, True)


def test_a_card_of_another_account_pays_nothing(client: Client, stage: Stage, shop: Pack, card: PaymentMethod) -> None:
    client.force_login(stage.mallory)
    hers = f"/a/{encode('acc', stage.mallory.memberships.get().account_id)}/top-ups"
    assert client.post(hers, _form(shop, method=card.pk)).status_code == 422
    assert not TopUpRule.objects.exists()


def test_the_page_reads_little(
    alice: Client, stage: Stage, shop: Pack, card: PaymentMethod, url: str, django_assert_max_num_queries: Any
) -> None:
    _set_up(stage, shop)
    _run_low(stage)
    with django_assert_max_num_queries(MAX_QUERIES):
        alice.get(url)
