"""The team page: who is in, inviting, changing, removing."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from billing.accounts import invitations, keys
from billing.accounts.ids import encode
from billing.accounts.models import Account, ApiKey, Invitation, Member, Role, User
from billing.ledger import pools, posting
from billing.notifications.models import Notification
from tests.factories import give_credits, make_account, make_member, make_user
from tests.portal.conftest import MAX_QUERIES, Stage
from tests.portal.entering import link_in, read_mail


@pytest.fixture
def bob(stage: Stage) -> Member:
    """A plain member of alice's team."""
    return make_member(stage.account, make_user("bob"), now=stage.now)


def _as(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def _admin(stage: Stage) -> Client:
    adam = make_user("adam")
    make_member(stage.account, adam, Role.ADMIN, now=stage.now)
    return _as(adam)


def _invite(stage: Stage, email: str = "carol@example.com", role: str = "member") -> Invitation:
    return invitations.invite(
        account=stage.account, email=email, role=role, invited_by=stage.alice, now=stage.now
    )[0]  # fmt: skip


def test_the_team_is_listed_owners_first(alice: Client, stage: Stage, bob: Member) -> None:
    page = alice.get(f"{stage.url}/team").content.decode()
    assert page.index("alice@example.com</span>") < page.index("bob@example.com")
    assert "(you)" in page
    assert "2 people" in page


def test_it_needs_few_queries(
    alice: Client, stage: Stage, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(6):
        member = make_member(stage.account, make_user(f"user{number}"), now=stage.now)
        pools.set_member_limit(member_id=member.pk, amount=Decimal(5), now=stage.now)
        _invite(stage, f"guest{number}@example.com")
    with django_assert_max_num_queries(MAX_QUERIES):
        alice.get(f"{stage.url}/team")


def test_others_than_managers_look_only(stage: Stage, bob: Member) -> None:
    _invite(stage)
    page = _as(bob.user).get(f"{stage.url}/team").content.decode()
    assert "alice@example.com" in page
    for hidden in ("Invite someone", "carol@example.com", "/remove", "Send again"):
        assert hidden not in page


def test_a_removed_member_is_not_listed(alice: Client, stage: Stage, bob: Member) -> None:
    Member.objects.filter(pk=bob.pk).update(removed_at=stage.now)
    assert "bob@example.com" not in alice.get(f"{stage.url}/team").content.decode()


def test_inviting_sends_a_mail_whose_link_gives_the_role(alice: Client, stage: Stage) -> None:
    answer = alice.post(f"{stage.url}/team", {"email": "Carol@Example.com", "role": "viewer"}, follow=True)
    assert "on its way to Carol@Example.com" in answer.content.decode()
    (message,) = read_mail()
    assert message.to == ["carol@example.com"]
    link = link_in(message)
    browser = Client()
    browser.post(link, {"name": "Carol", "password": "correct horse battery"})
    assert Member.objects.get(user__email="carol@example.com").role == "viewer"


@pytest.mark.parametrize(
    ("email", "role", "says"),
    [
        ("nonsense", "member", "valid email"),
        ("", "member", "required"),
        ("carol@example.com", "emperor", "valid choice"),
        ("ALICE@example.com", "member", "in the account already"),
    ],
)
def test_an_invitation_that_makes_no_sense_is_refused(
    alice: Client, stage: Stage, email: str, role: str, says: str
) -> None:
    answer = alice.post(f"{stage.url}/team", {"email": email, "role": role})
    assert answer.status_code == 422
    assert says in answer.content.decode()
    assert not Invitation.objects.exists()
    assert not Notification.objects.exists()


def test_an_address_that_is_invited_again_and_again_is_left_in_peace(alice: Client, stage: Stage) -> None:
    asked = {"email": "dan@example.com", "role": "member"}
    statuses = [alice.post(f"{stage.url}/team", asked).status_code for _ in range(5)]
    assert statuses == [302, 302, 302, 422, 422]
    page = alice.post(f"{stage.url}/team", asked).content.decode()
    assert "invited several times just now. Try again in 60 minutes" in page
    assert (Invitation.objects.count(), Notification.objects.count()) == (3, 3)


def test_sending_again_closes_the_link_before(alice: Client, stage: Stage) -> None:
    old = _invite(stage)
    page = alice.get(f"{stage.url}/team").content.decode()
    assert "carol@example.com" in page
    answer = alice.post(f"{stage.url}/invitations/{encode('inv', old.pk)}/resend", follow=True)
    assert "A new invitation is on its way" in answer.content.decode()
    old.refresh_from_db()
    assert old.revoked_at is not None
    (message,) = read_mail()
    assert Client().get(link_in(message)).status_code == 200


def test_taking_back_closes_the_link(alice: Client, stage: Stage) -> None:
    invitation = _invite(stage)
    alice.post(f"{stage.url}/invitations/{encode('inv', invitation.pk)}/revoke")
    assert Client().get(f"/invitations/{invitations.token_of(invitation)}").status_code == 404


def test_an_old_invitation_is_shown_as_such(alice: Client, stage: Stage) -> None:
    invitation = _invite(stage)
    Invitation.objects.filter(pk=invitation.pk).update(expires_at=stage.now - timedelta(days=1))
    assert "expired" in alice.get(f"{stage.url}/team").content.decode()


def test_role_and_limit_are_changed(alice: Client, stage: Stage, bob: Member) -> None:
    url = f"{stage.url}/team/{encode('mem', bob.pk)}"
    assert 'name="limit"' in alice.get(url).content.decode()
    answer = alice.post(url, {"role": "viewer", "limit": "1200"}, follow=True)
    assert "Saved" in answer.content.decode()
    assert "0 of 1,200 credits" in answer.content.decode()
    assert 'value="1200"' in alice.get(url).content.decode()
    bob.refresh_from_db()
    assert bob.role == "viewer"
    alice.post(url, {"role": "viewer", "limit": ""})
    assert not hasattr(Member.objects.get(pk=bob.pk), "limit")


@pytest.mark.parametrize(
    ("role", "limit"), [("emperor", ""), ("", ""), ("viewer", "-1"), ("viewer", "NaN"), ("viewer", "1e30")]
)
def test_a_change_that_makes_no_sense_changes_nothing(
    alice: Client, stage: Stage, bob: Member, role: str, limit: str
) -> None:
    answer = alice.post(f"{stage.url}/team/{encode('mem', bob.pk)}", {"role": role, "limit": limit})
    assert answer.status_code == 422
    fresh = Member.objects.get(pk=bob.pk)
    assert fresh.role == "member"
    assert not hasattr(fresh, "limit")


def test_the_last_owner_cannot_step_down_nor_go(alice: Client, stage: Stage) -> None:
    me = Member.objects.get(user=stage.alice)
    for answer in (
        alice.post(f"{stage.url}/team/{encode('mem', me.pk)}", {"role": "admin", "limit": ""}),
        alice.post(f"{stage.url}/team/{encode('mem', me.pk)}/remove"),
    ):
        assert answer.status_code == 422
        assert "The account needs an owner" in answer.content.decode()
    me.refresh_from_db()
    assert (me.role, me.removed_at) == ("owner", None)


def test_removing_asks_first_and_names_the_keys_that_go(alice: Client, stage: Stage, bob: Member) -> None:
    key, secret = keys.issue(
        name="Backend", scopes=["read"], account=stage.account, created_by=bob.user, now=stage.now
    )  # fmt: skip
    url = f"{stage.url}/team/{encode('mem', bob.pk)}/remove"
    page = alice.get(url).content.decode()
    assert "<strong>Backend</strong>" in page
    assert Member.objects.get(pk=bob.pk).removed_at is None
    browser = _as(bob.user)
    assert browser.get(stage.url).status_code == 200
    answer = alice.post(url, follow=True)
    assert "Bob is no longer in Northwind" in answer.content.decode()
    assert browser.get(stage.url).status_code == 404
    assert ApiKey.objects.get(pk=key.pk).revoked_at is not None
    refused = Client().get("/api/v1/api-keys/me", headers={"Authorization": f"Bearer {secret}"})
    assert refused.status_code == 401


def test_the_page_names_the_keys_that_another_role_ends(alice: Client, stage: Stage, bob: Member) -> None:
    Member.objects.filter(pk=bob.pk).update(role="admin")
    _, secret = keys.issue(name="Backend", scopes=["read"], account=stage.account, created_by=bob.user, now=stage.now)
    url, asked = f"{stage.url}/team/{encode('mem', bob.pk)}", {"headers": {"Authorization": f"Bearer {secret}"}}
    assert "<strong>Backend</strong>" in alice.get(url).content.decode()
    assert Client().get("/api/v1/api-keys/me", **asked).status_code == 200
    alice.post(url, {"role": "member", "limit": ""})
    assert Client().get("/api/v1/api-keys/me", **asked).status_code == 401


def test_who_leaves_lands_on_the_start_page(stage: Stage, bob: Member) -> None:
    Member.objects.filter(pk=bob.pk).update(role="admin")
    assert _as(bob.user).post(f"{stage.url}/team/{encode('mem', bob.pk)}/remove")["Location"] == "/"


def test_admins_cannot_touch_owners_nor_make_any(stage: Stage, bob: Member) -> None:
    admin, me = _admin(stage), Member.objects.get(user=stage.alice)
    owner_invitation = _invite(stage, role="owner")
    for address, fields in (
        (f"team/{encode('mem', me.pk)}", {"role": "viewer", "limit": ""}),
        (f"team/{encode('mem', me.pk)}/remove", {}),
        (f"invitations/{encode('inv', owner_invitation.pk)}/resend", {}),
        (f"invitations/{encode('inv', owner_invitation.pk)}/revoke", {}),
    ):
        answer = admin.post(f"{stage.url}/{address}", fields)
        assert answer.status_code == 403
        assert "Only an owner may do this" in answer.content.decode()
    assert admin.post(f"{stage.url}/team/{encode('mem', bob.pk)}", {"role": "owner", "limit": ""}).status_code == 422
    assert admin.post(f"{stage.url}/team", {"email": "dan@example.com", "role": "owner"}).status_code == 422
    assert Member.objects.filter(role="owner").count() == 2, "alice, and mallory elsewhere"
    assert Invitation.objects.get().revoked_at is None
    assert admin.post(f"{stage.url}/team/{encode('mem', bob.pk)}", {"role": "viewer", "limit": ""}).status_code == 302


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_others_than_managers_change_nothing(stage: Stage, bob: Member, role: str) -> None:
    Member.objects.filter(pk=bob.pk).update(role=role)
    invitation, browser = _invite(stage), _as(bob.user)
    for address in (
        "team",
        f"team/{encode('mem', bob.pk)}",
        f"team/{encode('mem', bob.pk)}/remove",
        f"invitations/{encode('inv', invitation.pk)}/resend",
        f"invitations/{encode('inv', invitation.pk)}/revoke",
    ):
        fields = {"email": "dan@example.com", "role": "owner", "limit": ""}
        assert browser.post(f"{stage.url}/{address}", fields).status_code == 403, address
    bob.refresh_from_db()
    assert (bob.role, bob.removed_at) == (role, None)
    assert Invitation.objects.get().revoked_at is None


def test_another_accounts_people_are_not_there(alice: Client, stage: Stage) -> None:
    other = make_account("other", now=stage.now)
    member = make_member(other, make_user("dan"), now=stage.now)
    invitation, _ = invitations.invite(
        account=other, email="eve@example.com", role="member", invited_by=None, now=stage.now
    )
    for address in (
        f"team/{encode('mem', member.pk)}",
        f"team/{encode('mem', member.pk)}/remove",
        f"invitations/{encode('inv', invitation.pk)}/resend",
        f"invitations/{encode('inv', invitation.pk)}/revoke",
        "team/mem_0000000000009",
    ):
        assert alice.post(f"{stage.url}/{address}", {"role": "viewer", "limit": ""}).status_code == 404, address
    member.refresh_from_db()
    assert (member.role, member.removed_at) == ("member", None)
    assert Invitation.objects.get().revoked_at is None


def test_sending_again_and_taking_back_are_posts(alice: Client, stage: Stage) -> None:
    invitation = _invite(stage)
    for act in ("resend", "revoke"):
        assert alice.get(f"{stage.url}/invitations/{encode('inv', invitation.pk)}/{act}").status_code == 405
        anonymous = Client().post(f"{stage.url}/invitations/{encode('inv', invitation.pk)}/{act}")
        assert anonymous["Location"].startswith("/login")
    assert Invitation.objects.get().revoked_at is None


def test_names_are_inert(alice: Client, stage: Stage) -> None:
    make_member(stage.account, User.objects.create_user("x@example.com", name="<b>Eve</b>"), now=stage.now)
    page = alice.get(f"{stage.url}/team").content.decode()
    assert "<b>Eve" not in page
    assert "&lt;b&gt;Eve" in page


def test_a_members_use_is_that_of_this_month(alice: Client, stage: Stage, bob: Member) -> None:
    """The row keeps last month's credits until the member spends again; the pages do not."""
    at = datetime(2027, 3, 31, 12, tzinfo=UTC)
    pools.set_member_limit(member_id=bob.pk, amount=Decimal(100), now=at)
    give_credits(stage.account, "500", now=at)
    posting.spend(pool_id=stage.pool.pk, credits=Decimal(80), reference="march", now=at, member_id=bob.pk)
    for now, used, share in ((at, "80", "80%"), (at + timedelta(days=2), "0", "0%")):
        Account.objects.filter(pk=stage.account.pk).update(clock_at=now)
        page = " ".join(alice.get(f"{stage.url}/team").content.decode().split())
        assert f'{used} of 100 credits <strong class="meter-number">{share}</strong>' in page
        assert (
            f"{used} credits spent this month."
            in alice.get(f"{stage.url}/team/{encode('mem', bob.pk)}").content.decode()
        )
