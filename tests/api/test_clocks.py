from datetime import UTC, datetime, timedelta

import pytest

from billing import tasks
from billing.accounts import clocks
from billing.accounts.ids import encode
from billing.accounts.models import Account
from billing.clock import advancing
from billing.ledger.models import CreditGrant, Posting
from billing.subscriptions.models import Subscription
from tests.api.asking import assert_problem, not_refused
from tests.factories import give_credits, make_account, make_meter, make_rate_card
from tests.subscriptions.makers import add_card, make_team, subscribe

START = datetime(2027, 1, 31, tzinfo=UTC)
PATH = "/accounts/fresh/test-clock"
DAY = timedelta(days=1)


@pytest.fixture
def fresh(db) -> Account:
    return make_account("fresh", country="US", now=START)


def move(api, to, **more):
    return api.post(PATH, {"advance_to": to.isoformat(), **more})


def test_an_account_in_real_time_says_so(platform, fresh):
    answer = platform.get(PATH).json()
    assert (answer["state"], answer["advance_to"], answer["created_at"]) == ("real", None, None)
    assert abs(datetime.fromisoformat(answer["now"]) - datetime.now(UTC)) < timedelta(minutes=1)


def test_an_account_is_put_on_a_clock_and_moved_through_its_renewals(platform, fresh, shop):
    answer = platform.post(PATH, {"starts_at": START.isoformat()})
    assert answer.status_code == 200, answer.content
    assert (answer.json()["now"], answer.json()["state"]) == ("2027-01-31T00:00:00Z", "ready")
    add_card(fresh, now=START)
    subscribe(fresh, make_team(), now=START, collection="automatic")
    answer = move(platform, START + 40 * DAY).json()
    assert (answer["now"], answer["state"], answer["advance_to"]) == ("2027-03-12T00:00:00Z", "ready", None)
    assert platform.get(PATH).json() == answer
    issued = fresh.invoices.order_by("pk").values_list("issued_at", "state")
    assert [(f"{at:%m-%d}", state) for at, state in issued] == [("01-31", "paid"), ("02-28", "paid")]
    assert Subscription.objects.get().state == "active"


def test_repeating_the_move_under_its_key_moves_once(platform, fresh):
    body = {"starts_at": START.isoformat(), "advance_to": (START + DAY).isoformat()}
    answers = [platform.post(PATH, body, key="k").json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0]["now"] == "2027-02-01T00:00:00Z"


def test_everything_that_is_done_with_it_happens_at_its_time(platform, fresh):
    platform.post(PATH, {"starts_at": START.isoformat()})
    make_rate_card({make_meter(): "1"}, now=START - DAY)
    assert platform.post("/accounts/fresh/grants", {"amount": "100", "kind": "bonus"}).status_code == 201
    charge = {"id": "c1", "account": "fresh", "credits": "1"}
    assert platform.post("/charges", charge).status_code == 200
    event = {"id": "e1", "account": encode("acc", fresh.pk), "meter": "tokens", "quantity": 2}
    other = make_account("other")
    give_credits(other, "10")
    lone = {**event, "account": "other"}
    taken = platform.post("/events", [event, lone, {**event, "id": "e2", "account": "fresh"}]).json()
    assert [result["status"] for result in taken["results"]] == ["accepted"] * 3
    assert (taken["accepted"], taken["balances"]["fresh"]) == (3, "95")
    hold = platform.post("/holds", {"account": "fresh", "amount": "3"}).json()
    assert platform.post(f"/holds/{hold['id']}/capture", {"amount": "3"}).status_code == 200
    mine = Posting.objects.filter(pool__account=fresh)
    assert set(mine.values_list("posted_at", flat=True)) == {START}
    assert Posting.objects.filter(pool__account=other).latest("pk").posted_at < START
    assert platform.get("/accounts/fresh/balance").json()["available"] == "92"
    asked = platform.post("/checks", {"accounts": ["other", "fresh"], "lines": [{"credits": "50"}]}).json()["results"]
    assert [each["allowed"] for each in asked] == [False, True]
    estimate = {"account": "fresh", "lines": [{"meter": "tokens", "quantity": "1"}]}
    assert platform.post("/estimates", estimate).status_code == 200


