from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError

from billing.accounts import invitations, members
from billing.accounts.models import Invitation, Member, User
from tests.factories import NOW, make_account, make_member, make_user

pytestmark = pytest.mark.django_db
GOOD = "correct horse battery"


def invite(account, email="bob@example.com", role="member", now=NOW):
    return invitations.invite(account=account, email=email, role=role, invited_by=None, now=now)


def accept(token, password=GOOD, now=NOW):
    return invitations.accept(token=token, name="Bob", password=password, now=now)


def test_a_new_person_takes_up_an_invitation_as_user_and_member():
    account = make_account()
    _, token = invite(account, role="admin")
    member = accept(token)
    assert (member.account, member.role, member.user.email, member.user.name) == (
        account, "admin", "bob@example.com", "Bob",
    )  # fmt: skip
    assert member.user.check_password(GOOD)


def test_an_invitation_works_once():
    _, token = invite(make_account())
    accept(token)
    with pytest.raises(invitations.InvitationClosed):
        accept(token)
    assert Member.objects.count() == 1


def test_an_invitation_works_for_seven_days():
    _, token = invite(make_account())
    with pytest.raises(invitations.InvitationClosed):
        accept(token, now=NOW + timedelta(days=7))
    assert not User.objects.exists()
    accept(token, now=NOW + timedelta(days=7, microseconds=-1))


def test_a_made_up_token_opens_nothing():
    invite(make_account())
    assert invitations.find_open(token="x" * 43, now=NOW) is None


def test_a_new_invitation_closes_the_one_before():
    account = make_account()
    _, first = invite(account)
    _, second = invite(account, email="BOB@example.com", now=NOW + timedelta(seconds=1))
    assert invitations.find_open(token=first, now=NOW) is None
    assert invitations.find_open(token=second, now=NOW) is not None


def test_a_revoked_invitation_opens_nothing():
    invitation, token = invite(make_account())
    invitations.revoke(invitation=invitation, now=NOW)
    assert invitations.find_open(token=token, now=NOW) is None


def test_the_token_is_stored_nowhere_and_can_be_written_again():
    invitation, token = invite(make_account())
    stored = Invitation.objects.get(pk=invitation.pk)
    assert token not in str(vars(stored))
    assert invitations.token_of(stored) == token


def test_a_newcomers_address_is_proved_by_the_invitation():
    _, token = invite(make_account(), email="Bob@Example.com")
    bob = accept(token).user
    assert list(bob.emailaddress_set.values_list("email", "verified")) == [("bob@example.com", True)]


def test_who_has_a_login_takes_up_an_invitation_as_the_user_who_is_signed_in():
    account, bob = make_account(), make_user("bob", password=GOOD)
    _, token = invite(account, email="Bob@Example.com")
    with pytest.raises(invitations.KnownAddress):
        accept(token, password="a guess of mallory's")
    with pytest.raises(invitations.KnownAddress):
        accept(token, password=GOOD)
    assert not Member.objects.exists()
    assert invitations.accept_as(token=token, user=bob, now=NOW).user == bob
    bob.refresh_from_db()
    assert bob.name == "Bob"
    assert bob.check_password(GOOD)
    with pytest.raises(invitations.InvitationClosed):
        invitations.accept_as(token=token, user=bob, now=NOW)


def test_an_invitation_is_for_its_address_only():
    _, token = invite(make_account())
    with pytest.raises(invitations.NotInvited):
        invitations.accept_as(token=token, user=make_user("mallory"), now=NOW)
    assert not Member.objects.exists()
    assert invitations.find_open(token=token, now=NOW) is not None


def test_a_weak_password_leaves_the_invitation_open():
    _, token = invite(make_account())
    with pytest.raises(ValidationError):
        accept(token, password="123")
    assert not User.objects.exists()
    assert invitations.find_open(token=token, now=NOW) is not None


def test_a_member_is_not_invited_again():
    account = make_account()
    make_member(account, make_user("bob"))
    with pytest.raises(members.AlreadyMember):
        invite(account, email="BOB@example.com")
    assert not Invitation.objects.exists()
