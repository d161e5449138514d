"""Plans named by their key, and what a repeated reference may be asked in."""

from decimal import Decimal

import pytest
from django.utils import timezone

from billing.accounts.ids import encode
from billing.catalog import plans
from billing.catalog.models import PlanVersion
from billing.invoicing.models import Invoice
from billing.subscriptions.models import Subscription, SubscriptionChange
from tests.api.asking import assert_problem, not_refused, written
from tests.factories import make_account, make_plan
from tests.subscriptions.makers import make_team

LIST = "/accounts/acme/subscriptions"
PREVIEW = f"{LIST}/preview"


@pytest.fixture
def team(shop) -> PlanVersion:
    return make_team(seats_max=10)


def newer(version: PlanVersion) -> PlanVersion:
    """A newer edition of the same plan, published."""
    draft = plans.draft_from(version_id=version.pk, now=timezone.now())
    return plans.publish(version_id=draft.pk, now=timezone.now())


def everything() -> object:
    rows = list(Subscription.objects.values_list("pk", "seats", "plan_version"))
    return written(), rows, SubscriptionChange.objects.count()


def test_a_key_stands_for_the_edition_of_the_plan_that_is_on_sale(alice, team):
    second = newer(team)
    told = alice.post(PREVIEW, {"plan": "team"}).json()
    assert (told["plan"]["plan_version"], told["due_now"]["total"]) == (encode("plv", second.pk), "59.5")
    made = alice.post(LIST, {"plan": "team", "reference": "signup"}).json()
    assert (made["plan"]["plan"], made["plan"]["plan_version"], made["state"]) == (
        "team",
        encode("plv", second.pk),
        "active",
    )


def test_a_key_of_no_plan_on_offer_is_refused(alice, platform, team):
    rows = [
        ({}, 400, "invalid_request", "plan"),
        ({"plan": "team", "plan_version": "plv_0000000000009"}, 400, "invalid_request", "plan"),
        ({"plan": 7}, 400, "invalid_request", "plan"),
        ({"plan": ""}, 400, "invalid_request", "plan"),
        ({"plan": "x" * 61}, 400, "invalid_request", "plan"),
        ({"plan": None}, 400, "invalid_request", "plan"),
        ({"plan": "Team"}, 422, "plan_not_offered", None),
        ({"plan": "nothing"}, 422, "plan_not_offered", None),
        ({"plan": "vip"}, 422, "plan_not_offered", None),
        ({"plan": "draft"}, 422, "plan_not_offered", None),
        ({"plan": "old"}, 422, "plan_not_offered", None),
        ({"plan": "team", "currency": "EUR"}, 422, "plan_not_offered", None),
    ]
    make_team(key="vip", target_segments=["vip"])
    make_team(key="draft", published=False)
    plans.retire(plan_id=make_team(key="old").plan_id, now=timezone.now())
    before = everything()
    answers = [
        ((path, body), caller.post(path, body), *expected)
        for caller in (alice, platform)
        for path in (LIST, PREVIEW)
        for body, *expected in rows
    ]
    assert not_refused(answers) == []
    assert everything() == before


def test_a_change_takes_a_key_as_well(alice, platform, team):
    large = make_team(key="large", included_credits=Decimal(3000), prices={"USD": {"fee": "150.00"}})
    made = alice.post(LIST, {"plan": "team"}).json()
    path = f"/subscriptions/{made['id']}"
    told = alice.post(f"{path}/preview", {"plan": "large"}).json()
    assert told == alice.post(f"{path}/preview", {"plan_version": encode("plv", large.pk)}).json() | {
        "effective_at": told["effective_at"]
    }
    assert_problem(
        alice.post(f"{path}/change", {"plan": "large", "plan_version": "plv_0000000000009"}),
        400,
        "invalid_request",
        "plan",
    )
    assert_problem(alice.post(f"{path}/change", {"plan": "nothing"}), 422, "plan_not_offered")
    assert_problem(alice.post(f"{path}/change", {"plan": "team"}), 422, "nothing_to_change")
    changed = alice.post(f"{path}/change", {"plan": "large", "reference": "up", "expected_total": told["total"]}).json()
    assert changed["plan"]["plan_version"] == encode("plv", large.pk)
    before = Invoice.objects.count()
    newer(large)
    assert alice.post(f"{path}/change", {"plan": "large", "reference": "up"}).json()["plan"] == changed["plan"]
    assert_problem(alice.post(f"{path}/change", {"plan": "team", "reference": "up"}), 409, "reference_conflict")
    assert Invoice.objects.count() == before


def test_only_the_platform_puts_a_customer_on_a_plan_that_is_not_on_offer_to_it(alice, platform, team):
    vip = make_team(key="vip", target_segments=["vip"], prices={"USD": {"fee": "90.00"}})
    path = f"/subscriptions/{alice.post(LIST, {'plan': 'team'}).json()['id']}/change"
    assert_problem(alice.post(path, {"plan": "vip"}), 422, "plan_not_offered")
    assert platform.post(path, {"plan": "vip"}).json()["plan"]["plan_version"] == encode("plv", vip.pk)


def test_a_reference_repeated_in_other_words_is_refused(alice, team):
    first = alice.post(LIST, {"plan": "team", "seats": 2, "reference": "signup"})
    assert first.status_code == 201
    newer(team)
    assert alice.post(LIST, {"plan": "team", "seats": 2, "reference": "signup"}).json() == first.json()
    before = everything()
    for other in ({"seats": 3}, {"coupon": "HALF"}, {"currency": "USD"}, {"plan": "other"}):
        body = {"plan": "team", "seats": 2, "reference": "signup"} | other
        assert_problem(alice.post(LIST, body), 409, "reference_conflict")
    assert everything() == before


def test_the_platform_asks_what_is_on_sale_to_one_customer(platform, alice, acme):
    make_account("globex")
    make_plan("team", prices={"USD": {"fee": "49"}, "EUR": {"fee": "45"}})
    make_plan("euro", prices={"EUR": {"fee": "45"}})
    make_plan("young", target_segments=["startup"])
    acme.segment_override = "startup"
    acme.save()
    items = platform.get("/plans", account="acme").json()["items"]
    assert items == alice.get("/plans", account="acme").json()["items"] == alice.get("/plans").json()["items"]
    assert [item["key"] for item in items] == ["young", "team"]
    assert [price["currency"] for item in items for price in item["prices"]] == ["USD", "USD"]
    assert [item["key"] for item in platform.get("/plans", account="globex").json()["items"]] == ["team"]
    assert_problem(alice.get("/plans", account="globex"), 404, "not_found")
    assert_problem(platform.get("/plans", account="nobody"), 404, "not_found")
