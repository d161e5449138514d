"""Signing in and out, and the start page."""

import re

import pytest
from django.test import Client
from django.urls import get_resolver

from billing.accounts.ids import encode
from billing.accounts.models import User
from tests.factories import make_account, make_member, make_user
from tests.portal.entering import PASSWORD, link_in, read_mail, sign_in


@pytest.fixture
def user(db: None) -> User:
    return make_user("alice", password=PASSWORD)


def test_the_login_page_is_shown(client: Client, db: None) -> None:
    page = client.get("/login").content.decode()
    assert "E-mail address" in page
    assert 'autocomplete="current-password"' in page
    assert "placeholder" not in page


def test_signing_in_leads_to_the_start_page(client: Client, user: User) -> None:
    assert sign_in(client) == "/"
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("address", ["ALICE@example.com", "Alice@EXAMPLE.COM"])
def test_the_case_of_the_address_does_not_matter(client: Client, user: User, address: str) -> None:
    assert sign_in(client, login=address) == "/"


def test_an_address_is_kept_in_lower_case(client: Client, db: None) -> None:
    User.objects.create_user("Alice@Example.com", PASSWORD)
    assert User.objects.get(email="ALICE@EXAMPLE.COM").email == "alice@example.com"
    assert sign_in(client) == "/"


def test_signing_in_comes_back_to_where_it_was_asked_for(client: Client, user: User) -> None:
    assert sign_in(client, next="/a/acc_1/ledger") == "/a/acc_1/ledger"


ELSEWHERE = ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "http:evil",
             "http://testserver/", "///evil.example", "\thttps://evil.example"]  # fmt: skip


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
def test_signing_in_never_leads_elsewhere(client: Client, user: User, elsewhere: str) -> None:
    assert sign_in(client, next=elsewhere) == "/"


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
def test_other_doors_never_lead_elsewhere(client: Client, user: User, elsewhere: str) -> None:
    client.force_login(user)
    assert client.get("/login", {"next": elsewhere})["Location"] == "/"
    again = client.post("/confirm-password", {"password": PASSWORD, "next": elsewhere})
    assert again["Location"] == "/"
    assert client.post("/logout", {"next": elsewhere})["Location"] == "/login"


def test_every_failure_reads_the_same(client: Client, user: User) -> None:
    make_user("gone", password=PASSWORD)
    User.objects.filter(email="gone@example.com").update(is_active=False)
    pages = set()
    for address, password in [
        ("alice@example.com", "wrong"),
        ("nobody@example.com", PASSWORD),
        ("gone@example.com", PASSWORD),
    ]:
        answer = client.post("/login", {"login": address, "password": password})
        assert answer.status_code == 200
        page = answer.content.decode().replace(address, "")
        pages.add(re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", page))
    assert len(pages) == 1
    assert "do not belong together" in pages.pop()


def test_an_unknown_address_costs_the_time_of_a_password(
    client: Client, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = []
    monkeypatch.setattr(User, "set_password", lambda self, raw: hashed.append(raw))
    client.post("/login", {"login": "nobody@example.com", "password": PASSWORD})
    assert hashed == [PASSWORD]


def test_who_is_signed_in_does_not_see_the_login_page(client: Client, user: User) -> None:
    client.force_login(user)
    assert client.get("/login")["Location"] == "/"


def test_who_has_not_proved_their_address_gets_a_link_and_no_further(client: Client, user: User) -> None:
    user.emailaddress_set.update(verified=False)  # type: ignore[attr-defined]
    assert sign_in(client) == "/verify-email"
    assert "_auth_user_id" not in client.session
    (message,) = read_mail()
    assert client.post(link_in(message))["Location"] == "/"
    assert client.session["_auth_user_id"] == str(user.pk)


def test_signing_out_is_a_post_only(client: Client, user: User) -> None:
    client.force_login(user)
    assert client.get("/logout").status_code == 405
    assert "_auth_user_id" in client.session
    assert client.post("/logout")["Location"] == "/login"
    assert "_auth_user_id" not in client.session
    assert "You are signed out" in client.get("/login").content.decode()


@pytest.mark.parametrize("address", ["/login", "/signup", "/password-reset", "/logout", "/confirm-password"])
def test_a_form_from_elsewhere_is_refused(user: User, address: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert client.post(address, {"login": "alice@example.com", "password": PASSWORD}).status_code == 403


def test_of_allauths_pages_only_ours_exist(client: Client, user: User) -> None:
    named = {name for name in get_resolver().reverse_dict if isinstance(name, str)}
    assert {name for name in named if name.startswith(("account_", "mfa_", "usersessions", "socialaccount"))} == {
        "account_login", "account_logout", "account_signup", "account_email_verification_sent",
        "account_confirm_email", "account_reset_password", "account_reset_password_done",
        "account_reset_password_from_key", "account_change_password", "account_reauthenticate",
        "mfa_authenticate", "mfa_reauthenticate", "mfa_index", "mfa_activate_totp", "mfa_deactivate_totp",
        "mfa_view_recovery_codes", "mfa_generate_recovery_codes",
    }  # fmt: skip
    client.force_login(user)
    for address in ("/email", "/inactive", "/accounts/", "/accounts/login/", "/signup/", "/login/", "/2fa/",
                    "/security/webauthn", "/password/set", "/login/code/request", "/sessions"):  # fmt: skip
        assert client.get(address).status_code == 404, address


def test_no_page_answers_in_json(client: Client, user: User) -> None:
    answer = client.post(
        "/login", {"login": "alice@example.com", "password": "x"}, headers={"X-Requested-With": "XMLHttpRequest"}
    )
    assert answer["Content-Type"].startswith("text/html")


def test_the_start_page_leads_to_the_only_account(client: Client, user: User) -> None:
    account = make_account()
    make_member(account, user)
    client.force_login(user)
    assert client.get("/")["Location"] == f"/a/{encode('acc', account.pk)}"


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


def test_staff_sign_in_by_the_same_door(client: Client, user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_staff=True)
    asked = client.get("/admin/billing/account/", follow=True)
    assert asked.redirect_chain[-1][0] == "/login?next=%2Fadmin%2Fbilling%2Faccount%2F"
    assert client.get("/admin/login/")["Location"] == "/login?next=%2Fadmin%2F"
    assert sign_in(client, next="/admin/") == "/admin/"
    assert client.get("/admin/login/")["Location"] == "/admin/"
    assert client.get("/admin/password_change/")["Location"] == "/password"


def test_who_is_no_staff_is_told_so_and_does_not_go_round_in_circles(client: Client, user: User) -> None:
    client.force_login(user)
    answer = client.get("/admin/", follow=True)
    assert answer.status_code == 403
    assert "who is not staff" in answer.content.decode()


def test_the_admins_own_login_form_takes_no_password(client: Client, user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_staff=True)
    answer = client.post("/admin/login/", {"username": "alice@example.com", "password": PASSWORD})
    assert answer["Location"].startswith("/login")
    assert "_auth_user_id" not in client.session
