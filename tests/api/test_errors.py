import json
import re
from pathlib import Path

import psycopg
import pytest
from django.conf import settings as django_settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import OperationalError
from django.http import Http404
from rest_framework import serializers

from billing import metering
from billing.api import docs, errors
from billing.api.errors import flatten
from billing.api.problems import KINDS
from billing.catalog import pricing
from billing.ledger import holds, pools
from billing.metering import reversal
from tests.api.asking import assert_problem, not_refused, written

NEW = b'{"external_id": "x", "name": "X", "billing_email": "x@example.com", "country": "DE"}'


def test_an_unknown_address_is_not_found(anonymous):
    paths = ["/nothing", "/accounts/", "/", "//", "/accounts/acme/nothing", "/a%0Ab"]
    rows = [(method, path) for method in ("GET", "POST", "DELETE", "OPTIONS") for path in paths]
    answers = [((method, path), anonymous.send(method, path)) for method, path in rows]
    assert not_refused(answers, 404, "not_found") == []


def test_an_address_beside_the_api_is_not_found(anonymous):
    rows = ["/api/v2/accounts", "/api/"]
    answers = [(path, anonymous.client.get(path)) for path in rows]
    assert not_refused(answers, 404, "not_found") == []


def test_a_method_that_is_not_taken_is_refused_with_those_that_are(platform):
    answers = [(method, platform.send(method, "/accounts")) for method in ("PUT", "DELETE", "OPTIONS", "TRACE")]
    assert not_refused(answers, 405, "method_not_allowed") == []
    assert {answer["Allow"] for _, answer in answers} == {"GET, POST, HEAD"}


def test_another_media_type_is_refused(platform):
    rows = ["text/plain", "application/xml", "multipart/form-data; boundary=x", "", "json"]
    before = written()
    answers = [(media_type, platform.send("POST", "/accounts", NEW, content_type=media_type)) for media_type in rows]
    assert not_refused(answers, 415, "unsupported_media_type") == []
    assert written() == before


def test_another_charset_is_refused(platform):
    body = NEW.decode().encode("utf-16")
    response = platform.send("POST", "/accounts", body, content_type="application/json; charset=utf-16")
    assert_problem(response, 415, "unsupported_media_type")


def test_a_body_that_is_too_long_is_refused_unread(platform, settings):
    settings.FLORIN_MAX_BODY_BYTES = settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    before = written()
    for key in ({}, {"Idempotency-Key": "k"}):
        problem = assert_problem(
            platform.send("POST", "/accounts", b"[" + b" " * 100, headers=key), 413, "payload_too_large"
        )
        assert problem["max_bytes"] == 100
    assert written() == before


def test_ten_megabytes_are_too_long(platform):
    assert django_settings.FLORIN_MAX_BODY_BYTES < 10_000_000
    before = written()
    assert_problem(platform.send("POST", "/accounts", b" " * 10_000_000), 413, "payload_too_large")
    assert written() == before


def test_a_chunked_body_is_refused(platform):
    response = platform.send("POST", "/accounts", NEW, headers={"Transfer-Encoding": "chunked"})
    assert_problem(response, 411, "length_required")


def test_an_odd_content_length_is_refused(platform):
    before = written()
    statuses = [
        platform.client.generic(
            "POST",
            "/api/v1/accounts",
            NEW,
            content_type="application/json",
            headers=platform.headers,
            CONTENT_LENGTH=length,
        ).status_code
        for length in ("-1", "x", "1e3", "9" * 30)
    ]
    assert statuses == [411, 411, 411, 413]
    assert written() == before


def test_a_fault_of_ours_leaks_nothing_but_an_id(platform, monkeypatch, caplog):
    def fail(**_):
        raise RuntimeError("the secret is xyzzy")

    monkeypatch.setattr(pools, "open_account", fail)
    before = written()
    response = platform.send("POST", "/accounts", NEW)
    problem = assert_problem(response, 500, "internal_error")
    assert "xyzzy" not in response.content.decode()
    assert problem["error_id"] == response["X-Request-Id"]
    assert problem["error_id"] in caplog.text
    assert written() == before


def test_a_fault_frees_the_idempotency_key(platform, monkeypatch):
    with monkeypatch.context() as failing:
        failing.setattr(pools, "open_account", lambda **_: 1 / 0)
        assert platform.send("POST", "/accounts", NEW, headers={"Idempotency-Key": "k"}).status_code == 500
    assert platform.send("POST", "/accounts", NEW, headers={"Idempotency-Key": "k"}).status_code == 201


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_database_that_is_away_is_a_matter_of_time(platform, monkeypatch, wrapped):
    def fail(**_):
        try:
            raise psycopg.OperationalError("gone")
        except psycopg.OperationalError as error:
            if wrapped:
                raise OperationalError("gone") from error
            raise

    monkeypatch.setattr(pools, "open_account", fail)
    response = platform.send("POST", "/accounts", NEW)
    assert_problem(response, 503, "unavailable")
    assert response["Retry-After"] == "1"


