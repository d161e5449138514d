import pytest

from billing.ledger.models import CreditPool
from billing.metering.models import EventReversal
from tests.api.asking import assert_problem, not_refused, written
from tests.factories import give_credits, make_account, make_meter, make_rate_card


@pytest.fixture(autouse=True)
def _an_event(acme, platform):
    give_credits(acme, "100")
    make_rate_card({make_meter("tokens"): "0.002"})
    event = {"id": "e/1", "account": "acme", "meter": "tokens", "quantity": 1000}
    assert platform.post("/events", event).status_code == 200


@pytest.mark.parametrize("path", ["/events/e%2F1/reverse", "/events/e/1/reverse"])
def test_an_event_is_reversed_once(platform, alice, path):
    response = platform.post(path, {"account": "acme", "reason": "reported twice"})
    assert response.status_code == 201, response.content
    answer = response.json()
    assert (answer["id"], answer["credits"], answer["reason"]) == ("e/1", "2", "reported twice")
    assert answer["posting"].startswith("pst_")
    assert CreditPool.objects.get(account__external_id="acme").balance == 100
    before = written()
    assert_problem(platform.post(path, {"account": "acme"}), 409, "already_reversed")
    assert written() == before
    (item,) = alice.get("/accounts/acme/events").json()["items"]
    assert item["reversed_at"] == answer["created_at"]


def test_an_event_of_another_account_is_not_found(platform):
    make_account("beta")
    assert_problem(platform.post("/events/e%2F1/reverse", {"account": "beta"}), 404, "not_found")
    assert_problem(platform.post("/events/e%2F1/reverse", {"account": "nobody"}), 404, "not_found")
    assert not EventReversal.objects.exists()


def test_an_event_with_a_source_is_named_by_both_and_listed_with_it(platform, alice):
    event = {"id": "e/1", "source": "/worker", "account": "acme", "meter": "tokens", "quantity": 500}
    (result,) = platform.post("/events", [event]).json()["results"]
    assert (result["status"], result["source"]) == ("accepted", "/worker")
    assert_problem(platform.post("/events/e%2F1/reverse", {"account": "acme", "source": "/gone"}), 404, "not_found")
    answer = platform.post("/events/e%2F1/reverse", {"account": "acme", "source": "/worker"}).json()
    assert (answer["source"], answer["credits"]) == ("/worker", "1")
    first = alice.get("/accounts/acme/events?limit=1").json()
    rest = alice.get(f"/accounts/acme/events?limit=1&cursor={first['next_cursor']}").json()
    listed = [(item["source"], bool(item["reversed_at"])) for page in (first, rest) for item in page["items"]]
    assert listed == [("/worker", True), ("", False)]


def test_an_unknown_event_is_not_found(platform):
    rows = ["nothing", "a%0Ab", "x" * 201]
    answers = [(event_id, platform.post(f"/events/{event_id}/reverse", {"account": "acme"})) for event_id in rows]
    assert not_refused(answers, 404, "not_found") == []


def test_what_does_not_fit_is_refused_by_field(platform):
    rows = [
        ("account", None),
        ("source", "a b"),
        ("source", "x" * 201),
        ("reason", 5),
        ("reason", "x" * 201),
        ("why", "x"),
    ]
    answers = [
        ((field, value), platform.post("/events/e%2F1/reverse", {"account": "acme", field: value}), field)
        for field, value in rows
    ]
    assert not_refused(answers, 400, "invalid_request") == []
    assert not EventReversal.objects.exists()
