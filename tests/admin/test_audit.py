"""The audit log: every act of staff is in it, whichever page it went through."""

import csv
import io
from decimal import Decimal

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.test import Client, RequestFactory
from django.urls import URLPattern

from billing.accounts import audit
from billing.accounts.models import Account, Approval, Member, Role, StaffAct, User
from billing.admin import acts, asking, trail
from billing.admin.rules import RoomAdmin
from billing.catalog.models import Meter
from billing.notifications import outbox
from billing.notifications.models import Notification, NotificationDelivery
from tests.admin.conftest import Office, inlines, post, text_of
from tests.admin.test_catalog import METER
from tests.factories import make_key, make_member, make_user

LISTED = "/admin/billing/staffact/"
ADMINS = list(admin.site._registry.values())


def _patterns(owner: admin.ModelAdmin) -> list[URLPattern]:
    return [pattern for pattern in owner.urls if isinstance(pattern, URLPattern)]


def test_every_page_of_every_table_is_audited() -> None:
    assert len(ADMINS) >= 50
    assert [owner for owner in ADMINS if not isinstance(owner, RoomAdmin)] == []
    pages = [pattern for owner in ADMINS for pattern in _patterns(owner)]
    assert len(pages) > 5 * len(ADMINS)
    assert [page for page in pages if not getattr(page.callback, "audited", False)] == []


def _send(office: Office, respond: HttpResponse, method: str = "POST", **fields: str) -> None:
    request = getattr(RequestFactory(), method.lower())("/admin/x/", fields)
    request.user = office.stella
    trail.audited(lambda request, pk: respond, admin.site._registry[Meter], "billing_meter_paint")(request, pk=7)


def test_a_page_that_forgets_to_say_what_it_did_is_in_the_log_all_the_same(office: Office) -> None:
    _send(office, HttpResponseRedirect("/admin/"), _reason="Because")
    act = StaffAct.objects.get()
    assert (act.user, act.act, act.model, act.row_id, act.reason) == (
        office.stella, "billing_meter_paint", "meter", "7", "Because",
    )  # fmt: skip


def test_looking_and_faulty_forms_are_no_acts(office: Office) -> None:
    _send(office, HttpResponse("form again"))
    _send(office, HttpResponseRedirect("/"), method="GET")
    assert not StaffAct.objects.exists()


def test_an_act_that_fails_leaves_nothing_in_the_log(office: Office) -> None:
    def page(request: HttpRequest) -> HttpResponse:
        Account.objects.update(name="Changed")
        trail.note(request, "rename", office.account)
        raise ZeroDivisionError

    request = RequestFactory().post("/")
    request.user = office.stella
    with pytest.raises(ZeroDivisionError):
        trail.audited(page, None, "page")(request)
    assert not StaffAct.objects.exists()
    assert not Account.objects.filter(name="Changed").exists()


def test_a_change_is_kept_with_what_was_before_and_after_and_why(staff: Client, office: Office) -> None:
    changed = {
        "name": "Northwind 2", "billing_email": office.account.billing_email, "country": "DE", "tax_number": "",
        "segment_override": "growth", "account_manager": office.stella.pk, "_reason": "They merged",
    }  # fmt: skip
    post(staff, f"/admin/billing/account/{office.account.pk}/change/", **changed, **inlines(pools=0, members=0))
    act = StaffAct.objects.get()
    assert (act.act, act.model, act.row_id, act.account) == (
        "change",
        "account",
        str(office.account.pk),
        office.account,
    )
    assert act.before == {"name": "Northwind", "segment_override": "", "account_manager_id": None}
    assert act.after == {
        "name": "Northwind 2", "segment_override": "growth", "account_manager_id": office.stella.pk,
    }  # fmt: skip
    assert (act.user, act.reason) == (office.stella, "They merged")
    assert len(act.request_id) == 32


def test_saving_without_a_change_is_no_act(staff: Client, office: Office) -> None:
    fields = {"name": "Images", "unit_cost": "0", "unit_cost_currency": "USD"}
    post(staff, f"/admin/billing/meter/{office.meter.pk}/change/", **fields)
    assert not StaffAct.objects.exists()
    post(staff, f"/admin/billing/meter/{office.meter.pk}/change/", **{**fields, "unit_cost": "0.5"})
    act = StaffAct.objects.get()
    assert (act.before, act.after) == ({"unit_cost": "0"}, {"unit_cost": "0.5"})


def test_what_is_added_is_kept_whole(staff: Client, office: Office) -> None:
    post(staff, "/admin/billing/meter/add/", **METER)
    act = StaffAct.objects.get()
    assert (act.act, act.before, act.client) == ("add", {}, "127.0.0.1")
    assert act.after["key"] == METER["key"]


