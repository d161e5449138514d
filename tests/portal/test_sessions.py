"""Sessions end with the password, with the person, and when told to; each from the next request on."""

import re

import pytest
from django.test import Client
from django.utils import timezone

from billing.accounts import keys, people
from billing.accounts.models import ApiKey, User
from tests.factories import make_user
from tests.portal.entering import PASSWORD, sign_in

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1"
NEW = {"oldpassword": PASSWORD, "password1": "a very new password", "password2": "a very new password"}


@pytest.fixture
def user(db: None) -> User:
    return make_user("alice", password=PASSWORD)


@pytest.fixture
def browsers(user: User) -> tuple[Client, Client]:
    """Two browsers in which alice has signed in."""
    here, there = Client(headers={"User-Agent": FIREFOX}), Client(headers={"User-Agent": IPHONE})
    for browser in (here, there):
        assert sign_in(browser) == "/"
    return here, there


def _is_in(browser: Client) -> bool:
    return browser.get("/profile").status_code == 200


def test_a_new_password_ends_all_sessions_but_this_one(browsers: tuple[Client, Client]) -> None:
    here, there = browsers
    assert here.post("/password", NEW)["Location"] == "/security"
    assert (_is_in(here), _is_in(there)) == (True, False)


def test_a_password_set_by_staff_ends_all(browsers: tuple[Client, Client], user: User) -> None:
    user.set_password("something else entirely")
    user.save()
    assert [_is_in(browser) for browser in browsers] == [False, False]


def test_being_switched_off_ends_sessions_and_keys(browsers: tuple[Client, Client], user: User) -> None:
    now = timezone.now()
    key, _ = keys.issue(name="script", scopes=["read"], created_by=user, now=now)
    people.switch_off(user_id=user.pk, now=now)
    assert [_is_in(browser) for browser in browsers] == [False, False]
    assert ApiKey.objects.get(pk=key.pk).revoked_at == now
    assert sign_in(Client()) == ""


def test_the_sessions_are_listed_with_this_one_first(browsers: tuple[Client, Client]) -> None:
    here, _ = browsers
    page = here.get("/security").content.decode()
    assert page.index("Firefox on Linux") < page.index("Safari on iPhone")
    assert page.count("this browser") == 1


def test_one_can_sign_out_everywhere_else(browsers: tuple[Client, Client]) -> None:
    here, there = browsers
    other = Client()
    bob = make_user("bob", password=PASSWORD)
    sign_in(other, login="bob@example.com")
    assert here.post("/security/sessions/end")["Location"] == "/security"
    assert (_is_in(here), _is_in(there)) == (True, False)
    assert _is_in(other), f"{bob} is somebody else"
    assert "Safari on iPhone" not in here.get("/security").content.decode()


def test_one_can_sign_out_of_one_other_browser(browsers: tuple[Client, Client]) -> None:
    here, there = browsers
    third = Client()
    sign_in(third)
    page = here.get("/security").content.decode()
    (handle,) = re.findall(r'value="(\w{32})"><button class="button" aria-label="Sign out Safari on iPhone"', page)
    assert (
        "signed out of 0 browsers"
        in here.post("/security/sessions/end", {"browser": "x"}, follow=True).content.decode()
    )
    here.post("/security/sessions/end", {"browser": handle})
    assert [_is_in(browser) for browser in (here, there, third)] == [True, False, True]


def test_sign_out_everywhere_is_a_post_of_who_is_signed_in(client: Client, browsers: tuple[Client, Client]) -> None:
    assert browsers[0].get("/security/sessions/end").status_code == 405
    assert client.post("/security/sessions/end")["Location"].startswith("/login")
    assert all(_is_in(browser) for browser in browsers)


def test_a_session_that_ended_is_not_listed(browsers: tuple[Client, Client]) -> None:
    here, there = browsers
    there.post("/logout")
    assert "Safari on iPhone" not in here.get("/security").content.decode()


def test_who_sits_there_before_signing_in_does_not_know_the_session_after(client: Client, user: User) -> None:
    client.get("/login")
    client.session["planted"] = 1
    client.session.save()
    before = client.session.session_key
    sign_in(client)
    assert client.session.session_key != before
