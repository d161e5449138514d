"""Subscribing through the API, previews of it, what there is, what is next."""

from decimal import Decimal

import pytest
from django.utils import timezone

from billing.accounts.ids import decode, encode
from billing.catalog.models import Coupon, Plan, PlanVersion
from billing.invoicing.models import Invoice
from billing.subscriptions.models import ContractTerms, Subscription, SubscriptionChange
from tests.api.asking import assert_problem, not_refused, written
from tests.factories import make_account
from tests.subscriptions.makers import make_team

LIST = "/accounts/acme/subscriptions"
PREVIEW = f"{LIST}/preview"


@pytest.fixture
def team(shop) -> PlanVersion:
    """50.00 a month for 1,000 credits; acme has a card and pays 19 % of tax."""
    return make_team(seats_max=10)


def ask(version: PlanVersion, **more: object) -> dict[str, object]:
    """A request to subscribe."""
    return {"plan_version": encode("plv", version.pk), **more}


def refused(answer, status: int, code: str, before: object, field: str | None = None) -> dict:
    """The answer is this problem, and nothing was written."""
    problem = assert_problem(answer, status, code, field)
    assert (written(), Subscription.objects.count(), SubscriptionChange.objects.count()) == before
    return problem


@pytest.fixture
def before(team) -> object:
    """What is there before a request."""
    return written(), 0, 0


def test_a_customer_subscribes_and_is_charged_as_the_preview_said(alice, team):
    told = alice.post(PREVIEW, ask(team)).json()
    assert (told["due_now"]["subtotal"], told["due_now"]["total"], told["credits"]) == ("50", "59.5", "1000")
    assert not Subscription.objects.exists()
    answer = alice.post(LIST, ask(team, reference="signup"))
    assert answer.status_code == 201
    made = answer.json()
    assert (made["state"], made["plan"]["plan"], made["plan"]["plan_version"]) == (
        "active",
        "team",
        encode("plv", team.pk),
    )
    assert (made["currency"], made["period_number"], made["scheduled_change"], made["coupons"]) == ("USD", 1, None, [])
    invoice = Invoice.objects.get(pk=decode("ivc", made["invoice"]))
    assert (invoice.state, f"{invoice.total.normalize():f}") == ("paid", told["due_now"]["total"])
    assert alice.get("/accounts/acme/balance").json()["available"] == "1000"
    assert alice.get(f"/subscriptions/{made['id']}").json() == made
    assert alice.get(LIST).json() == {"items": [made], "next_cursor": None}
    assert alice.post(LIST, ask(team, reference="signup")).json() == made
    assert Invoice.objects.count() == 1


def test_what_no_card_pays_is_incomplete(platform, team, acme):
    acme.payment_methods.update(is_default=False)
    made = platform.post(LIST, ask(team)).json()
    assert (made["state"], Invoice.objects.get().state) == ("incomplete", "open")
    assert platform.get("/accounts/acme/balance").json()["available"] == "0"


def test_the_platform_may_have_an_account_pay_on_invoice_a_customer_may_not(platform, alice, team, before):
    refused(alice.post(LIST, ask(team, collection="manual")), 403, "platform_key_required", before)
    made = platform.post(LIST, ask(team, collection="manual")).json()
    assert (made["state"], made["collection"], Invoice.objects.get().state) == ("active", "manual", "open")


def test_a_trial_costs_nothing_now(alice, shop):
    trial = make_team(key="trial", trial_days=14, trial_credits=Decimal(50))
    told = alice.post(PREVIEW, ask(trial)).json()
    assert (told["due_now"], told["price"]["total"], told["credits"]) == (None, "59.5", "50")
    made = alice.post(LIST, ask(trial)).json()
    assert (made["state"], made["trial_ends_at"], made["invoice"]) == ("trialing", told["trial_ends_at"], None)


def test_a_coupon_is_taken_off(alice, team):
    Coupon.objects.create(code="HALF", name="Half", percent=Decimal(50), duration_periods=3, created_at=timezone.now())
    assert alice.post(PREVIEW, ask(team, coupon="half")).json()["due_now"]["subtotal"] == "25"
    made = alice.post(LIST, ask(team, coupon="HALF")).json()
    assert made["coupons"] == [{"code": "HALF", "name": "Half", "percent": "50", "amount": None, "periods_left": 2}]


def test_what_cannot_be_subscribed_to_is_refused(alice, team, before):
    rows = [
        ({"plan_version": "plv_0000000000009"}, 422, "plan_not_offered", None),
        ({"plan_version": 0}, 400, "invalid_request", "plan_version"),
        ({"seats": 11}, 422, "seats_not_offered", None),
        ({"seats": -1}, 400, "invalid_request", "seats"),
        ({"currency": "EUR"}, 422, "plan_not_offered", None),
        ({"coupon": "NOPE"}, 422, "coupon_refused", None),
        ({"payment_method": "pm_0000000000009"}, 422, "unknown_payment_method", None),
        ({"collection": "never"}, 400, "invalid_request", "collection"),
        ({"colour": "red"}, 400, "invalid_request", "colour"),
    ]
    answers = [
        ((path, more), alice.post(path, ask(team) | more), *expected)
        for path in (LIST, PREVIEW)
        for more, *expected in rows
        if path == LIST or not {"payment_method", "collection"} & more.keys()
    ]
    assert not_refused(answers) == []
    assert (written(), Subscription.objects.count(), SubscriptionChange.objects.count()) == before


