"""A `reference` that is taken answers 409, whichever act took it; never 500, and never as if it had been done."""

import pytest
from django.apps import apps
from django.db.models import CharField

from billing.ledger import pools
from tests.api.asking import assert_problem, written
from tests.factories import NOW, give_credits

# Texts that are unique over the installation, each with what keeps callers of two accounts apart.
OURS = {
    "made by Florin": {
        "ApiKey.prefix", "CardSetup.key", "Payment.idempotency_key", "Refund.idempotency_key", "SandboxCard.reference",
        "SandboxCharge.idempotency_key", "SandboxCharge.reference", "SandboxEvent.event_id",
        "SandboxRefund.idempotency_key", "SandboxRefund.reference", "Allocation.reference",
        "TaxCalculation.fingerprint", "Notification.dedupe_key", "PendingItem.reference", "CreditNote.number",
        "Invoice.number", "SubscriptionChange.reference", "Throttle.name",
    },
    "a name made of the account and the caller's reference": {"Invoice.reference", "Subscription.reference"},
    "of the form that staff were shown": {"Approval.reference"},
    "of the operator's bank": {"BankTransfer.reference"},
    "names the account, or what is sold to all": {
        "Account.external_id", "Coupon.code", "DunningPolicy.key", "Issuer.key", "Meter.key", "Pack.key", "Plan.key",
        "RateCard.key",
    },
}  # fmt: skip
MOVE = {"account": "acme", "from_pool": "main", "to_pool": "team", "amount": "5", "reference": "x"}


@pytest.fixture(autouse=True)
def _two_pools(acme):
    pools.open_pool(account=acme, key="team", name="Team", now=NOW)
    give_credits(acme, "100")


def grant(platform, reference, amount="10", **fields):
    body = {"amount": amount, "kind": "bonus", "reference": reference, **fields}
    return platform.post("/accounts/acme/grants", body)


def granted(platform, reference, **fields):
    response = grant(platform, reference, **fields)
    assert response.status_code == 201, response.content
    return response.json()["id"]


def revoke(platform, lot, **body):
    return platform.post(f"/grants/{lot}/revoke", body)


def test_a_revocation_under_the_grants_reference(platform):
    lot = granted(platform, "order-7")
    before = written()
    assert_problem(revoke(platform, lot, reference="order-7"), 409, "reference_conflict")
    assert written() == before


def test_a_revocation_under_another_lots(platform):
    first, second = granted(platform, "a"), granted(platform, "b")
    assert revoke(platform, first, reference="chargeback").status_code == 201
    before = written()
    assert_problem(revoke(platform, second, reference="chargeback"), 409, "reference_conflict")
    assert written() == before


def test_a_revocation_of_another_amount(platform):
    lot = granted(platform, "a")
    assert revoke(platform, lot, amount="4", reference="r").status_code == 201
    before = written()
    assert_problem(revoke(platform, lot, amount="5", reference="r"), 409, "reference_conflict")
    assert written() == before


def test_a_grant_under_a_revocations(platform):
    assert revoke(platform, granted(platform, "a"), reference="x").status_code == 201
    before = written()
    assert_problem(grant(platform, "x"), 409, "reference_conflict")
    assert written() == before


def test_a_transfer_under_a_reference_of_the_target(platform):
    granted(platform, "x", pool="team")
    before = written()
    assert_problem(platform.post("/transfers", MOVE), 409, "reference_conflict")
    assert written() == before


def test_a_transfer_the_other_way(platform):
    assert platform.post("/transfers", MOVE).status_code == 201
    before = written()
    back = {**MOVE, "from_pool": "team", "to_pool": "main"}
    assert_problem(platform.post("/transfers", back), 409, "reference_conflict")
    assert written() == before


def test_exact_repeats_answer_as_the_first(platform):
    lot = granted(platform, "g")
    revoked = revoke(platform, lot, amount="4", reference="r")
    moved = platform.post("/transfers", MOVE)
    before = written()
    assert granted(platform, "g") == lot
    assert revoke(platform, lot, amount="4", reference="r").json() == revoked.json()
    # The same amount, however it is written.
    assert revoke(platform, lot, amount="4.00", reference="r").json() == revoked.json()
    assert platform.post("/transfers", {**MOVE, "amount": "5.0"}).json() == moved.json()
    assert written() == before


def test_no_callers_reference_is_unique_over_more_than_an_account() -> None:
    found = {
        f"{model.__name__}.{field.name}"
        for model in apps.get_app_config("billing").get_models()
        for field in model._meta.fields
        if isinstance(field, CharField) and field.unique
    }
    assert len(found) > 20
    assert found ^ {name for names in OURS.values() for name in names} == set()
