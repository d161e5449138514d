"""Who may open the staff admin, and what nobody may do there; enumerated from the registered tables."""

import re

import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from billing.accounts.models import Account, StaffAct, User
from billing.admin.rules import FactsAdmin
from billing.invoicing.models import CreditNote, Invoice
from billing.ledger.models import CreditGrant, Hold, LedgerSeal, Posting
from billing.metering.models import DailyUsage, ImportRun
from tests.admin.conftest import MAX_QUERIES, Office, text_of
from tests.factories import give_credits, make_account, make_key, make_member, make_user

OURS = [model for model in admin.site._registry if model._meta.app_label == "billing"]
FACTS = [model for model in OURS if isinstance(admin.site._registry[model], FactsAdmin)]
NAMES = [str(model._meta.model_name) for model in OURS]


def _url(model: type[Model], page: str, *args: object) -> str:
    return reverse(f"admin:billing_{model._meta.model_name}_{page}", args=args)


def test_the_ledgers_tables_are_facts() -> None:
    assert {Posting, CreditGrant, Hold, LedgerSeal, DailyUsage, ImportRun, StaffAct, Invoice, CreditNote} <= set(FACTS)


@pytest.mark.parametrize("model", OURS, ids=NAMES)
def test_the_anonymous_go_to_the_login_page(client: Client, db: None, model: type[Model]) -> None:
    for page in ("changelist", "add"):
        assert "/admin/login/" in client.get(_url(model, page))["Location"]


@pytest.mark.parametrize("model", OURS, ids=NAMES)
def test_customers_go_to_the_login_page(client: Client, office: Office, model: type[Model]) -> None:
    client.force_login(office.alice)
    assert "/admin/login/" in client.get(_url(model, "changelist"))["Location"]


@pytest.mark.parametrize("model", OURS, ids=NAMES)
def test_staff_without_rights_are_refused(client: Client, office: Office, model: type[Model]) -> None:
    User.objects.filter(pk=office.alice.pk).update(is_staff=True)
    client.force_login(office.alice)
    assert client.get(_url(model, "changelist")).status_code == 403


@pytest.mark.parametrize("model", OURS, ids=NAMES)
def test_every_list_opens_with_few_queries_and_obeys_the_policy(
    staff: Client, office: Office, model: type[Model], django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(6):
        # With the four queries that every list needs, one more for each row would be too many.
        account = make_account(now=office.now)
        make_member(account, make_user(f"user{number}"), now=office.now)
        make_key(account, now=office.now)
        give_credits(account, "5", now=office.now)
    with django_assert_max_num_queries(MAX_QUERIES):
        response = staff.get(_url(model, "changelist"))
    assert response.status_code == 200
    assert "unsafe" not in response["Content-Security-Policy"]
    page = response.content.decode()
    assert not re.search(r"<[^>]+\sstyle=", page)
    assert not re.search(r"<[^>]+\son\w+=", page)
    assert not re.search(r"<script(?![^>]+src=)", page)


@pytest.mark.parametrize("model", OURS, ids=NAMES)
def test_every_list_can_be_searched(staff: Client, model: type[Model]) -> None:
    assert staff.get(_url(model, "changelist"), {"q": "north%00\N{FULLWIDTH DIGIT ONE}"}).status_code == 200


@pytest.mark.parametrize("model", OURS, ids=NAMES)
def test_no_list_offers_to_delete(staff: Client, office: Office, model: type[Model]) -> None:
    assert "delete_selected" not in text_of(staff, _url(model, "changelist"))


@pytest.mark.parametrize("model", OURS, ids=NAMES)
def test_deleting_by_a_direct_post_changes_nothing(staff: Client, office: Office, model: type[Model]) -> None:
    before = list(model._default_manager.order_by("pk").values_list("pk", flat=True))
    forged = {"action": "delete_selected", "_selected_action": before or [1], "post": "yes", "index": 0}
    assert staff.post(_url(model, "changelist"), forged).status_code in (200, 302, 403)
    for pk in before:
        staff.post(_url(model, "delete", pk), {"post": "yes"})
    assert list(model._default_manager.order_by("pk").values_list("pk", flat=True)) == before


@pytest.mark.parametrize("model", FACTS, ids=[str(model._meta.model_name) for model in FACTS])
def test_a_fact_is_not_changed_by_a_direct_post(staff: Client, office: Office, model: type[Model]) -> None:
    before = list(model._default_manager.order_by("pk").values())
    for row in before:
        forged = dict.fromkeys(row, "1")
        assert staff.post(_url(model, "change", row["id"]), forged).status_code == 403
    assert list(model._default_manager.order_by("pk").values()) == before


@pytest.mark.parametrize("model", [model for model in FACTS if model is not CreditGrant])
def test_a_fact_is_not_added(staff: Client, office: Office, model: type[Model]) -> None:
    assert staff.get(_url(model, "add")).status_code == 403
    assert staff.post(_url(model, "add"), {}).status_code == 403


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
