"""Staff pages of plans: drafts, publication, side by side, retirement."""

from decimal import Decimal

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from billing.accounts.models import StaffAct
from billing.catalog import plans
from billing.catalog.models import Plan, PlanPrice, PlanVersion
from tests.admin.conftest import MAX_QUERIES, Office, find_unrefused, inlines, post, text_of
from tests.admin.test_approvals import _staff
from tests.factories import make_plan

PLAN = {"name": "Team", "key": "team", "description": "For teams.", "tax_category": "standard", "position": "1"}
TERMS = {
    "note": "", "interval": "month", "interval_count": "1", "trial_days": "14", "trial_credits": "500",
    "included_credits": "10000", "rollover": "share", "rollover_percent": "25", "rollover_amount": "",
    "rollover_periods": "2", "rollover_cap": "5000", "loyalty_steps": '[{"from_period": 7, "percent": 2.5}]',
    "policy": "overage", "burst_limit": "0", "overage_model": "graduated", "overage_unit": "1000", "overage_cap": "",
    "seats_included": "3", "seats_max": "50", "credits_per_seat": "1000", "rate_card": "", "target_segments": "",
    "dunning_policy": "",
}  # fmt: skip
PRICE = {
    "currency": "USD", "fee": "49", "seat_price": "9", "minimum": "60",
    "overage_tiers": '[{"up_to": 10000, "price": 2}, {"up_to": null, "price": 1.5}]',
}  # fmt: skip


def _prices(*prices: dict[str, str], **more: object) -> dict[str, object]:
    sent = inlines(prices=len(prices))
    for number, price in enumerate(prices):
        sent |= {f"prices-{number}-{name}": value for name, value in price.items()}
    return sent | more


def _url(version: PlanVersion, page: str) -> str:
    return f"/admin/billing/planversion/{version.pk}/{page}/"


@pytest.fixture
def draft(staff: Client) -> PlanVersion:
    """An empty draft of a new plan."""
    post(staff, "/admin/billing/plan/add/", **PLAN)
    plan = Plan.objects.get()
    post(staff, f"/admin/billing/plan/{plan.pk}/draft/")
    return PlanVersion.objects.get()


def test_a_plan_is_drafted_written_and_published(staff: Client, draft: PlanVersion) -> None:
    assert "draft" in text_of(staff, "/admin/billing/plan/")
    assert "was changed" in post(staff, _url(draft, "change"), **TERMS, **_prices(PRICE))
    draft.refresh_from_db()
    price = draft.prices.get()
    assert (draft.included_credits, draft.rollover_percent, draft.seats_max) == (Decimal(10_000), Decimal(25), 50)
    assert draft.loyalty_steps == [{"from_period": 7, "percent": "2.5"}]
    assert price.overage_tiers == [{"up_to": "10000", "price": "2"}, {"up_to": None, "price": "1.5"}]
    asked = text_of(staff, _url(draft, "publish"))
    assert "$2.00 up to 10,000, $1.50 beyond, per 1,000 credits (each slice at its own price)" in asked
    assert "up to 25% of what is included, 2 times, together at most 5,000" in asked
    assert "Version 1 is on sale" in post(staff, _url(draft, "publish"))
    draft.refresh_from_db()
    assert draft.is_published
    assert draft.published_by is not None
    page = text_of(staff, _url(draft, "change"))
    assert 'name="included_credits"' not in page
    assert "$49.00" in page
    acts = list(StaffAct.objects.order_by("pk").values_list("act", flat=True))
    assert acts == ["add", "draft", "change", "publish"]


FAULTY_TERMS = [
    ({"loyalty_steps": '[{"from_period": 0, "percent": 1}]'}, "later period"),
    ({"rollover_percent": ""}, "State the percent of a share"),
    ({"interval_count": "0"}, "greater than or equal to 1"),
    ({"included_credits": "NaN"}, "Enter a number"),
    ({"prices-0-overage_tiers": '[{"up_to": "5", "price": "1"}]'}, "last tier"),
    ({"prices-0-overage_tiers": '[{"price": "1"}]'}, "Write tiers as"),
    ({"prices-0-overage_tiers": '"x"'}, "are a list"),
    ({"prices-0-fee": "-1"}, "plan_price_sane"),
    ({"prices-0-currency": ""}, "This field is required"),
]


def test_faulty_terms_are_refused(staff: Client, draft: PlanVersion) -> None:
    def unchanged() -> bool:
        draft.refresh_from_db()
        return draft.included_credits == 0 and not PlanPrice.objects.exists()

    good = {**TERMS, **_prices(PRICE)}
    assert find_unrefused(staff, _url(draft, "change"), good, FAULTY_TERMS, unchanged=unchanged) == []


