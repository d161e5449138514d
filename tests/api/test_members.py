import pytest

from billing.accounts import invitations, members
from billing.accounts.ids import encode
from billing.accounts.models import Invitation, Member
from billing.ledger.models import MemberLimit
from billing.notifications.models import Notification
from tests.api.asking import assert_problem, not_refused
from tests.factories import NOW


@pytest.fixture
def bob(acme) -> Member:
    return Member.objects.get(account=acme, role="member")


def test_members_are_listed_with_role_and_limit(alice, bob):
    items = alice.get("/accounts/acme/members").json()["items"]
    assert [(item["email"], item["role"], item["spend_limit"]) for item in items] == [
        ("bob@example.com", "member", None),
        ("alice@example.com", "owner", None),
    ]
    assert items[0]["id"] == encode("mem", bob.pk)


def test_a_spend_limit_is_set_and_lifted(alice, bob):
    path = f"/accounts/acme/members/{encode('mem', bob.pk)}"
    assert alice.patch(path, {"spend_limit": "50.5"}).json()["spend_limit"] == "50.5"
    assert alice.patch(path, {"spend_limit": 0}).json()["spend_limit"] == "0"
    assert alice.patch(path, {"spend_limit": None}).json()["spend_limit"] is None
    assert not MemberLimit.objects.exists()


def test_a_malformed_limit_is_refused(alice, bob):
    rows = [("spend_limit", "-1"), ("spend_limit", "x"), ("role", "owner")]
    answers = [
        (
            (field, value),
            alice.patch(f"/accounts/acme/members/{encode('mem', bob.pk)}", {"spend_limit": "1", field: value}),
            field,
        )
        for field, value in rows
    ]
    assert not_refused(answers, 400, "invalid_request") == []
    assert not MemberLimit.objects.exists()


def test_a_removed_or_unknown_member_is_not_found(alice, bob):
    members.remove(member_id=bob.pk, now=NOW)
    for member in (encode("mem", bob.pk), "mem_0000000000009", "bob"):
        response = alice.patch(f"/accounts/acme/members/{member}", {"spend_limit": "1"})
        assert_problem(response, 404, "not_found")


INVITATION = {"email": "carol@example.com", "role": "admin"}


def test_a_person_is_invited_by_e_mail(alice, acme):
    response = alice.post("/accounts/acme/invitations", INVITATION)
    assert response.status_code == 201, response.content
    answer = response.json()
    assert (answer["email"], answer["role"]) == ("carol@example.com", "admin")
    invitation = Invitation.objects.get(account=acme)
    assert answer["id"] == encode("inv", invitation.pk)
    assert invitations.token_of(invitation) not in response.content.decode()
    assert Notification.objects.get().email == "carol@example.com"


def test_a_member_is_not_invited_again(alice, bob):
    response = alice.post("/accounts/acme/invitations", {**INVITATION, "email": "BOB@example.com"})
    assert_problem(response, 409, "already_member")
    assert not Invitation.objects.exists()
    assert not Notification.objects.exists()


def test_a_malformed_invitation_is_refused(alice):
    rows = [("email", "carol"), ("email", None), ("role", "emperor"), ("role", None), ("name", "Carol")]
    answers = [
        ((field, value), alice.post("/accounts/acme/invitations", {**INVITATION, field: value}), field)
        for field, value in rows
    ]
    assert not_refused(answers, 400, "invalid_request") == []
    assert not Notification.objects.exists()
