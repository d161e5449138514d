from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from billing.accounts.ids import encode
from billing.accounts.models import Member
from billing.ledger import pools
from billing.ledger.models import CreditPool, Hold
from tests.api.asking import assert_problem, not_refused, written
from tests.factories import NOW, give_credits, make_meter, make_rate_card

NEW = {"account": "acme", "amount": "40"}


@pytest.fixture(autouse=True)
def _credits(acme):
    give_credits(acme, "100")


@pytest.fixture
def hold(alice) -> str:
    """A hold of 40 of alice's 100 credits."""
    return alice.post("/holds", NEW).json()["id"]


def free(alice) -> str:
    return alice.get("/accounts/acme/balance").json()["available"]


def test_a_hold_takes_credits_out_of_what_is_available(alice, acme):
    bob = Member.objects.get(account=acme, role="member")
    make_meter("tokens")
    body = {**NEW, "meter": "tokens", "member": encode("mem", bob.pk), "expires_in_seconds": 600, "note": "job"}
    response = alice.post("/holds", body)
    assert response.status_code == 201, response.content
    answer = response.json()
    assert answer["id"].startswith("hld_")
    assert (answer["state"], answer["amount"], answer["captured"]) == ("open", "40", "0")
    assert (answer["meter"], answer["member"], answer["note"]) == ("tokens", encode("mem", bob.pk), "job")
    assert answer["account"] == encode("acc", acme.pk)
    assert free(alice) == "60"
    assert alice.get(f"/holds/{answer['id']}").json() == answer


def test_a_repeated_reference_holds_nothing_more(alice):
    first = alice.post("/holds", {**NEW, "reference": "job-7"})
    assert alice.post("/holds", {**NEW, "reference": "job-7"}).json() == first.json()
    assert_problem(alice.post("/holds", {**NEW, "amount": "1", "reference": "job-7"}), 409, "reference_conflict")
    assert Hold.objects.count() == 1


def test_more_than_is_there_cannot_be_held(alice):
    before = written()
    problem = assert_problem(alice.post("/holds", {**NEW, "amount": "100.5"}), 402, "insufficient_credits")
    assert (problem["required"], problem["available"]) == ("100.5", "100")
    assert written() == before


def test_a_members_limit_holds_for_holds(alice, acme):
    bob = Member.objects.get(account=acme, role="member")
    pools.set_member_limit(member_id=bob.pk, amount=Decimal(10), now=timezone.now())
    before = written()
    problem = assert_problem(alice.post("/holds", {**NEW, "member": encode("mem", bob.pk)}), 402, "spend_limit")
    assert (problem["limit"], problem["available"]) == ("10", "10")
    assert written() == before


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [("pool", "nowhere", "unknown_pool"), ("meter", "nothing", "unknown_meter"), ("member", "mem_1", "unknown_member")],
)
def test_a_name_must_lead_somewhere(alice, mallory, field, value, code):
    before = written()
    if field == "member":
        value = encode("mem", Member.objects.latest("pk").pk + 1)
    assert_problem(alice.post("/holds", {**NEW, field: value}), 422, code)
    assert written() == before


def test_what_does_not_fit_is_refused_by_field(alice):
    rows = [
        ("amount", "0"), ("amount", None), ("expires_in_seconds", 0), ("expires_in_seconds", 86_401),
        ("expires_in_seconds", "1.5"), ("expires_in_seconds", True), ("member", "acc_1"), ("member", 5),
        ("account", 5), ("note", {}),
    ]  # fmt: skip
    before = written()
    answers = [((field, value), alice.post("/holds", {**NEW, field: value}), field) for field, value in rows]
    assert not_refused(answers, 400, "invalid_request") == []
    assert written() == before


def test_a_final_capture_spends_and_gives_the_rest_back(alice, hold):
    response = alice.post(f"/holds/{hold}/capture", {"amount": "25.5"})
    assert response.status_code == 200, response.content
    answer = response.json()
    assert (answer["hold"]["state"], answer["hold"]["captured"]) == ("captured", "25.5")
    assert (answer["posting"]["act"], answer["posting"]["credits"]) == ("spend", "25.5")
    assert free(alice) == "74.5"


