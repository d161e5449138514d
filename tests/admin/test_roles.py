"""What pricing, finance and support can and cannot do, by direct address and by direct POST."""

import io
import uuid

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.test import Client

from billing.accounts import roles
from billing.accounts.models import Approval, User
from billing.catalog.models import Meter
from billing.ledger.models import CreditPool, Posting
from tests.admin.conftest import Office, inlines
from tests.admin.test_grants import ADD, _fields
from tests.factories import make_rate_card, make_user
from tests.undoing import undone

B = "/admin/billing"
# What each role may open: pricing, finance, support.
PAGES = {
    "/admin/": (200, 200, 200),
    f"{B}/account/": (200, 200, 200),
    f"{B}/account/{{account}}/change/": (200, 200, 200),
    f"{B}/account/add/": (403, 403, 403),
    f"{B}/meter/add/": (200, 403, 403),
    f"{B}/pack/add/": (200, 403, 403),
    f"{B}/ratecard/add/": (200, 403, 403),
    f"{B}/ratecardassignment/add/": (200, 403, 403),
    f"{B}/ratecardversion/{{version}}/draft/": (200, 404, 404),
    f"{B}/creditpool/{{pool}}/change/": (200, 200, 200),
    f"{B}/creditgrant/": (403, 200, 200),
    f"{B}/creditgrant/add/": (404, 200, 200),
    f"{B}/creditgrant/{{lot}}/revoke/": (404, 200, 200),
    f"{B}/posting/": (403, 200, 200),
    f"{B}/hold/": (403, 200, 200),
    f"{B}/ledgerseal/": (403, 200, 403),
    f"{B}/approval/": (403, 200, 200),
    f"{B}/approval/{{approval}}/approve/": (403, 200, 403),
    f"{B}/approval/{{approval}}/reject/": (403, 200, 403),
    f"{B}/staffact/": (403, 200, 403),
    f"{B}/staffact/export/": (403, 200, 403),
    f"{B}/dailyusage/": (200, 200, 200),
    f"{B}/dailyusage/events/": (403, 403, 200),
    f"{B}/rejectedevent/": (403, 403, 200),
    f"{B}/notification/": (403, 403, 200),
    f"{B}/invoice/": (403, 200, 200),
    f"{B}/member/add/": (403, 403, 200),
    f"{B}/user/": (403, 403, 200),
    f"{B}/user/add/": (403, 403, 403),
    f"{B}/user/{{alice}}/password/": (302, 302, 302),
    f"{B}/apikey/": (403, 403, 403),
    f"{B}/apikey/add/": (403, 403, 403),
    "/admin/auth/group/": (403, 403, 403),
    "/admin/auth/group/add/": (403, 403, 403),
}
NAMES = [role.name for role in roles.ROLES]


def _colleague(name: str) -> User:
    roles.ensure()
    user = make_user(name.lower())
    User.objects.filter(pk=user.pk).update(is_staff=True)
    user.groups.set(Group.objects.filter(name=name))
    return User.objects.get(pk=user.pk)


def _rows(office: Office) -> dict[str, int]:
    card = make_rate_card({office.meter: "1"})
    waiting = Approval.objects.create(
        account=office.account, act="grant", payload={}, reference="r", credits=1, reason="x", requested_at=office.now,
        requested_by=office.stella,
    )  # fmt: skip
    return {
        "account": office.account.pk, "pool": office.pool.pk, "lot": office.lot.pk, "alice": office.alice.pk,
        "version": card.versions.get().pk, "approval": waiting.pk,
    }  # fmt: skip


def test_a_role_opens_its_pages_and_no_others(client: Client, office: Office) -> None:
    rows, found = _rows(office), {}
    assert NAMES == ["Pricing", "Finance", "Support"]
    for name in NAMES:
        client.force_login(_colleague(name))
        found[name] = {address: client.get(address.format(**rows)).status_code for address in PAGES}
    assert found == {
        name: {address: codes[place] for address, codes in PAGES.items()} for place, name in enumerate(NAMES)
    }


def _balance(office: Office) -> int:
    return int(CreditPool.objects.get(pk=office.pool.pk).balance)


def test_only_finance_and_support_grant(client: Client, office: Office) -> None:
    balances = {}
    for name in NAMES:
        with undone():
            client.force_login(_colleague(name))
            client.post(ADD, _fields(office, _confirmed="Grant"))
            balances[name] = _balance(office)
    assert balances == {"Pricing": 900, "Finance": 1150, "Support": 1150}


