from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from billing.accounts.ids import encode
from billing.accounts.models import Member
from billing.ledger import pools
from billing.ledger.models import CreditPool
from billing.notifications.models import Notification
from tests.api.asking import assert_problem, not_refused, written
from tests.factories import NOW, give_credits, make_meter, make_rate_card

CREDITS = {"id": "c-1", "account": "acme", "credits": "12.5"}
USAGE = {"id": "c-1", "account": "acme", "meter": "tokens", "quantity": "1000"}


@pytest.fixture(autouse=True)
def _credits_and_prices(acme):
    give_credits(acme, "100")
    make_rate_card({make_meter("tokens"): "0.002", make_meter("seats"): "5"})


def test_bare_credits_are_charged(alice):
    response = alice.post("/charges", CREDITS)
    assert response.status_code == 200, response.content
    answer = response.json()
    assert answer | {"posting": ""} == {
        "id": "c-1", "credits": "12.5", "available": "87.5", "posting": "", "duplicate": False,
    }  # fmt: skip
    assert answer["posting"].startswith("pst_")


def test_usage_is_priced_and_charged(platform, acme):
    answer = platform.post(
        "/charges", {**USAGE, "account": encode("acc", acme.pk), "properties": {"model": "x"}}
    ).json()
    assert (answer["credits"], answer["available"]) == ("2", "98")


def test_a_quantity_is_one_if_left_out(alice):
    assert alice.post("/charges", {"id": "c", "account": "acme", "meter": "seats"}).json()["credits"] == "5"


def test_a_repeat_charges_nothing_more_and_says_so(alice):
    first, again = alice.post("/charges", USAGE).json(), alice.post("/charges", USAGE).json()
    assert again == {**first, "duplicate": True}


def test_another_charge_under_the_same_id_is_refused(alice):
    alice.post("/charges", CREDITS)
    before = written()
    assert_problem(alice.post("/charges", {**CREDITS, "credits": "1"}), 409, "id_conflict")
    assert written() == before


def test_the_first_refusal_of_a_cycle_is_told(alice, acme):
    """Charges, holds and captures alike: one notification for each pool and cycle, at the price of nothing else."""
    team = pools.open_pool(account=acme, key="team", name="Team", now=timezone.now())
    hold = alice.post("/holds", {"account": "acme", "amount": "100"}).json()["id"]
    before = written()
    for address, body in (
        (f"/holds/{hold}/capture", {"amount": "100.5"}),
        ("/holds", {"account": "acme", "amount": "5"}),
        ("/charges", CREDITS),
        ("/charges", {**CREDITS, "pool": "team"}),
        ("/charges", {**CREDITS, "pool": "team"}),
    ):
        assert_problem(alice.post(address, body), 402, "insufficient_credits")
    told = Notification.objects.filter(kind="charge_refused").order_by("pk")
    assert [(row.payload["pool"], row.payload["available"]) for row in told] == [("main", "0.000000"), ("team", "0")]
    assert written() == before
    # A new cycle tells again.
    CreditPool.objects.filter(pk=team.pk).update(cycle_number=team.cycle_number + 1)
    assert_problem(alice.post("/charges", {**CREDITS, "pool": "team"}), 402, "insufficient_credits")
    assert told.all().count() == 3


def test_without_enough_credits_nothing_is_charged(alice):
    before = written()
    problem = assert_problem(alice.post("/charges", {**CREDITS, "credits": "100.000001"}), 402, "insufficient_credits")
    assert (problem["required"], problem["available"]) == ("100.000001", "100")
    assert written() == before


def test_a_refused_charge_can_be_tried_again_with_the_same_key(alice, acme):
    body = {**CREDITS, "credits": "150"}
    assert alice.post("/charges", body, key="k").status_code == 402
    give_credits(acme, "100")
    # The refusal was the answer; after a top-up the caller sends the same charge under a new key.
    assert alice.post("/charges", body, key="k").status_code == 402
    assert alice.post("/charges", body, key="k2").status_code == 200


