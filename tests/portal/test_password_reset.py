"""A forgotten password, and another one."""

import pytest
from allauth.account.models import EmailAddress
from django.test import Client

from billing.accounts import keys
from billing.accounts.models import User
from billing.notifications.models import Notification
from tests.factories import NOW, make_account, make_user
from tests.portal.entering import PASSWORD, link_in, read_mail, sign_in

NEW = "a very new password"


@pytest.fixture
def user(db: None) -> User:
    return make_user("alice", password=PASSWORD)


def _ask(client: Client, email: str = "alice@example.com") -> str:
    assert client.post("/password-reset", {"email": email})["Location"] == "/password-reset/sent"
    (message,) = read_mail()
    assert message.to == ["alice@example.com"]
    return link_in(message)


def _open(client: Client, link: str) -> str:
    """Where the form is; the secret is no longer in its address."""
    chain = client.get(link, follow=True).redirect_chain
    assert chain[-1][0].endswith("-set-password")
    return str(chain[-1][0])


def test_a_forgotten_password_is_replaced_through_the_link(client: Client, user: User) -> None:
    link = _ask(client, "Alice@example.com")
    address = _open(client, link)
    assert "Choose a new password" in client.get(address).content.decode()
    assert client.post(address, {"password1": NEW, "password2": NEW})["Location"] == "/login"
    assert "_auth_user_id" not in client.session
    assert sign_in(client, password=PASSWORD) == ""
    assert sign_in(client, password=NEW) == "/"
    assert "no longer valid" in Client().get(link, follow=True).content.decode()
    assert [message.subject for message in read_mail()] == ["Your password was changed"]


def test_asking_for_a_link_tells_nobody_who_exists(client: Client, user: User) -> None:
    make_user("gone", password=PASSWORD)
    User.objects.filter(email="gone@example.com").update(is_active=False)
    answers = [client.post("/password-reset", {"email": f"{name}@example.com"}) for name in ("alice", "nobody", "gone")]
    assert {(answer.status_code, answer["Location"]) for answer in answers} == {(302, "/password-reset/sent")}
    assert "If that address belongs to someone" in client.get("/password-reset/sent").content.decode()
    assert [message.to for message in read_mail()] == [["alice@example.com"]]


def test_no_secret_lies_in_the_outbox(client: Client, user: User) -> None:
    client.post("/password-reset", {"email": "alice@example.com"})
    assert Notification.objects.get().payload == {"user_id": user.pk, "name": "Alice"}


def test_an_address_that_is_merely_wanted_gets_no_link(client: Client, user: User) -> None:
    EmailAddress.objects.create(user=user, email="mallory@example.com", verified=False, primary=False)
    client.post("/password-reset", {"email": "mallory@example.com"})
    assert read_mail() == []


def test_the_link_proves_the_address(client: Client, user: User) -> None:
    EmailAddress.objects.update(verified=False)
    address = _open(client, _ask(client))
    client.post(address, {"password1": NEW, "password2": NEW})
    assert sign_in(client, password=NEW) == "/"


def test_the_link_is_closed_by_a_new_password(client: Client, user: User) -> None:
    link = _ask(client)
    user.set_password("another one, meanwhile")
    user.save()
    assert "no longer valid" in client.get(link).content.decode()


def test_the_link_of_somebody_switched_off_is_never_sent(client: Client, user: User) -> None:
    client.post("/password-reset", {"email": "alice@example.com"})
    User.objects.update(is_active=False)
    assert read_mail() == []


@pytest.mark.parametrize("path", ["1-abc", "zzz-abc-def", "1-set-password"])
def test_a_made_up_link_is_refused(client: Client, user: User, path: str) -> None:
    answer = client.get(f"/password-reset/{path}")
    assert "no longer valid" in answer.content.decode()
    client.post(f"/password-reset/{path}", {"password1": NEW, "password2": NEW})
    user.refresh_from_db()
    assert user.check_password(PASSWORD)


@pytest.mark.parametrize(("first", "second", "says"), [("12345", "12345", "too short"), (NEW, "other", "same")])
def test_a_weak_or_mistyped_new_password_is_refused(
    client: Client, user: User, first: str, second: str, says: str
) -> None:
    answer = client.post(_open(client, _ask(client)), {"password1": first, "password2": second})
    assert says in answer.content.decode()
    user.refresh_from_db()
    assert user.check_password(PASSWORD)


def test_a_password_is_changed_by_who_knows_the_old_one(client: Client, user: User) -> None:
    sign_in(client)
    wrong = client.post("/password", {"oldpassword": "guess", "password1": NEW, "password2": NEW})
    assert "This is not your password" in wrong.content.decode()
    done = client.post("/password", {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW})
    assert done["Location"] == "/security"
    assert "Your new password is saved" in client.get("/security").content.decode()
    (message,) = read_mail()
    assert (message.to, message.subject) == (["alice@example.com"], "Your password was changed")
    user.refresh_from_db()
    assert user.check_password(NEW)


def test_who_has_no_password_gets_the_first_one_by_a_link(client: Client, db: None) -> None:
    client.force_login(make_user("bob"))
    assert client.get("/password")["Location"] == "/password-reset"


def test_the_anonymous_change_no_password(client: Client, db: None) -> None:
    assert client.get("/password")["Location"] == "/login?next=/password"


@pytest.mark.parametrize(("ticked", "works"), [({}, False), ({"keep_keys": "on"}, True)], ids=["revoked", "kept"])
@pytest.mark.parametrize("way", ["change", "link"])
def test_keys_die_with_the_old_password_unless_they_are_to_be_kept(
    client: Client, user: User, ticked: dict[str, str], works: bool, way: str
) -> None:
    account = make_account("acme")
    key, _ = keys.issue(name="script", scopes=["read"], account=account, created_by=user, now=NOW)
    others, _ = keys.issue(name="script", scopes=["read"], account=account, created_by=make_user("bob"), now=NOW)
    platforms, _ = keys.issue(name="product", scopes=["read"], created_by=user, now=NOW)
    given = {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW, **ticked}
    if way == "change":
        sign_in(client)
        address = "/password"
    else:
        address = _open(client, _ask(client))
    assert "Keep the API keys working" in client.get(address).content.decode()
    assert client.post(address, given).status_code == 302
    for each, open_still in ((key, works), (others, True), (platforms, True)):
        each.refresh_from_db()
        assert (each.revoked_at is None) == open_still
