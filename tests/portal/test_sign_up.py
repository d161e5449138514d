"""Signing up: a person and their organisation's account, once the address is proved."""

import json
import re

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth import hashers
from django.test import Client
from kombu.exceptions import OperationalError

from billing import tasks
from billing.accounts.ids import encode
from billing.accounts.models import Account, Member, User
from billing.ledger import pools
from billing.notifications.models import Notification
from tests.factories import make_pack, make_plan, make_user
from tests.portal.entering import PASSWORD, link_in, read_mail, sign_in

FORM = {
    "name": "Alice Adams",
    "email": "Alice@Example.com",
    "password1": PASSWORD,
    "company": "Northwind",
    "country": "DE",
    "currency": "EUR",
    "time_zone": "Europe/Berlin",
}
pytestmark = pytest.mark.django_db


def _sign_up(client: Client, **fields: str) -> str:
    answer = client.post("/signup", {**FORM, **fields})
    return str(answer["Location"]) if answer.status_code == 302 else ""


@pytest.fixture
def sold(db: None) -> None:
    """Packs in dollars and a plan in euros; what is only for some, or not on sale any more, is in other currencies."""
    make_pack()
    make_plan("team", prices={"EUR": {"fee": "49"}})
    make_pack("old", currency="CHF", is_active=False)
    make_pack("public", currency="SEK", target_segments=["public"])


def test_the_form_guesses_from_the_browsers_language(client: Client, sold: None) -> None:
    page = client.get("/signup", headers={"Accept-Language": "de-AT,de;q=0.8"}).content.decode()
    for chosen in ("AT", "EUR", "Europe/Vienna"):
        assert f'<option value="{chosen}" selected>' in page
    # The page's script puts the browser's own zone in its place.
    assert "florin/sign_up.js" in page
    assert "data-from-browser" in page


def test_the_currency_can_follow_the_country(client: Client, sold: None) -> None:
    # That the script does so is seen in the story of a plan, whose customer lives in Germany.
    currency = client.get("/signup").context["form"].fields["currency"].widget.attrs
    by_country = json.loads(currency["data-by-country"])
    assert (by_country["DE"], by_country["US"], currency["data-otherwise"]) == ("EUR", "USD", "USD")
    assert set(by_country.values()) == {"EUR", "USD"}


def test_only_currencies_that_are_sold_are_offered(client: Client, sold: None) -> None:
    form = client.get("/signup", headers={"Accept-Language": "sv-SE"}).context["form"]
    assert [code for code, _ in form.fields["currency"].choices] == ["EUR", "USD"]
    assert form["currency"].value() == "USD"
    for code in ("CHF", "SEK", "JPY"):
        assert client.post("/signup", {**FORM, "currency": code}).status_code == 200
    assert not Account.objects.exists()


def test_the_only_currency_is_not_asked_for(client: Client) -> None:
    make_plan("team", prices={"EUR": {"fee": "49"}})
    assert 'name="currency"' not in client.get("/signup").content.decode()
    assert _sign_up(client, currency="USD") == "/verify-email"
    assert Account.objects.get().currency == "EUR"


def test_a_zone_by_the_name_that_browsers_have_is_known(client: Client) -> None:
    assert _sign_up(client, time_zone="Asia/Calcutta") == "/verify-email"
    assert Account.objects.get().time_zone == "Asia/Kolkata"


def test_who_signs_up_owns_a_new_account_with_a_pool(client: Client, sold: None) -> None:
    assert _sign_up(client) == "/verify-email"
    member = Member.objects.select_related("user", "account").get()
    assert (member.role, member.user.name, member.user.email) == ("owner", "Alice Adams", "alice@example.com")
    account = member.account
    assert (account.name, account.country, account.currency) == ("Northwind", "DE", "EUR")
    assert (account.time_zone, account.billing_email) == ("Europe/Berlin", "alice@example.com")
    assert pools.get_main_pool(account.pk).name == "Main pool"


def test_the_link_of_the_mail_opens_the_account(client: Client) -> None:
    _sign_up(client)
    assert "Check your e-mail" in client.get("/verify-email").content.decode()
    assert client.get("/")["Location"].startswith("/login")
    (message,) = read_mail()
    assert message.to == ["alice@example.com"]
    page = client.get(link_in(message)).content.decode()
    assert "Is <strong>alice@example.com</strong> your e-mail address?" in page
    assert not EmailAddress.objects.get().verified, "looking at the page, as mail scanners do, proves nothing"
    answer = client.post(link_in(message), follow=True)
    assert answer.redirect_chain[-1][0] == f"/a/{encode('acc', Account.objects.get().pk)}"
    assert "Northwind" in answer.content.decode()


def test_the_link_proves_the_address_in_another_browser_too_but_does_not_sign_in(client: Client) -> None:
    _sign_up(client)
    (message,) = read_mail()
    other = Client()
    assert other.post(link_in(message))["Location"] == "/login"
    assert "_auth_user_id" not in other.session
    assert "is confirmed" in other.get("/login").content.decode()
    assert sign_in(other) == "/"


