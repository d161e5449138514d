"""What every page tells the browser, and how pages look that nobody hopes to see."""

import re

import pytest
from django.test import Client, override_settings
from django.urls import include, path

from billing.accounts.ids import encode
from billing.catalog.pack_models import Pack
from billing.ledger import balance
from billing.payments.models import Payment
from tests.portal.conftest import Stage
from tests.portal.entering import PASSWORD, confirm_password, sign_in
from tests.portal.pages import MANAGERS_ONLY, OPEN_PAGES
from tests.portal.shop import checkout_form

ENTRANCE = [
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
MEMBERS_PAGES = [page for page in (*OPEN_PAGES, *sorted(MANAGERS_ONLY)) if not page.endswith((".csv", "/live"))]

pytestmark = pytest.mark.usefixtures("stage")


def _faults(response: object) -> list[str]:
    """What a page does that the policy refuses, or should."""
    policy = response["Content-Security-Policy"]  # type: ignore[index]
    page = response.content.decode()  # type: ignore[attr-defined]
    faults = {
        "the policy": "default-src 'none'" not in policy or "unsafe" in policy,
        "may be framed": response["X-Frame-Options"] != "DENY",  # type: ignore[index]
        "allows the camera": "camera=()" not in response["Permissions-Policy"],  # type: ignore[index]
        "an inline style": re.search(r"<[^>]+\sstyle=", page) or "<style" in page,
        "an inline handler": re.search(r"<[^>]+\son\w+=", page),
        "an inline script": re.search(r"<script(?![^>]+src=)", page),
        "a request to another host": re.search(r'(?:src|href)="(?:https?:)?//', page),
    }
    return [fault for fault, found in faults.items() if found]


def _check(client: Client, addresses: list[str]) -> None:
    found = {address: _faults(client.get(address)) for address in addresses}
    assert {address: faults for address, faults in found.items() if faults} == {}


def test_pages_for_everyone_obey_the_policy(client: Client) -> None:
    _check(client, ENTRANCE)


def test_pages_for_members_obey_the_policy(alice: Client, stage: Stage) -> None:
    assert {"", "/team", "/ledger", "/buy", "/top-ups"} <= set(MEMBERS_PAGES)
    _check(alice, [stage.url + page for page in (*MEMBERS_PAGES, "/ledger?since=never")])


def test_a_persons_own_pages_obey_the_policy(alice: Client, stage: Stage) -> None:
    stage.alice.set_password(PASSWORD)
    stage.alice.save()
    alice.force_login(stage.alice)
    _check(alice, PERSONS_PAGES)


def test_the_page_with_the_qr_code_obeys_the_policy(client: Client, stage: Stage) -> None:
    stage.alice.set_password(PASSWORD)
    stage.alice.save()
    sign_in(client)
    confirm_password(client)
    response = client.get("/security/two-factor")
    assert "<svg" in response.content.decode()
    assert _faults(response) == []


def test_pages_of_buying_obey_the_policy(alice: Client, stage: Stage, shop: Pack) -> None:
    form = checkout_form(stage, number="4000000000000002")
    addresses = ("/buy", "/buy/credits?credits=1500", "/buy/credits")
    pages = [alice.get(stage.url + address, follow=True) for address in addresses]
    pages.append(alice.post(f"{stage.url}/buy/credits", {**form, "number": "1"}))
    pages.append(alice.post(f"{stage.url}/buy/credits", form, follow=True))
    invoice = stage.account.invoices.get()
    pages.append(alice.get(f"{stage.url}/invoices/{encode('ivc', invoice.pk)}"))
    alice.post(
        f"{stage.url}/invoices/{encode('ivc', invoice.pk)}/pay",
        {**form, "token": "0" * 32, "number": "4000002760003184"},
    )
    pages.append(alice.get(Payment.objects.latest("pk").action_url))
    assert [_faults(page) for page in pages] == [[]] * 7


def test_a_page_that_does_not_exist_has_our_look(client: Client) -> None:
    response = client.get("/nowhere")
    assert response.status_code == 404
    assert "Page not found" in response.content.decode()
    assert "florin.css" in response.content.decode()


def test_a_form_of_another_session_is_refused_with_our_look() -> None:
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


urlpatterns = [path("forbidden", _forbidden), path("bad", _bad), path("", include("portal.entrance.urls"))]


@pytest.mark.parametrize(
    ("address", "status", "heading"),
    [("/forbidden", 403, "You may not do this"), ("/bad", 400, "Request not understood")],
)
@override_settings(ROOT_URLCONF=__name__)
def test_a_refusal_has_our_look(client: Client, address: str, status: int, heading: str) -> None:
    response = client.get(address)
    assert response.status_code == status
    assert heading in response.content.decode()
