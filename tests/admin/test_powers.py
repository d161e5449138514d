"""The list of everything staff can do that moves money, credits or rights: it is complete, and each act is limited."""

import uuid
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.test import Client, RequestFactory
from django.urls import URLPattern
from django.utils import timezone

from billing.accounts import approvals
from billing.accounts.models import Account, ApiKey, Approval, Invitation, Member, Role, StaffAct, User
from billing.admin.powers import HARMLESS, POWERS
from billing.admin.urls import urlpatterns
from billing.catalog.models import Coupon
from billing.invoicing import drafting, pending
from billing.invoicing.models import CreditNote, Invoice, Issuer, PendingItem
from billing.invoicing.tax_models import TaxRate
from billing.ledger import posting
from billing.ledger.models import CreditGrant, CreditPool, Posting
from billing.metering.models import EventReversal
from billing.payments import transfers
from billing.payments.models import BankTransfer, Payment, Refund
from billing.subscriptions.agreement import contracts
from billing.subscriptions.models import ContractTerms, CouponRedemption, ScheduledChange, Subscription
from tests.admin.conftest import Office, inlines, post
from tests.admin.test_grants import ADD, _fields
from tests.admin.test_roles import NAMES, _colleague
from tests.admin.test_undoing import _use
from tests.factories import make_issuer, make_member, make_pack, make_plan, make_rate_card, make_user
from tests.invoicing.makers import issue, plain_line
from tests.purchases.makers import buy
from tests.subscriptions.makers import subscribe
from tests.undoing import check_each, undone

B = "/admin/billing"
FROM = "203.0.113.7"
# Pages of every table that cannot be sent anything to.
LOOKING = ("changelist", "history", "delete", "autocomplete")
POWER_DOORS = [door for power in POWERS.values() for door in power.doors]
# What moves money, credits or rights, and when it has been moved.
MOVED = (
    Account, Member, Invitation, User, User.groups.through, Group.permissions.through, CreditPool, CreditGrant, Posting,
    EventReversal, Invoice, CreditNote, PendingItem, Issuer, Payment, Refund, BankTransfer, Subscription,
    ScheduledChange, CouponRedemption, ContractTerms,
)  # fmt: skip


# --- The list is complete -------------------------------------------------------------------------------------------


def _doors() -> set[str]:
    """Every page and list action that somebody who may do everything can send something to, as the admin has them."""
    request = RequestFactory().get("/")
    request.user, rate = User(is_superuser=True, is_staff=True, is_active=True), TaxRate(valid_from=date.max)
    found = set()
    for model, owner in admin.site._registry.items():
        table = f"{model._meta.app_label}_{model._meta.model_name}"
        names = {pattern.name for pattern in owner.get_urls() if isinstance(pattern, URLPattern) and pattern.name}
        names -= {f"{table}_{page}" for page in (*LOOKING, "add", "change")}
        may = {
            "add": owner.has_add_permission(request),
            "change": owner.has_change_permission(request),
            # Of a tax rate that has not begun, which is all that can be deleted.
            "delete": owner.has_delete_permission(request, rate if model is TaxRate else None),
        }
        names |= {f"{table}_{page}" for page, allowed in may.items() if allowed}
        found |= names | {f"{table}.{action}" for action in owner.get_actions(request)}
    return found


def test_everything_that_staff_can_send_is_in_the_list_once() -> None:
    doors, listed = _doors(), {*POWER_DOORS, *HARMLESS}
    assert (len(doors) > 90, len(POWERS) > 20) == (True, True)
    assert (sorted(doors - listed), sorted(listed - doors)) == ([], [])
    assert (set(POWER_DOORS) & set(HARMLESS), [door for door, why in HARMLESS.items() if not why]) == (set(), [])


def test_the_admins_pages_without_a_table_only_show_something() -> None:
    assert [page.name for page in urlpatterns] == ["work", "figures", "finance", "finance_csv", "figures_csv"]


# --- How each is sent -----------------------------------------------------------------------------------------------
Sent = tuple[str, dict[str, Any]]


