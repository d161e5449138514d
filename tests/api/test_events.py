import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from billing.accounts.ids import encode
from billing.accounts.models import Member
from billing.ledger.models import CreditPool
from billing.metering.models import RejectedEvent, UsageEvent
from tests.api.asking import assert_problem, not_refused, written
from tests.factories import give_credits, make_account, make_meter, make_rate_card

CLOUD_EVENT = "application/cloudevents+json"
EVENT = {"id": "e-1", "account": "acme", "meter": "tokens", "quantity": 1000}


@pytest.fixture(autouse=True)
def _credits_and_prices(acme):
    give_credits(acme, "100")
    make_rate_card({make_meter("tokens"): "0.002"})


def test_a_lone_event_is_stored_rated_and_posted(platform):
    response = platform.post("/events", EVENT)
    assert response.status_code == 200, response.content
    answer = response.json()
    (result,) = answer["results"]
    assert result["posting"].startswith("pst_")
    assert answer | {"results": []} == {
        "accepted": 1, "duplicates": 0, "conflicts": 0, "rejected": 0, "results": [], "balances": {"acme": "98"},
    }  # fmt: skip
    assert (result["id"], result["status"], result["credits"], result["late"]) == ("e-1", "accepted", "2", False)
    assert CreditPool.objects.get(account__external_id="acme").balance == 98


def test_a_customers_key_may_leave_the_account_out(alice):
    body = {name: value for name, value in EVENT.items() if name != "account"}
    assert alice.post("/events", body).json()["balances"] == {"acme": "98"}


def test_the_balance_stands_under_the_id_that_was_asked_by(platform, acme):
    own = encode("acc", acme.pk)
    assert platform.post("/events", {**EVENT, "account": own}).json()["balances"] == {own: "98"}


def test_a_repeated_event_counts_once(platform):
    platform.post("/events", EVENT)
    answer = platform.post("/events", EVENT).json()
    assert (answer["duplicates"], answer["results"][0]["status"], answer["results"][0]["credits"]) == (
        1, "duplicate", "2",
    )  # fmt: skip
    assert UsageEvent.objects.count() == 1


def test_a_lone_conflict_is_refused(platform):
    platform.post("/events", EVENT)
    before = written()
    assert_problem(platform.post("/events", {**EVENT, "quantity": 2}), 409, "id_conflict")
    assert written() == before


def test_a_lone_event_that_is_rejected_says_why_and_is_kept(platform):
    rows = [
        ({"meter": "nothing"}, "unknown_meter"),
        ({"account": "nobody"}, "unknown_account"),
        ({"pool": "nowhere"}, "unknown_pool"),
        ({"member": "mem_0000000000009"}, "unknown_member"),
        ({"quantity": "-1"}, "invalid_quantity"),
        ({"quantity": "1_000"}, "invalid_quantity"),
        ({"quantity": None}, "invalid_quantity"),
        ({"quantity": "\uff11"}, "invalid_quantity"),
        ({"quantity": True}, "invalid_quantity"),
        ({"occurred_at": "2026-01-01T00:00:00"}, "invalid_time"),
        ({"occurred_at": "9999-12-31T23:59:59Z"}, "time_ahead"),
        ({"occurred_at": "2020-01-01T00:00:00Z"}, "time_too_old"),
        ({"properties": {"a": {}}}, "invalid_properties"),
        ({"properties": [1]}, "invalid_properties"),
        ({"id": 7}, "invalid_field"),
        ({"id": None}, "missing_field"),
        ({"colour": "red"}, "unknown_field"),
        ({"async": "yes"}, "unknown_field"),
    ]
    answers = [(changes, platform.post("/events", {**EVENT, **changes}), code) for changes, code in rows]
    assert not_refused(answers, 422) == []
    assert not UsageEvent.objects.exists()
    kept = [(json.loads(rejected.body), rejected.code) for rejected in RejectedEvent.objects.order_by("pk")]
    assert kept == [({**EVENT, **changes}, code) for changes, code in rows]


def test_an_event_may_say_that_it_is_not_asynchronous(platform):
    assert platform.post("/events", {**EVENT, "async": False}).json()["accepted"] == 1


def test_a_batch_answers_event_by_event(platform):
    make_account("beta")
    batch = [
        EVENT,
        {**EVENT, "id": "e-2", "meter": "x"},
        EVENT,
        {**EVENT, "quantity": 5},
        {**EVENT, "account": "beta"},
        7,
    ]
    response = platform.post("/events", batch)
    assert response.status_code == 200, response.content
    answer = response.json()
    assert (answer["accepted"], answer["duplicates"], answer["conflicts"], answer["rejected"]) == (2, 1, 1, 2)
    assert [(result["status"], result.get("code")) for result in answer["results"]] == [
        ("accepted", None),
        ("rejected", "unknown_meter"),
        ("duplicate", None),
        ("conflict", "id_conflict"),
        ("accepted", None),
        ("rejected", "invalid_event"),
    ]
    assert answer["balances"] == {"acme": "98", "beta": "0"}


