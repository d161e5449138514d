"""Who may open the staff admin, and what nobody may do there; enumerated from the registered tables."""

import re

import pytest
from django.contrib import admin
from django.db import connection
from django.db.models import Model
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from billing.accounts import ids
from billing.accounts.models import Account, StaffAct, User
from billing.admin.rules import FactsAdmin
from billing.invoicing.models import CreditNote, Invoice
from billing.ledger.models import CreditGrant, CreditPool, Hold, LedgerSeal, Posting
from billing.metering.models import DailyUsage, ImportRun
from tests.admin.conftest import MAX_QUERIES, Office, text_of
from tests.factories import give_credits, make_account, make_key, make_member, make_user

OURS = [model for model in admin.site._registry if model._meta.app_label == "billing"]
FACTS = [model for model in OURS if isinstance(admin.site._registry[model], FactsAdmin)]
# What the policy of our pages' content refuses.
REFUSED = (r"<[^>]+\sstyle=", r"<[^>]+\son\w+=", r"<script(?![^>]+src=)")


def _url(model: type[Model], page: str, *args: object) -> str:
    return reverse(f"admin:billing_{model._meta.model_name}_{page}", args=args)


@pytest.fixture
def client(client: Client) -> Client:
    """Whose pages answer 500 when they fail, so that a loop goes on and names each of them."""
    client.raise_request_exception = False
    return client


def _goes_to_the_login(client: Client, address: str) -> bool:
    response = client.get(address)
    return response.status_code == 302 and "/admin/login/" in response["Location"]


def test_the_tables_are_all_enumerated_and_the_ledgers_are_facts() -> None:
    assert len(OURS) >= 50
    assert len(FACTS) >= 30
    assert {Posting, CreditGrant, Hold, LedgerSeal, DailyUsage, ImportRun, StaffAct, Invoice, CreditNote} <= set(FACTS)


def test_the_anonymous_go_to_the_login_page(client: Client, db: None) -> None:
    addresses = [_url(model, page) for model in OURS for page in ("changelist", "add")]
    assert [address for address in addresses if not _goes_to_the_login(client, address)] == []


def test_customers_go_to_the_login_page(client: Client, office: Office) -> None:
    client.force_login(office.alice)
    addresses = [_url(model, "changelist") for model in OURS]
    assert [address for address in addresses if not _goes_to_the_login(client, address)] == []


def test_staff_without_rights_are_refused(client: Client, office: Office) -> None:
    User.objects.filter(pk=office.alice.pk).update(is_staff=True)
    client.force_login(office.alice)
    found = {model: client.get(_url(model, "changelist")).status_code for model in OURS}
    assert {model: status for model, status in found.items() if status != 403} == {}
    assert "Your staff rights do not include this." in client.get(_url(OURS[0], "changelist")).content.decode()


def test_every_list_opens_with_few_queries_obeys_the_policy_and_offers_no_deletion(
    staff: Client, office: Office
) -> None:
    for number in range(6):
        # With the four queries that every list needs, one more for each row would be too many.
        account = make_account(now=office.now)
        make_member(account, make_user(f"user{number}"), now=office.now)
        make_key(account, now=office.now)
        give_credits(account, "5", now=office.now)
    faults = []
    for model in OURS:
        with CaptureQueriesContext(connection) as queries:
            response = staff.get(_url(model, "changelist"))
        page = response.content.decode()
        found = {
            f"answers {response.status_code}": response.status_code != 200,
            f"needs {len(queries)} queries": len(queries) > MAX_QUERIES,
            "allows what is unsafe": "unsafe" in response.get("Content-Security-Policy", "unsafe"),
            "has what the policy refuses": any(re.search(pattern, page) for pattern in REFUSED),
            "offers to delete": "delete_selected" in page,
        }
        faults += [f"{model.__name__} {fault}" for fault, is_so in found.items() if is_so]
    assert faults == []


def test_every_list_can_be_searched(staff: Client) -> None:
    asked = {"q": "north%01\N{FULLWIDTH DIGIT ONE}"}
    found = {model: staff.get(_url(model, "changelist"), asked).status_code for model in OURS}
    assert {model: status for model, status in found.items() if status != 200} == {}


