"""Every limit of `throttles`, reached through its door: so many are let through and not one more."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from billing import tasks
from billing.accounts import throttles
from billing.accounts.models import Account, Throttle
from billing.accounts.throttles import Limit, Throttled
from billing.catalog.models import Coupon
from tests.api.asking import Api, assert_problem
from tests.factories import NOW, make_account, make_issuer, make_key, make_member, make_user
from tests.subscriptions.makers import make_team

LIMITS = {name: limit for name, limit in vars(throttles).items() if isinstance(limit, Limit)}
OTHER_CLIENT = {"REMOTE_ADDR": "10.9.9.9"}


def wrong_key(number: int) -> bool:
    """Whether a key that there is not is refused as such."""
    return Api(f"fl_{number:012x}_{'x' * 43}").get("/api-keys/me").status_code == 401


def wrong_signature(number: int) -> bool:
    return Api(None).post("/gateways/sandbox/webhook", {}).status_code == 401


def wrong_link(number: int) -> bool:
    links = (f"/invitations/{number}", f"/verify-email/{number}", f"/password-reset/{number}-x-y")
    return Client().get(links[number % len(links)]).status_code != 429


def wrong_coupon(number: int) -> bool:
    body = {"plan": "team", "seats": 1, "coupon": f"GUESS{number}"}
    return Api(_key()).post("/accounts/acme/subscriptions/preview", body).json()["reason"] == "unknown"


def invitation_of_person(number: int) -> bool:
    account = Account.objects.get(external_id="acme")
    browser = Client()
    browser.force_login(account.members.get(role="owner").user)
    form = {"email": f"person{number}@example.com", "role": "member"}
    return browser.post("/a/acme/team", form).status_code == 302


def invitation_of_account(number: int) -> bool:
    return _invited("acme", f"person{number}@example.com")


def invitation_to_address(number: int) -> bool:
    make_account(f"org{number}")
    return _invited(f"org{number}", "Carol@example.com" if number % 2 else "carol@example.com")


DOORS: dict[str, Callable[[int], bool]] = {
    "WRONG_KEYS": wrong_key,
    "WRONG_SIGNATURES": wrong_signature,
    "WRONG_LINKS": wrong_link,
    "WRONG_COUPONS": wrong_coupon,
    "INVITATIONS_OF_PERSON": invitation_of_person,
    "INVITATIONS_OF_ACCOUNT": invitation_of_account,
    "INVITATIONS_TO_ADDRESS": invitation_to_address,
}


def _invited(account: str, email: str) -> bool:
    answer = Api(_key()).post(f"/accounts/{account}/invitations", {"email": email, "role": "member"})
    if answer.status_code == 201:
        return True
    assert_problem(answer, 429, "too_many_requests")
    return False


_secrets: list[str] = []


def _key() -> str:
    return _secrets[0]


@pytest.fixture
def acme(db: None) -> Account:
    """The account of alice, with a plan on sale, and a key of the platform."""
    account = make_account("acme")
    make_member(account, make_user("alice"), "owner")
    make_issuer()
    make_team()
    _secrets[:] = [make_key()[1]]
    return account


@pytest.mark.parametrize("name", LIMITS)
def test_a_door_lets_through_as_many_as_its_limit_says(acme: Account, name: str) -> None:
    limit = LIMITS[name]
    let_through = [DOORS[name](number) for number in range(limit.count + 3)]
    assert let_through == [True] * limit.count + [False] * 3
    # When the window is over it begins anew.
    Throttle.objects.filter(name__startswith=f"{limit.door}:").update(window_ends_at=NOW)
    assert DOORS[name](limit.count + 3)


def test_wrong_keys_of_one_client_count_together_and_right_ones_still_work(acme: Account) -> None:
    for number in range(throttles.WRONG_KEYS.count):
        wrong_key(number)
    problem = Api(f"fl_{0:012x}_{'x' * 43}").get("/api-keys/me")
    assert_problem(problem, 429, "too_many_requests")
    assert 1 <= int(problem["Retry-After"]) <= throttles.WRONG_KEYS.seconds
    asked = {"headers": {"Authorization": f"Bearer fl_{0:012x}_{'x' * 43}"}, **OTHER_CLIENT}
    assert Client().get("/api/v1/api-keys/me", **asked).status_code == 401
    assert Api(_key()).get("/api-keys/me").status_code == 200


def test_a_coupon_is_not_taken_after_too_many_guesses(acme: Account) -> None:
    Coupon.objects.create(code="HALF", name="Half", percent=50, created_at=NOW)
    for number in range(throttles.WRONG_COUPONS.count):
        wrong_coupon(number)
    body = {"plan": "team", "seats": 1, "coupon": "HALF"}
    answer = Api(_key()).post("/accounts/acme/subscriptions/preview", body)
    assert assert_problem(answer, 422, "coupon_refused")["reason"] == "too_many_guesses"


def test_what_is_refused_counts_against_no_other_limit(db: None) -> None:
    one, many = Limit("one", 1, 60), Limit("many", 5, 60)
    throttles.take((one, 1), (many, 1), now=NOW)
    for _ in range(3):
        with pytest.raises(Throttled) as refusal:
            throttles.take((many, 1), (one, 1), now=NOW + timedelta(seconds=18.5))
    assert refusal.value.retry_after_seconds == 42
    assert Throttle.objects.get(name__startswith="many").count == 1


def test_counts_whose_window_is_over_are_purged(db: None) -> None:
    throttles.take((throttles.WRONG_KEYS, "10.0.0.1"), now=NOW)
    tasks.purge_sessions()
    assert not Throttle.objects.exists()


def _race(take: Callable[[], Any]) -> int:
    """How many of 32 at once are let through."""
    barrier = threading.Barrier(8)

    def run(_: int) -> int:
        try:
            barrier.wait()
            return sum(_is_let_through(take) for _ in range(4))
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(run, range(8)))


def _is_let_through(take: Callable[[], Any]) -> bool:
    try:
        take()
    except Throttled:
        return False
    return True


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_exactly_as_many_are_let_through_as_the_limit_says() -> None:
    limit = Limit("race", 10, 60)
    assert _race(lambda: throttles.take((limit, "x"), now=NOW)) == 10


@pytest.mark.django_db(transaction=True)
def test_counting_by_reading_and_writing_would_let_more_through() -> None:
    """Positive control: the same race with look-then-count."""
    limit = Limit("race", 10, 60)
    throttles.take((limit, "x"), now=NOW)

    def careless() -> None:
        row = Throttle.objects.get()
        if row.count >= limit.count:
            raise Throttled(limit, 1)
        time.sleep(0.005)
        Throttle.objects.update(count=row.count + 1)

    assert _race(careless) > 9