def _form(**fields: object) -> dict[str, Any]:
    return {"token": uuid.uuid4(), "reason": "Ticket 7", **fields}


def _grant(office: Office) -> Sent:
    return ADD, _fields(office, _confirmed="x")


def _revoke(office: Office) -> Sent:
    return f"{B}/creditgrant/{office.lot.pk}/revoke/", _form(amount="50")


def _adjust(office: Office) -> Sent:
    return f"{B}/creditpool/{office.pool.pk}/adjust/", _form(change="-50", _confirmed="x")


def _reverse(office: Office) -> Sent:
    spent = posting.spend(pool_id=office.pool.pk, credits=Decimal(200), reference="job", now=office.now)
    return f"{B}/posting/{spent.pk}/reverse/", _form()


def _unuse(office: Office) -> Sent:
    make_rate_card({office.meter: "5"})
    _use(office, "one")
    return f"{B}/dailyusage/events/{office.account.pk}/one/reverse/", _form()


def _pool_policy(office: Office) -> Sent:
    return f"{B}/creditpool/{office.pool.pk}/change/", {"policy": "burst", "burst_limit": "900", "overage_cap": ""}


def _refund(office: Office) -> Sent:
    make_issuer()
    line = buy(office.pool, make_pack(now=office.now), now=office.now).invoice.lines.get()
    return f"{B}/invoice/{line.invoice_id}/refund/{line.pk}/", _form(credits="", _confirmed="x")


def _invoice(office: Office) -> Invoice:
    make_issuer()
    return issue(office.account, plain_line("300.00"), now=office.now)


def _credit(office: Office) -> Sent:
    return f"{B}/invoice/{_invoice(office).pk}/credit/", _form(amount="100", _confirmed="x")


def _issue(office: Office) -> Sent:
    make_issuer()
    draft = drafting.draft(
        account_id=office.account.pk, reference="d", currency="EUR", lines=[plain_line("300.00")], due_at=None,
        now=office.now,
    )  # fmt: skip
    return f"{B}/invoice/{draft.pk}/issue/", _form()


def _void(office: Office) -> Sent:
    return f"{B}/invoice/{_invoice(office).pk}/void/", _form()


def _write_off(office: Office) -> Sent:
    return f"{B}/invoice/{_invoice(office).pk}/mark-uncollectible/", _form()


def _cancel_item(office: Office) -> Sent:
    item = pending.add(
        account_id=office.account.pk, currency="EUR", reference="p", description="x", amount=Decimal(5), now=office.now
    )
    return f"{B}/pendingitem/{item.pk}/cancel/", _form()


def _transfer(office: Office) -> BankTransfer:
    return transfers.record(
        reference="bank-0", received_on=date(2026, 11, 20), amount=Decimal(1200), currency="EUR", actor="t",
        now=office.now,
    )[0]  # fmt: skip


def _match(office: Office) -> Sent:
    return f"{B}/banktransfer/{_transfer(office).pk}/match/", _form(invoice=_invoice(office).number, amount="")


def _return_transfer(office: Office) -> Sent:
    return f"{B}/banktransfer/{_transfer(office).pk}/return/", _form(amount="")


def _plan(key: str, fee: str) -> int:
    now = timezone.now() - timedelta(days=30)
    return make_plan(key, prices={"EUR": {"fee": fee}}, included_credits=Decimal(1000), now=now).pk


def _subscription(office: Office) -> Subscription:
    make_issuer()
    Account.objects.filter(pk=office.account.pk).update(currency="EUR")
    plan = make_plan("team", prices={"EUR": {"fee": "50"}}, included_credits=Decimal(1000))
    return subscribe(office.account, plan, currency="EUR", now=office.now - timedelta(days=5))


def _subscribe(office: Office) -> Sent:
    make_issuer()
    Account.objects.filter(pk=office.account.pk).update(currency="EUR")
    sent = _form(plan=_plan("team", "50"), seats=0, currency="EUR", collection="manual", _confirmed="x")
    return f"{B}/subscription/start/?account={office.account.pk}", sent


