"""Bad values, those of `test_bad_input`, for every field that acts on plans, subscriptions and invoices take."""

import json
from typing import Any

import pytest
from django.utils import timezone

from billing.accounts import models as accounts
from billing.accounts.models import Account
from billing.invoicing.models import Invoice
from billing.subscriptions.models import ContractTerms, Subscription, SubscriptionChange
from tests.api.asking import written
from tests.api.test_bad_input import BAD, BODIES, assert_refused
from tests.subscriptions.makers import make_team, subscribe

PLAN = {"plan": "text", "plan_version": "whole", "seats": "whole", "currency": "text"}
ACT = {"reference": "text"}
SUBSCRIPTION = "/subscriptions/{subscription}"
ENDPOINTS: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("/accounts/other/subscriptions/preview", {"plan": "team"}, {**PLAN, "coupon": "text"}),
    ("/accounts/other/subscriptions", {"plan": "team"}, {
        **PLAN, **ACT, "coupon": "text", "collection": "choice", "payment_method": "id",
    }),
    (f"{SUBSCRIPTION}/preview", {"seats": 2}, {**PLAN, "when": "choice"}),
    (f"{SUBSCRIPTION}/change", {"seats": 2}, {**PLAN, **ACT, "when": "choice", "expected_total": "amount"}),
    (f"{SUBSCRIPTION}/cancel", {}, {**ACT, "when": "choice", "reason": "note", "gives_back": "flag"}),
    (f"{SUBSCRIPTION}/coupons", {"code": "HALF"}, {**ACT, "code": "text"}),
    *((f"{SUBSCRIPTION}/{act}", {}, ACT) for act in ("pause", "resume", "reactivate", "withdraw-change")),
    ("/accounts/acme/contract-terms", {"fee": "1"}, {
        **dict.fromkeys(("fee", "seat_price", "minimum", "included_credits", "discount_percent"), "amount"),
        "currency": "text", "starts_at": "time", "ends_at": "time", "seats_included": "whole", "overage_tiers": "list",
        "note": "note",
    }),
    ("/accounts/acme/test-clock", {"advance_to": "2030-01-01T00:00:00Z"}, {"advance_to": "time", "starts_at": "time"}),
    ("/accounts/acme/card-setups", {}, {"return_url": "text", "make_default": "flag"}),
    ("/invoices/{invoice}/pay", {}, {"payment_method": "id"}),
    ("/invoices/{invoice}/void", {}, {}),
    ("/invoices/{invoice}/give-up", {}, {}),
]  # fmt: skip
FIELDS = [(path, body, field, kind) for path, body, fields in ENDPOINTS for field, kind in fields.items()]


@pytest.fixture
def ids(shop, acme) -> dict[str, str]:
    """A subscription by transfer, its open invoice, and an account that has none; the ids that paths need."""
    now = timezone.now()
    Account.objects.filter(pk=acme.pk).update(created_at=now)
    made = subscribe(acme, make_team(), now=now)
    Account.objects.create(external_id="other", name="Other", country="US", currency="USD", created_at=now)
    return {"subscription": f"sub_{made.pk}", "invoice": f"ivc_{Invoice.objects.get().pk}"}


def everything() -> list[object]:
    """What no bad request may change."""
    kept = (Subscription, SubscriptionChange, ContractTerms, accounts.TestClock, Invoice)
    return [written(), *(list(model.objects.order_by("pk").values()) for model in kept)]


@pytest.mark.parametrize(("path", "body", "field", "kind"), FIELDS)
def test_a_bad_value_is_refused_and_nothing_written(platform, ids, path, body, field, kind):
    before = everything()
    for value in BAD[kind]:
        rest = json.dumps({name: given for name, given in body.items() if name != field})[1:-1]
        raw = f'{{"{field}": {value}{"," if rest else ""} {rest}}}'
        answer = platform.send("POST", path.format(**ids), raw.encode())
        # Refused for what it is, and not because something else stood in the way.
        assert answer.status_code in (400, 422), (value[:80], answer.content[:300])
        codes = ("invalid_request", "malformed_json", *(["plan_not_offered"] if field == "plan_version" else []))
        assert answer.json()["code"] in codes, value[:80]
    assert everything() == before


@pytest.mark.parametrize("path", [path for path, _, _ in ENDPOINTS])
def test_a_bad_body_is_refused_and_nothing_written(platform, ids, path):
    before = everything()
    for body in BODIES:
        if body.strip():  # None at all is a request that says nothing, which some take.
            assert_refused(platform, "POST", path.format(**ids), body)
    assert everything() == before