def test_a_repeated_capture_spends_nothing_more(alice, hold):
    first = alice.post(f"/holds/{hold}/capture", {"amount": "25"})
    assert alice.post(f"/holds/{hold}/capture", {"amount": "25"}).json() == first.json()
    assert free(alice) == "75"


def test_parts_are_captured_one_by_one(alice, hold):
    for amount, reference in (("10", "a"), ("5", "b"), ("5", "b")):
        body = {"amount": amount, "final": False, "reference": reference}
        assert alice.post(f"/holds/{hold}/capture", body).status_code == 200
    assert alice.get(f"/holds/{hold}").json()["captured"] == "15"
    assert free(alice) == "60"


def test_a_capture_of_nothing_just_closes(alice, hold):
    answer = alice.post(f"/holds/{hold}/capture", {"amount": "0"}).json()
    assert (answer["hold"]["state"], answer["posting"]) == ("captured", None)
    assert free(alice) == "100"


def test_a_capture_beyond_hold_and_credits_is_refused(alice, hold):
    before = written()
    assert_problem(alice.post(f"/holds/{hold}/capture", {"amount": "100.01"}), 402, "insufficient_credits")
    assert written() == before


def test_a_malformed_capture_is_refused(alice, hold):
    rows = [("amount", "-1"), ("amount", None), ("final", "yes"), ("final", 1), ("final", None)]
    before = written()
    answers = [
        ((field, value), alice.post(f"/holds/{hold}/capture", {"amount": "1", field: value}), field)
        for field, value in rows
    ]
    assert not_refused(answers, 400, "invalid_request") == []
    assert written() == before


def test_a_released_hold_gives_everything_back_and_is_closed(alice, hold):
    assert alice.post(f"/holds/{hold}/release").json()["state"] == "released"
    assert free(alice) == "100"
    before = written()
    problem = assert_problem(alice.post(f"/holds/{hold}/capture", {"amount": "1"}), 409, "hold_closed")
    assert problem["state"] == "released"
    assert_problem(alice.post(f"/holds/{hold}/extend", {"expires_in_seconds": 60}), 409, "hold_closed")
    assert written() == before


def test_releasing_a_captured_hold_is_refused(alice, hold):
    alice.post(f"/holds/{hold}/capture", {"amount": "1"})
    assert_problem(alice.post(f"/holds/{hold}/release"), 409, "hold_closed")


def test_a_release_takes_no_body(alice, hold):
    assert_problem(alice.post(f"/holds/{hold}/release", {"amount": "1"}), 400, "invalid_request", "amount")
    assert Hold.objects.get().state == "open"


def test_a_hold_is_extended_from_now_on(alice, hold):
    response = alice.post(f"/holds/{hold}/extend", {"expires_in_seconds": 86_400})
    assert response.status_code == 200, response.content
    remaining = Hold.objects.get().expires_at - timezone.now()
    assert timedelta(hours=23, minutes=59) < remaining <= timedelta(hours=24)


def test_a_hold_cannot_last_longer_than_a_day(alice, hold):
    response = alice.post(f"/holds/{hold}/extend", {"expires_in_seconds": 86_401})
    assert_problem(response, 400, "invalid_request", "expires_in_seconds")


def test_an_unknown_hold_is_not_found(alice):
    rows = ["hld_0000000000009", "hld_0", "pst_1", "hld_1e3"]
    answers = [
        answer
        for reference in rows
        for answer in (
            (reference, alice.get(f"/holds/{reference}")),
            (reference, alice.post(f"/holds/{reference}/release")),
        )
    ]
    assert not_refused(answers, 404, "not_found") == []


