"""The page of API keys: making, rotating, revoking; secrets are shown once."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from billing.accounts import keys
from billing.accounts.ids import encode
from billing.accounts.models import ApiKey, Role
from tests.factories import make_account, make_key, make_member, make_user
from tests.portal.conftest import MAX_QUERIES, Stage

NEW = {"name": "Backend", "scopes": ["read", "usage:write"], "lifetime": "90"}


def _asks(secret: str) -> int:
    return Client().get("/api/v1/api-keys/me", headers={"Authorization": f"Bearer {secret}"}).status_code


def _secret(page: str) -> str:
    found = re.search(r'value="(fl_[0-9a-f]{12}_[\w-]{43})"', page)
    assert found is not None
    return found[1]


def _make(stage: Stage, **fields: object) -> tuple[ApiKey, str]:
    given = {"name": "Backend", "scopes": ["read"], "account": stage.account, "created_by": stage.alice, **fields}
    return keys.issue(now=stage.now, **given)  # type: ignore[arg-type]


def test_a_new_key_shows_its_secret_once(alice: Client, stage: Stage) -> None:
    answer = alice.post(f"{stage.url}/api-keys", NEW)
    key = ApiKey.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"{stage.url}/api-keys/{encode('key', key.pk)}/secret")
    # Until then it is in the session, which tells it to nobody who has only the database.
    assert f"fl_{key.prefix}" not in str(dict(alice.session))
    assert alice.head(answer["Location"]).status_code == 302
    page = alice.get(answer["Location"])
    assert "no-store" in page["Cache-Control"]
    secret = _secret(page.content.decode())
    # Reloading shows it no more and makes no other key.
    again = alice.get(answer["Location"], follow=True).content.decode()
    assert "was shown once" in again
    assert 'value="fl_' not in again
    assert ApiKey.objects.count() == 1
    assert _asks(secret) == 200
    assert (key.account, key.created_by, key.scopes) == (stage.account, stage.alice, ["read", "usage:write"])
    assert key.expires_at is not None
    assert timedelta(days=89) < key.expires_at - timezone.now() <= timedelta(days=90)
    page = alice.get(f"{stage.url}/api-keys").content.decode()
    assert f"fl_{key.prefix}_…" in page
    assert secret not in page


def test_a_key_may_work_until_it_is_revoked(alice: Client, stage: Stage) -> None:
    alice.post(f"{stage.url}/api-keys", {**NEW, "lifetime": ""})
    assert ApiKey.objects.get().expires_at is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""}, {"name": "x" * 81}, {"scopes": []}, {"scopes": ["credits:write"]},
        {"scopes": ["read", "accounts:write"]}, {"scopes": ["everything"]}, {"lifetime": "9999"},
    ],
)  # fmt: skip
def test_a_key_that_may_not_be_is_not_made(alice: Client, stage: Stage, wrong: dict[str, object]) -> None:
    answer = alice.post(f"{stage.url}/api-keys", {**NEW, **wrong})
    assert answer.status_code == 422
    assert not ApiKey.objects.exists()


def test_rotating_overlaps_as_long_as_one_says(alice: Client, stage: Stage) -> None:
    old, old_secret = _make(stage)
    url = f"{stage.url}/api-keys/{encode('key', old.pk)}/rotate"
    assert "Rotate Backend" in alice.get(url).content.decode()
    page = alice.post(url, {"overlap": "3600"}, follow=True).content.decode()
    assert "goes on working until" in page
    assert [_asks(old_secret), _asks(_secret(page))] == [200, 200]
    successor = ApiKey.objects.get(rotated_from=old)
    page = alice.post(
        f"{stage.url}/api-keys/{encode('key', successor.pk)}/rotate", {"overlap": "0"}, follow=True
    ).content.decode()
    assert "The old key has stopped working" in page
    assert _asks(_secret(page)) == 200


def test_a_rotated_key_belongs_to_whoever_rotated_it(alice: Client, stage: Stage) -> None:
    bob = make_user("bob")
    old, _ = _make(stage, created_by=bob)
    alice.post(f"{stage.url}/api-keys/{encode('key', old.pk)}/rotate", {"overlap": "0"})
    assert ApiKey.objects.get(rotated_from=old).created_by == stage.alice


@pytest.mark.parametrize("overlap", ["", "-1", "99999999", "soon"])
def test_an_overlap_that_is_not_offered_rotates_nothing(alice: Client, stage: Stage, overlap: str) -> None:
    old, secret = _make(stage)
    assert alice.post(f"{stage.url}/api-keys/{encode('key', old.pk)}/rotate", {"overlap": overlap}).status_code == 422
    assert ApiKey.objects.count() == 1
    assert _asks(secret) == 200


def test_a_key_with_powers_of_staff_can_be_revoked_but_never_rotated(alice: Client, stage: Stage) -> None:
    key, secret = _make(stage, scopes=["read", "credits:write"], created_by=None)
    page = alice.get(f"{stage.url}/api-keys").content.decode()
    assert f"/api-keys/{encode('key', key.pk)}/rotate" not in page
    assert alice.post(f"{stage.url}/api-keys/{encode('key', key.pk)}/rotate", {"overlap": "0"}).status_code == 404
    assert ApiKey.objects.count() == 1
    alice.post(f"{stage.url}/api-keys/{encode('key', key.pk)}/revoke")
    assert _asks(secret) == 401


def test_revoking_asks_first(alice: Client, stage: Stage) -> None:
    key, secret = _make(stage)
    url = f"{stage.url}/api-keys/{encode('key', key.pk)}/revoke"
    assert "Revoke Backend?" in alice.get(url).content.decode()
    assert _asks(secret) == 200
    answer = alice.post(url, follow=True)
    assert "Backend is revoked" in answer.content.decode()
    assert "Keys that work no longer" in answer.content.decode()
    assert _asks(secret) == 401
    assert alice.post(url).status_code == 404


def test_a_key_that_works_no_longer_is_not_rotated(alice: Client, stage: Stage) -> None:
    key, _ = _make(stage, expires_at=stage.now)
    assert alice.post(f"{stage.url}/api-keys/{encode('key', key.pk)}/rotate", {"overlap": "0"}).status_code == 404
    assert "expired" in alice.get(f"{stage.url}/api-keys").content.decode()
    assert ApiKey.objects.count() == 1


def test_other_keys_are_not_there(alice: Client, stage: Stage) -> None:
    others = [make_key(make_account("other", now=stage.now), now=stage.now), make_key(now=stage.now)]
    page = alice.get(f"{stage.url}/api-keys").content.decode()
    for key, secret in others:
        assert key.prefix not in page
        assert alice.get(f"{stage.url}/api-keys/{encode('key', key.pk)}/secret").status_code == 404
        for act in ("rotate", "revoke"):
            assert alice.get(f"{stage.url}/api-keys/{encode('key', key.pk)}/{act}").status_code == 404
            assert (
                alice.post(f"{stage.url}/api-keys/{encode('key', key.pk)}/{act}", {"overlap": "0"}).status_code == 404
            )
        assert _asks(secret) == 200
    assert ApiKey.objects.count() == 2


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_others_than_managers_have_nothing_to_do_with_keys(client: Client, stage: Stage, role: str) -> None:
    bob = make_user("bob")
    make_member(stage.account, bob, role, now=stage.now)
    client.force_login(bob)
    key, secret = _make(stage)
    assert client.get(f"{stage.url}/api-keys/{encode('key', key.pk)}/secret").status_code == 403
    for address in ("api-keys", f"api-keys/{encode('key', key.pk)}/rotate", f"api-keys/{encode('key', key.pk)}/revoke"):
        assert client.get(f"{stage.url}/{address}").status_code == 403
        assert client.post(f"{stage.url}/{address}", {**NEW, "overlap": "0"}).status_code == 403
    assert ApiKey.objects.count() == 1
    assert _asks(secret) == 200


def test_the_anonymous_and_strangers_get_nothing(client: Client, stage: Stage) -> None:
    key, secret = _make(stage)
    for address in (f"api-keys/{encode('key', key.pk)}/rotate", f"api-keys/{encode('key', key.pk)}/revoke"):
        assert client.post(f"{stage.url}/{address}")["Location"].startswith("/login")
    client.force_login(stage.mallory)
    for address in ("api-keys", f"api-keys/{encode('key', key.pk)}/rotate", f"api-keys/{encode('key', key.pk)}/revoke"):
        assert client.post(f"{stage.url}/{address}", NEW).status_code == 404
    assert _asks(secret) == 200
    assert ApiKey.objects.count() == 1


def test_it_needs_few_queries(
    alice: Client, stage: Stage, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(6):
        _make(stage)
    with django_assert_max_num_queries(MAX_QUERIES):
        alice.get(f"{stage.url}/api-keys")
