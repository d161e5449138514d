"""Staff pages of contract terms: agree, look, end."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone

from billing.accounts.models import Approval, StaffAct, User
from billing.admin import acts
from billing.catalog.models import Plan, PlanVersion
from billing.subscriptions.lifecycle import subscribing
from billing.subscriptions.models import ContractTerms
from tests.admin.conftest import Office, find_unrefused, post, text_of
from tests.admin.test_approvals import _staff
from tests.factories import make_issuer, make_plan

B = "/admin/billing/contractterms"


@pytest.fixture(autouse=True)
def plan(office: Office) -> PlanVersion:
    """The plan that terms are agreed for."""
    return make_plan("team", prices={"USD": {"fee": "500"}, "EUR": {"fee": "500"}})


def _form(office: Office, **fields: object) -> dict[str, object]:
    day = office.now + timedelta(days=1)
    given = {
        "account": office.account.pk, "plan": Plan.objects.get().pk, "currency": "", "starts_at_0": f"{day:%Y-%m-%d}",
        "starts_at_1": "00:00:00", "fee": "400", "discount_percent": "10", "reason": "Signed in May",
        "token": str(uuid.uuid4()),
    }  # fmt: skip
    return {**given, **fields}


def _approved(office: Office) -> ContractTerms:
    """The terms, once a second person has approved what was asked for."""
    second = _staff("fiona", "decide_approval") if not User.objects.filter(email="fiona@example.com") else None
    second = second or User.objects.get(email="fiona@example.com")
    acts.approve(approval_id=Approval.objects.get(state="waiting").pk, user=second, note="", now=timezone.now())
    return ContractTerms.objects.get()


def test_terms_are_agreed_shown_and_ended(staff: Client, office: Office) -> None:
    assert "Agree terms with an account" in text_of(staff, f"{B}/")
    page = text_of(staff, f"{B}/agree/?account={office.account.pk}")
    assert "Overage prices" in page
    assert ">null<" not in page.replace(" ", "")
    assert "A second person must approve this" in post(staff, f"{B}/agree/", **_form(office))
    assert not ContractTerms.objects.exists()
    terms = _approved(office)
    assert (terms.fee, terms.discount_percent, terms.currency) == (Decimal(400), Decimal(10), office.account.currency)
    assert "10% off" in text_of(staff, f"{B}/")
    assert "They replace" not in text_of(staff, f"{B}/{terms.pk}/end/")
    day = office.now + timedelta(days=40)
    end = {"token": str(uuid.uuid4()), "at_0": f"{day:%Y-%m-%d}", "at_1": "00:00:00", "reason": "They left"}
    post(staff, f"{B}/{terms.pk}/end/", **end)
    assert _approved(office).ends_at is not None
    assert [act.act for act in StaffAct.objects.order_by("pk")] == ["ask", "ask"]


FAULTY_TERMS = [
    ({"fee": "", "discount_percent": ""}, "Agree at least one term that differs"),
    ({"fee": "1.001"}, "whole minor units"),
    ({"account": "0"}, "Select a valid choice."),
    ({"reason": ""}, "This field is required."),
    ({"plan": ""}, "This field is required."),
    ({"currency": "JPY"}, "This plan has no price in JPY."),
    ({"discount_percent": "101"}, "less than or equal to 100"),
]


def test_what_cannot_be_agreed_is_said(staff: Client, office: Office) -> None:
    none = lambda: not ContractTerms.objects.exists()  # noqa: E731
    assert find_unrefused(staff, f"{B}/agree/", _form(office), FAULTY_TERMS, unchanged=none) == []


def test_other_terms_of_that_time_are_in_the_way(staff: Client, office: Office) -> None:
    post(staff, f"{B}/agree/", **_form(office))
    _approved(office)
    assert "Other terms are agreed" in post(staff, f"{B}/agree/", **_form(office))
    assert ContractTerms.objects.count() == 1


def test_the_form_begins_with_the_plan_that_the_account_has(staff: Client, office: Office, plan: PlanVersion) -> None:
    make_issuer()
    page = f"{B}/agree/?account={office.account.pk}"
    assert "selected>Team" not in staff.get(page).content.decode()
    subscribing.subscribe(
        account_id=office.account.pk, plan_version_id=plan.pk, seats=0, collection="manual", reference="x", actor="x",
        now=office.now,
    )  # fmt: skip
    assert "selected>Team" in staff.get(page).content.decode()


def test_who_may_only_look_agrees_and_ends_nothing(client: Client, office: Office, staff: Client) -> None:
    post(staff, f"{B}/agree/", **_form(office))
    terms = _approved(office)
    client.force_login(_staff("sam", "view_contractterms"))
    assert "Agree terms" not in text_of(client, f"{B}/")
    for page in (f"{B}/agree/", f"{B}/{terms.pk}/end/"):
        assert client.get(page).status_code == client.post(page, _form(office)).status_code == 403
    assert ContractTerms.objects.get().ends_at is None
