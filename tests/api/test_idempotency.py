"""Requests that come at once, on a real database with real commits."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from billing.ledger.models import CreditGrant, CreditPool
from tests.api.asking import Api
from tests.factories import give_credits, make_account, make_key

THREADS = 8


def at_once(request: Callable[[int], Any]) -> list[Any]:
    """The answers to as many requests as there are threads, all sent at the same moment."""
    barrier = threading.Barrier(THREADS)

    def run(number: int) -> Any:
        try:
            barrier.wait()
            return request(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


@pytest.fixture
def secret(transactional_db: None) -> str:
    """A platform key's secret; account acme exists."""
    make_account("acme")
    return make_key()[1]


def grant(secret: str, key: str | None) -> Any:
    return Api(secret).post("/accounts/acme/grants", {"amount": "5", "kind": "bonus"}, key=key)


def test_of_equal_requests_at_once_one_acts(secret):
    answers = at_once(lambda _: grant(secret, "same"))
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses.keys() <= {201, 409}
    assert all(int(answer["Retry-After"]) >= 1 for answer in answers if answer.status_code == 409)
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert CreditGrant.objects.count() == 1


def test_without_the_header_each_request_acts(secret):
    """Positive control: the same requests without the key give as many lots."""
    answers = at_once(lambda _: grant(secret, None))
    assert {answer.status_code for answer in answers} == {201}
    assert CreditGrant.objects.count() == THREADS


def test_charges_with_one_id_at_once_are_one_charge(secret):
    give_credits(CreditPool.objects.get().account, "100")
    body = {"id": "c", "account": "acme", "credits": "3"}
    answers = at_once(lambda _: Api(secret).post("/charges", body))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.json()["duplicate"] for answer in answers) == [False] + [True] * (THREADS - 1)
    assert CreditPool.objects.get().balance == 97


def test_charges_at_once_never_overspend(secret):
    give_credits(CreditPool.objects.get().account, "10")

    def charge(number: int) -> list[int]:
        api = Api(secret)
        bodies = [{"id": f"{number}-{each}", "account": "acme", "credits": "1"} for each in range(4)]
        return [api.post("/charges", body).status_code for body in bodies]

    assert Counter(status for statuses in at_once(charge) for status in statuses) == {200: 10, 402: 22}
    assert CreditPool.objects.get().balance == 0
