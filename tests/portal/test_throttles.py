"""Guessing at the entrance comes to an end: by client, by the address typed, and across processes."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.db import connection
from django.test import Client

from billing.accounts.models import User
from tests.factories import make_user
from tests.portal.entering import PASSWORD, read_mail, sign_in


@pytest.fixture
def user(db: None) -> User:
    return make_user("alice", password=PASSWORD)


def _from(number: int) -> Client:
    return Client(REMOTE_ADDR=f"10.1.{number // 250}.{number % 250 + 1}")


def _guess(client: Client, login: str = "alice@example.com") -> str:
    return client.post("/login", {"login": login, "password": "a guess"}).content.decode()


def test_guessing_one_persons_password_ends_wherever_it_comes_from(user: User) -> None:
    for number in range(5):
        assert "do not belong together" in _guess(_from(number))
    assert "Too many attempts" in _guess(_from(6))
    assert sign_in(_from(7)) == "", "not even the right one, for it may be the guess that hits"
    make_user("bob", password=PASSWORD)
    assert sign_in(_from(8), login="bob@example.com") == "/"


@pytest.mark.parametrize("spelling", ["ALICE@example.com", " alice@example.com "])
def test_another_spelling_is_the_same_person(user: User, spelling: str) -> None:
    for number in range(5):
        _guess(_from(number), spelling)
    assert "Too many attempts" in _guess(_from(6))


def test_another_name_of_this_server_is_no_other_server(user: User) -> None:
    for number, host in enumerate(("testserver", "localhost", "127.0.0.1", "testserver", "localhost")):
        _from(number).post("/login", {"login": "alice@example.com", "password": "a guess"}, headers={"host": host})
    assert "Too many attempts" in _guess(_from(6))


def test_an_address_that_nobody_has_is_throttled_just_the_same(user: User) -> None:
    for number in range(5):
        assert "do not belong together" in _guess(_from(number), "nobody@example.com")
    assert "Too many attempts" in _guess(_from(6), "nobody@example.com")


def test_one_client_cannot_try_many_people(user: User) -> None:
    client = _from(1)
    pages = [_guess(client, f"person{number}@example.com") for number in range(11)]
    assert ["Too many attempts" in page for page in pages] == [False] * 10 + [True]


def test_right_passwords_do_not_count(user: User) -> None:
    for _ in range(8):
        assert sign_in(Client()) == "/"


def test_a_forged_header_does_not_make_another_client(user: User) -> None:
    for number in range(11):
        client = Client(REMOTE_ADDR="10.9.9.9", headers={"X-Forwarded-For": f"10.2.0.{number}"})
        page = _guess(client, f"person{number}@example.com")
    assert "Too many attempts" in page


def test_behind_a_trusted_proxy_the_last_address_it_names_counts(user: User, settings: Any) -> None:
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    for number in range(11):
        client = Client(headers={"X-Forwarded-For": f"6.6.6.{number}, 10.2.0.1"})
        page = _guess(client, f"person{number}@example.com")
    assert "Too many attempts" in page
    assert "do not belong" in _guess(Client(headers={"X-Forwarded-For": "10.2.0.2"}), "other@example.com")


def test_a_server_that_knows_no_addresses_counts_all_clients_as_one(user: User) -> None:
    for number in range(11):
        page = _guess(Client(REMOTE_ADDR=""), f"person{number}@example.com")
    assert "Too many attempts" in page


@pytest.mark.parametrize("email", ["alice@example.com", "nobody@example.com"])
def test_links_to_a_new_password_are_few(user: User, email: str) -> None:
    codes = [_from(number).post("/password-reset", {"email": email}).status_code for number in range(4)]
    assert codes == [302, 302, 302, 429]
    assert len(read_mail()) == (3 if email == "alice@example.com" else 0)


def test_one_client_cannot_ask_for_many_links(user: User) -> None:
    client = _from(1)
    asked = [client.post("/password-reset", {"email": f"person{number}@example.com"}) for number in range(21)]
    assert [answer.status_code for answer in asked] == [302] * 20 + [429]
    page = asked[-1].content.decode()
    assert "Too many attempts" in page
    assert "florin.css" in page


def test_sign_ups_from_one_client_are_few(user: User, settings: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "signup": "2/h/ip"}
    client = _from(1)
    assert [client.post("/signup", {}).status_code for _ in range(3)] == [200, 200, 429]
    assert _from(2).post("/signup", {}).status_code == 200


def test_asking_for_the_password_again_is_throttled_too(user: User) -> None:
    client = Client()
    sign_in(client)
    for _ in range(5):
        client.post("/confirm-password", {"password": "a guess"})
    assert "Too many attempts" in client.post("/confirm-password", {"password": PASSWORD}).content.decode()


def test_the_second_link_to_prove_an_address_waits(user: User) -> None:
    user.emailaddress_set.update(verified=False)  # type: ignore[attr-defined]
    for _ in range(3):
        assert sign_in(Client()) == "/verify-email"
    assert len(read_mail()) == 1


def test_looking_at_the_pages_is_free(user: User) -> None:
    assert {_from(1).get("/login").status_code for _ in range(40)} == {200}


@pytest.mark.django_db(transaction=True)
def test_guesses_at_the_same_time_over_several_connections_are_counted_together(transactional_db: None) -> None:
    make_user("alice", password=PASSWORD)

    def guess(number: int) -> bool:
        try:
            return "do not belong together" in _guess(_from(number))
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        tried = sum(pool.map(guess, range(16)))
    assert 1 <= tried <= 5


def test_what_processes_share_is_in_the_database_and_the_rest_is_not(db: None) -> None:
    cache.set("shared", 1)
    caches["process"].set("own", 1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT cache_key FROM florin_cache WHERE cache_key LIKE '%shared' OR cache_key LIKE '%own'")
        assert cursor.fetchall() == [(":1:shared",)]