def test_a_clock_that_starts_in_the_past_has_its_history_there(platform, db):
    make_account("late", now=datetime.now(UTC))
    assert not platform.get("/accounts/late").json()["is_test"]
    started = platform.post("/accounts/late/test-clock", {"starts_at": "2026-01-20T09:00:00Z"})
    assert started.status_code == 200, started.content
    assert platform.get("/accounts/late").json()["is_test"]
    make_rate_card({make_meter(): "1"}, now=datetime(2026, 1, 1, tzinfo=UTC))
    platform.post("/accounts/late/grants", {"amount": "100", "kind": "bonus"})
    event = {"id": "e", "account": "late", "meter": "tokens", "quantity": 80, "occurred_at": "2026-01-20T09:00:00Z"}
    assert platform.post("/events", event).json()["balances"] == {"late": "20"}
    entries = platform.get("/accounts/late/entries").json()["items"]
    assert {entry["posted_at"] for entry in entries} == {"2026-01-20T09:00:00Z"}
    platform.post("/accounts/late/test-clock", {"advance_to": "2026-02-10T00:00:00Z"})
    at = [platform.get(f"/accounts/late/balance?at=2026-0{day}T00:00:00Z").json() for day in ("1-19", "1-25", "2-05")]
    assert [each["available"] for each in at] == ["0", "20", "20"]
    cycle = platform.get("/accounts/late/balance").json()["cycle"]
    assert (cycle["starts_at"], cycle["spent"]) == ("2026-02-01T00:00:00Z", "0")


def test_an_account_that_was_invoiced_becomes_no_test_account(platform, fresh, shop):
    subscribe(fresh, make_team(), now=START)
    assert_problem(platform.post(PATH, {"starts_at": (START + DAY).isoformat()}), 409, "account_invoiced")
    fresh.refresh_from_db()
    assert fresh.clock_at is None


def test_jobs_leave_it_alone(platform, fresh):
    platform.post(PATH, {"starts_at": START.isoformat()})
    past = datetime(2026, 1, 1, tzinfo=UTC)
    give_credits(fresh, "5", now=past, expires_at=past + DAY)
    tasks.expire_lots()
    assert CreditGrant.objects.get().remaining == 5
    move(platform, START + DAY)
    assert CreditGrant.objects.get().remaining == 0


def test_a_wrong_time_is_refused_and_the_clock_stands(platform, fresh):
    rows = [
        ({}, 400, "invalid_request"),
        ({"advance_to": "soon"}, 400, "invalid_request"),
        ({"advance_to": "2027-01-30T00:00:00Z"}, 409, "test_clock_behind"),
        ({"advance_to": "2034-01-01T00:00:00Z"}, 409, "test_clock_too_far"),
        ({"starts_at": "2027-01-31T00:00:00Z"}, 409, "test_clock_exists"),
    ]
    platform.post(PATH, {"starts_at": START.isoformat()})
    answers = [((body, status, code), platform.post(PATH, body), status, code) for body, status, code in rows]
    assert not_refused(answers) == []
    fresh.refresh_from_db()
    assert (fresh.clock_at, clocks.list_moving(now=START, limit=9)) == (START, [])


def test_a_clock_cannot_begin_before_what_has_happened(platform, fresh):
    give_credits(fresh, "1", now=START + DAY)
    assert_problem(platform.post(PATH, {"starts_at": START.isoformat()}), 409, "test_clock_behind")


@pytest.mark.parametrize("gateway", ["", "stripe"])
def test_without_the_sandbox_there_are_no_clocks(platform, fresh, settings, gateway):
    settings.FLORIN_GATEWAY = gateway
    assert_problem(platform.post(PATH, {"starts_at": START.isoformat()}), 409, "no_sandbox")
    fresh.refresh_from_db()
    assert fresh.clock_at is None


def test_a_long_way_is_gone_on_with_by_the_job(platform, fresh, monkeypatch):
    from billing.api import clocks as door

    monkeypatch.setattr(door, "ANSWER_WITHIN_SECONDS", 0)
    platform.post(PATH, {"starts_at": START.isoformat()})
    answer = move(platform, START + 3 * DAY).json()
    assert (answer["state"], answer["advance_to"]) == ("moving", "2027-02-03T00:00:00Z")
    assert_problem(move(platform, START + 9 * DAY), 409, "test_clock_moving")
    tasks.move_test_clocks()
    assert platform.get(PATH).json()["now"] == "2027-02-03T00:00:00Z"
    assert platform.get(PATH).json()["state"] == "ready"


def test_what_goes_wrong_stops_the_clock_and_can_be_tried_again(platform, fresh, monkeypatch):
    platform.post(PATH, {"starts_at": START.isoformat()})

    def broken(**_):
        raise RuntimeError("out of order")

    with monkeypatch.context() as patch:
        patch.setattr(advancing, "move", broken)
        answer = move(platform, START + DAY).json()
    assert (answer["state"], answer["problem"]) == ("stopped", "RuntimeError: out of order")
    tasks.move_test_clocks()
    assert platform.get(PATH).json()["now"] == "2027-01-31T00:00:00Z"
    assert move(platform, START + DAY).json()["state"] == "ready"