def test_a_members_limit_refuses(alice, acme):
    bob = Member.objects.get(account=acme, role="member")
    pools.set_member_limit(member_id=bob.pk, amount=Decimal(20), now=timezone.now())
    assert alice.post("/charges", {**CREDITS, "member": encode("mem", bob.pk)}).status_code == 200
    before = written()
    problem = assert_problem(
        alice.post("/charges", {**CREDITS, "id": "c-2", "member": encode("mem", bob.pk)}), 402, "spend_limit"
    )
    assert (problem["limit"], problem["spent"], problem["available"]) == ("20", "12.5", "7.5")
    assert written() == before


@pytest.mark.parametrize(("mark", "code"), [("parked_at", "account_parked"), ("paused_at", "paused")])
def test_a_parked_or_paused_account_is_not_charged(alice, acme, mark, code):
    setattr(acme, mark, NOW)
    acme.save()
    before = written()
    assert_problem(alice.post("/charges", CREDITS), 409, code)
    assert written() == before


def test_a_team_pool_is_charged_by_its_key(alice, acme):
    pool = pools.open_pool(account=acme, key="research", name="Research", policy="overage", now=NOW)
    assert alice.post("/charges", {**CREDITS, "pool": "research"}).status_code == 200
    assert CreditPool.objects.get(pk=pool.pk).cycle_overage == Decimal("12.5")


def test_what_cannot_be_priced_is_refused(alice):
    rows = [
        ({"pool": "nowhere"}, "unknown_pool"),
        ({"meter": "nothing"}, "unknown_meter"),
        ({"member": "mem_0000000000009"}, "unknown_member"),
        ({"properties": {"a": [1]}}, "invalid_properties"),
        ({"properties": {"a" * 61: 1}}, "invalid_properties"),
        ({"occurred_at": "2020-01-01T00:00:00Z"}, "time_too_old"),
        ({"occurred_at": "9998-01-01T00:00:00Z"}, "time_ahead"),
        ({"quantity": "1000000000"}, "insufficient_credits"),
        ({"quantity": "999999999999999998"}, "amount_too_large"),
    ]
    before = written()
    answers = [
        (changes, alice.post("/charges", {**USAGE, **changes}), 402 if code == "insufficient_credits" else 422, code)
        for changes, code in rows
    ]
    assert not_refused(answers) == []
    assert written() == before


def test_a_meter_without_a_rate_is_refused(alice):
    make_meter("unpriced")
    before = written()
    assert_problem(alice.post("/charges", {**USAGE, "meter": "unpriced"}), 422, "no_rate")
    assert written() == before


def test_an_unknown_account_is_not_found(platform):
    before = written()
    for account in ("nobody", "acc_0000000000009", "acc_x"):
        assert_problem(platform.post("/charges", {**CREDITS, "account": account}), 404, "not_found")
    assert written() == before


def test_what_does_not_fit_is_refused_by_field(alice):
    rows = [
        ("credits", "0"), ("credits", "-1"), ("credits", None), ("credits", "1e1"), ("id", ""), ("id", 5),
        ("id", "x" * 201), ("id", "a\nb"), ("account", ["acme"]), ("meter", "tokens"), ("quantity", "5"),
        ("properties", {"a": 1}), ("member", "bob"), ("occurred_at", "2026-01-01T00:00:00"), ("pool", 7),
        ("async", True),
    ]  # fmt: skip
    before = written()
    answers = [((field, value), alice.post("/charges", {**CREDITS, field: value})) for field, value in rows]
    assert not_refused(answers, 400, "invalid_request") == []
    named = [(asked, {error["field"] for error in answer.json()["errors"]}) for asked, answer in answers]
    assert [row for row in named if not row[1] <= {row[0][0], "credits"}] == []
    assert written() == before


def test_a_charge_needs_either_meter_or_credits(alice):
    before = written()
    body = {"id": "c-1", "account": "acme"}
    assert_problem(alice.post("/charges", body), 400, "invalid_request", "credits")
    assert written() == before


def test_a_late_charge_is_taken_within_the_window(alice):
    moment = (timezone.now() - timedelta(days=34)).isoformat()
    assert alice.post("/charges", {**CREDITS, "occurred_at": moment}).status_code in {200, 402}