def _plan_change(office: Office) -> Sent:
    sent = _form(plan=_plan("big", "90"), seats=0, when="now", _confirmed="x")
    return f"{B}/subscription/{_subscription(office).pk}/change-plan/", sent


def _plan_cancel(office: Office) -> Sent:
    return f"{B}/subscription/{_subscription(office).pk}/cancel/", _form(when="now", gives_back="on")


def _coupon(office: Office) -> Sent:
    Coupon.objects.create(code="SPRING", name="x", percent=10, duration_periods=3, created_at=office.now)
    return f"{B}/subscription/{_subscription(office).pk}/coupon/", _form(code="SPRING")


def _agree_terms(office: Office) -> Sent:
    day = f"{office.now + timedelta(days=1):%Y-%m-%d}"
    plan = make_plan("agreed").plan_id
    sent = {"account": office.account.pk, "plan": plan, "starts_at_0": day, "starts_at_1": "00:00", "fee": "4"}
    return f"{B}/contractterms/agree/", _form(**sent)


def _end_terms(office: Office) -> Sent:
    row = contracts.agree(
        account_id=office.account.pk, agreed=contracts.Agreed(make_plan("agreed").plan_id, "USD", fee=Decimal(4)),
        starts_at=office.now, ends_at=None, note="x", actor="t",
        now=office.now,
    )  # fmt: skip
    day = office.now + timedelta(days=9)
    return f"{B}/contractterms/{row.pk}/end/", _form(at_0=f"{day:%Y-%m-%d}", at_1="00:00")