def test_actions_on_lists_are_kept_row_by_row(staff: Client, office: Office) -> None:
    outbox.write(kind="receipt", dedupe_key="r", account_id=office.account.pk, payload={}, now=office.now)
    rows = [
        NotificationDelivery.objects.create(
            notification=Notification.objects.get(), channel="email", address=f"a{number}@example.com", state="failed",
            created_at=office.now, due_at=office.now,
        )
        for number in range(2)
    ]  # fmt: skip
    chosen = [row.pk for row in rows]
    staff.post("/admin/billing/notificationdelivery/", {"action": "retry", "_selected_action": chosen})
    acts = list(StaffAct.objects.order_by("pk"))
    assert {act.row_id for act in acts} == {str(pk) for pk in chosen}
    assert {(act.before["state"], act.after["state"]) for act in acts} == {("failed", "pending")}
    assert len({act.request_id for act in acts}) == 1


def test_a_removed_member_and_a_revoked_key_are_in_the_log(staff: Client, office: Office) -> None:
    member = make_member(office.account, make_user("bob"), Role.ADMIN)
    key, _ = make_key(office.account)
    post(staff, "/admin/billing/member/", action="remove", _selected_action=member.pk)
    post(staff, "/admin/billing/apikey/", action="revoke", _selected_action=key.pk)
    assert [(act.act, act.model) for act in StaffAct.objects.order_by("pk")] == [
        ("remove", "member"), ("revoke", "apikey"),
    ]  # fmt: skip


def test_what_a_room_refuses_is_no_act_but_an_attempt(staff: Client, office: Office) -> None:
    member = Member.objects.get()
    post(staff, f"/admin/billing/member/{member.pk}/change/", role="viewer")
    act = StaffAct.objects.get()
    assert (act.act, act.model, act.row_id, act.client) == ("refused", "member", str(member.pk), "127.0.0.1")
    assert act.after["why"] == "member_role: The account would be left without an owner."


def test_secrets_are_never_in_the_log(staff: Client, office: Office) -> None:
    post(staff, "/admin/billing/user/add/", email="carol@example.com", name="Carol")
    assert StaffAct.objects.get().after["password"] == audit.NOT_SHOWN
    fields = {"name": "k", "account": office.account.pk, "scopes": ["read"], "expires_at_0": "", "expires_at_1": ""}
    post(staff, "/admin/billing/apikey/add/", **fields)
    assert StaffAct.objects.latest("pk").after["digest"] == audit.NOT_SHOWN


def test_the_groups_somebody_gets_are_in_the_log(staff: Client, office: Office) -> None:
    group = Group.objects.create(name="Night shift")
    fields = {"email": "alice@example.com", "name": "Alice", "is_active": "on", "groups": [group.pk]}
    post(staff, f"/admin/billing/user/{office.alice.pk}/change/", **fields, **inlines(memberships=0))
    second = User.objects.create_superuser("root@example.com", "x")
    done = acts.approve(approval_id=Approval.objects.get().pk, user=second, note="", now=office.now)
    request = RequestFactory().post("/")
    request.user = second
    asking.note(request, done)
    act = StaffAct.objects.latest("pk")
    assert (act.before, act.after) == ({"groups": []}, {"groups": ["Night shift"]})


def _act(office: Office, **fields: object) -> StaffAct:
    given = {"user": office.stella, "act": "change", "row": office.account, "now": office.now, **fields}
    return audit.write(**given)  # type: ignore[arg-type]


def test_the_list_is_searched_filtered_and_narrowed_to_a_row(staff: Client, office: Office) -> None:
    _act(office, act="rename", reason="Merger", before={"name": "<b>Old</b>"}, after={"name": "New"})
    _act(office, act="revoke", row=office.meter)
    for query in (
        "q=Merger",
        "act__exact=rename",
        "model__exact=account",
        f"user__id__exact={office.stella.pk}&q=merger",
    ):
        page = text_of(staff, f"{LISTED}?{query}")
        assert "1 staff act" in page, query
        assert "Merger" in page
    history = staff.get(f"/admin/billing/account/{office.account.pk}/history/")
    assert "Merger" in text_of(staff, history["Location"])
    page = text_of(staff, f"{LISTED}{StaffAct.objects.get(act='rename').pk}/change/")
    assert "<del>&lt;b&gt;Old&lt;/b&gt;</del>" in page
    assert "<ins>New</ins>" in page


def test_the_list_is_a_file_too_with_inert_cells(staff: Client, office: Office) -> None:
    _act(office, reason="=HYPERLINK(1)", after={"amount": Decimal("1.50")})
    _act(office, act="revoke", row=office.meter)
    response = staff.get(f"{LISTED}export/?act__exact=change")
    rows = list(csv.DictReader(io.StringIO(b"".join(response).decode())))  # type: ignore[call-overload]
    assert [(row["act"], row["user"], row["account"], row["reason"], row["after"]) for row in rows] == [
        ("change", "stella@example.com", "northwind", "'=HYPERLINK(1)", '{"amount": "1.5"}')
    ]


def test_only_who_may_see_the_log_gets_it(client: Client, office: Office) -> None:
    User.objects.filter(pk=office.alice.pk).update(is_staff=True)
    client.force_login(office.alice)
    assert client.get(LISTED).status_code == 403
    assert client.get(f"{LISTED}export/").status_code == 403
    client.logout()
    assert "/admin/login/" in client.get(f"{LISTED}export/")["Location"]
