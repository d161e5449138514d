"""Staff pages of accounts, people and their places."""

import uuid
from decimal import Decimal

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from billing.accounts import ids, invitations, keys, members, people
from billing.accounts.models import Account, ApiKey, Approval, Invitation, Member, Role, StaffAct, User
from billing.admin import acts
from billing.ledger import pools, posting
from billing.notifications.models import Notification
from tests.admin.conftest import MAX_QUERIES, Office, find_unrefused, inlines, post, text_of
from tests.factories import make_account, make_member, make_user

NEW = {
    "name": "Contoso", "external_id": "contoso", "billing_email": "pay@contoso.example", "country": "US",
    "currency": "USD", "time_zone": "America/Denver", "tax_number": "", "segment_override": "",
}  # fmt: skip


def test_adding_an_account_opens_its_main_pool(staff: Client, office: Office) -> None:
    page = post(staff, "/admin/billing/account/add/", **NEW, account_manager=office.stella.pk)
    assert "was added successfully" in page
    account = Account.objects.get(external_id="contoso")
    assert account.account_manager == office.stella
    assert pools.get_main_pool(account.pk).key == "main"


FAULTY_ACCOUNTS = [
    ({"external_id": "northwind"}, "already exists"),
    ({"external_id": "acc_5"}, "may not start with acc_"),
    ({"country": "Germany"}, "at most 2 characters"),
    ({"country": "UK"}, "ISO 3166-1"),
    ({"time_zone": "Mars/Olympus"}, "IANA time zone"),
    ({"currency": "XXXX"}, "at most 3 characters"),
    ({"billing_email": "nobody"}, "valid email"),
]


def test_a_faulty_account_is_refused(staff: Client, office: Office) -> None:
    add = "/admin/billing/account/add/"
    assert find_unrefused(staff, add, NEW, FAULTY_ACCOUNTS, unchanged=lambda: Account.objects.count() == 1) == []


def test_an_external_id_taken_meanwhile_is_a_message(
    staff: Client, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Account, "validate_unique", lambda *args, **kwargs: None)
    monkeypatch.setattr(Account, "validate_constraints", lambda *args, **kwargs: None)
    page = post(staff, "/admin/billing/account/add/", **{**NEW, "external_id": "northwind"})
    assert "Another account has this external id" in page
    assert Account.objects.count() == 1


def test_an_account_can_be_changed_but_not_its_id_currency_and_zone(staff: Client, office: Office) -> None:
    changed = {**NEW, "external_id": "other", "currency": "JPY", "account_manager": ""}
    address = f"/admin/billing/account/{office.account.pk}/change/"
    assert "was changed successfully" in post(staff, address, **changed, **inlines(pools=0, members=0))
    office.account.refresh_from_db()
    assert office.account.name == "Contoso"
    fixed = (office.account.external_id, office.account.currency, office.account.time_zone)
    assert fixed == ("northwind", "USD", "UTC")


def test_an_account_shows_balance_pools_and_members(staff: Client, office: Office) -> None:
    page = text_of(staff, f"/admin/billing/account/{office.account.pk}/change/")
    assert "900 credits in the main pool" in page
    assert "alice@example.com" in page
    assert f"/admin/billing/creditgrant/add/?account={office.account.pk}" in page


