"""Signing in and out, and choosing a new password."""

import re

import pytest
from django.core import mail
from django.test import Client

from billing.accounts.models import User
from tests.factories import make_account, make_member, make_user

PASSWORD = "correct horse battery"


@pytest.fixture
def user(db: None) -> User:
    return make_user("alice", password=PASSWORD)


def _sign_in(client: Client, **fields: str) -> str:
    answer = client.post("/login", {"username": "alice@example.com", "password": PASSWORD, **fields})
    return answer["Location"] if answer.status_code == 302 else ""


def test_the_login_page_is_shown(client: Client, db: None) -> None:
    page = client.get("/login").content.decode()
    assert "E-mail address" in page
    assert 'autocomplete="current-password"' in page


def test_signing_in_leads_to_the_start_page(client: Client, user: User) -> None:
    assert _sign_in(client) == "/"


@pytest.mark.parametrize("address", ["ALICE@example.com", "Alice@EXAMPLE.COM"])
def test_the_case_of_the_address_does_not_matter(client: Client, user: User, address: str) -> None:
    assert _sign_in(client, username=address) == "/"


def test_signing_in_comes_back_to_where_it_was_asked_for(client: Client, user: User) -> None:
    assert _sign_in(client, next="/a/acc_1/ledger") == "/a/acc_1/ledger"


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "http:evil"]
)
def test_signing_in_never_leads_elsewhere(client: Client, user: User, elsewhere: str) -> None:
    assert _sign_in(client, next=elsewhere) == "/"


def test_every_failure_reads_the_same(client: Client, user: User) -> None:
    make_user("gone", password=PASSWORD)
    User.objects.filter(email="gone@example.com").update(is_active=False)
    pages = set()
    for address, password in [
        ("alice@example.com", "wrong"),
        ("nobody@example.com", PASSWORD),
        ("gone@example.com", PASSWORD),
    ]:
        answer = client.post("/login", {"username": address, "password": password})
        assert answer.status_code == 200
        page = answer.content.decode().replace(address, "")
        pages.add(re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", page))
    assert len(pages) == 1
    assert "do not belong together" in pages.pop()


def test_who_is_signed_in_does_not_see_the_login_page(client: Client, user: User) -> None:
    client.force_login(user)
    assert client.get("/login")["Location"] == "/"


def test_signing_out_is_a_post_only(client: Client, user: User) -> None:
    client.force_login(user)
    assert client.get("/logout").status_code == 405
    assert "_auth_user_id" in client.session
    assert client.post("/logout")["Location"] == "/login"
    assert "_auth_user_id" not in client.session
    assert "You are signed out" in client.get("/login").content.decode()


def test_a_forgotten_password_is_replaced_through_the_link(client: Client, user: User) -> None:
    assert client.post("/password-reset", {"email": "Alice@example.com"})["Location"] == "/password-reset/sent"
    (message,) = mail.outbox
    assert message.to == ["alice@example.com"]
    link = re.search(r"http://testserver(/password-reset/\S+)", str(message.body))
    assert link is not None
    form = client.get(link[1], follow=True)
    assert "Choose a new password" in form.content.decode()
    address = form.redirect_chain[-1][0]
    new = {"new_password1": "a very new password", "new_password2": "a very new password"}
    assert client.post(address, new)["Location"] == "/login"
    assert _sign_in(client, password="a very new password") == "/"
    assert "no longer valid" in Client().get(link[1], follow=True).content.decode()


def test_asking_for_a_link_tells_nobody_who_exists(client: Client, user: User) -> None:
    known = client.post("/password-reset", {"email": "alice@example.com"})
    unknown = client.post("/password-reset", {"email": "nobody@example.com"})
    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])
    assert "If that address belongs to someone" in client.get("/password-reset/sent").content.decode()
    assert len(mail.outbox) == 1


def test_a_weak_new_password_is_refused(client: Client, user: User) -> None:
    client.post("/password-reset", {"email": "alice@example.com"})
    link = re.search(r"http://testserver(/password-reset/\S+)", str(mail.outbox[0].body))
    assert link is not None
    address = client.get(link[1], follow=True).redirect_chain[-1][0]
    answer = client.post(address, {"new_password1": "12345", "new_password2": "12345"})
    assert "too short" in answer.content.decode()
    user.refresh_from_db()
    assert user.check_password(PASSWORD)


def test_a_new_password_ends_other_sessions(client: Client, user: User) -> None:
    client.force_login(user)
    user.set_password("something else entirely")
    user.save()
    assert client.get("/")["Location"].startswith("/login")


def test_the_start_page_leads_to_the_only_account(client: Client, user: User) -> None:
    account = make_account()
    make_member(account, user)
    client.force_login(user)
    assert client.get("/")["Location"] == f"/a/acc_{account.pk}"


def test_the_start_page_offers_several_accounts(client: Client, user: User) -> None:
    for name in ("first", "second"):
        make_member(make_account(name), user)
    client.force_login(user)
    page = client.get("/").content.decode()
    assert "First" in page
    assert "Second" in page


def test_the_start_page_explains_that_there_is_no_account(client: Client, user: User) -> None:
    client.force_login(user)
    page = client.get("/").content.decode()
    assert "not in any account" in page
    assert "/admin/" not in page


def test_the_start_page_shows_staff_the_way_to_the_admin(client: Client, user: User) -> None:
    user.is_staff = True
    user.save()
    client.force_login(user)
    assert "/admin/" in client.get("/").content.decode()


def test_the_start_page_sends_the_anonymous_to_the_login_page(client: Client, db: None) -> None:
    assert client.get("/")["Location"] == "/login?next=/"
