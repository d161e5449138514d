import pytest

from billing.accounts import details, members
from billing.accounts.models import Member
from tests.factories import NOW, make_account, make_member, make_user

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
        members.change_role(member_id=alice.pk, role="admin")
    assert Member.objects.get(pk=alice.pk).role == "owner"


def test_an_owner_can_leave_when_another_is_there(team):
    alice, bob = team
    members.change_role(member_id=bob.pk, role="owner")
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
        members.change_role(member_id=bob.pk, role="admin")


def test_a_role_must_exist(team):
    _, bob = team
    with pytest.raises(ValueError, match="emperor"):
        members.change_role(member_id=bob.pk, role="emperor")


def test_what_stays_for_ever_cannot_be_changed(team):
    alice, _ = team
    with pytest.raises(ValueError, match="currency, external_id"):
        details.change(account_id=alice.account_id, changes={"external_id": "x", "currency": "EUR", "name": "y"})