def test_an_account_page_does_not_ask_once_per_pool_or_member(
    staff: Client, office: Office, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(5):
        make_member(office.account, make_user(f"user{number}"), now=office.now)
        pools.open_pool(account=office.account, key=f"team-{number}", name="Team", now=office.now)
    with django_assert_max_num_queries(MAX_QUERIES):
        text_of(staff, f"/admin/billing/account/{office.account.pk}/change/")


def test_the_list_shows_balances_without_asking_once_per_account(
    staff: Client, office: Office, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(5):
        make_account(now=office.now)
    with django_assert_max_num_queries(MAX_QUERIES):
        page = text_of(staff, "/admin/billing/account/")
    assert '<td class="field-credits_main_balance">900</td>' in page


def test_only_staff_can_manage_an_account(staff: Client, office: Office) -> None:
    page = text_of(staff, f"/admin/billing/account/{office.account.pk}/change/")
    manager = page[page.index("id_account_manager") :].split("</select>")[0]
    assert "stella@example.com" in manager
    assert "alice@example.com" not in manager


def test_text_from_customers_is_inert(staff: Client, office: Office) -> None:
    Account.objects.update(name="<script>alert(1)</script>")
    for address in ("/admin/billing/account/", f"/admin/billing/account/{office.account.pk}/change/"):
        assert "<script>alert(1)" not in text_of(staff, address)


def _invitation(office: Office, email: str, role: str) -> dict[str, object]:
    asked = {"token": uuid.uuid4(), "account": office.account.pk, "email": email, "role": role, "reason": "Ticket 7"}
    return dict(asked)


def test_a_member_comes_by_invitation_only_and_is_changed_and_removed(staff: Client, office: Office) -> None:
    bob = make_user("bob")
    forged = {"user": bob.pk, **_invitation(office, bob.email, "viewer")}
    assert "bob@example.com is invited" in post(staff, "/admin/billing/member/add/", **forged).lower()
    assert not Member.objects.filter(user=bob).exists()
    member = invitations.accept_as(token=_token(), user=bob, now=office.now)
    assert "is member now" in post(staff, f"/admin/billing/member/{member.pk}/change/", role="member")
    page = post(staff, "/admin/billing/member/", action="remove", _selected_action=member.pk)
    assert "Bob@example.com is no longer in Northwind" in page
    noted = StaffAct.objects.order_by("pk").values_list("act", "account", "client")
    assert list(noted) == [(act, office.account.pk, "127.0.0.1") for act in ("invite", "member_role", "remove")]


def _token() -> str:
    return invitations.token_of(Invitation.objects.get(accepted_at=None, revoked_at=None))


def test_who_manages_an_account_is_invited_or_promoted_by_two_people(staff: Client, office: Office) -> None:
    viewer = make_member(office.account, make_user("vera"), Role.VIEWER)
    for role in (Role.OWNER, Role.ADMIN):
        post(staff, "/admin/billing/member/add/", **_invitation(office, "mine@example.com", role))
        post(staff, f"/admin/billing/member/{viewer.pk}/change/", role=role)
    viewer.refresh_from_db()
    assert (viewer.role, Invitation.objects.count()) == (Role.VIEWER, 0)
    assert list(Approval.objects.values_list("state", flat=True)) == ["waiting"] * 4


def test_staff_are_in_no_account(staff: Client, office: Office) -> None:
    page = post(staff, "/admin/billing/member/add/", **_invitation(office, office.stella.email, "viewer"))
    assert "staff look at accounts and are in none" in page
    with pytest.raises(members.StaffMember):
        members.add(account=office.account, user=office.stella, role=Role.OWNER, now=office.now)
    Member.objects.create(account=office.account, user=office.stella, role=Role.OWNER, created_at=office.now)
    assert staff.get(f"/a/{ids.encode(ids.ACCOUNT, office.account.pk)}/").status_code == 404


def test_a_member_is_not_invited_twice(staff: Client, office: Office) -> None:
    page = post(staff, "/admin/billing/member/add/", **_invitation(office, office.alice.email, "viewer"))
    assert "This person is in that account already" in page
    assert (Member.objects.get().role, Invitation.objects.count()) == (Role.OWNER, 0)


def test_the_last_owner_stays(staff: Client, office: Office) -> None:
    member = Member.objects.get()
    page = post(staff, f"/admin/billing/member/{member.pk}/change/", role="viewer")
    assert "The account would be left without an owner." in page
    page = post(staff, "/admin/billing/member/", action="remove", _selected_action=member.pk)
    assert "is the last owner" in page
    member.refresh_from_db()
    assert (member.role, member.removed_at) == (Role.OWNER, None)


def test_a_removed_member_is_not_changed(staff: Client, office: Office) -> None:
    member = make_member(office.account, make_user("bob"), now=office.now)
    Member.objects.filter(pk=member.pk).update(removed_at=office.now)
    assert "has been removed" in post(staff, f"/admin/billing/member/{member.pk}/change/", role="viewer")


def test_a_person_is_added_chooses_the_password_and_is_found(staff: Client, office: Office) -> None:
    forged = {"usable_password": "true", "password1": "correct horse battery", "password2": "correct horse battery"}
    post(staff, "/admin/billing/user/add/", email="carol@example.com", name="Carol", **forged)
    carol = User.objects.get(email="carol@example.com")
    assert (carol.has_usable_password(), carol.is_staff) == (False, False)
    post(staff, "/admin/billing/user/", action="send_password_link", _selected_action=carol.pk)
    told = Notification.objects.filter(kind="password_reset", email=carol.email)
    assert told.count() == 2
    assert people.reset_key(carol.pk)
    assert "carol@example.com" in text_of(staff, "/admin/billing/user/?q=carol")
    changed = {"email": "carol@example.com", "name": "Carol C", "is_active": "on", **inlines(memberships=0)}
    assert "was changed" in post(staff, f"/admin/billing/user/{carol.pk}/change/", **changed)


def test_staff_set_nobodys_password(staff: Client, office: Office) -> None:
    before, sent = office.alice.password, {"password1": "correct horse battery", "password2": "correct horse battery"}
    for user in (office.alice, office.stella):
        post(staff, f"/admin/billing/user/{user.pk}/password/", usable_password="true", **sent)
    office.alice.refresh_from_db()
    assert office.alice.password == before


def test_an_address_belongs_to_one_person(staff: Client, office: Office) -> None:
    fields = {"email": "ALICE@example.com", "name": "", "usable_password": "true", "password1": "x", "password2": "x"}
    assert "Somebody has this address already" in post(staff, "/admin/billing/user/add/", **fields)


def test_a_persons_places_are_shown(staff: Client, office: Office) -> None:
    assert "Northwind" in text_of(staff, f"/admin/billing/user/{office.alice.pk}/change/")


def test_a_parked_account_is_released_by_staff(staff: Client, office: Office) -> None:
    Account.objects.filter(pk=office.account.pk).update(parked_at=office.now, parked_reason="a difference of 1")
    chosen = {"action": "release", "_selected_action": [str(office.account.pk)]}
    assert "may charge again" in post(staff, "/admin/billing/account/", **chosen)
    office.account.refresh_from_db()
    assert (office.account.parked_at, office.account.parked_reason) == (None, "")
    posting.spend(pool_id=office.pool.pk, credits=Decimal(1), reference="after", now=office.now)
    assert "may charge again" not in post(staff, "/admin/billing/account/", **chosen)


def test_switching_a_person_off_revokes_the_keys_they_made(staff: Client, office: Office) -> None:
    key, _ = keys.issue(name="script", scopes=["read"], created_by=office.alice, now=office.now)
    url = f"/admin/billing/user/{office.alice.pk}/change/"
    fields = {"email": office.alice.email, "name": "Alice", "is_active": "", **inlines(memberships=0)}
    post(staff, url, **{name: value for name, value in fields.items() if value != ""})
    office.alice.refresh_from_db()
    assert not office.alice.is_active
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_staff_who_lose_the_right_to_issue_keys_lose_those_they_issued(staff: Client, office: Office) -> None:
    other = make_user("sue")
    make_member(make_account("hers"), other, "owner")
    User.objects.filter(pk=other.pk).update(is_staff=True, is_superuser=True)
    issued = {
        name: keys.issue(name=name, scopes=["read"], account=account, created_by=other, now=office.now)[0].pk
        for name, account in (("ours", None), ("theirs", office.account), ("hers", Account.objects.get(name="Hers")))
    }
    address = f"/admin/billing/user/{other.pk}/change/"
    sent = {"email": other.email, "name": "Sue", "is_active": "on", "is_staff": "on"}
    assert "no longer work" not in post(staff, address, **sent, is_superuser="on", **inlines(memberships=0))
    assert "2 that they issued no longer work" in post(staff, address, **sent, **inlines(memberships=0))
    assert set(ApiKey.objects.filter(revoked_at=None).values_list("pk", flat=True)) == {issued["hers"]}


def test_another_address_needs_a_second_person_and_is_then_taken_as_proved(staff: Client, office: Office) -> None:
    fields = {"email": "Alice@New.example", "name": "Alice B", "is_active": "on", **inlines(memberships=0)}
    for _ in range(2):
        post(staff, f"/admin/billing/user/{office.alice.pk}/change/", **fields)
    office.alice.refresh_from_db()
    assert (office.alice.name, office.alice.email) == ("Alice B", "alice@example.com")
    second = User.objects.create_superuser("root@example.com", "x")
    acts.approve(approval_id=Approval.objects.get().pk, user=second, note="", now=office.now)
    assert list(EmailAddress.objects.filter(user=office.alice).values_list("email", "verified", "primary")) == [
        ("alice@new.example", True, True)
    ]


def test_rights_are_given_by_two_people_and_taken_by_one(staff: Client, office: Office) -> None:
    carol, group = make_user("carol"), Group.objects.create(name="Night shift")
    address, fields = f"/admin/billing/user/{carol.pk}/change/", {"email": carol.email, "name": "", "is_active": "on"}
    post(staff, address, **fields, is_staff="on", is_superuser="on", groups=[group.pk], **inlines(memberships=0))
    carol.refresh_from_db()
    assert (carol.is_staff, carol.is_superuser, carol.groups.count()) == (False, False, 0)
    second = User.objects.create_superuser("root@example.com", "x")
    acts.approve(approval_id=Approval.objects.get().pk, user=second, note="", now=office.now)
    carol.refresh_from_db()
    assert (carol.is_staff, carol.is_superuser, carol.groups.count()) == (True, True, 1)
    post(staff, address, **fields, **inlines(memberships=0))
    carol.refresh_from_db()
    assert (carol.is_staff, carol.is_superuser, carol.groups.count()) == (False, False, 0)


def test_staff_help_who_lost_their_phone_and_the_person_is_told(staff: Client, office: Office) -> None:
    Authenticator.objects.create(user=office.alice, type=Authenticator.Type.TOTP, data={"secret": "x"})
    asked = {"action": "switch_off_second_factor", "_selected_action": [office.alice.pk, office.stella.pk]}
    page = post(staff, "/admin/billing/user/", **asked)
    assert "signs in by password alone now" in page
    assert page.count("has no two-factor sign-in") == 1, page[page.find("messagelist") :][:600]
    assert not Authenticator.objects.exists()
    told = Notification.objects.get(kind="two_factor_off")
    assert (told.email, told.payload["where"]) == ("alice@example.com", "our staff")
    assert StaffAct.objects.filter(act="two_factor_off", row_id=str(office.alice.pk)).exists()


def test_allauths_rows_are_not_edited_by_hand(staff: Client, office: Office) -> None:
    for address in ("account/emailaddress", "mfa/authenticator", "usersessions/usersession"):
        assert staff.get(f"/admin/{address}/").status_code == 404
