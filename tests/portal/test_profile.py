"""A person's own page: name and e-mail address."""

import pytest
from allauth.account.models import EmailAddress
from django.test import Client

from billing.accounts.models import User
from tests.factories import make_user
from tests.portal.entering import PASSWORD, confirm_password, link_in, read_mail, sign_in

NEW = "alice@new.example"


@pytest.fixture
def user(db: None) -> User:
    return make_user("alice", password=PASSWORD)


@pytest.fixture
def alice(client: Client, user: User) -> Client:
    sign_in(client)
    return client


def _ask(client: Client, email: str = NEW) -> None:
    confirm_password(client)
    assert client.post("/profile/email", {"email": email})["Location"] == "/profile"


def test_the_name_is_changed(alice: Client, user: User) -> None:
    answer = alice.post("/profile", {"name": "Alice Adams"}, follow=True)
    assert "Your name is saved" in answer.content.decode()
    user.refresh_from_db()
    assert user.name == "Alice Adams"


@pytest.mark.parametrize("name", ["", "x" * 121])
def test_a_name_that_makes_no_sense_changes_nothing(alice: Client, user: User, name: str) -> None:
    assert 'aria-invalid="true"' in alice.post("/profile", {"name": name}).content.decode()
    user.refresh_from_db()
    assert user.name == "Alice"


def test_another_address_asks_for_the_password_first(alice: Client, user: User) -> None:
    assert alice.get("/profile/email")["Location"].startswith("/confirm-password")
    assert alice.post("/profile/email", {"email": NEW})["Location"].startswith("/confirm-password")
    assert EmailAddress.objects.count() == 1


def test_another_address_counts_once_its_link_is_opened(alice: Client, user: User) -> None:
    _ask(alice)
    assert NEW in alice.get("/profile").content.decode()
    user.refresh_from_db()
    assert user.email == "alice@example.com"
    (message,) = read_mail()
    assert message.to == [NEW]
    alice.post(link_in(message))
    user.refresh_from_db()
    assert user.email == NEW
    assert list(EmailAddress.objects.values_list("email", "verified", "primary")) == [(NEW, True, True)]
    assert sign_in(Client()) == ""
    assert sign_in(Client(), login=NEW) == "/"
    (notice,) = read_mail()
    assert (notice.to, notice.subject) == (["alice@example.com"], "Your e-mail address was changed")
    assert NEW in str(notice.body)


def test_one_can_think_better_of_it(alice: Client, user: User) -> None:
    _ask(alice)
    (message,) = read_mail()
    assert alice.post("/profile/email/keep")["Location"] == "/profile"
    assert NEW not in alice.get("/profile").content.decode()
    assert alice.post(link_in(message)).status_code == 404
    user.refresh_from_db()
    assert user.email == "alice@example.com"


def test_asking_for_somebodys_address_tells_nothing_and_never_takes_it(alice: Client, user: User) -> None:
    make_user("bob")
    _ask(alice, "Bob@example.com")
    assert "We have sent a link" in alice.get("/profile").content.decode()
    (message,) = read_mail()
    answer = alice.post(link_in(message), follow=True)
    assert "could not be confirmed" in answer.content.decode()
    user.refresh_from_db()
    assert user.email == "alice@example.com"


def test_an_address_that_was_taken_meanwhile_is_not_taken(alice: Client, user: User) -> None:
    _ask(alice)
    (message,) = read_mail()
    User(email=NEW).save()
    answer = alice.post(link_in(message), follow=True)
    assert "could not be confirmed" in answer.content.decode()
    user.refresh_from_db()
    assert user.email == "alice@example.com"


@pytest.mark.parametrize("email", ["nonsense", "", "alice@example.com", "ALICE@example.com"])
def test_an_address_that_makes_no_sense_changes_nothing(alice: Client, user: User, email: str) -> None:
    confirm_password(alice)
    answer = alice.post("/profile/email", {"email": email})
    assert answer.status_code == 200
    assert 'aria-invalid="true"' in answer.content.decode()
    assert EmailAddress.objects.count() == 1
    assert read_mail() == []


def test_an_address_that_is_merely_wanted_opens_no_login(alice: Client, user: User) -> None:
    _ask(alice)
    read_mail()
    browser = Client()
    assert sign_in(browser, login=NEW) == "/verify-email"
    assert "_auth_user_id" not in browser.session


@pytest.mark.parametrize("page", ["/profile", "/profile/email", "/security", "/password"])
def test_the_anonymous_sign_in_first(client: Client, db: None, page: str) -> None:
    assert client.get(page)["Location"] == f"/login?next={page}"


@pytest.mark.parametrize("page", ["/profile", "/security"])
def test_no_cache_keeps_these_pages(alice: Client, page: str) -> None:
    assert "no-store" in alice.get(page)["Cache-Control"]


def test_thinking_better_is_a_post(alice: Client) -> None:
    assert alice.get("/profile/email/keep").status_code == 405
