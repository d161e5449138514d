"""The packs on sale."""

from decimal import Decimal

import pytest
from django.test import Client

from billing.accounts.ids import encode
from billing.catalog.pack_models import Pack
from tests.factories import make_issuer, make_meter, make_pack, make_rate_card
from tests.portal.conftest import MAX_QUERIES, Stage
from tests.portal.shop import sign_in_as, text_of


def test_it_shows_each_tier_with_price_and_saving(alice: Client, stage: Stage, shop: Pack) -> None:
    page = text_of(alice.get(f"{stage.url}/buy"))
    assert "1,000 credits $0.12 \N{EN DASH} $120.00" in page
    assert "10,000 credits $0.10 16% $1,000.00" in page
    assert "100,000 credits $0.07 41% $7,000.00" in page
    assert "Good for 1 year from the day you pay" in page


def test_it_says_what_credits_buy_at_the_accounts_own_average(alice: Client, stage: Stage, shop: Pack) -> None:
    page = text_of(alice.get(f"{stage.url}/buy"))
    assert "What 1,000 credits buy Images 2,000 images" in page
    assert "at what you paid on average in the last 30 days" in page


def test_before_any_usage_it_reckons_with_list_prices(client: Client, stage: Stage, shop: Pack) -> None:
    make_rate_card({make_meter(): "0.5", stage.meter: "0"})
    client.force_login(stage.mallory)
    page = text_of(client.get(f"/a/{encode('acc', stage.mallory.memberships.get().account_id)}/buy"))
    assert "What 1,000 credits buy Tokens 2,000 tokens" in page
    assert "at list prices" in page
    assert "Images" not in page


def test_each_tier_leads_to_its_checkout(alice: Client, stage: Stage, shop: Pack) -> None:
    assert f'href="{stage.url}/buy/credits?credits=10000"' in alice.get(f"{stage.url}/buy").content.decode()


def test_only_packs_for_the_account_are_shown(alice: Client, stage: Stage, shop: Pack) -> None:
    make_pack("whales", name="For whales", target_segments=["whale"])
    make_pack("euros", name="In euros", currency="EUR")
    make_pack("gone", name="Gone", is_active=False)
    make_pack("ever", name="For ever", validity_days=None)
    stage.account.segment_override = "whale"
    stage.account.save()
    page = text_of(alice.get(f"{stage.url}/buy"))
    assert "For whales" in page
    assert "These credits never expire" in page
    assert "In euros" not in page
    assert "Gone" not in page


def test_text_of_staff_is_inert(alice: Client, stage: Stage) -> None:
    make_pack("evil", name="<script>alert(1)</script>", description="<b>bold</b>")
    page = alice.get(f"{stage.url}/buy").content.decode()
    assert "<script>alert" not in page
    assert "&lt;b&gt;bold" in page


def test_an_empty_shop_says_so(alice: Client, stage: Stage) -> None:
    page = text_of(alice.get(f"{stage.url}/buy"))
    assert "Nothing is for sale at the moment There is no pack in USD" in page


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_members_are_told_why_they_cannot_buy(client: Client, stage: Stage, shop: Pack, role: str) -> None:
    sign_in_as(client, stage, role)
    response = client.get(f"{stage.url}/buy")
    assert response.status_code == 403
    assert f"Your role in Northwind is {role.title()}. Only owners and admins may do this" in text_of(response)


def test_the_page_reads_little(alice: Client, stage: Stage, shop: Pack, django_assert_max_num_queries: object) -> None:
    for number in range(5):
        make_pack(f"pack-{number}", prices={"1000": str(Decimal(number + 1) / 100)})
    with django_assert_max_num_queries(MAX_QUERIES):  # type: ignore[operator]
        alice.get(f"{stage.url}/buy")


def test_prices_with_tax_are_said_to_be_so(alice: Client, stage: Stage) -> None:
    """119 a thousand with tax in it is what the shelf, the checkout and the invoice say."""
    make_issuer()
    make_pack("gross", prices={"1000": "0.119"}, prices_include_tax=True)
    shelf = text_of(alice.get(f"{stage.url}/buy"))
    assert "Prices include tax." in shelf
    assert "before tax" not in shelf
    page = text_of(alice.get(f"{stage.url}/buy/gross", follow=True))
    assert "Price by volume, tax included" in page
    assert "Price per credit $0.119 with tax" in page
    assert "Net price $100.00 VAT 19% $19.00 Total $119.00" in page
