"""Changing, pausing and cancelling a subscription through the API."""

import pytest
from django.utils import timezone

from billing.accounts.ids import decode, encode
from billing.catalog.models import Coupon, PlanVersion
from billing.invoicing.models import CreditNote, Invoice
from billing.subscriptions.models import Subscription, SubscriptionChange
from tests.api.asking import assert_problem, not_refused, written
from tests.factories import make_plan
from tests.subscriptions.makers import make_team, subscribe


@pytest.fixture
def team(shop) -> PlanVersion:
    """50.00 a month for 1,000 credits, 10.00 a seat."""
    return make_team(seats_max=10, prices={"USD": {"fee": "50.00", "seat_price": "10.00"}})


@pytest.fixture
def path(alice, team) -> str:
    """Where alice's subscription is, begun just now and paid."""
    made = alice.post("/accounts/acme/subscriptions", {"plan_version": encode("plv", team.pk)}).json()
    assert made["state"] == "active"
    return f"/subscriptions/{made['id']}"


def everything() -> object:
    """What a refused act leaves as it is."""
    return written(), list(Subscription.objects.values()), SubscriptionChange.objects.count()


def refused(answer, status: int, code: str, before: object, field: str | None = None) -> dict:
    """The answer is this problem, and nothing was written."""
    problem = assert_problem(answer, status, code, field)
    assert everything() == before
    return problem


def test_an_upgrade_costs_what_its_preview_says_and_its_credits_come_with_the_payment(alice, path):
    large = make_plan("large", included_credits=3000, prices={"USD": {"fee": "150.00"}})
    before = everything()
    told = alice.post(f"{path}/preview", {"plan_version": encode("plv", large.pk)}).json()
    assert everything() == before
    # On its first day nothing is used up: 150.00 less 50.00, with 19 % of tax.
    assert (told["when"], told["total"], told["credit"], told["credits_delta"]) == ("now", "119", "0", "2000")
    assert [line["amount"] for line in told["due_now"]["lines"]] == ["-50", "150"]
    body = {"plan_version": encode("plv", large.pk), "expected_total": told["total"], "reference": "up"}
    made = alice.post(f"{path}/change", body)
    assert (made.status_code, made.json()["plan"]["plan"]) == (200, "large")
    invoice = Invoice.objects.get(pk=decode("ivc", made.json()["invoice"]))
    assert (invoice.total, invoice.state) == (119, "paid")
    assert alice.get("/accounts/acme/balance").json()["available"] == "3000"
    assert alice.post(f"{path}/change", body).json() == made.json()
    refused(alice.post(f"{path}/change", {"seats": 3, "reference": "up"}), 409, "reference_conflict", everything())


def test_credits_of_a_customers_upgrade_wait_those_of_the_platform_do_not(alice, platform, path, acme):
    acme.payment_methods.update(is_default=False)
    large = make_plan("large", included_credits=3000, prices={"USD": {"fee": "150.00"}})
    larger = make_plan("larger", included_credits=6000, prices={"USD": {"fee": "350.00"}})
    alice.post(f"{path}/change", {"plan_version": encode("plv", large.pk)})
    assert alice.get("/accounts/acme/balance").json()["available"] == "1000"
    platform.post(f"{path}/change", {"plan_version": encode("plv", larger.pk)})
    assert alice.get("/accounts/acme/balance").json()["available"] == "4000"


def test_seats_are_a_change_too_and_fewer_wait(alice, path):
    assert alice.post(f"{path}/change", {"seats": 5}).json()["seats"] == 5
    waiting = alice.post(f"{path}/change", {"seats": 3}).json()
    assert (waiting["seats"], waiting["scheduled_change"]["seats"]) == (5, 3)
    assert waiting["scheduled_change"]["effective_at"] == waiting["period_ends_at"]
    told = alice.post(f"{path}/preview", {"seats": 6}).json()
    assert told["withdraws"] == waiting["scheduled_change"]
    back = alice.post(f"{path}/withdraw-change").json()
    assert (back["seats"], back["scheduled_change"]) == (5, None)
    assert alice.post(f"{path}/preview", {"seats": 6}).json()["withdraws"] is None
    refused(alice.post(f"{path}/withdraw-change"), 409, "nothing_scheduled", everything())


def test_a_change_that_cannot_be_is_refused(alice, path):
    rows = [
        ({}, 400, "invalid_request", ""),
        ({"seats": "many"}, 400, "invalid_request", "seats"),
        ({"seats": 3, "when": "later"}, 400, "invalid_request", "when"),
        ({"seats": 0}, 422, "nothing_to_change", None),
        ({"seats": 11}, 422, "seats_not_offered", None),
        ({"seats": 3, "currency": "EUR"}, 422, "currency_fixed", None),
        ({"plan_version": "plv_0000000000009"}, 422, "plan_not_offered", None),
    ]
    before = everything()
    answers = [
        ((act, body), alice.post(f"{path}/{act}", body), *expected)
        for act in ("change", "preview")
        for body, *expected in rows
    ]
    assert not_refused(answers) == []
    assert everything() == before


