"""Staff pages of API keys."""

import re
from datetime import timedelta

import pytest
from django.test import Client

from billing.accounts import keys
from billing.accounts.models import ApiKey, Approval, User
from billing.admin import acts
from tests.admin.conftest import Office, find_unrefused, post, text_of
from tests.factories import make_key

ADD = "/admin/billing/apikey/add/"
FAULT = "Please correct the error"
SECRET = re.compile(r"fl_[0-9a-f]{12}_[\w-]{43}")


def test_a_secret_is_shown_once_and_works(staff: Client, office: Office) -> None:
    sent = staff.post(ADD, {"name": "Production", "account": office.account.pk, "scopes": ["read"]})
    assert sent.status_code == 302
    response = staff.get(sent["Location"])
    assert "no-store" in response["Cache-Control"]
    (secret,) = SECRET.findall(response.content.decode())
    key = keys.authenticate(secret=secret, now=office.now)
    assert (key.account, key.scopes, key.created_by) == (office.account, ["read"], office.stella)
    assert not SECRET.search(text_of(staff, f"/admin/billing/apikey/{key.pk}/change/"))
    assert not SECRET.search(text_of(staff, "/admin/billing/apikey/"))
    again = staff.get(sent["Location"], follow=True).content.decode()
    assert "shown once" in again
    assert not SECRET.search(again)


def test_a_key_without_account_is_platform_wide(staff: Client, office: Office) -> None:
    post(staff, ADD, name="Backend", account="", scopes=["read"])
    assert ApiKey.objects.get().account is None


def test_a_key_that_writes_works_once_a_second_person_approves(staff: Client, office: Office) -> None:
    old, old_secret = make_key(now=office.now)
    page = post(staff, ADD, name="Mine", account="", scopes=["read", "credits:write"])
    rotated = post(staff, f"/admin/billing/apikey/{old.pk}/rotate/", overlap_hours=0)
    secrets = [SECRET.findall(each)[0] for each in (page, rotated)]
    assert "a second person must approve it" in page
    for secret in secrets:
        with pytest.raises(keys.InvalidKey):
            keys.authenticate(secret=secret, now=office.now)
    assert keys.authenticate(secret=old_secret, now=office.now) == old
    second = User.objects.create_superuser("root@example.com", "x")
    for waiting in Approval.objects.order_by("pk"):
        acts.approve(approval_id=waiting.pk, user=second, note="", now=office.now)
    assert [keys.authenticate(secret=secret, now=office.now).name for secret in secrets] == ["Mine", old.name]
    with pytest.raises(keys.InvalidKey):
        keys.authenticate(secret=old_secret, now=office.now)


def test_a_key_that_is_not_approved_never_works(staff: Client, office: Office) -> None:
    post(staff, ADD, name="Mine", account="", scopes=["read", "credits:write"])
    second = User.objects.create_superuser("root@example.com", "x")
    acts.reject(approval_id=Approval.objects.get().pk, user=second, note="No", now=office.now)
    assert ApiKey.objects.get().revoked_at is not None


FAULTY_KEYS: list[dict[str, object]] = [
    {"scopes": []},
    {"scopes": ["everything"]},
    {"name": ""},
    {"account": "99999"},
    {"account": "OURS", "scopes": ["read", "charges:write"]},
    {"expires_at_0": "2020-01-01", "expires_at_1": "00:00"},
]


def test_a_faulty_key_is_not_issued(staff: Client, office: Office) -> None:
    good, faulty = (
        {"name": "x", "account": "", "scopes": ["read"]},
        [
            ({**each, "account": office.account.pk} if each.get("account") == "OURS" else each, FAULT)
            for each in FAULTY_KEYS
        ],
    )
    none = lambda: not ApiKey.objects.exists()  # noqa: E731
    assert find_unrefused(staff, ADD, good, faulty, unchanged=none) == []


def test_a_key_is_not_edited(staff: Client, office: Office) -> None:
    key, _ = make_key(now=office.now)
    assert staff.post(f"/admin/billing/apikey/{key.pk}/change/", {"name": "other"}).status_code == 403
    key.refresh_from_db()
    assert key.name == "test"


def test_rotating_makes_a_successor_and_lets_the_old_key_overlap(staff: Client, office: Office) -> None:
    key, old_secret = make_key(now=office.now)
    ApiKey.objects.update(created_by=office.stella)
    assert "Overlap in hours" in text_of(staff, f"/admin/billing/apikey/{key.pk}/rotate/")
    page = post(staff, f"/admin/billing/apikey/{key.pk}/rotate/", overlap_hours=2)
    (secret,) = SECRET.findall(page)
    assert keys.authenticate(secret=secret, now=office.now).rotated_from == key
    assert keys.authenticate(secret=old_secret, now=office.now + timedelta(hours=1)) == key
    with pytest.raises(keys.InvalidKey):
        keys.authenticate(secret=old_secret, now=office.now + timedelta(hours=3))


def test_rotating_with_a_faulty_overlap_is_refused(staff: Client, office: Office) -> None:
    key, _ = make_key(now=office.now)
    faulty = [({"overlap_hours": hours}, "Please correct") for hours in ("-1", "721", "", "x")]
    address, one = f"/admin/billing/apikey/{key.pk}/rotate/", lambda: ApiKey.objects.count() == 1
    assert find_unrefused(staff, address, {}, faulty, unchanged=one) == []


def test_a_revoked_key_is_not_rotated(staff: Client, office: Office) -> None:
    key, _ = make_key(now=office.now)
    keys.revoke(key=key, now=office.now)
    page = post(staff, f"/admin/billing/apikey/{key.pk}/rotate/", overlap_hours=1)
    assert "no longer works" in page
    assert "rotate/" not in text_of(staff, f"/admin/billing/apikey/{key.pk}/change/")
    assert staff.get("/admin/billing/apikey/99999/rotate/").status_code == 404


def test_revoking_holds_from_the_next_request_on(staff: Client, office: Office) -> None:
    key, secret = make_key(now=office.now)
    assert "1 key revoked" in post(staff, "/admin/billing/apikey/", action="revoke", _selected_action=key.pk)
    with pytest.raises(keys.InvalidKey):
        keys.authenticate(secret=secret, now=office.now)
    assert "revoked" in text_of(staff, "/admin/billing/apikey/")
