"""Two-factor sign-in: switching it on and off, using it, recovery codes."""

import re
import time
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth
from django.test import Client

from billing.accounts.models import User
from tests.factories import make_user
from tests.portal.entering import PASSWORD, code_of, confirm_password, read_mail, sign_in, switch_on_two_factor


@pytest.fixture
def user(db: None) -> User:
    return make_user("alice", password=PASSWORD)


@pytest.fixture
def alice(client: Client, user: User) -> Client:
    """A browser in which alice has signed in with her password."""
    assert sign_in(client) == "/"
    return client


@pytest.fixture
def guarded(alice: Client, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    """The secret of alice's app and her recovery codes. It is a minute later, so the app shows another code."""
    made = switch_on_two_factor(alice)
    now = time.time()
    monkeypatch.setattr(auth.time, "time", lambda: now + 60)
    monkeypatch.setattr("tests.portal.entering.time.time", lambda: now + 60)
    read_mail()
    return made


def test_switching_it_on_asks_for_the_password_and_for_a_right_code(alice: Client, user: User) -> None:
    assert alice.get("/security/two-factor")["Location"] == "/confirm-password?next=%2Fsecurity%2Ftwo-factor"
    confirm_password(alice)
    page = alice.get("/security/two-factor").content.decode()
    assert "<svg" in page
    assert "data:" not in page
    wrong = alice.post("/security/two-factor", {"code": "000000"})
    assert "This code is not right" in wrong.content.decode()
    assert not Authenticator.objects.exists()


def test_once_on_it_is_shown_told_of_and_gives_recovery_codes(alice: Client, user: User) -> None:
    _, codes = switch_on_two_factor(alice)
    assert len(codes) == 10
    page = alice.get("/security").content.decode()
    assert ">on</span>" in page
    assert "10 recovery codes are left" in page


@pytest.mark.django_db(transaction=True)
def test_who_switches_it_on_and_off_is_told_by_mail(client: Client, transactional_db: None) -> None:
    make_user("alice", password=PASSWORD)
    sign_in(client)
    switch_on_two_factor(client)
    assert [message.subject for message in read_mail()] == ["Two-factor sign-in is on"]
    client.post("/security/two-factor/off")
    assert [message.subject for message in read_mail()] == ["Two-factor sign-in is off"]


def test_signing_in_takes_both_steps(guarded: tuple[str, list[str]], user: User) -> None:
    client = Client()
    assert sign_in(client, next="/profile") == "/login/code"
    assert "_auth_user_id" not in client.session
    assert client.get("/profile")["Location"].startswith("/login")
    wrong = client.post("/login/code", {"code": "000000"})
    assert "This code is not right" in wrong.content.decode()
    assert client.post("/login/code", {"code": code_of(guarded[0])})["Location"] == "/profile"
    assert client.session["_auth_user_id"] == str(user.pk)


def test_the_second_step_is_nowhere_without_the_first(guarded: tuple[str, list[str]]) -> None:
    client = Client()
    assert client.get("/login/code")["Location"] == "/login"
    assert client.post("/login/code", {"code": code_of(guarded[0])})["Location"] == "/login"
    assert "_auth_user_id" not in client.session


def test_a_code_works_once_in_whatever_process(guarded: tuple[str, list[str]]) -> None:
    code = code_of(guarded[0])
    first, second = Client(), Client()
    for client in (first, second):
        sign_in(client)
    assert first.post("/login/code", {"code": code}).status_code == 302
    assert "has been used already" in second.post("/login/code", {"code": code}).content.decode()


def test_a_recovery_code_stands_in_for_the_phone_once(guarded: tuple[str, list[str]]) -> None:
    for expected in (302, 200):
        client = Client()
        sign_in(client)
        assert client.post("/login/code", {"code": guarded[1][0]}).status_code == expected


def test_guessing_codes_comes_to_an_end_for_the_person_wherever_from(guarded: tuple[str, list[str]]) -> None:
    for number in range(5):
        client = Client(REMOTE_ADDR=f"10.0.0.{number}")
        sign_in(client)
        client.post("/login/code", {"code": "000000"})
    client = Client(REMOTE_ADDR="10.0.0.99")
    sign_in(client)
    answer = client.post("/login/code", {"code": code_of(guarded[0])})
    assert "Too many attempts" in answer.content.decode()
    assert "_auth_user_id" not in client.session


def test_a_new_password_by_mail_does_not_pass_the_second_step(guarded: tuple[str, list[str]], user: User) -> None:
    user.set_password("a very new password")
    user.save()
    client = Client()
    assert sign_in(client, password="a very new password") == "/login/code"


def test_switching_it_off_asks_for_the_password_and_takes_the_codes_along(
    alice: Client, guarded: tuple[str, list[str]]
) -> None:
    fresh = Client()
    sign_in(fresh)
    fresh.post("/login/code", {"code": code_of(guarded[0])})
    assert fresh.post("/security/two-factor/off")["Location"].startswith("/confirm-password")
    assert Authenticator.objects.count() == 2
    assert "Switch off two-factor sign-in?" in alice.get("/security/two-factor/off").content.decode()
    assert alice.post("/security/two-factor/off")["Location"] == "/security"
    assert not Authenticator.objects.exists()
    assert sign_in(Client()) == "/"


def test_new_recovery_codes_replace_the_old_ones(alice: Client, guarded: tuple[str, list[str]]) -> None:
    assert "The 10 that are left stop working" in alice.get("/security/recovery-codes/new").content.decode()
    page = alice.post("/security/recovery-codes/new", follow=True).content.decode()
    new = re.findall(r"<li><code>(\d+)</code></li>", page)
    assert len(new) == 10
    assert not set(new) & set(guarded[1])
    client = Client()
    sign_in(client)
    assert client.post("/login/code", {"code": guarded[1][0]}).status_code == 200
    assert client.post("/login/code", {"code": new[0]}).status_code == 302


def test_no_secret_is_in_the_database_in_the_clear(guarded: tuple[str, list[str]]) -> None:
    stored = str(list(Authenticator.objects.values_list("data", flat=True)))
    assert guarded[0] not in stored
    assert "gAAAA" in stored


@pytest.mark.parametrize(
    "page",
    ["/security", "/security/two-factor", "/security/two-factor/off", "/security/recovery-codes",
     "/security/recovery-codes/new", "/confirm-password", "/confirm-code"],
)  # fmt: skip
def test_the_anonymous_see_none_of_it(client: Client, db: None, page: str) -> None:
    answer = client.get(page)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/login?next=")


def test_the_pages_of_what_is_not_switched_on(alice: Client) -> None:
    confirm_password(alice)
    assert alice.get("/security/two-factor/off").status_code == 404
    assert alice.get("/security/recovery-codes").status_code == 404
    refused = alice.post("/security/recovery-codes/new")
    assert refused.status_code == 200
    assert not Authenticator.objects.exists()


def test_a_code_is_as_good_as_the_password_when_asked_again(guarded: tuple[str, list[str]]) -> None:
    client = Client()
    sign_in(client)
    client.post("/login/code", {"code": guarded[1][0]})
    assert "Use a code of your authenticator app" in client.get("/confirm-password").content.decode()
    answer = client.post("/confirm-code", {"code": code_of(guarded[0]), "next": "/security/recovery-codes"})
    assert answer["Location"] == "/security/recovery-codes"
    assert client.get("/security/recovery-codes").status_code == 200


@pytest.fixture
def sam(client: Client, db: None, settings: Any) -> Client:
    """A browser in which somebody of the staff, without a second factor, has signed in where one is required."""
    settings.FLORIN_STAFF_SECOND_FACTOR = True
    User.objects.create_superuser("alice@example.com", PASSWORD, name="Sam")
    assert sign_in(client, next="/admin/") == "/admin/"
    return client


def test_staff_set_up_a_second_factor_before_anything_else(sam: Client) -> None:
    walled = "/security/two-factor?required"
    pages = [
        "/",
        "/profile",
        "/security",
        "/admin/",
        "/admin/work/",
        "/admin/billing/account/",
        "/a/acc_1",
        "/password",
    ]
    assert {page: sam.get(page).get("Location") for page in pages} == dict.fromkeys(pages, walled)
    assert sam.post("/admin/billing/account/add/", {"name": "x"})["Location"] == walled
    confirm_password(sam)
    assert "second factor here" in sam.get(walled).content.decode()
    switch_on_two_factor(sam)
    assert sam.get("/admin/").status_code == 200
    assert "Set up two-factor" not in sam.get("/admin/").content.decode()


def test_staff_without_a_second_factor_can_sign_out_and_customers_need_none(sam: Client) -> None:
    assert sam.post("/logout")["Location"] == "/login"
    make_user("bob", password=PASSWORD)
    assert sign_in(sam, login="bob@example.com") == "/"
    assert sam.get("/security").status_code == 200


def test_where_it_is_not_required_the_header_offers_it(sam: Client, settings: Any) -> None:
    settings.FLORIN_STAFF_SECOND_FACTOR = False
    assert "Set up two-factor sign-in" in sam.get("/admin/").content.decode()
    switch_on_two_factor(sam)
    assert "Set up two-factor sign-in" not in sam.get("/admin/").content.decode()
