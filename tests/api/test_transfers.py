import pytest

from billing.ledger import pools
from billing.ledger.models import CreditPool
from tests.api.asking import assert_problem, not_refused, written
from tests.factories import NOW, give_credits

BODY = {"account": "acme", "from_pool": "main", "to_pool": "research", "amount": "30.5"}


@pytest.fixture(autouse=True)
def _two_pools(acme):
    pools.open_pool(account=acme, key="research", name="Research", now=NOW)
    give_credits(acme, "100")


def balances(acme):
    return {pool.key: str(pool.balance) for pool in CreditPool.objects.filter(account=acme)}


def test_a_customer_moves_credits_between_their_pools(alice, acme):
    response = alice.post("/transfers", {**BODY, "note": "for March"})
    assert response.status_code == 201, response.content
    answer = response.json()
    assert (answer["act"], answer["amount"], answer["note"]) == ("transfer", "-30.5", "for March")
    assert answer["counterpart"].startswith("pst_")
    assert balances(acme) == {"main": "69.500000", "research": "30.500000"}


def test_a_repeated_reference_moves_nothing_more(alice, acme):
    first = alice.post("/transfers", {**BODY, "reference": "t-1"})
    assert alice.post("/transfers", {**BODY, "reference": "t-1"}).json() == first.json()
    assert balances(acme) == {"main": "69.500000", "research": "30.500000"}


def test_a_reference_of_another_act_is_refused(alice):
    alice.post("/transfers", {**BODY, "reference": "t-1"})
    before = written()
    response = alice.post("/transfers", {**BODY, "amount": "1", "reference": "t-1"})
    assert_problem(response, 409, "reference_conflict")
    assert written() == before


def test_more_than_is_there_cannot_be_moved(alice):
    before = written()
    problem = assert_problem(alice.post("/transfers", {**BODY, "amount": "100.000001"}), 409, "not_enough_left")
    assert (problem["required"], problem["available"]) == ("100.000001", "100")
    assert written() == before


def test_what_does_not_fit_is_refused_by_field(alice):
    rows = [("amount", "0"), ("amount", "-1"), ("to_pool", "main"), ("account", None), ("amount", None)]
    before = written()
    answers = [((field, value), alice.post("/transfers", {**BODY, field: value}), field) for field, value in rows]
    assert not_refused(answers, 400, "invalid_request") == []
    assert written() == before


def test_a_pool_must_be_the_accounts(alice):
    rows = ["from_pool", "to_pool"]
    before = written()
    answers = [(field, alice.post("/transfers", {**BODY, field: "nowhere"})) for field in rows]
    assert not_refused(answers, 422, "unknown_pool") == []
    assert written() == before


@pytest.mark.parametrize(("mark", "code"), [("parked_at", "account_parked"), ("paused_at", "paused")])
def test_a_parked_or_paused_account_moves_nothing(alice, acme, mark, code):
    setattr(acme, mark, NOW)
    acme.save()
    before = written()
    assert_problem(alice.post("/transfers", BODY), 409, code)
    assert written() == before
