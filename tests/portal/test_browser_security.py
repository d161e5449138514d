"""What every page tells the browser, and how pages look that nobody hopes to see."""

import re

import pytest
from django.test import Client, override_settings
from django.urls import path

from billing.catalog.models import Pack
from billing.ledger import balance
from billing.payments.models import Payment
from tests.factories import make_user
from tests.portal.conftest import Stage
from tests.portal.entering import PASSWORD, confirm_password, sign_in
from tests.portal.shop import checkout_form

OPEN_PAGES = [
    "/login",
    "/signup",
    "/verify-email",
    "/verify-email/nonsense",
    "/password-reset",
    "/password-reset/sent",
    "/password-reset/1-nonsense",
    "/invitations/nonsense",
    "/nowhere",
]
PERSONS_PAGES = ["/profile", "/security", "/confirm-password"]
MEMBERS_PAGES = [
    "",
    "/team",
    "/api-keys",
    "/billing-details",
    "/ledger",
    "/ledger?since=never",
    "/buy",
    "/top-ups",
    "/invoices",
    "/payment-methods",
]


def _check(response: object) -> None:
    policy = response["Content-Security-Policy"]  # type: ignore[index]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert response["X-Frame-Options"] == "DENY"  # type: ignore[index]
    page = response.content.decode()  # type: ignore[attr-defined]
    assert not re.search(r"<[^>]+\sstyle=", page), "an inline style, which the policy refuses"
    assert not re.search(r"<[^>]+\son\w+=", page), "an inline handler, which the policy refuses"
    assert "<style" not in page
    assert not re.search(r"<script(?![^>]+src=)", page)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page), "a request to another host"


@pytest.mark.parametrize("address", OPEN_PAGES)
def test_pages_for_everyone_obey_the_policy(client: Client, db: None, address: str) -> None:
    _check(client.get(address))


@pytest.mark.parametrize("page", MEMBERS_PAGES)
def test_pages_for_members_obey_the_policy(alice: Client, stage: Stage, page: str) -> None:
    _check(alice.get(stage.url + page))


@pytest.mark.parametrize("address", PERSONS_PAGES)
def test_a_persons_own_pages_obey_the_policy(alice: Client, stage: Stage, address: str) -> None:
    stage.alice.set_password("correct horse battery")
    stage.alice.save()
    alice.force_login(stage.alice)
    _check(alice.get(address))


def test_the_page_with_the_qr_code_obeys_the_policy(client: Client, db: None) -> None:
    make_user("alice", password=PASSWORD)
    sign_in(client)
    confirm_password(client)
    response = client.get("/security/two-factor")
    assert "<svg" in response.content.decode()
    _check(response)


def test_pages_of_buying_obey_the_policy(alice: Client, stage: Stage, shop: Pack) -> None:
    form = checkout_form(stage, number="4000000000000002")
    for address in ("/buy", "/buy/credits?credits=1500", "/buy/credits"):
        _check(alice.get(stage.url + address, follow=True))
    _check(alice.post(f"{stage.url}/buy/credits", {**form, "number": "1"}))
    _check(alice.post(f"{stage.url}/buy/credits", form, follow=True))
    invoice = stage.account.invoices.get()
    _check(alice.get(f"{stage.url}/invoices/{invoice.pk}"))
    alice.post(f"{stage.url}/invoices/{invoice.pk}/pay", {**form, "token": "0" * 32, "number": "4000002760003184"})
    _check(alice.get(Payment.objects.latest("pk").action_url))


def test_a_page_that_does_not_exist_has_our_look(client: Client, db: None) -> None:
    response = client.get("/nowhere")
    assert response.status_code == 404
    assert "Page not found" in response.content.decode()
    assert "florin.css" in response.content.decode()


def test_a_form_of_another_session_is_refused_with_our_look(db: None) -> None:
    response = Client(enforce_csrf_checks=True).post("/login", {"username": "x", "password": "y"})
    assert response.status_code == 403
    assert "This form is no longer valid" in response.content.decode()


def test_a_fault_has_our_look_and_tells_no_secret(alice: Client, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr(balance, "read", broken)
    alice.raise_request_exception = False
    response = alice.get(stage.url)
    assert response.status_code == 500
    assert "Something went wrong on our side" in response.content.decode()
    assert "secret reason" not in response.content.decode()


def _forbidden(request: object) -> None:
    from django.core.exceptions import PermissionDenied

    raise PermissionDenied


def _bad(request: object) -> None:
    from django.core.exceptions import SuspiciousOperation

    raise SuspiciousOperation


urlpatterns = [path("forbidden", _forbidden), path("bad", _bad)]


@pytest.mark.parametrize(
    ("address", "status", "heading"),
    [("/forbidden", 403, "You may not do this"), ("/bad", 400, "Request not understood")],
)
@override_settings(ROOT_URLCONF=__name__)
def test_a_refusal_has_our_look(client: Client, db: None, address: str, status: int, heading: str) -> None:
    response = client.get(address)
    assert response.status_code == status
    assert heading in response.content.decode()
