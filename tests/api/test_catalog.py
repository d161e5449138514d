from decimal import Decimal

import pytest

from billing.accounts.ids import encode
from billing.catalog import plans, rate_cards
from billing.catalog.pack_models import Pack, PackTier
from tests.api.asking import not_refused
from tests.factories import NOW, make_meter, make_pack, make_plan, make_rate_card

PATHS = ["/meters", "/rate-cards", "/packs", "/plans"]


def test_a_malformed_query_is_refused(platform):
    answers = [
        answer
        for path in PATHS
        for answer in (
            (path, platform.get(path, limit="many"), 400, "invalid_request", "limit"),
            (path, platform.get(path, cursor="!"), 400, "invalid_cursor"),
        )
    ]
    assert not_refused(answers) == []


def test_meters_are_listed_without_what_they_cost_us(alice):
    make_meter("tokens", unit_cost=Decimal("0.0001"))
    (item,) = alice.get("/meters").json()["items"]
    assert (item["key"], item["kind"], item["unit"]) == ("tokens", "counter", "token")
    assert "unit_cost" not in item


def test_rate_cards_show_their_published_versions_only(platform):
    card = make_rate_card({make_meter("tokens"): "0.002"})
    rate_cards.draft_version(rate_card_id=card.pk, now=NOW)
    (item,) = platform.get("/rate-cards").json()["items"]
    (version,) = item["versions"]
    assert (item["key"], version["number"], version["counts_by"]) == ("standard", 1, "billing_period")
    (rate,) = version["rates"]
    assert (rate["meter"], rate["price"], rate["unit_size"], rate["model"]) == ("tokens", "0.002", "1", "per_unit")


def test_a_customer_sees_the_default_card_and_their_own_only(alice, platform, acme, mallory):
    meter = make_meter("tokens")
    make_rate_card({meter: "1"})
    contract = make_rate_card({meter: "0.5"}, "contract", is_default=False)
    make_rate_card({meter: "0.1"}, "secret", is_default=False)
    rate_cards.assign(account=acme, rate_card=contract, kind="contract", starts_at=NOW)
    assert [item["key"] for item in alice.get("/rate-cards").json()["items"]] == ["contract", "standard"]
    assert [item["key"] for item in mallory.get("/rate-cards").json()["items"]] == ["standard"]
    assert len(platform.get("/rate-cards").json()["items"]) == 3


@pytest.fixture
def pack(db) -> Pack:
    """10,000 credits at $0.10 each, from 100,000 on at $0.07."""
    pack = Pack.objects.create(
        key="credits", name="Credits", min_credits=10_000, max_credits=1_000_000, step_credits=1000, created_at=NOW
    )
    PackTier.objects.create(pack=pack, from_credits=10_000, unit_price="0.10")
    PackTier.objects.create(pack=pack, from_credits=100_000, unit_price="0.07")
    return pack


def test_packs_show_their_tiers(alice, pack):
    (item,) = alice.get("/packs").json()["items"]
    assert item["tiers"] == [
        {"from_credits": "10000", "unit_price": "0.1"},
        {"from_credits": "100000", "unit_price": "0.07"},
    ]
    assert (item["currency"], item["validity_days"], item["quote"]) == ("USD", None, None)


def test_an_amount_is_quoted(alice, pack):
    totals = {"10000": "1000", "99000": "9900", "100000": "7000", "9999": None, "10500": None}
    quotes = {credits: alice.get("/packs", credits=credits).json()["items"][0]["quote"] for credits in totals}
    assert {credits: quote and quote["total"] for credits, quote in quotes.items()} == totals


def test_a_pack_that_is_not_on_sale_is_not_listed(alice, pack):
    pack.is_active = False
    pack.save()
    assert alice.get("/packs").json()["items"] == []


def test_a_customer_sees_only_packs_for_their_segment_and_currency(alice, platform, pack):
    make_pack("boost", target_segments=["startup"])
    make_pack("euros", currency="EUR")
    assert [item["key"] for item in alice.get("/packs").json()["items"]] == [pack.key]
    assert len(platform.get("/packs").json()["items"]) == 3


def test_a_malformed_amount_is_not_quoted(alice, pack):
    rows = ["0", "-1", "NaN", "1e5", "\uff11"]
    answers = [(credits, alice.get("/packs", credits=credits), "credits") for credits in rows]
    assert not_refused(answers, 400, "invalid_request") == []


def test_plans_on_sale_show_their_newest_version_and_prices(platform):
    make_plan("draft", published=False)
    plans.retire(plan_id=make_plan("old").plan_id, now=NOW)
    first = make_plan(
        "team", included_credits=Decimal(10_000), policy="overage", overage_unit=Decimal(1000), seats_max=9,
        prices={"USD": {"fee": "49", "overage_tiers": [{"up_to": None, "price": "2"}]}, "EUR": {
            "fee": "45", "overage_tiers": [{"up_to": None, "price": "1.8"}]}},
    )  # fmt: skip
    second = plans.publish(version_id=plans.draft_from(version_id=first.pk, now=NOW).pk, now=NOW)
    (item,) = platform.get("/plans").json()["items"]
    assert (item["id"], item["key"], item["name"], item["version"]) == (encode("plv", second.pk), "team", "Team", 2)
    assert (item["interval"], item["interval_count"], item["included_credits"]) == ("month", 1, "10000")
    assert (item["rollover_cap"], item["seats_max"], item["overage_unit"]) == (None, 9, "1000")
    assert item["prices"] == [
        {"currency": currency, "fee": fee, "seat_price": "0", "minimum": "0",
         "overage_tiers": [{"up_to": None, "price": price}]}
        for currency, fee, price in (("EUR", "45", "1.8"), ("USD", "49", "2"))
    ]  # fmt: skip


def test_a_customer_sees_plans_of_their_currency_and_segment_only(alice, mallory, platform, acme):
    make_plan("team", prices={"USD": {"fee": "49"}, "EUR": {"fee": "45"}})
    make_plan("euro", prices={"EUR": {"fee": "45"}})
    make_plan("young", target_segments=["startup"])
    acme.segment_override = "startup"
    acme.save()
    items = alice.get("/plans").json()["items"]
    assert [item["key"] for item in items] == ["young", "team"]
    assert [price["currency"] for item in items for price in item["prices"]] == ["USD", "USD"]
    assert [item["key"] for item in mallory.get("/plans").json()["items"]] == ["team"]
    assert len(platform.get("/plans").json()["items"]) == 3


def test_plans_are_listed_in_pages(platform):
    for key in ("one", "two", "three"):
        make_plan(key)
    page = platform.get("/plans", limit=2).json()
    assert [item["key"] for item in page["items"]] == ["three", "two"]
    rest = platform.get("/plans", limit=2, cursor=page["next_cursor"]).json()
    assert ([item["key"] for item in rest["items"]], rest["next_cursor"]) == (["one"], None)
