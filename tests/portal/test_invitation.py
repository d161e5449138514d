"""Taking up an invitation."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from billing.accounts import invitations
from billing.accounts.models import Account, Member, User
from tests.factories import make_account, make_member, make_user

PASSWORD = "correct horse battery"


@pytest.fixture
def account(db: None) -> Account:
    return make_account("northwind")


def _invite(account: Account, email: str = "bob@example.com", days_ago: int = 0) -> str:
    now = timezone.now() - timedelta(days=days_ago)
    return invitations.invite(account=account, email=email, role="member", invited_by=None, now=now)[1]


def test_an_invitation_says_who_invites_whom_to_what(client: Client, account: Account) -> None:
    page = client.get(f"/invitations/{_invite(account)}").content.decode()
    assert "Join Northwind" in page
    assert "bob@example.com" in page
    assert "as member" in page


def test_a_newcomer_gets_a_login_and_a_place(client: Client, account: Account) -> None:
    answer = client.post(f"/invitations/{_invite(account)}", {"name": "Bob", "password": PASSWORD})
    assert answer["Location"] == f"/a/acc_{account.pk}"
    assert "Welcome to Northwind" in client.get(answer["Location"]).content.decode()
    member = Member.objects.get(account=account, user__email="bob@example.com")
    assert (member.user.name, member.role) == ("Bob", "member")
    assert member.user.check_password(PASSWORD)


def test_a_known_address_proves_itself_with_its_password(client: Client, account: Account) -> None:
    make_user("bob", password=PASSWORD)
    client.post(f"/invitations/{_invite(account)}", {"password": PASSWORD})
    assert Member.objects.filter(account=account, user__email="bob@example.com").exists()


def test_a_known_address_with_another_password_gets_nothing(client: Client, account: Account) -> None:
    make_user("bob", password=PASSWORD)
    token = _invite(account)
    answer = client.post(f"/invitations/{token}", {"password": "another password"})
    assert "this is not its password" in answer.content.decode()
    assert not Member.objects.exists()
    assert "_auth_user_id" not in client.session
    assert client.get(f"/invitations/{token}").status_code == 200


@pytest.mark.parametrize("password", ["", "short", "12345678901"])
def test_a_newcomer_with_a_weak_password_gets_nothing(client: Client, account: Account, password: str) -> None:
    answer = client.post(f"/invitations/{_invite(account)}", {"name": "Bob", "password": password})
    assert answer.status_code == 200
    assert 'aria-invalid="true"' in answer.content.decode()
    assert not User.objects.exists()
    assert not Member.objects.exists()


def test_who_is_in_already_is_told_so(client: Client, account: Account) -> None:
    token = _invite(account)
    make_member(account, make_user("bob", password=PASSWORD))
    answer = client.post(f"/invitations/{token}", {"password": PASSWORD})
    assert "You are in this account already" in answer.content.decode()


def test_an_invitation_works_once(client: Client, account: Account) -> None:
    token = _invite(account)
    client.post(f"/invitations/{token}", {"name": "Bob", "password": PASSWORD})
    for answer in (Client().get(f"/invitations/{token}"), Client().post(f"/invitations/{token}", {"password": "x"})):
        assert answer.status_code == 404
        assert "no longer valid" in answer.content.decode()


@pytest.mark.parametrize("token", ["nonsense", "A" * 43, "%00"])
def test_an_unknown_token_is_404(client: Client, db: None, token: str) -> None:
    assert client.get(f"/invitations/{token}").status_code == 404


def test_an_old_invitation_is_closed(client: Client, account: Account) -> None:
    assert client.get(f"/invitations/{_invite(account, days_ago=8)}").status_code == 404


def test_names_from_customers_are_inert(client: Client, db: None) -> None:
    account = make_account("evil", name="<script>alert(1)</script>")
    page = client.get(f"/invitations/{_invite(account)}").content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