def test_a_draft_an_older_version_and_another_segments_plan_are_not_offered(alice, team, before):
    newer = make_team(seats_max=20)
    for version in (team, make_team(key="draft", published=False), make_team(key="vip", target_segments=["vip"])):
        refused(alice.post(LIST, ask(version)), 422, "plan_not_offered", before)
    Plan.objects.update(retired_at=timezone.now())
    refused(alice.post(LIST, ask(newer)), 422, "plan_not_offered", before)


def test_an_account_has_one_subscription_at_a_time(alice, team):
    alice.post(LIST, ask(team, reference="one"))
    before = written(), 1, SubscriptionChange.objects.count()
    refused(alice.post(LIST, ask(team, reference="two")), 409, "already_subscribed", before)
    other = make_team(key="other")
    refused(alice.post(LIST, ask(other, reference="one")), 409, "reference_conflict", before)


def test_references_of_two_accounts_do_not_meet(platform, alice, team):
    make_account("globex")
    alice.post(LIST, ask(team, reference="one"))
    body = ask(team, reference="one", collection="manual")
    assert platform.post("/accounts/globex/subscriptions", body).status_code == 201


def test_an_idempotency_key_subscribes_once(alice, team):
    first = alice.post(LIST, ask(team), key="k-1")
    again = alice.post(LIST, ask(team), key="k-1")
    assert again.content == first.content
    assert again["Idempotency-Replayed"] == "true"
    assert_problem(alice.post(LIST, ask(team, seats=2), key="k-1"), 422, "idempotency_key_reused")


def test_the_next_invoice_is_foretold(alice, team):
    made = alice.post(LIST, ask(team)).json()
    told = alice.get(f"/subscriptions/{made['id']}/next-invoice").json()["next_invoice"]
    assert (told["at"], told["starts_at"], told["quote"]["total"]) == (made["period_ends_at"],) * 2 + ("59.5",)
    assert [line["amount"] for line in told["quote"]["lines"]] == ["50"]
    alice.post(f"/subscriptions/{made['id']}/cancel")
    assert alice.get(f"/subscriptions/{made['id']}/next-invoice").json() == {"next_invoice": None}


def test_a_list_costs_the_same_for_many_as_for_one(alice, team, django_assert_max_num_queries):
    for number in range(3):
        made = alice.post(LIST, ask(team)).json()
        if number < 2:
            alice.post(f"/subscriptions/{made['id']}/cancel", {"when": "now"})
    with django_assert_max_num_queries(7):
        items = alice.get(LIST).json()["items"]
    assert [item["state"] for item in items] == ["active", "ended", "ended"]
    assert len({item["invoice"] for item in items}) == 3


def test_history_is_listed_newest_first(alice, team):
    made = alice.post(LIST, ask(team)).json()
    alice.post(f"/subscriptions/{made['id']}/pause")
    items = alice.get(f"/subscriptions/{made['id']}/history").json()["items"]
    assert [item["what"] for item in items] == ["pause", "activate", "subscribe"]
    assert (items[2]["to_plan"]["plan"], items[2]["invoice"]) == ("team", made["invoice"])


def test_contract_terms_are_the_platforms_to_agree(platform, alice, acme, team):
    path = "/accounts/acme/contract-terms"
    assert_problem(alice.post(path, {"fee": "39"}), 403, "platform_key_required")
    assert_problem(platform.post(path, {"plan": "team"}), 400, "invalid_request")
    assert_problem(platform.post(path, {"plan": "team", "fee": "1.001"}), 400, "invalid_request", "fee")
    assert_problem(platform.post(path, {"plan": "team", "overage_tiers": []}), 400, "invalid_request", "overage_tiers")
    assert_problem(platform.post(path, {"fee": "39"}), 400, "invalid_request", "plan")
    assert_problem(platform.post(path, {"plan": "none", "fee": "39"}), 400, "invalid_request", "plan")
    assert not ContractTerms.objects.exists()
    tiers = [{"up_to": "1000", "price": "0.5"}, {"up_to": None, "price": "0.25"}]
    made = platform.post(
        path,
        {"plan": "team", "fee": "39", "overage_tiers": tiers, "note": "Order 7", "ends_at": "2090-01-01T00:00:00Z"},
    )
    assert made.status_code == 201
    assert (made.json()["fee"], made.json()["overage_tiers"], made.json()["seat_price"]) == ("39", tiers, None)
    assert_problem(platform.post(path, {"plan": "team", "fee": "38"}), 409, "terms_overlap")
    assert alice.get(path).json() == {"items": [made.json()], "next_cursor": None}


def test_contract_terms_are_what_is_charged(platform, team):
    platform.post("/accounts/acme/contract-terms", {"plan": "team", "fee": "39", "included_credits": "1500"})
    told = platform.post(PREVIEW, ask(team)).json()
    assert (told["due_now"]["subtotal"], told["credits"]) == ("39", "1500")