def _user_rights(office: Office) -> Sent:
    carol = make_user("carol")
    sent = {"email": carol.email, "name": carol.name, "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    return f"{B}/user/{carol.pk}/change/", {**sent, **inlines(memberships=0)}


def _group_rights(office: Office) -> Sent:
    group = Group.objects.create(name="Night shift")
    wanted = Permission.objects.get(codename="decide_approval").pk
    return f"/admin/auth/group/{group.pk}/change/", {"name": group.name, "permissions": [wanted]}


def _issuer_form(row: Issuer, **changes: object) -> dict[str, Any]:
    names = (
        "name", "address", "country", "tax_number", "email", "footer", "iban", "bic", "bank_name",
        "payment_terms_days", "invoice_prefix", "credit_note_prefix", "base_currency",
    )  # fmt: skip
    return {**{name: getattr(row, name) for name in names}, "tax_countries": "", **changes}


def _issuer_bank(office: Office) -> Sent:
    row = make_issuer()
    return f"{B}/issuer/{row.pk}/change/", _issuer_form(row, iban="DE89370400440532013000")


def _issuer_default(office: Office) -> Sent:
    make_issuer()
    other = Issuer.objects.create(key="us", name="Mine", country="US", invoice_prefix="U-", credit_note_prefix="C")
    return f"{B}/issuer/{other.pk}/default/", _form()


def _account_gateway(office: Office) -> Sent:
    row = office.account
    sent = {"name": row.name, "billing_email": row.billing_email, "country": "DE", "gateway": "sandbox"}
    return f"{B}/account/{row.pk}/change/", {**sent, **inlines(pools=0, members=0)}


def _invite(office: Office) -> Sent:
    return f"{B}/member/add/", _form(account=office.account.pk, email="mine@example.com", role="owner")


def _member_role(office: Office) -> Sent:
    member = make_member(office.account, make_user("vera"), Role.VIEWER)
    return f"{B}/member/{member.pk}/change/", {"role": "owner"}


def _key(office: Office) -> Sent:
    return f"{B}/apikey/add/", {"name": "Mine", "account": "", "scopes": ["read", "credits:write"]}


CASES: dict[str, Callable[[Office], Sent]] = {
    "grant": _grant, "revoke": _revoke, "adjust": _adjust, "reverse": _reverse, "unuse": _unuse,
    "pool_policy": _pool_policy, "refund": _refund, "credit": _credit, "issue": _issue, "void": _void,
    "write_off": _write_off, "cancel_item": _cancel_item, "match": _match, "return_transfer": _return_transfer,
    "subscribe": _subscribe, "plan_change": _plan_change, "plan_cancel": _plan_cancel, "coupon": _coupon,
    "agree_terms": _agree_terms, "end_terms": _end_terms, "user_rights": _user_rights, "group_rights": _group_rights,
    "issuer_bank": _issuer_bank, "issuer_default": _issuer_default, "account_gateway": _account_gateway,
    "invite": _invite, "member_role": _member_role, "key": _key,
}  # fmt: skip
# Who of pricing, finance and support may ask for it; superusers may ask for all.
WHO = {
    **dict.fromkeys(
        ("grant", "revoke", "subscribe", "plan_change", "plan_cancel", "coupon", "account_gateway"),
        ("Finance", "Support"),
    ),
    **dict.fromkeys(
        ("adjust", "reverse", "pool_policy", "refund", "credit", "issue", "void", "write_off", "cancel_item", "match",
         "return_transfer", "agree_terms", "end_terms", "issuer_bank", "issuer_default"),
        ("Finance",),
    ),
    **dict.fromkeys(("unuse", "invite", "member_role"), ("Support",)),
    **dict.fromkeys(("user_rights", "group_rights", "key"), ()),
}  # fmt: skip
BOUNDLESS = {
    "agree_terms", "end_terms", "user_rights", "group_rights", "issuer_bank", "issuer_default", "account_gateway",
    "invite", "member_role", "key",
}  # fmt: skip


def test_every_power_is_tried_here() -> None:
    assert (set(CASES), set(WHO)) == (set(POWERS), set(POWERS))


def _moved() -> list[Any]:
    """All of what can be moved, as it stands; a key counts once it works."""
    keys = list(ApiKey.objects.filter(is_pending=False).order_by("pk").values("pk"))
    tables = [model.objects.order_by("pk").values() for model in MOVED]  # type: ignore[attr-defined]
    hidden = ("last_login",)
    return [keys, *[[{k: v for k, v in row.items() if k not in hidden} for row in table] for table in tables]]


def _as(user: User) -> Client:
    browser = Client(REMOTE_ADDR=FROM)
    browser.force_login(user)
    return browser


@pytest.fixture
def fiona(office: Office) -> User:
    """The second person."""
    return _colleague("Finance")


# --- Who may --------------------------------------------------------------------------------------------------------


def test_each_role_asks_for_its_powers_and_for_no_others(office: Office, settings) -> None:
    settings.FLORIN_APPROVAL_CREDITS = settings.FLORIN_APPROVAL_MONEY = 0
    people = {role: _colleague(role) for role in NAMES}
    browsers = {role: _as(person) for role, person in people.items()}

    def check(name: str) -> None:
        address, fields = CASES[name](office)
        before = _moved()
        for role, person in people.items():
            again = {**fields, "token": uuid.uuid4()} if "token" in fields else fields
            answer = browsers[role].post(address, again)
            if role in WHO[name]:
                assert Approval.objects.get().requested_by == person, role
                Approval.objects.all().delete()
                continue
            act = StaffAct.objects.latest("pk")
            assert (answer.status_code in (403, 404), act.act, act.user, act.client) == (True, "refused", person, FROM)
        assert (_moved() == before, Approval.objects.count()) == (True, 0)

    check_each(list(CASES), check)


# --- The limit, the second person, the audit log --------------------------------------------------------------------


def test_over_the_limit_each_power_waits_for_a_second_person_and_is_audited(
    office: Office, fiona: User, settings
) -> None:
    settings.FLORIN_APPROVAL_CREDITS = settings.FLORIN_APPROVAL_MONEY = 0
    author, second = _as(office.stella), _as(fiona)

    def check(name: str) -> None:
        address, fields = CASES[name](office)
        before = _moved()
        author.post(address, fields)
        waiting = Approval.objects.get()
        assert (waiting.state, waiting.act, _moved() == before) == ("waiting", name, True)
        asked = StaffAct.objects.get(act="ask")
        assert (asked.user, asked.client, asked.after["asks_for"]) == (office.stella, FROM, name)
        approve = f"{B}/approval/{waiting.pk}/approve/"
        author.post(approve, {"note": "I say so"})
        assert (_moved() == before, StaffAct.objects.latest("pk").act) == (True, "refused")
        answer = second.post(approve, {"note": "Agreed"})
        assert (answer.status_code, _moved() != before) == (302, True), answer.content.decode()[-3000:]
        done = StaffAct.objects.get(act=name)
        assert (done.user, done.client, bool(done.after), done.before != done.after) == (fiona, FROM, True, True)
        for currency in ("", waiting.currency):
            assert approvals.used_today(user_id=office.stella.pk, currency=currency, now=timezone.now()) == 0

    check_each(list(CASES), check)


def test_within_the_limit_each_power_is_done_immediately_but_for_those_without_a_bound(
    office: Office, settings
) -> None:
    settings.FLORIN_APPROVAL_CREDITS = settings.FLORIN_APPROVAL_MONEY = 10**9
    author = _as(office.stella)

    def check(name: str) -> None:
        address, fields = CASES[name](office)
        before = _moved()
        author.post(address, fields)
        assert (Approval.objects.get().state == "waiting") == (_moved() == before) == (name in BOUNDLESS)
        act = StaffAct.objects.exclude(act__in=("add", "note")).latest("pk")
        assert (act.act, act.client) == ("ask" if name in BOUNDLESS else name, FROM)
        if name not in BOUNDLESS:
            assert act.before != act.after
            assert act.after

    check_each(list(CASES), check)


# --- Worth ----------------------------------------------------------------------------------------------------------


def _sold(office: Office, cost_basis: str) -> dict[str, object]:
    return _fields(office, kind="purchase", cost_basis=cost_basis, currency="EUR", amount="100", _confirmed="x")


def test_credits_that_count_as_sold_are_limited_by_what_they_cost_too(staff: Client, office: Office, settings) -> None:
    settings.FLORIN_APPROVAL_CREDITS, settings.FLORIN_APPROVAL_MONEY = 1000, 500
    for cost_basis in ("5", "0.01"):
        post(staff, ADD, **_sold(office, cost_basis))
    found = Approval.objects.order_by("pk").values_list("state", "credits", "amount", "currency")
    assert list(found) == [("immediate", 100, 500, "EUR"), ("waiting", 100, 1, "EUR")]


def test_a_made_up_transfer_pays_no_open_purchase_alone(staff: Client, office: Office, settings) -> None:
    settings.FLORIN_APPROVAL_MONEY = 300
    invoice, before = _invoice(office), Payment.objects.count()
    record = {"reference": "x", "received_on": "2026-11-20", "amount": str(invoice.total), "currency": "EUR"}
    page = post(staff, f"{B}/banktransfer/record/", **record, remittance=invoice.number)
    assert "waits until a second person approves it" in page
    invoice.refresh_from_db()
    assert (invoice.state, Payment.objects.count()) == ("open", before)


def test_support_gives_goodwill_and_bonus_for_a_year_and_sells_nothing(office: Office) -> None:
    sam = _as(_colleague("Support"))
    forged: list[dict[str, object]] = [{"kind": "purchase"}, {"kind": "adjustment"}, {"cost_basis": "0.5"}]
    for changes in forged:
        with undone():
            answer = sam.post(ADD, _fields(office, _confirmed="x", **changes))
            act = StaffAct.objects.get()
            assert (answer.status_code, act.act, CreditGrant.objects.count()) == (403, "refused", 1), changes
    for kind in ("goodwill", "bonus"):
        post(sam, ADD, **_fields(office, _confirmed="x", kind=kind))
        lot = CreditGrant.objects.latest("pk")
        assert (lot.kind, lot.cost_basis, lot.expires_at is not None) == (kind, 0, True)
        assert timedelta(days=364) < lot.expires_at - timezone.now() < timedelta(days=366)