def test_every_answer_names_its_request(platform, anonymous):
    assert platform.get("/accounts")["X-Request-Id"] != platform.get("/accounts")["X-Request-Id"]
    response = anonymous.client.get("/api/v1/accounts", headers={"X-Request-Id": "trace-7"})
    assert response["X-Request-Id"] == "trace-7"
    assert response.json()["instance"] == "urn:florin:request:trace-7"
    odd = anonymous.client.get("/api/v1/accounts", headers={"X-Request-Id": "a b\u00fc"})
    assert odd["X-Request-Id"] != "a b\u00fc"


def test_every_problem_leads_to_its_explanation(anonymous):
    listed = anonymous.get("/problems").json()
    assert [kind["code"] for kind in listed] == list(KINDS)
    for code in KINDS:
        assert anonymous.get(f"/problems/{code}").json()["code"] == code
    assert_problem(anonymous.get("/problems/nothing"), 404, "not_found")


def test_outside_the_api_errors_are_pages(client):
    response = client.get("/no-such-page")
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")


def test_a_host_that_is_not_ours_is_refused_as_a_problem(anonymous):
    response = anonymous.client.get("/api/v1/problems", headers={"Host": "evil.example"})
    assert_problem(response, 400, "bad_request")


def test_an_unexpected_code_of_a_rejection_would_be_noticed():
    """Every code that metering may reject with has a status and a meaning."""
    # What a replay cannot take stays among the rejected events; nobody is answered.
    files = [path for path in Path(metering.__path__[0]).glob("*.py") if path.name != "replay.py"]
    sources = "".join(path.read_text() for path in files)
    codes = set(re.findall(r'InvalidEvent\(\s*"([a-z_]+)"', sources))
    assert codes
    assert codes <= KINDS.keys()


def test_nested_errors_become_paths():
    class Inner(serializers.Serializer):
        price = serializers.IntegerField()

    class Outer(serializers.Serializer):
        tiers = Inner(many=True)
        tags = serializers.ListField(child=serializers.IntegerField())

    outer = Outer(data={"tiers": [{"price": 1}, {"price": "x"}], "tags": [1, "x"]})
    outer.is_valid()
    assert {(field, code) for field, code, _ in flatten(outer.errors)} == {
        ("tiers.1.price", "invalid"),
        ("tags.1", "invalid"),
    }


def test_the_reference_page_needs_no_inline_script_and_no_other_host(anonymous):
    page = anonymous.get("/docs")
    assert page.status_code == 200
    html = page.content.decode()
    assert "<style" not in html
    assert html.count("<script") == html.count("<script src=") == 2
    assert "//" not in html.replace("<!DOCTYPE html>", "")
    script = anonymous.get("/docs", script="")
    assert script["Content-Type"].startswith("application/javascript")
    assert "/api/v1/schema" in script.content.decode()
    assert docs.Reference.template_name == "api/docs.html"


@pytest.mark.parametrize(
    ("handler", "status", "code"), [("handler400", 400, "bad_request"), ("handler403", 403, "forbidden")]
)
def test_what_django_refuses_is_a_problem_in_the_api_and_a_page_elsewhere(rf, handler, status, code):
    handle = getattr(errors, handler)
    problem = handle(rf.get("/api/v1/accounts"), PermissionDenied())
    assert (problem.status_code, json.loads(problem.content)["code"]) == (status, code)
    page = handle(rf.get("/elsewhere"), PermissionDenied())
    assert page.status_code == status
    assert page["Content-Type"].startswith("text/html")


def test_a_body_that_django_finds_too_big_is_too_large(rf):
    problem = errors.handler400(rf.get("/api/v1/accounts"), RequestDataTooBig())
    assert (problem.status_code, json.loads(problem.content)["code"]) == (413, "payload_too_large")


def test_a_fault_outside_any_view_has_an_id_too(rf, caplog):
    problem = errors.handler500(rf.get("/api/v1/accounts"))
    assert problem.status_code == 500
    assert json.loads(problem.content)["error_id"] in caplog.text
    assert errors.handler500(rf.get("/elsewhere"))["Content-Type"].startswith("text/html")


def test_each_refusal_has_its_code():
    rows = [
        (PermissionDenied(), "forbidden"),
        (Http404(), "not_found"),
        (SuspiciousOperation(), "bad_request"),
        (RequestDataTooBig(), "payload_too_large"),
        (holds.HoldTooLong(), "hold_too_long"),
        (pricing.AmountTooLarge(), "amount_too_large"),
        (reversal.ReadingSettled(), "reading_settled"),
        (psycopg.errors.NumericValueOutOfRange(), "amount_too_large"),
        (psycopg.errors.DeadlockDetected(), "unavailable"),
    ]
    found = [(error, getattr(errors.translate(error), "code", None)) for error, _ in rows]
    assert found == rows


def test_a_fault_is_not_taken_for_a_refusal():
    faults = [ValueError("x"), psycopg.errors.UniqueViolation(), KeyError("x")]
    assert [errors.translate(error) for error in faults] == [None] * 3