def test_what_cannot_be_published_says_why_and_stays_a_draft(staff: Client, draft: PlanVersion) -> None:
    assert "at least one currency" in post(staff, _url(draft, "publish"))
    draft.refresh_from_db()
    assert not draft.is_published
    assert not StaffAct.objects.filter(act="publish").exists()


def test_a_version_is_published_once_and_not_changed_by_a_direct_post(staff: Client, office: Office) -> None:
    version = make_plan()
    assert "published already" in post(staff, _url(version, "publish"))
    forged = {**TERMS, **_prices({**PRICE, "fee": "1"})}
    assert staff.post(_url(version, "change"), forged).status_code == 403
    assert staff.post(_url(version, "delete"), {"post": "yes"}).status_code == 403
    version.refresh_from_db()
    assert (version.included_credits, version.prices.get().fee) == (0, Decimal(49))


def test_a_new_draft_is_made_from_a_version_or_from_the_plans_last(staff: Client, office: Office) -> None:
    version = make_plan()
    assert "Begin the draft" in text_of(staff, _url(version, "draft"))
    post(staff, _url(version, "draft"))
    post(staff, f"/admin/billing/plan/{version.plan_id}/draft/")
    drafts = PlanVersion.objects.filter(published_at=None).order_by("number")
    assert [(each.number, each.prices.get().fee) for each in drafts] == [(2, Decimal(49)), (3, Decimal(49))]
    assert [act.after["from"] for act in StaffAct.objects.order_by("pk")] == [1, "2"]


def test_a_draft_may_be_deleted(staff: Client, office: Office) -> None:
    draft = make_plan(published=False)
    post(staff, _url(draft, "delete"), post="yes")
    assert not PlanVersion.objects.exists()


def test_versions_stand_side_by_side_with_their_differences_marked(
    staff: Client, office: Office, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    team = make_plan(included_credits=Decimal(5_000))
    scale = make_plan("scale", prices={"USD": {"fee": "199"}, "EUR": {"fee": "189"}}, included_credits=Decimal(5_000))
    with django_assert_max_num_queries(MAX_QUERIES):
        page = text_of(staff, "/admin/billing/plan/compare/")
    assert "Team, version 1" in page
    assert "Scale, version 1" in page
    fee, credits = (page.index(f'<th scope="row">{name}') for name in ("Fee, USD", "Credits included"))
    assert page[:fee].endswith('<tr class="differs">')
    assert page[:credits].endswith("<tr>")
    assert "<td>\N{EN DASH}</td><td>€189.00</td>" in page
    draft = plans.draft_from(version_id=team.pk, now=office.now)
    page = text_of(staff, f"/admin/billing/plan/compare/?version={team.pk}&version={draft.pk}&version=x&version=0")
    assert "<td>$49.00</td><td>$49.00</td>" in page
    assert "€189.00" not in page
    assert f"version={team.pk}&amp;version={draft.pk}" in text_of(staff, _url(draft, "change"))
    chosen = {"action": "compare", "_selected_action": [team.pk, scale.pk]}
    answer = staff.post("/admin/billing/planversion/", chosen)
    assert answer["Location"].startswith("/admin/billing/plan/compare/?version=")


def test_there_may_be_nothing_to_compare(staff: Client) -> None:
    assert "No plan is on sale yet" in text_of(staff, "/admin/billing/plan/compare/")


def test_retirement_is_confirmed_and_ends_the_sale(staff: Client, office: Office) -> None:
    version = make_plan()
    url = f"/admin/billing/plan/{version.plan_id}/retire/"
    assert "Who has it keeps it" in text_of(staff, url)
    assert "is retired" in post(staff, url)
    assert "retired already" in post(staff, url)
    assert not plans.versions_on_sale()
    assert "retired" in text_of(staff, "/admin/billing/plan/")
    assert StaffAct.objects.filter(act="retire").count() == 1


def test_who_may_not_change_plans_is_refused(client: Client, office: Office) -> None:
    version = make_plan(published=False)
    pages = ("plan/{plan}/draft", "plan/{plan}/retire", "planversion/{version}/publish", "planversion/{version}/draft")
    client.force_login(_staff("sam", "view_plan", "view_planversion"))
    for page in pages:
        url = f"/admin/billing/{page.format(plan=version.plan_id, version=version.pk)}/"
        assert (client.get(url).status_code, client.post(url).status_code) == (403, 403), page
    assert client.get("/admin/billing/plan/compare/").status_code == 200
    client.force_login(office.stella)
    for page in pages:
        assert client.get(f"/admin/billing/{page.format(plan=0, version=0)}/").status_code == 404, page
    version.refresh_from_db()
    assert (PlanVersion.objects.count(), version.is_published, Plan.objects.get().retired_at) == (1, False, None)
