from decimal import Decimal

import pytest
from django.utils import timezone

from billing.accounts.ids import encode
from billing.accounts.models import Member
from billing.ledger import pools
from tests.api.asking import assert_problem, not_refused, written
from tests.factories import NOW, give_credits, make_account, make_meter, make_rate_card

CHECK = {"accounts": ["acme"], "lines": [{"meter": "tokens", "quantity": "1000"}]}
ESTIMATE = {"account": "acme", "lines": [{"meter": "tokens", "quantity": "1000"}, {"meter": "seats"}]}
CALLS = [("/checks", CHECK), ("/estimates", ESTIMATE)]


@pytest.fixture(autouse=True)
def _credits_and_prices(acme):
    give_credits(acme, "6")
    make_rate_card({make_meter("tokens"): "0.002", make_meter("seats"): "5"})


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_asking_changes_nothing(platform, path, body):
    before = written()
    assert platform.post(path, body).status_code == 200
    assert written() == before


def test_each_line_is_judged_by_itself_for_each_account(platform):
    make_account("beta")
    lines = [{"meter": "tokens"}, {"meter": "seats", "quantity": 2}, {"credits": "6"}, {"meter": "nothing"}]
    response = platform.post("/checks", {"accounts": ["acme", "beta", "nobody"], "lines": lines})
    assert response.status_code == 200, response.content
    assert [
        (verdict["account"], verdict["line"], verdict["allowed"], verdict["reason"])
        for verdict in response.json()["results"]
    ] == [
        ("acme", 0, True, None),
        ("acme", 1, False, "insufficient_credits"),
        ("acme", 2, True, None),
        ("acme", 3, False, "unknown_meter"),
        ("beta", 0, False, "insufficient_credits"),
        ("beta", 1, False, "insufficient_credits"),
        ("beta", 2, False, "insufficient_credits"),
        ("beta", 3, False, "unknown_meter"),
        ("nobody", 0, False, "unknown_account"),
        ("nobody", 1, False, "unknown_account"),
        ("nobody", 2, False, "unknown_account"),
        ("nobody", 3, False, "unknown_account"),
    ]
    verdict = response.json()["results"][1]
    assert (verdict["required"], verdict["available"]) == ("10", "6")


def test_a_customers_key_may_leave_the_account_out(alice, platform):
    body = {"lines": CHECK["lines"]}
    assert alice.post("/checks", body).json()["results"][0]["allowed"] is True
    assert_problem(platform.post("/checks", body), 400, "invalid_request", "accounts")


def test_limits_and_parking_are_reasons(platform, acme):
    bob = Member.objects.get(account=acme, role="member")
    pools.set_member_limit(member_id=bob.pk, amount=Decimal(1), now=timezone.now())
    verdict = platform.post("/checks", {**CHECK, "member": encode("mem", bob.pk)}).json()["results"][0]
    assert verdict["reason"] == "spend_limit"
    acme.parked_at = NOW
    acme.save()
    assert platform.post("/checks", CHECK).json()["results"][0]["reason"] == "paused"
    acme.parked_at, acme.paused_at = None, NOW
    acme.save()
    verdict = platform.post("/checks", CHECK).json()["results"][0]
    assert (verdict["reason"], "subscription" in verdict["detail"]) == ("paused", True)


def test_a_hundred_times_a_hundred_is_answered_with_few_queries(platform, django_assert_max_num_queries):
    for number in range(99):
        make_account(f"org-{number}")
    body = {
        "accounts": ["acme", *(f"org-{number}" for number in range(99))],
        "lines": [{"meter": "tokens", "quantity": number} for number in range(100)],
    }
    with django_assert_max_num_queries(12):
        results = platform.post("/checks", body).json()["results"]
    assert len(results) == 10_000


def test_a_malformed_check_is_refused_by_field(platform):
    rows = [
        ({"lines": []}, "lines"),
        ({"lines": [{"credits": "1"}] * 101}, "lines"),
        ({"lines": {"meter": "tokens"}}, "lines"),
        ({"lines": [{}]}, "lines.0.credits"),
        ({"lines": [{"meter": "tokens", "credits": "1"}]}, "lines.0.credits"),
        ({"lines": [{"credits": "1"}, {"meter": "tokens", "quantity": "-1"}]}, "lines.1.quantity"),
        ({"lines": [{"meter": "tokens", "colour": "red"}]}, "lines.0.colour"),
        ({"accounts": []}, "accounts"),
        ({"accounts": ["acme"] * 101}, "accounts"),
        ({"accounts": ["acme", 5]}, "accounts.1"),
        ({"accounts": "acme"}, "accounts"),
        ({"member": "bob"}, "member"),
    ]
    answers = [((body, field), platform.post("/checks", {**CHECK, **body}), field) for body, field in rows]
    assert not_refused(answers, 400, "invalid_request") == []


def test_an_estimate_prices_lines_one_after_the_other(alice):
    response = alice.post("/estimates", ESTIMATE)
    assert response.status_code == 200, response.content
    assert response.json() == {
        "credits": "7",
        "available": "6",
        "lines": [
            {"meter": "tokens", "quantity": "1000", "credits": "2"},
            {"meter": "seats", "quantity": "1", "credits": "5"},
        ],
    }


def test_what_cannot_be_estimated_is_refused(platform):
    rows = [
        ({"account": "nobody"}, 404, "not_found"),
        ({"lines": [{"meter": "nothing"}]}, 422, "unknown_meter"),
        ({"lines": [{"meter": "tokens", "properties": {"a": []}}]}, 422, "invalid_properties"),
        ({"occurred_at": "2020-01-01T00:00:00Z"}, 422, "time_too_old"),
        ({"lines": [{"meter": "seats", "quantity": "999999999999999998"}]}, 422, "amount_too_large"),
        ({"lines": [{"credits": "1"}]}, 400, "invalid_request"),
        ({"lines": []}, 400, "invalid_request"),
    ]
    answers = [
        ((changes, status, code), platform.post("/estimates", {**ESTIMATE, **changes}), status, code)
        for changes, status, code in rows
    ]
    assert not_refused(answers) == []
