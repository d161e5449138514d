"""Taking up an invitation."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from billing.accounts import invitations
from billing.accounts.ids import encode
from billing.accounts.models import Account, Member, User
from tests.factories import make_account, make_member, make_user
from tests.portal.entering import PASSWORD, sign_in


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
    assert answer["Location"] == f"/a/{encode('acc', account.pk)}"
    assert "Welcome to Northwind" in client.get(answer["Location"]).content.decode()
    member = Member.objects.get(account=account, user__email="bob@example.com")
    assert (member.user.name, member.role) == ("Bob", "member")
    assert member.user.check_password(PASSWORD)


def test_a_newcomer_is_signed_in_without_another_link(client: Client, account: Account) -> None:
    client.post(f"/invitations/{_invite(account)}", {"name": "Bob", "password": PASSWORD})
    assert "_auth_user_id" in client.session
    assert sign_in(Client(), login="bob@example.com") == "/"


def test_who_has_a_login_signs_in_and_comes_back(client: Client, account: Account) -> None:
    make_user("bob", password=PASSWORD)
    address = f"/invitations/{_invite(account)}"
    page = client.get(address).content.decode()
    assert "has a login already" in page
    assert f'href="/login?next={address}"' in page
    assert sign_in(client, login="bob@example.com", next=address) == address
    assert "Accept the invitation" in client.get(address).content.decode()
    assert not Member.objects.exists(), "looking is not accepting"
    answer = client.post(address)
    assert answer["Location"] == f"/a/{encode('acc', account.pk)}"
    assert Member.objects.filter(account=account, user__email="bob@example.com").exists()


@pytest.mark.parametrize("password", [PASSWORD, "another password", ""])
def test_a_known_address_gets_nothing_by_a_password_alone(client: Client, account: Account, password: str) -> None:
    make_user("bob", password=PASSWORD)
    token = _invite(account)
    answer = client.post(f"/invitations/{token}", {"name": "Bob", "password": password})
    assert "has a login already" in answer.content.decode()
    assert not Member.objects.exists()
    assert "_auth_user_id" not in client.session
    assert client.get(f"/invitations/{token}").status_code == 200


def test_somebody_else_cannot_take_it_up(client: Client, account: Account) -> None:
    client.force_login(make_user("mallory"))
    token = _invite(account)
    for answer in (client.get(f"/invitations/{token}"), client.post(f"/invitations/{token}")):
        assert answer.status_code == 403
        assert "for somebody else" in answer.content.decode()
    assert not Member.objects.exists()


@pytest.mark.parametrize("password", ["", "short", "12345678901"])
def test_a_newcomer_with_a_weak_password_gets_nothing(client: Client, account: Account, password: str) -> None:
    answer = client.post(f"/invitations/{_invite(account)}", {"name": "Bob", "password": password})
    assert answer.status_code == 200
    assert 'aria-invalid="true"' in answer.content.decode()
    assert not User.objects.exists()
    assert not Member.objects.exists()


def test_who_is_in_already_is_told_so(client: Client, account: Account) -> None:
    token = _invite(account)
    bob = make_user("bob")
    make_member(account, bob)
    client.force_login(bob)
    answer = client.post(f"/invitations/{token}", follow=True)
    assert "You are in this account already" in answer.content.decode()


def test_an_invitation_works_once(client: Client, account: Account) -> None:
    token = _invite(account)
    client.post(f"/invitations/{token}", {"name": "Bob", "password": PASSWORD})
    for answer in (Client().get(f"/invitations/{token}"), Client().post(f"/invitations/{token}", {"password": "x"})):
        assert answer.status_code == 404
        assert "no longer valid" in answer.content.decode()


@pytest.mark.parametrize("token", ["nonsense", "A" * 43])
def test_an_unknown_token_is_404(client: Client, db: None, token: str) -> None:
    assert client.get(f"/invitations/{token}").status_code == 404


def test_an_old_invitation_is_closed(client: Client, account: Account) -> None:
    assert client.get(f"/invitations/{_invite(account, days_ago=8)}").status_code == 404


def test_names_from_customers_are_inert(client: Client, db: None) -> None:
    account = make_account("evil", name="<script>alert(1)</script>")
    page = client.get(f"/invitations/{_invite(account)}").content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
