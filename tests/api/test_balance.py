from datetime import UTC, datetime, timedelta

from django.utils import timezone

from billing.ledger import pools
from tests.api.asking import assert_problem, not_refused
from tests.factories import NOW, give_credits


def test_a_balance_shows_credits_lots_cycle_and_next_expiry(alice, acme):
    soon = timezone.now() + timedelta(days=3)
    give_credits(acme, "100", expires_at=soon)
    give_credits(acme, "50.25", kind="purchase", cost_basis=0)
    answer = alice.get("/accounts/acme/balance").json()
    assert (answer["pool"], answer["available"], answer["held"], answer["overdraft"]) == ("main", "150.25", "0", "0")
    assert [(lot["kind"], lot["remaining"]) for lot in answer["lots"]] == [("bonus", "100"), ("purchase", "50.25")]
    assert answer["next_expiry"]["credits"] == "100"
    assert answer["next_expiry"]["at"].endswith("Z")
    assert answer["cycle"].keys() == {"starts_at", "ends_at", "allocation", "spent", "percent"}


def test_a_past_balance_is_what_was_known_then(alice, acme):
    give_credits(acme, "100", now=NOW)
    give_credits(acme, "7", now=NOW + timedelta(days=2))
    before = alice.get("/accounts/acme/balance", at="2025-03-02T00:00:00+01:00").json()
    assert (before["available"], before["cycle"]) == ("100", None)
    assert alice.get("/accounts/acme/balance").json()["available"] == "107"


def test_a_team_pool_has_a_balance_of_its_own(alice, acme):
    pools.open_pool(account=acme, key="research", name="Research", now=NOW)
    give_credits(acme, "5")
    assert alice.get("/accounts/acme/balance", pool="research").json()["available"] == "0"


def test_a_pool_must_be_the_accounts(alice, acme):
    assert_problem(alice.get("/accounts/acme/balance", pool="nowhere"), 422, "unknown_pool")


def test_a_malformed_query_is_refused_by_parameter(alice, acme):
    rows = [
        ({"at": "2025-03-02T00:00:00"}, "at"),
        ({"at": "yesterday"}, "at"),
        ({"at": "9999-01-01T00:00:00Z"}, "at"),
        ({"at": "2025-02-30T00:00:00Z"}, "at"),
        ({"at": datetime(9000, 1, 1, tzinfo=UTC).isoformat()}, "at"),
        ({"pool": ""}, "pool"),
        ({"when": "now"}, "when"),
    ]
    answers = [((query, field), alice.get("/accounts/acme/balance", **query), field) for query, field in rows]
    assert not_refused(answers, 400, "invalid_request") == []


def test_the_cost_of_a_balance_does_not_grow_with_history(alice, acme, django_assert_max_num_queries):
    for number in range(30):
        give_credits(acme, "1", now=NOW + timedelta(minutes=number))
    alice.get("/accounts/acme/balance")
    with django_assert_max_num_queries(4):
        alice.get("/accounts/acme/balance")