def test_holds_are_listed_newest_first_and_filtered(alice, platform, hold):
    second = alice.post("/holds", {**NEW, "amount": "1"}).json()["id"]
    alice.post(f"/holds/{hold}/release")
    assert [item["id"] for item in alice.get("/holds").json()["items"]] == [second, hold]
    assert [item["id"] for item in platform.get("/holds", account="acme").json()["items"]] == [second, hold]
    assert [item["id"] for item in platform.get("/holds", state="open").json()["items"]] == [second]
    assert_problem(alice.get("/holds", state="ajar"), 400, "invalid_request", "state")


def test_a_customer_lists_holds_of_their_own_only(alice, mallory, hold):
    assert [item["id"] for item in alice.get("/holds").json()["items"]] == [hold]
    assert mallory.get("/holds").json()["items"] == []


@pytest.mark.parametrize(("mark", "code"), [("parked_at", "account_parked"), ("paused_at", "paused")])
def test_a_parked_or_paused_account_holds_nothing(alice, acme, mark, code):
    setattr(acme, mark, NOW)
    acme.save()
    before = written()
    assert_problem(alice.post("/holds", NEW), 409, code)
    assert written() == before
    assert CreditPool.objects.get(account=acme).held == 0


@pytest.fixture
def priced():
    """Tokens at 2 credits each."""
    make_rate_card({make_meter("tokens"): "2"})


def test_usage_is_held_at_its_estimate_and_captured_as_it_was(alice, acme, priced):
    body = {"account": "acme", "meter": "tokens", "quantity": "10", "properties": {"model": "x"}, "reference": "job"}
    made = alice.post("/holds", body)
    assert made.status_code == 201, made.content
    assert [made.json()[name] for name in ("amount", "quantity", "properties")] == ["20", "10", {"model": "x"}]
    capture = f"/holds/{made.json()['id']}/capture"
    answer = alice.post(capture, {"quantity": "12", "reference": "job-done"}).json()
    assert (answer["credits"], answer["event"], answer["posting"]["credits"]) == ("24", "job-done", "24")
    assert alice.post(capture, {"quantity": "12", "reference": "job-done"}).json() == answer
    assert_problem(alice.post(capture, {"quantity": "11", "reference": "job-done"}), 409, "id_conflict")
    (used,) = alice.get("/accounts/acme/events").json()["items"]
    assert (used["id"], used["quantity"], used["credits"], free(alice)) == ("job-done", "12", "24", "76")


def test_a_capture_without_a_body_takes_what_the_hold_names(alice, acme, priced):
    made = alice.post("/holds", {"account": "acme", "meter": "tokens", "quantity": "10"}).json()
    answer = alice.post(f"/holds/{made['id']}/capture", {}).json()
    assert (answer["credits"], answer["event"], answer["hold"]["state"]) == ("20", made["id"], "captured")


def test_a_hold_is_captured_in_what_it_is_of(alice, acme, priced, hold):
    metered = alice.post("/holds", {"account": "acme", "meter": "tokens", "quantity": "10"}).json()["id"]
    before = written()
    for path, body, code in (
        ("/holds", {"account": "acme"}, "required"),
        ("/holds", {"account": "acme", "quantity": "1"}, "required"),
        ("/holds", {**NEW, "properties": {"a": "b"}}, "required"),
        (f"/holds/{metered}/capture", {"amount": "1"}, "either_or"),
        (f"/holds/{metered}/capture", {"amount": "1", "quantity": "1"}, "either_or"),
        (f"/holds/{hold}/capture", {"quantity": "1"}, "either_or"),
        (f"/holds/{hold}/capture", {}, "required"),
    ):
        problem = assert_problem(alice.post(path, body), 400, "invalid_request")
        assert [each["code"] for each in problem["errors"]] == [code]
    assert_problem(alice.post("/holds", {"account": "acme", "meter": "x", "quantity": "1"}), 422, "unknown_meter")
    assert written() == before
    assert alice.post(f"/holds/{metered}/capture", {"amount": "0"}).json()["hold"]["state"] == "captured"