def test_not_even_who_may_do_everything_may_delete(office: Office, rf: RequestFactory) -> None:
    # Tables without a row in the office too; the next test sends what they refuse.
    request = rf.post("/")
    request.user = office.stella
    assert {model for model in OURS if admin.site._registry[model].has_delete_permission(request)} == set()


def test_deleting_by_a_direct_post_changes_nothing_and_is_audited_as_refused(staff: Client, office: Office) -> None:
    faults, tried, acts = [], set(), StaffAct.objects.all()
    for model in OURS:
        noted = acts.count()
        before = list(model._default_manager.order_by("pk").values_list("pk", flat=True))
        forged = {"action": "delete_selected", "_selected_action": before or [1], "post": "yes", "index": 0}
        answers = [staff.post(_url(model, "changelist"), forged).status_code]
        for pk in before:
            staff.post(_url(model, "delete", pk), {"post": "yes"})
            tried.add(model)
        left = list(model._default_manager.order_by("pk").values_list("pk", flat=True))
        if model is StaffAct:
            left = [pk for pk in left if pk in before]
        if acts.count() != noted + 1 + len(before):
            faults.append((model, "not in the log once for each attempt"))
        if left != before or answers[0] not in (200, 302, 403):
            faults.append((model, answers, before, left))
    assert faults == []
    assert tried >= {Account, CreditGrant, CreditPool, Posting, User}
    assert set(acts.values_list("act", "client")) == {("refused", "127.0.0.1")}


def test_a_fact_is_not_changed_by_a_direct_post(staff: Client, office: Office, rf: RequestFactory) -> None:
    request = rf.post("/")
    request.user = office.stella
    faults, tried = [], set()
    for model in FACTS:
        rows = model._default_manager.exclude(act="refused") if model is StaffAct else model._default_manager
        before = list(rows.order_by("pk").values())
        answers = {staff.post(_url(model, "change", row["id"]), dict.fromkeys(row, "1")).status_code for row in before}
        tried |= {model} if before else set()
        # Tables without a row in the office too.
        may = admin.site._registry[model].has_change_permission(request)
        if may or answers - {403} or list(rows.order_by("pk").values()) != before:
            faults.append((model, answers))
    assert faults == []
    assert tried >= {CreditGrant, Posting}


def test_a_fact_is_not_added(staff: Client, office: Office) -> None:
    # Credits are granted on a page of that address, with a form of its own.
    pages = [_url(model, "add") for model in FACTS if model is not CreditGrant]
    found = {page: (staff.get(page).status_code, staff.post(page, {}).status_code) for page in pages}
    assert {page: statuses for page, statuses in found.items() if statuses != (403, 403)} == {}


def test_the_first_page_shows_the_business_and_groups_tables_by_room(staff: Client, office: Office) -> None:
    page = text_of(staff, "/admin/")
    assert "<strong>900</strong> <span>Credits in hand</span>" in page
    rooms = [page.index(f"<caption>{room}</caption>") for room in ("Accounts", "Catalog", "Ledger", "Metering")]
    assert rooms == sorted(rooms)
    assert "Credit grants" in page


def test_the_first_page_needs_few_queries(staff: Client, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_max_num_queries(9):
        staff.get("/admin/")


def test_the_figures_are_for_those_who_may_see_accounts(client: Client, office: Office) -> None:
    User.objects.filter(pk=office.alice.pk).update(is_staff=True)
    client.force_login(office.alice)
    assert "Credits in hand" not in text_of(client, "/admin/")


def test_a_list_counts_no_further_than_its_bound(
    staff: Client, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.admin.rules.COUNTED", 1)
    assert "1 result" in text_of(staff, f"{_url(Posting, 'changelist')}?act__exact=spend")
    assert "1 posting" in text_of(staff, _url(Posting, "changelist"))
    assert Account.objects.count() == 1


def test_staff_find_a_row_by_the_id_that_a_customer_names(staff: Client, office: Office) -> None:
    found = {}
    for model, row in (("account", office.account), ("creditgrant", office.lot), ("posting", office.spend)):
        page = staff.get(f"/admin/billing/{model}/", {"q": f" {ids.of(row)} "})
        found[model] = [each.pk for each in page.context["cl"].result_list]
    assert found == {"account": [office.account.pk], "creditgrant": [office.lot.pk], "posting": [office.spend.pk]}
