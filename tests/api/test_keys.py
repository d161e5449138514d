from datetime import timedelta

from django.utils import timezone

from billing.accounts import keys
from billing.accounts.ids import encode
from billing.accounts.models import ApiKey
from billing.api import throttling
from tests.api.asking import Api, assert_problem
from tests.factories import NOW, make_key


def test_a_key_tells_about_itself_but_not_its_secret(acme):
    key, secret = make_key(acme, scopes=["usage:write"])
    response = Api(secret).get("/api-keys/me")
    assert response.json() == {
        "id": encode("key", key.pk), "name": "test", "prefix": key.prefix, "scopes": ["usage:write"],
        "account": encode("acc", acme.pk), "created_at": "2025-03-01T12:00:00Z", "expires_at": None,
    }  # fmt: skip
    assert secret[-43:] not in response.content.decode()


def test_nobody_has_no_key(anonymous):
    assert_problem(anonymous.get("/api-keys/me"), 401, "authentication_required")


def test_a_header_that_holds_no_key_is_refused(db):
    _, secret = make_key()
    rows = [
        "Bearer", "Bearer ", "Basic {}", "{}", "Bearer {}x", "Bearer fl_000000000000_x", "Bearer \x00", "Bearer {} {}",
    ]  # fmt: skip
    api, taken = Api(None), []
    for header in rows:
        api.headers = {"Authorization": header.replace("{}", secret)}
        response = api.get("/api-keys/me")
        if response.status_code != 401 or not response["WWW-Authenticate"].startswith("Bearer"):
            taken.append(header)
    assert taken == []


def test_the_scheme_is_written_in_any_case(db):
    _, secret = make_key()
    api = Api(None)
    api.headers = {"Authorization": f"bEARER  {secret}"}
    assert api.get("/api-keys/me").status_code == 200


def test_a_revoked_key_fails_on_the_next_request(db):
    key, secret = make_key()
    api = Api(secret)
    assert api.get("/api-keys/me").status_code == 200
    keys.revoke(key=key, now=NOW)
    assert_problem(api.get("/api-keys/me"), 401, "invalid_key")


def test_an_expired_key_fails(db):
    _, secret = keys.issue(name="old", scopes=["read"], expires_at=NOW + timedelta(days=1), now=NOW)
    assert_problem(Api(secret).get("/api-keys/me"), 401, "invalid_key")


def test_the_use_of_a_key_is_noted(db):
    key, secret = make_key()
    Api(secret).get("/api-keys/me")
    assert timezone.now() - ApiKey.objects.get(pk=key.pk).last_used_at < timedelta(minutes=1)


def test_too_many_requests_of_a_key_are_refused_for_a_while(platform, alice, settings):
    settings.FLORIN_REQUESTS_PER_MINUTE = 3
    codes = [platform.get("/api-keys/me").status_code for _ in range(8)]
    assert 429 in codes
    assert codes[:3] == [200, 200, 200]
    refused = platform.get("/api-keys/me")
    if refused.status_code == 429:  # else a new minute has just begun
        assert_problem(refused, 429, "too_many_requests")
        assert 1 <= int(refused["Retry-After"]) <= 60
    assert alice.get("/api-keys/me").status_code == 200


def test_without_a_limit_nothing_is_counted(platform, settings):
    settings.FLORIN_REQUESTS_PER_MINUTE = 0
    assert [platform.get("/api-keys/me").status_code for _ in range(5)] == [200] * 5


def test_a_count_that_was_evicted_begins_again(platform, settings, monkeypatch):
    settings.FLORIN_REQUESTS_PER_MINUTE = 1
    monkeypatch.setattr(throttling.caches["process"], "add", lambda *_, **__: False)
    assert [platform.get("/api-keys/me").status_code for _ in range(3)] == [200] * 3
