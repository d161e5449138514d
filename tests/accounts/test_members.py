from datetime import timedelta

import pytest

from billing.accounts import details, invitations, keys, members, people
from billing.accounts.models import Member, Role
from tests.factories import NOW, make_account, make_key, make_member, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def team():
    account = make_account()
    return make_member(account, make_user("alice"), "owner"), make_member(account, make_user("bob"))


def test_a_person_has_one_place_in_an_account(team):
    alice, _ = team
    with pytest.raises(members.AlreadyMember):
        members.add(account=alice.account, user=alice.user, role="viewer", now=NOW)


def test_the_last_owner_cannot_leave_nor_step_down(team):
    alice, _ = team
    with pytest.raises(members.LastOwner):
        members.remove(member_id=alice.pk, now=NOW)
    with pytest.raises(members.LastOwner):
        members.change_role(member_id=alice.pk, role="admin", now=NOW)
    assert Member.objects.get(pk=alice.pk).role == "owner"


def test_an_owner_can_leave_when_another_is_there(team):
    alice, bob = team
    members.change_role(member_id=bob.pk, role="owner", now=NOW)
    members.remove(member_id=alice.pk, now=NOW)
    assert Member.objects.get(pk=alice.pk).removed_at == NOW


def test_a_removed_member_comes_back_to_the_same_row(team):
    _, bob = team
    members.remove(member_id=bob.pk, now=NOW)
    back = members.add(account=bob.account, user=bob.user, role="viewer", now=NOW)
    assert (back.pk, back.role, back.removed_at) == (bob.pk, "viewer", None)


def test_a_removed_member_cannot_be_changed(team):
    _, bob = team
    members.remove(member_id=bob.pk, now=NOW)
    with pytest.raises(Member.DoesNotExist):
        members.change_role(member_id=bob.pk, role="admin", now=NOW)


def make_key_of(member, account=None, **fields):
    given = {"name": "script", "scopes": ["read"], "account": account or member.account, **fields}
    return keys.issue(created_by=member.user, now=NOW, **given)


def works(secret, now=NOW):
    try:
        return bool(keys.authenticate(secret=secret, now=now))
    except keys.InvalidKey:
        return False


def test_the_accounts_keys_a_member_made_go_with_them_and_no_others(team):
    alice, bob = team
    _, his = make_key_of(bob)
    kept = [make_key_of(alice), make_key_of(bob, make_account()), make_key()]
    members.remove(member_id=bob.pk, now=NOW)
    assert not works(his)
    assert all(works(secret) for _, secret in kept)


def test_the_keys_that_will_go_are_known_before(team):
    _, bob = team
    open_key, _ = make_key_of(bob)
    revoked, _ = make_key_of(bob)
    keys.revoke(key=revoked, now=NOW)
    make_key_of(bob, expires_at=NOW)
    assert members.list_working_keys(bob, now=NOW) == [open_key]


def test_a_key_that_another_member_rotated_stays(team):
    alice, bob = team
    key, _ = make_key_of(bob)
    successor, secret = keys.rotate(key=key, overlap_seconds=0, rotated_by=alice.user, now=NOW)
    members.remove(member_id=bob.pk, now=NOW)
    assert works(secret, NOW + timedelta(days=1))
    assert successor.created_by == alice.user


def test_the_keys_and_invitations_of_who_no_longer_manages_end(team):
    alice, bob = team
    still = {}
    for number, role in enumerate(Role):
        friend = {"invited_by": bob.user, "account": bob.account, "now": NOW + timedelta(minutes=number)}
        members.change_role(member_id=bob.pk, role="owner", now=NOW)
        _, secret = make_key_of(bob)
        viewer = invitations.invite(role="viewer", email="carol@example.com", **friend)[1]
        owner = invitations.invite(role="owner", email="dan@example.com", **friend)[1]
        members.change_role(member_id=bob.pk, role=role, now=NOW)
        opens = [invitations.find_open(token=token, now=NOW) is not None for token in (owner, viewer)]
        still[role.value] = (works(secret), *opens)
    managing = {"owner": (True, True, True), "admin": (True, False, True)}
    assert still == {**managing, "member": (False, False, False), "viewer": (False, False, False)}
    assert works(make_key_of(alice)[1])


def test_a_key_stays_when_its_maker_cannot_leave(team):
    alice, _ = team
    _, secret = make_key_of(alice)
    with pytest.raises(members.LastOwner):
        members.remove(member_id=alice.pk, now=NOW)
    assert works(secret)


def test_invitations_a_member_sent_close_with_them(team):
    alice, bob = team
    sent = {
        who: invitations.invite(
            account=alice.account, email=f"{who.user.name}s-friend@example.com", role="member",
            invited_by=who.user, now=NOW,
        )[1]
        for who in (alice, bob)
    }  # fmt: skip
    members.remove(member_id=bob.pk, now=NOW)
    assert invitations.find_open(token=sent[bob], now=NOW) is None
    assert invitations.find_open(token=sent[alice], now=NOW) is not None


def test_somebody_switched_off_loses_every_key_they_made(team):
    alice, bob = team
    secrets = [make_key_of(bob)[1], make_key_of(bob, make_account())[1], make_key_of(bob, account=None)[1]]
    _, hers = make_key_of(alice)
    assert people.switch_off(user_id=bob.user_id, now=NOW) == 3
    bob.user.refresh_from_db()
    assert not bob.user.is_active
    assert not any(works(secret) for secret in secrets)
    assert works(hers)


def test_a_role_must_exist(team):
    _, bob = team
    with pytest.raises(ValueError, match="emperor"):
        members.change_role(member_id=bob.pk, role="emperor", now=NOW)


def test_what_stays_for_ever_cannot_be_changed(team):
    alice, _ = team
    with pytest.raises(ValueError, match="currency, external_id"):
        details.change(account_id=alice.account_id, changes={"external_id": "x", "currency": "EUR", "name": "y"})
