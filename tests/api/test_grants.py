import pytest
from django.utils import timezone

from billing.accounts import idempotency, keys
from billing.accounts.ids import encode
from billing.accounts.models import IdempotencyKey
from billing.ledger import pools, posting
from billing.ledger.models import CreditGrant, CreditPool
from tests.api.asking import Api, assert_problem, not_refused, written
from tests.factories import NOW, give_credits, make_key, make_meter

PATH = "/accounts/acme/grants"
NEW = {"amount": "1000", "kind": "bonus"}


def test_credits_are_granted_with_all_their_terms(platform, acme):
    make_meter("tokens")
    response = platform.post(
        PATH,
        {
            **NEW,
            "kind": "purchase",
            "priority": 10,
            "effective_at": "2025-06-01T02:00:00+02:00",
            "expires_at": "2099-01-01T00:00:00Z",
            "cost_basis": "0.070000000001",
            "currency": "EUR",
            "meter": "tokens",
            "note": "order 7",
            "reference": "order-7",
        },
    )
    assert response.status_code == 201, response.content
    answer = response.json()
    grant = CreditGrant.objects.get()
    assert answer == {
        "id": encode("grt", grant.pk), "pool": "main", "kind": "purchase", "amount": "1000", "remaining": "1000",
        "held": "0", "spent": "0", "reversed": "0", "expired": "0", "revoked": "0", "transferred": "0", "is_open": True,
        "priority": 10, "effective_at": "2025-06-01T00:00:00Z", "expires_at": "2099-01-01T00:00:00Z",
        "cost_basis": "0.070000000001", "currency": "EUR", "meter": "tokens", "note": "order 7",
        "created_at": answer["created_at"],
    }  # fmt: skip
    assert grant.entries.get().posting.reference == "api:order-7"
    assert grant.entries.get().posting.actor.startswith("key:")


def test_an_amount_may_be_a_json_number(platform, acme):
    response = platform.send("POST", PATH, b'{"amount": 0.1, "kind": "bonus"}')
    assert response.json()["amount"] == "0.1"


def test_a_repeated_reference_gives_nothing_more(platform, acme):
    first = platform.post(PATH, {**NEW, "reference": "welcome"})
    again = platform.post(PATH, {**NEW, "amount": "1000.00", "reference": "welcome"})
    assert again.json() == first.json()
    assert CreditGrant.objects.count() == 1


def test_a_reference_of_another_act_is_refused(platform, acme):
    platform.post(PATH, {**NEW, "reference": "welcome"})
    before = written()
    assert_problem(platform.post(PATH, {**NEW, "amount": "2", "reference": "welcome"}), 409, "reference_conflict")
    assert written() == before


def test_a_repeat_after_a_crash_gives_nothing_more(platform, acme, monkeypatch):
    """The holder dies between its effect and its answer; the one who takes over repeats the act."""
    with monkeypatch.context() as crashing:
        crashing.setattr(idempotency, "finish", lambda **_: False)
        crashing.setattr(idempotency, "abandon", lambda **_: None)
        assert platform.post(PATH, NEW, key="k").status_code == 201
    assert_problem(platform.post(PATH, NEW, key="k"), 409, "request_in_progress")
    IdempotencyKey.objects.update(locked_until=NOW)
    assert platform.post(PATH, NEW, key="k").status_code == 201
    assert CreditGrant.objects.count() == 1


def test_a_request_repeated_with_the_rotated_key_is_the_same_request(acme):
    key, secret = make_key()
    first = Api(secret).post(PATH, NEW, key="k")
    successor, rotated = keys.rotate(key=key, overlap_seconds=0, now=timezone.now())
    again = Api(rotated).post(PATH, NEW, key="k")
    assert (again.status_code, again.content, again["Idempotency-Replayed"]) == (201, first.content, "true")
    # Nor is it another act where the first answer was never kept, two rotations later.
    IdempotencyKey.objects.all().delete()
    _, rotated = keys.rotate(key=successor, overlap_seconds=0, now=timezone.now())
    assert Api(rotated).post(PATH, NEW, key="k").json() == first.json()
    assert Api(make_key()[1]).post(PATH, NEW, key="k").json()["id"] != first.json()["id"]
    assert CreditGrant.objects.count() == 2


def test_a_request_in_progress_says_when_to_come_back(platform, acme, monkeypatch):
    monkeypatch.setattr(idempotency, "finish", lambda **_: False)
    platform.post(PATH, NEW, key="k")
    response = platform.post(PATH, NEW, key="k")
    assert_problem(response, 409, "request_in_progress")
    assert 1 <= int(response["Retry-After"]) <= 60