def test_a_link_works_once(client: Client) -> None:
    _sign_up(client)
    (message,) = read_mail()
    client.post(link_in(message))
    assert "no longer valid" in Client().get(link_in(message)).content.decode()
    assert Client().post(link_in(message)).status_code == 404


@pytest.mark.parametrize("key", ["nonsense", "Mg:1x:abc"])
def test_a_made_up_link_is_refused(client: Client, key: str) -> None:
    assert "no longer valid" in client.get(f"/verify-email/{key}").content.decode()
    assert client.post(f"/verify-email/{key}").status_code == 404


def test_no_secret_lies_in_the_outbox(client: Client) -> None:
    _sign_up(client)
    payload = str(Notification.objects.get().payload)
    (message,) = read_mail()
    assert link_in(message).rpartition("/")[2] not in payload
    assert set(Notification.objects.get().payload) == {"address_id", "name", "is_new"}


def test_an_address_that_somebody_has_gets_the_same_answer(client: Client) -> None:
    make_user("bob", password=PASSWORD)
    pages = set()
    for address in ("bob@example.com", "carol@example.com"):
        browser = Client()
        answer = browser.post("/signup", {**FORM, "email": address}, follow=True)
        assert answer.redirect_chain == [("/verify-email", 302)]
        page = answer.content.decode()
        assert "example.com" not in page
        pages.add(re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", page))
    assert len(pages) == 1
    assert not Member.objects.filter(user__email="bob@example.com").exists()
    told = {message.to[0]: message.subject for message in read_mail()}
    assert told["bob@example.com"] == "You have a Florin login already"
    assert told["carol@example.com"] == "Confirm your e-mail address"


def test_both_answers_cost_the_time_of_a_password(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    make_user("bob", password=PASSWORD)
    hashed = []
    hasher = hashers.get_hasher()
    stock = type(hasher).encode
    monkeypatch.setattr(type(hasher), "encode", lambda *args: hashed.append(1) or stock(*args))
    counts = []
    for address in ("bob@example.com", "carol@example.com"):
        hashed.clear()
        Client().post("/signup", {**FORM, "email": address})
        counts.append(len(hashed))
    assert counts == [1, 1]


def test_an_address_taken_at_the_same_moment_gets_the_same_answer(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_user("bob", password=PASSWORD)
    monkeypatch.setattr("portal.entrance.forms.SignUpForm.validate_unique_email", lambda self, value: value)
    assert _sign_up(client, email="bob@example.com") == "/verify-email"
    assert User.objects.count() == 1
    assert not Account.objects.exists()
    assert [message.subject for message in read_mail()] == ["You have a Florin login already"]


def test_an_address_that_another_would_like_to_have_is_free_but_must_be_proved(client: Client) -> None:
    bob = make_user("bob")
    EmailAddress.objects.create(user=bob, email="alice@example.com", verified=False, primary=False)
    assert _sign_up(client) == "/verify-email"
    alice = User.objects.get(email="alice@example.com")
    assert not EmailAddress.objects.get(user=alice).verified
    assert sign_in(Client()) == "/verify-email"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "nonsense"), ("email", ""), ("name", ""), ("company", ""), ("country", "XX"), ("country", ""),
        ("currency", "XYZ"), ("time_zone", "Mars/Olympus"), ("password1", "short"), ("password1", "12345678901"),
        ("password1", ""), ("name", "x" * 121), ("company", "x" * 201),
    ],
)  # fmt: skip
def test_what_is_missing_or_wrong_is_said_and_nothing_is_made(
    client: Client, sold: None, field: str, value: str
) -> None:
    answer = client.post("/signup", {**FORM, field: value})
    assert answer.status_code == 200
    assert 'aria-invalid="true"' in answer.content.decode()
    assert PASSWORD not in answer.content.decode()
    assert not User.objects.exists()
    assert not Account.objects.exists()
    assert not Notification.objects.exists()


def test_names_are_inert(client: Client) -> None:
    _sign_up(client, name="<script>alert(1)</script>", company="<script>alert(2)</script>")
    (message,) = read_mail()
    assert "<script>" not in str(message.alternatives[0].content)
    page = client.post(link_in(message), follow=True).content.decode()
    assert "<script>alert" not in page


def test_sign_up_can_be_closed(client: Client, settings: object) -> None:
    settings.FLORIN_SIGN_UP_OPEN = False  # type: ignore[attr-defined]
    assert "by invitation" in client.get("/signup").content.decode()
    assert "by invitation" in client.post("/signup", FORM).content.decode()
    assert not User.objects.exists()


def test_a_broker_that_is_away_keeps_nobody_out(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(tasks.deliver_notifications, "apply_async", refuse)
    assert _sign_up(client) == "/verify-email"
    assert len(read_mail()) == 1


def test_who_is_signed_in_is_sent_on(client: Client) -> None:
    client.force_login(make_user("bob"))
    assert client.get("/signup")["Location"] == "/"
