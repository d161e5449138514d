from datetime import timedelta

import pytest

from billing.accounts import keys
from billing.accounts.models import ApiKey
from tests.factories import NOW, make_account, make_key

pytestmark = pytest.mark.django_db


def test_a_secret_is_shown_once_and_stored_as_a_digest():
    key, secret = make_key()
    assert secret.startswith(f"fl_{key.prefix}_")
    assert len(secret.rpartition("_")[0]) >= len("fl_")
    assert len(secret) == len(f"fl_{key.prefix}_") + 43
    stored = ApiKey.objects.values().get(pk=key.pk)
    assert secret not in str(stored)
    assert len(bytes(stored["digest"])) == 32


def test_a_secret_leads_to_its_key_and_account_in_one_query(django_assert_num_queries):
    account = make_account()
    key, secret = make_key(account)
    keys.authenticate(secret=secret, now=NOW)
    with django_assert_num_queries(1):
        found = keys.authenticate(secret=secret, now=NOW)
        assert (found.pk, found.account) == (key.pk, account)


@pytest.mark.parametrize("mangle", [str.upper, lambda s: s[:-1], lambda s: s + "x", lambda s: s + "\n", lambda s: ""])
def test_a_mangled_secret_is_refused(mangle):
    _, secret = make_key()
    with pytest.raises(keys.InvalidKey):
        keys.authenticate(secret=mangle(secret), now=NOW)


def test_the_right_prefix_with_another_random_part_is_refused():
    (key, _), (_, other) = make_key(), make_key()
    with pytest.raises(keys.InvalidKey):
        keys.authenticate(secret=f"fl_{key.prefix}_{other[-43:]}", now=NOW)


def test_a_key_works_until_it_expires_and_not_after():
    ends = NOW + timedelta(days=1)
    _, secret = keys.issue(name="short", scopes=["read"], expires_at=ends, now=NOW)
    keys.authenticate(secret=secret, now=ends - timedelta(microseconds=1))
    with pytest.raises(keys.InvalidKey):
        keys.authenticate(secret=secret, now=ends)


def test_a_revoked_key_fails_on_the_next_request():
    key, secret = make_key()
    keys.authenticate(secret=secret, now=NOW)
    keys.revoke(key=key, now=NOW)
    with pytest.raises(keys.InvalidKey):
        keys.authenticate(secret=secret, now=NOW)


def test_revoking_again_keeps_the_first_time():
    key, _ = make_key()
    keys.revoke(key=key, now=NOW)
    keys.revoke(key=key, now=NOW + timedelta(days=1))
    key.refresh_from_db()
    assert key.revoked_at == NOW


def test_last_use_is_written_at_most_once_a_minute(django_assert_num_queries):
    key, secret = make_key()
    for seconds, expected in ((0, 0), (59, 0), (60, 60), (61, 60)):
        keys.authenticate(secret=secret, now=NOW + timedelta(seconds=seconds))
        key.refresh_from_db()
        assert key.last_used_at == NOW + timedelta(seconds=expected)


def test_a_rotated_key_overlaps_with_its_successor():
    account = make_account()
    old, old_secret = make_key(account, scopes=["read", "usage:write"])
    new, new_secret = keys.rotate(key=old, overlap_seconds=3600, now=NOW)
    assert (new.scopes, new.account, new.rotated_from) == (old.scopes, account, old)
    later = NOW + timedelta(seconds=3599)
    assert keys.authenticate(secret=old_secret, now=later).pk == old.pk
    assert keys.authenticate(secret=new_secret, now=later).pk == new.pk
    with pytest.raises(keys.InvalidKey):
        keys.authenticate(secret=old_secret, now=NOW + timedelta(seconds=3600))
    assert keys.authenticate(secret=new_secret, now=NOW + timedelta(days=9999)).pk == new.pk


def test_rotation_never_lets_an_old_key_live_longer():
    ends = NOW + timedelta(minutes=1)
    old, _ = keys.issue(name="short", scopes=["read"], expires_at=ends, now=NOW)
    new, _ = keys.rotate(key=old, overlap_seconds=3600, now=NOW + timedelta(seconds=30))
    old.refresh_from_db()
    assert old.expires_at == ends
    assert new.expires_at == NOW + timedelta(seconds=90)


def test_a_closed_key_cannot_be_rotated():
    key, _ = make_key()
    keys.revoke(key=key, now=NOW)
    with pytest.raises(keys.KeyClosed):
        keys.rotate(key=key, overlap_seconds=0, now=NOW)
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("seconds", [-1, 30 * 86_400 + 1])
def test_an_overlap_has_bounds(seconds):
    key, _ = make_key()
    with pytest.raises(ValueError, match="overlap"):
        keys.rotate(key=key, overlap_seconds=seconds, now=NOW)


@pytest.mark.parametrize("scopes", [[], ["everything"], ["read", "root"]])
def test_scopes_that_do_not_exist_are_refused(scopes):
    with pytest.raises(keys.UnknownScope):
        keys.issue(name="odd", scopes=scopes, now=NOW)
    assert not ApiKey.objects.exists()
