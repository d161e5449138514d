"""What no door could handle is refused before any of them reads it."""

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import get_resolver
from django.urls.resolvers import URLPattern, URLResolver
from django.utils import timezone

from billing.accounts.models import User
from billing.payments.gateways import sandbox_webhooks
from billing.payments.models import GatewayEvent
from tests.api.asking import Api, assert_problem
from tests.factories import make_key
from tests.portal.entering import PASSWORD

WEBHOOK = "/gateways/sandbox/webhook"


@pytest.fixture
def browser(db: None) -> Client:
    """A superuser's browser, which shows a fault as its visitor would see it."""
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("stella@example.com", PASSWORD))
    return client


def addresses() -> list[str]:
    """Every address with a part of text in it, that part being a NUL."""
    found = []

    def walk(patterns: list[Any], before: str) -> None:
        for each in patterns:
            route = before + str(each.pattern)
            if isinstance(each, URLResolver):
                walk(each.url_patterns, route)
            elif isinstance(each, URLPattern) and ("<str:" in route or "<path:" in route):
                parts = (part.partition("<")[0] + "%00" * ("<str:" in part or "<path:" in part) for part in
                         route.replace("<int:", "1<").replace("<uuid:", "1<").split("/"))  # fmt: skip
                found.append("/" + "/".join(parts))

    walk(get_resolver().url_patterns, "")
    return found


def test_a_nul_in_any_address_is_refused_in_the_doors_own_words(browser: Client) -> None:
    found, odd = addresses(), []
    assert len(found) > 100
    for address in [*found, "/%00", "/static/%00", "/admin/%00", "/sandbox/bank/%00", "/api/v1/%00"]:
        answer = browser.get(address)
        expected = "application/problem+json" if address.startswith("/api/") else "text/html"
        if answer.status_code != 400 or not answer["Content-Type"].startswith(expected):
            odd.append((address, answer.status_code))
    assert odd == []


def test_a_nul_in_query_cookie_or_form_is_refused(browser: Client) -> None:
    login = {"login": "\x00alice@example.com", "password": PASSWORD}
    answers = {
        "query": browser.get("/admin/billing/account/?q=%00"),
        "name in the query": browser.get("/security?%00=1"),
        "form": browser.post("/login", login),
        "name in a form": browser.post("/login", "a%00=1", content_type="application/x-www-form-urlencoded"),
        "multipart form": browser.post("/admin/billing/account/add/", {"name": "a\x00b"}),
        "problem": browser.get("/api/v1/accounts?search=%00"),
    }
    browser.cookies["sessionid"] = "\x00abcdefghijkl"
    answers["cookie"] = browser.get("/login")
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 400)
    assert_problem(answers["problem"], 400, "bad_request")


@pytest.mark.parametrize("text", ["\x00", "\ud800"])
def test_a_signed_webhook_with_text_that_cannot_be_stored_is_refused(db: None, text: str) -> None:
    for payload in ({"type": f"charge.x{text}", "data": {}}, {"type": "other", "data": {text: [text]}}):
        body = json.dumps(payload).encode()
        headers = sandbox_webhooks.sign("evt_1", body, now=timezone.now())
        assert_problem(Api(None).send("POST", WEBHOOK, body, headers=headers), 400, "malformed_json")
    assert not GatewayEvent.objects.exists()


def test_an_escaped_backslash_before_0000_is_no_nul(db: None) -> None:
    body = json.dumps({"type": "other", "data": {"text": r"\u0000"}}).encode()
    headers = sandbox_webhooks.sign("evt_1", body, now=timezone.now())
    assert Api(None).send("POST", WEBHOOK, body, headers=headers).status_code == 200


@pytest.mark.parametrize("name", ["Idempotency-Key", "Authorization", "Host"])
def test_a_header_that_must_occur_once_is_refused_when_it_comes_twice(db: None, name: str) -> None:
    secret = make_key()[1]
    once = {"Idempotency-Key": "a", "Authorization": f"Bearer {secret}", "Host": "testserver"}
    # As the web server hands them on: in one line, with commas.
    for comma in (",", ", "):
        headers = {**once, name: once[name] + comma + once[name]}
        problem = assert_problem(Api(None).send("GET", "/api-keys/me", headers=headers), 400, "bad_request")
        assert name == "Host" or name in problem["detail"]
    assert Api(None).send("GET", "/api-keys/me", headers=once).status_code == 200