def test_only_finance_decides(client: Client, office: Office) -> None:
    rows = _rows(office)
    for name in ("Pricing", "Support"):
        client.force_login(_colleague(name))
        for page in ("approve", "reject"):
            decided = client.post(f"{B}/approval/{rows['approval']}/{page}/", {"note": "x"})
            assert (decided.status_code, Approval.objects.get().state) == (403, "waiting"), (name, page)


def test_only_pricing_changes_prices(client: Client, office: Office) -> None:
    rows = _rows(office)
    changed, added = {"name": "Mine", "unit_cost": "0"}, {"name": "Mine", "key": "mine", "unit": "x"}
    for name in ("Finance", "Support"):
        client.force_login(_colleague(name))
        assert client.post(f"{B}/meter/{office.meter.pk}/change/", changed).status_code == 403, name
        assert client.post(f"{B}/meter/add/", added).status_code == 403, name
        assert client.post(f"{B}/ratecardversion/{rows['version']}/draft/").status_code == 404, name
        assert list(Meter.objects.values_list("name", flat=True)) == ["Images"], name


def test_nobody_of_them_makes_themselves_more(client: Client, office: Office) -> None:
    for name in NAMES:
        me = _colleague(name)
        client.force_login(me)
        forged = {"email": me.email, "name": "", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
        for user in (me, office.stella, office.alice):
            sent = {**forged, **inlines(memberships=0)}
            assert client.post(f"{B}/user/{user.pk}/change/", sent).status_code == 403, name
        group = f"/admin/auth/group/{Group.objects.get(name=name).pk}/change/"
        assert client.post(group, {"name": "All", "permissions": []}).status_code == 403, name
        assert client.post(f"{B}/apikey/add/", {"name": "k", "scopes": ["credits:write"]}).status_code == 403, name
        me.refresh_from_db()
        assert (me.is_superuser, Group.objects.filter(name="All").exists()) == (False, False), name


def test_who_may_change_people_still_cannot_give_powers(client: Client, office: Office) -> None:
    me = _colleague("Support")
    me.user_permissions.add(*_permissions("change_user", "change_group"))
    client.force_login(me)
    forged = {
        "email": "alice@example.com",
        "name": "Alice B",
        "is_active": "on",
        "is_staff": "on",
        "is_superuser": "on",
    }
    client.post(f"{B}/user/{office.alice.pk}/change/", {**forged, **inlines(memberships=0)})
    office.alice.refresh_from_db()
    assert (office.alice.name, office.alice.is_staff, office.alice.is_superuser) == ("Alice B", False, False)
    assert client.get("/admin/auth/group/").status_code == 200
    group = Group.objects.get(name="Support")
    assert client.post(f"/admin/auth/group/{group.pk}/change/", {"name": "All", "permissions": []}).status_code == 403


def _permissions(*names: str) -> list[object]:
    from django.contrib.auth.models import Permission

    return list(Permission.objects.filter(codename__in=names))


def test_support_reverses_no_posting_and_revokes_within_the_limit(client: Client, office: Office, settings) -> None:
    settings.FLORIN_APPROVAL_CREDITS = 100
    client.force_login(_colleague("Support"))
    revoke = {"token": str(uuid.uuid4()), "amount": "101", "reason": "x"}
    client.post(f"{B}/creditgrant/{office.lot.pk}/revoke/", revoke)
    assert Approval.objects.get().state == "waiting"
    assert Posting.objects.count() == 2


def test_making_the_roles_again_leaves_what_staff_changed(db: None) -> None:
    Group.objects.all().delete()
    said = io.StringIO()
    call_command("make_roles", stdout=said)
    assert "Made: Pricing, Finance, Support." in said.getvalue()
    support = Group.objects.get(name="Support")
    support.permissions.clear()
    assert roles.ensure() == []
    assert not support.permissions.exists()
    call_command("make_roles", "--reset", stdout=said)
    assert set(support.permissions.values_list("codename", flat=True)) == roles.SUPPORT.permissions


def test_a_role_with_a_right_that_does_not_exist_is_refused(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    Group.objects.all().delete()
    wrong = roles.StaffRole("Wrong", "", frozenset({"view_account", "fly_account"}))
    monkeypatch.setattr(roles, "ROLES", (wrong,))
    with pytest.raises(roles.UnknownPermission, match="fly_account"):
        roles.ensure()
