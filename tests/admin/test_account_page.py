"""An account at a glance, the notes about it, and a look through its eyes."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from billing.accounts import impersonation, notes, roles
from billing.accounts.ids import encode
from billing.accounts.models import Account, AccountNote, StaffAct, User
from billing.ledger import holds, pools, posting
from billing.metering.models import DailyUsage
from billing.notifications import outbox
from portal.access import Visit, account_page
from tests.admin.conftest import MAX_QUERIES, Office, find_unrefused, post, text_of
from tests.factories import give_credits, make_account, make_issuer, make_user
from tests.invoicing.makers import issue, plain_line
from tests.payments.makers import DECLINE, pay


def _page(office: Office) -> str:
    return f"/admin/billing/account/{office.account.pk}/"


def _colleague(role: str) -> User:
    roles.ensure()
    user = make_user(role.lower())
    User.objects.filter(pk=user.pk).update(is_staff=True)
    user.groups.set(Group.objects.filter(name=role))
    return User.objects.get(pk=user.pk)


@pytest.fixture
def busy(office: Office) -> Office:
    """The account with something in every part of its page."""
    holds.place(pool_id=office.pool.pk, amount=Decimal(30), reference="render-7", now=office.now)
    DailyUsage.objects.create(
        account=office.account, meter=office.meter, day=office.now.date(), events=4, quantity=40, credits=100, cost=1
    )
    outbox.write(kind="threshold", dedupe_key="t", account_id=office.account.pk, payload={}, now=office.now)
    notes.add(account_id=office.account.pk, author=office.stella, text="Calls on <Mondays>", now=office.now)
    return office


def test_the_list_leads_to_the_account_at_a_glance(staff: Client, office: Office) -> None:
    assert f'href="{_page(office)}"' in text_of(staff, "/admin/billing/account/")


def test_it_shows_everything(staff: Client, busy: Office) -> None:
    page = text_of(staff, _page(busy))
    for part in (
        "<strong>900</strong> <span>Balance</span>", "<strong>30</strong> <span>Held for work under way</span>",
        "render-7", "Main pool", "Images", "Bonus", "No invoices yet", "Calls on &lt;Mondays&gt;",
        "threshold", "+1,000 credits", "Credits used by day: 100 in all",
    ):  # fmt: skip
        assert part in page, part


def test_the_timeline_says_money_as_every_page_does(staff: Client, office: Office) -> None:
    make_issuer()
    invoice = issue(office.account, plain_line("900.00"), currency="EUR", now=office.now)
    pay(invoice, DECLINE, now=office.now)
    moment = next(each for each in staff.get(_page(office)).context["timeline"] if each.kind == "payment")
    assert (moment.text, moment.detail) == ("failed", "€1,071.00")


def test_it_needs_few_queries_however_much_there_is(
    staff: Client, busy: Office, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(5):
        give_credits(busy.account, "5", now=busy.now)
        pool = pools.open_pool(account=busy.account, key=f"team-{number}", name="Team", now=busy.now)
        posting.grant(pool_id=pool.pk, amount=Decimal(1), kind="bonus", reference="x", now=busy.now)
        notes.add(account_id=busy.account.pk, author=busy.stella, text="Again", now=busy.now)
    with django_assert_max_num_queries(MAX_QUERIES):
        staff.get(_page(busy))


def test_the_timeline_goes_on_before_a_moment(staff: Client, office: Office) -> None:
    for number in range(40):
        outbox.write(
            kind="receipt", dedupe_key=f"r:{number}", account_id=office.account.pk, payload={},
            now=office.now - timedelta(days=1, minutes=-number),
        )  # fmt: skip
    response = staff.get(_page(office))
    assert len(response.context["timeline"]) == 20
    rest = staff.get(_page(office) + response.context["older"].split("#")[0]).context["timeline"]
    assert len(rest) == 20
    assert staff.get(_page(office) + "?before=yesterday&before=2020").status_code == 200


def test_each_role_sees_its_part(client: Client, busy: Office) -> None:
    client.force_login(_colleague("Pricing"))
    page = text_of(client, _page(busy))
    assert "Credits used, last 30 days" in page
    assert "render-7" not in page
    assert "Invoices and payments" not in page
    assert "See what they see" not in page
    client.force_login(_colleague("Support"))
    page = text_of(client, _page(busy))
    assert "render-7" in page
    assert "See what they see" in page


def test_strangers_do_not_see_it(client: Client, office: Office) -> None:
    assert "/admin/login/" in client.get(_page(office))["Location"]
    client.force_login(office.alice)
    assert "/admin/login/" in client.get(_page(office))["Location"]
    User.objects.filter(pk=office.alice.pk).update(is_staff=True)
    for page in ("", "look/"):
        assert client.get(_page(office) + page).status_code == 403
    assert client.post(_page(office) + "note/", {"text": "x"}).status_code == 403
    assert not AccountNote.objects.exists()


def test_an_account_that_does_not_exist_is_not_found(staff: Client, office: Office) -> None:
    for page in ("", "look/"):
        assert staff.get(f"/admin/billing/account/999999/{page}").status_code == 404
    assert staff.post("/admin/billing/account/999999/note/", {"text": "x"}).status_code == 404


def test_a_note_is_kept_and_audited(staff: Client, office: Office) -> None:
    assert "The note is kept" in post(staff, f"{_page(office)}note/", text="  Wants an offer  ")
    note = AccountNote.objects.get()
    assert (note.text, note.author) == ("Wants an offer", office.stella)
    act = StaffAct.objects.get()
    assert (act.act, act.account, act.after) == ("note", office.account, {"text": "Wants an offer"})


def test_a_faulty_note_is_not_kept(staff: Client, office: Office) -> None:
    texts, none = ("", "   ", "x" * 2001), lambda: not AccountNote.objects.exists()
    faulty = [({"text": text}, "errorlist") for text in texts]
    assert find_unrefused(staff, f"{_page(office)}note/", {}, faulty, unchanged=none) == []
    for text in texts:
        with pytest.raises(ValueError, match="1 to 2000"):
            notes.add(account_id=office.account.pk, author=office.stella, text=text, now=office.now)


# --- Looking through a customer's eyes ------------------------------------------------------------------------------


def _look(client: Client, office: Office) -> str:
    response = client.post(f"{_page(office)}look/", {"reason": "Ticket 7"})
    return str(response["Location"])


def test_staff_look_as_a_viewer_under_a_banner(staff: Client, office: Office) -> None:
    where = f"/a/{encode('acc', office.account.pk)}"
    assert staff.get(where).status_code == 404
    assert "can change nothing" in text_of(staff, f"{_page(office)}look/")
    assert _look(staff, office) == where
    page = text_of(staff, where)
    assert "You are staff and see what a viewer of <strong>Northwind</strong> sees" in page
    act = StaffAct.objects.get()
    assert (act.act, act.account, act.reason) == ("look", office.account, "Ticket 7")


def test_a_look_needs_a_reason(staff: Client, office: Office) -> None:
    assert "This field is required" in post(staff, f"{_page(office)}look/", reason="")
    assert staff.get(f"/a/{encode('acc', office.account.pk)}").status_code == 404


def test_a_look_is_at_one_account_only(staff: Client, office: Office) -> None:
    other = make_account("contoso", now=office.now)
    _look(staff, office)
    assert staff.get(f"/a/{encode('acc', other.pk)}").status_code == 404


def test_a_look_ends_by_itself(staff: Client, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    where = _look(staff, office)
    monkeypatch.setattr(impersonation, "LASTS", timedelta(seconds=-1))
    _look(staff, office)
    assert staff.get(where).status_code == 404
    begun = impersonation.begin({}, account_id=1, now=office.now)
    assert begun.until == office.now - timedelta(seconds=1)


def test_a_look_lasts_half_an_hour(office: Office) -> None:
    session: dict[str, object] = {}
    impersonation.begin(session, account_id=7, now=office.now)
    almost = office.now + timedelta(minutes=30) - timedelta(microseconds=1)
    assert impersonation.find(session, now=almost) is not None
    assert impersonation.find(session, now=almost + timedelta(microseconds=1)) is None
    assert (impersonation.end(session), impersonation.end(session)) == (7, None)
    assert impersonation.find(session, now=office.now) is None


def test_a_look_ends_by_a_button(staff: Client, office: Office) -> None:
    where = _look(staff, office)
    assert staff.get("/admin/billing/account/look/end/")["Location"] == "/admin/billing/account/"
    assert staff.get(where).status_code == 200
    assert staff.post("/admin/billing/account/look/end/")["Location"] == _page(office)
    assert staff.get(where).status_code == 404
    assert [act.act for act in StaffAct.objects.order_by("pk")] == ["look", "end look"]
    staff.post("/admin/billing/account/look/end/")
    assert StaffAct.objects.count() == 2


def test_a_look_ends_when_the_right_does(client: Client, office: Office) -> None:
    support = _colleague("Support")
    client.force_login(support)
    where = _look(client, office)
    assert client.get(where).status_code == 200
    support.groups.clear()
    assert client.get(where).status_code == 404
    support.groups.set(Group.objects.filter(name="Support"))
    User.objects.filter(pk=support.pk).update(is_staff=False)
    assert client.get(where).status_code == 404


def test_whoever_looks_sends_nothing(staff: Client, office: Office) -> None:
    where = _look(staff, office)
    for method in ("post", "put", "patch", "delete", "options", "trace"):
        assert getattr(staff, method)(where).status_code in (403, 405), method
    assert staff.get(where).status_code == 200


def test_a_page_that_would_write_on_get_cannot(staff: Client, office: Office, rf) -> None:
    _look(staff, office)

    def writes(request, visit: Visit):
        type(visit.account).objects.update(name="Changed")

    request = rf.get("/")
    request.user, request.session = office.stella, staff.session
    with pytest.raises(DatabaseError, match="read-only transaction"):
        account_page(writes)(request, account=encode("acc", office.account.pk))
    office.account.refresh_from_db()
    assert office.account.name == "Northwind"


def test_every_page_of_the_portal_opens_for_whoever_looks(staff: Client, office: Office) -> None:
    from django.urls import get_resolver

    make_issuer()
    _look(staff, office)
    opened = 0
    for pattern in get_resolver("portal.urls").url_patterns:
        route = str(pattern.pattern)
        if route.count("<") != 1 or "<account>" not in route.replace("<str:", "<").replace("<slug:", "<"):
            continue
        address = "/" + route[: route.index("<")] + encode("acc", office.account.pk) + route[route.index(">") + 1 :]
        assert staff.get(address).status_code in (200, 302, 403, 405), address
        opened += 1
    assert opened >= 3


def test_a_cycle_that_is_over_is_not_shown_as_the_current_one(staff: Client, office: Office) -> None:
    """Of the pool's row, until something is posted in the next cycle."""
    used = "<strong>{}</strong> <span>Used this cycle</span>"
    assert used.format("100") in text_of(staff, _page(office))
    assert '<td class="field-credits_cycle_spent">100</td>' in text_of(staff, "/admin/billing/creditpool/")
    Account.objects.filter(pk=office.account.pk).update(clock_at=office.now + timedelta(days=40))
    assert used.format("0") in text_of(staff, _page(office))
    assert '<td class="field-credits_cycle_spent">-</td>' in text_of(staff, "/admin/billing/creditpool/")