def test_a_fact_is_recorded_even_without_credits(platform):
    answer = platform.post("/events", {**EVENT, "quantity": 100_000}).json()
    assert (answer["accepted"], answer["balances"]) == (1, {"acme": "0"})
    assert platform.get("/accounts/acme/balance").json()["overdraft"] == "100"


@pytest.mark.parametrize("parameter", ["", "; charset=UTF-8", ';charset="utf-8"'])
def test_a_cloud_event_is_taken(platform, parameter):
    event = {
        "specversion": "1.0", "id": "ce-1", "source": "/gateway", "type": "tokens", "subject": "acme",
        "time": timezone.now().isoformat(), "datacontenttype": "application/json",
        "data": {"quantity": "500", "properties": {"model": "large"}},
    }  # fmt: skip
    response = platform.send("POST", "/events", json.dumps(event).encode(), content_type=CLOUD_EVENT + parameter)
    assert response.status_code == 200, response.content
    assert UsageEvent.objects.get().properties == {"model": "large"}


def test_a_batch_of_cloud_events_is_taken(platform):
    events = [
        {"specversion": "1.0", "id": str(n), "source": "/g", "type": "tokens", "subject": "acme"} for n in range(3)
    ]
    body = json.dumps(events).encode()
    response = platform.send("POST", "/events", body, content_type="application/cloudevents-batch+json")
    assert response.json()["accepted"] == 3


def test_a_body_without_events_is_refused(platform):
    rows = [b"[]", b"{}", b"5", b'"x"', b"null", b""]
    before = written()
    assert {body: platform.send("POST", "/events", body).status_code for body in rows} == dict.fromkeys(rows, 400)
    assert written() == before


def test_a_batch_has_a_limit(platform, settings):
    settings.FLORIN_MAX_BATCH = 3
    before = written()
    problem = assert_problem(platform.post("/events", [EVENT] * 4), 413, "payload_too_large")
    assert problem["max_events"] == 3
    assert written() == before


def test_a_repeat_under_an_idempotency_key_gets_the_first_answer(platform):
    first = platform.post("/events", EVENT, key="k")
    again = platform.post("/events", EVENT, key="k")
    assert again.json() == first.json()
    assert again.json()["accepted"] == 1


def test_events_are_listed_in_the_order_they_came(alice, platform, acme):
    bob = Member.objects.get(account=acme, role="member")
    now = timezone.now()
    for number in range(5):
        moment = (now - timedelta(days=number)).isoformat()
        event = {**EVENT, "id": f"e-{number}", "occurred_at": moment, "properties": {"n": number}}
        platform.post("/events", event | ({"member": encode("mem", bob.pk)} if number == 3 else {}))
    seen, cursor = [], None
    while True:
        page = alice.get("/accounts/acme/events", limit=2, **({"cursor": cursor} if cursor else {})).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ["e-4", "e-3", "e-2", "e-1", "e-0"]
    (item,) = alice.get("/accounts/acme/events", member=encode("mem", bob.pk)).json()["items"]
    assert (item["id"], item["meter"], item["pool"], item["quantity"]) == ("e-3", "tokens", "main", "1000")
    assert (item["properties"], item["credits"], item["reversed_at"]) == ({"n": 3}, "2", None)
    recent = alice.get("/accounts/acme/events", **{"from": (now - timedelta(hours=30)).isoformat()}).json()["items"]
    assert [item["id"] for item in recent] == ["e-1", "e-0"]
    assert alice.get("/accounts/acme/events", meter="other").json()["items"] == []


def test_a_malformed_query_is_refused_by_parameter(alice):
    rows = [
        ({"member": "bob"}, "member"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "to"),
        ({"from": "1969-12-31T23:59:59Z"}, "from"),
        ({"limit": "1e1"}, "limit"),
    ]
    answers = [((query, field), alice.get("/accounts/acme/events", **query), field) for query, field in rows]
    assert not_refused(answers, 400, "invalid_request") == []


def test_a_cursor_of_another_list_is_refused(alice):
    assert_problem(alice.get("/accounts/acme/events", cursor="WzVd"), 400, "invalid_cursor")


def test_quantities_are_exact_as_json_numbers(platform):
    body = b'{"id": "e", "account": "acme", "meter": "tokens", "quantity": 0.100001}'
    assert platform.send("POST", "/events", body).status_code == 200
    assert UsageEvent.objects.get().quantity == Decimal("0.100001")