def test_a_plan_without_a_price_in_the_currency_is_refused(alice, path):
    euros = make_plan("euros", prices={"EUR": {"fee": "50.00"}})
    problem = refused(
        alice.post(f"{path}/change", {"plan_version": encode("plv", euros.pk)}), 422, "currency_fixed", everything()
    )
    assert problem["currency"] == "USD"


def test_another_total_than_expected_is_refused(alice, path):
    body = {"seats": 3, "expected_total": "1"}
    problem = refused(alice.post(f"{path}/change", body), 409, "total_changed", everything())
    assert (problem["total"], problem["currency"]) == ("35.7", "USD")


def test_a_plan_of_another_segment_is_for_the_platform_to_choose(alice, platform, path):
    vip = make_plan("vip", target_segments=["vip"], prices={"USD": {"fee": "60.00"}})
    refused(
        alice.post(f"{path}/change", {"plan_version": encode("plv", vip.pk)}), 422, "plan_not_offered", everything()
    )
    assert platform.post(f"{path}/change", {"plan_version": encode("plv", vip.pk)}).json()["plan"]["plan"] == "vip"


def test_what_is_unpaid_does_not_go_back(alice, acme, team):
    path = f"/subscriptions/{encode('sub', subscribe(acme, team, seats=5, now=timezone.now()).pk)}"
    refused(alice.post(f"{path}/change", {"seats": 3, "when": "now"}), 409, "invoice_unpaid", everything())


def test_pause_and_resume(alice, path):
    assert alice.post(f"{path}/pause").json()["state"] == "paused"
    problem = refused(alice.post(f"{path}/pause"), 409, "subscription_state", everything())
    assert problem["state"] == "paused"
    assert alice.post(f"{path}/resume").json()["state"] == "active"
    refused(alice.post(f"{path}/resume"), 409, "subscription_state", everything())


def test_cancel_and_reactivate(alice, path):
    cancelled = alice.post(f"{path}/cancel", {"reason": "Too dear"}).json()
    assert (cancelled["state"], cancelled["cancel_reason"]) == ("cancelled", "Too dear")
    assert alice.post(f"{path}/reactivate").json()["state"] == "active"
    refused(alice.post(f"{path}/reactivate"), 409, "subscription_state", everything())


def test_only_the_platform_gives_back_what_is_left(alice, platform, path):
    before = everything()
    refused(alice.post(f"{path}/cancel", {"when": "now", "gives_back": True}), 403, "platform_key_required", before)
    refused(alice.post(f"{path}/cancel", {"gives_back": True}), 400, "invalid_request", before, "gives_back")
    refused(platform.post(f"{path}/cancel", {"gives_back": True}), 400, "invalid_request", before, "gives_back")
    ended = platform.post(f"{path}/cancel", {"when": "now", "gives_back": True, "reason": "Moved away"}).json()
    assert (ended["state"], CreditNote.objects.get().total) == ("ended", CreditNote.objects.get().invoice.total)
    assert alice.get("/accounts/acme/balance").json()["available"] == "0"


def test_a_coupon_is_redeemed_once(alice, path):
    Coupon.objects.create(code="SPRING", name="Spring", percent=20, created_at=timezone.now())
    redeemed = alice.post(f"{path}/coupons", {"code": "spring"}).json()
    assert [coupon["code"] for coupon in redeemed["coupons"]] == ["SPRING"]
    problem = refused(alice.post(f"{path}/coupons", {"code": "SPRING"}), 422, "coupon_refused", everything())
    assert problem["reason"] == "redeemed"
    refused(alice.post(f"{path}/coupons", {}), 400, "invalid_request", everything(), "code")


def test_while_a_renewal_is_due_it_is_to_be_tried_again(alice, path):
    Subscription.objects.update(next_due_at=timezone.now())
    answer = alice.post(f"{path}/change", {"seats": 3})
    refused(answer, 409, "renewal_due", everything())
    assert answer["Retry-After"] == "5"


@pytest.mark.parametrize("act", ["change", "pause", "cancel"])
def test_an_idempotency_key_acts_once(alice, path, act):
    body = {"seats": 3} if act == "change" else {}
    first = alice.post(f"{path}/{act}", body, key="k-1")
    count = SubscriptionChange.objects.count()
    assert alice.post(f"{path}/{act}", body, key="k-1").content == first.content
    assert SubscriptionChange.objects.count() == count