def test_what_does_not_fit_is_refused_by_field(platform, acme):
    rows = [
        ("amount", "0"), ("amount", "-5"), ("amount", "1e3"), ("amount", "1_000"), ("amount", " 1"), ("amount", "+1"),
        ("amount", "\uff11"), ("amount", "NaN"), ("amount", "Infinity"), ("amount", "1.0000001"), ("amount", True),
        ("amount", "1" + "0" * 18), ("amount", 10**18), ("amount", 10**300), ("amount", None), ("amount", [1]),
        ("amount", ".5"), ("amount", "5."), ("amount", ""), ("amount", {}), ("kind", "overdraft"), ("kind", "rollover"),
        ("kind", 5), ("kind", ["bonus"]), ("expires_at", "2025-01-01T00:00:00Z"), ("expires_at", "2099-01-01T00:00:00"),
        ("expires_at", "9999-01-01T00:00:00Z"), ("expires_at", 4070908800), ("effective_at", None),
        ("effective_at", "2025-01-01"), ("priority", 1.5), ("priority", True), ("priority", 10**6),
        ("currency", "EURO"), ("cost_basis", "-1"), ("cost_basis", "1" * 13), ("note", "x" * 201), ("note", 5),
        ("reference", ""), ("reference", "x" * 151), ("reference", None), ("pool", ""), ("meter", []), ("hue", "red"),
        ("amount", "9" * 18),
    ]  # fmt: skip
    before = written()
    answers = [((field, value), platform.post(PATH, {**NEW, field: value}), field) for field, value in rows]
    assert not_refused(answers, 400, "invalid_request") == []
    assert written() == before


def test_a_name_must_lead_somewhere(platform, acme):
    rows = [("pool", "unknown_pool"), ("meter", "unknown_meter")]
    before = written()
    answers = [((field, code), platform.post(PATH, {**NEW, field: "nowhere"}), 422, code) for field, code in rows]
    assert not_refused(answers) == []
    assert written() == before


def test_more_than_a_pool_can_hold_is_refused(platform, acme):
    huge = {**NEW, "amount": "6" + "0" * 17}
    assert platform.post(PATH, huge).status_code == 201
    before = written()
    assert_problem(platform.post(PATH, huge), 422, "amount_too_large")
    assert written() == before


def test_an_unknown_account_gets_no_credits(platform, acme):
    before = written()
    assert_problem(platform.post("/accounts/nobody/grants", NEW), 404, "not_found")
    assert written() == before


def test_grants_are_listed_newest_first_and_filtered(alice, acme):
    rows = [
        ({}, ["purchase", "bonus"]),
        ({"kind": "bonus"}, ["bonus"]),
        ({"state": "closed"}, []),
        ({"pool": "research"}, []),
    ]
    pools.open_pool(account=acme, key="research", name="Research", now=NOW)
    give_credits(acme, "5", kind="bonus")
    give_credits(acme, "6", kind="purchase")
    assert [(query, [item["kind"] for item in alice.get(PATH, **query).json()["items"]]) for query, _ in rows] == rows


def test_a_malformed_query_is_refused_by_parameter(alice, acme):
    rows = [({"kind": "gold"}, "kind"), ({"state": "ajar"}, "state")]
    answers = [((query, field), alice.get(PATH, **query), field) for query, field in rows]
    assert not_refused(answers, 400, "invalid_request") == []


@pytest.fixture
def lot(acme) -> str:
    given = give_credits(acme, "100")
    return encode("grt", given.entries.get().grant_id)


def test_all_that_is_left_of_a_lot_is_revoked(platform, acme, lot):
    response = platform.post(f"/grants/{lot}/revoke", {"note": "mistake"})
    assert response.status_code == 201, response.content
    assert (response.json()["act"], response.json()["amount"]) == ("revoke", "-100")
    assert CreditPool.objects.get(account=acme).balance == 0


def test_a_part_is_revoked_once_per_reference(platform, acme, lot):
    for _ in range(2):
        assert platform.post(f"/grants/{lot}/revoke", {"amount": "30", "reference": "r-1"}).status_code == 201
    assert CreditPool.objects.get(account=acme).balance == 70


def test_spent_credits_cannot_be_revoked(platform, acme, lot):
    pool = pools.get_main_pool(acme.pk)
    posting.spend(pool_id=pool.pk, credits=60, reference="s", now=NOW)
    before = written()
    problem = assert_problem(platform.post(f"/grants/{lot}/revoke", {"amount": "41"}), 409, "not_enough_left")
    assert (problem["required"], problem["available"]) == ("41", "40")
    assert written() == before


def test_an_unknown_grant_is_not_found(platform, lot):
    rows = ["grt_0000000000009", "grt_0", "pst_1", "x", "grt_99999999999999999999"]
    answers = [(grant, platform.post(f"/grants/{grant}/revoke")) for grant in rows]
    assert not_refused(answers, 404, "not_found") == []


def test_a_malformed_revocation_is_refused(platform, lot):
    rows = ["0", "-1", "x", None]
    before = written()
    answers = [(amount, platform.post(f"/grants/{lot}/revoke", {"amount": amount}), "amount") for amount in rows]
    assert not_refused(answers, 400, "invalid_request") == []
    assert written() == before
