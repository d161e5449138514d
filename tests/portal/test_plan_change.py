"""Changing to another plan, and resuming with a new period: what it would do, then doing it."""

import uuid
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from billing.accounts.ids import encode
from billing.accounts.models import Account
from billing.catalog.models import PlanVersion
from billing.invoicing.models import Invoice, Issuer
from billing.payments.models import Payment
from billing.subscriptions.lifecycle import pause_cancel
from billing.subscriptions.models import ContractTerms, ScheduledChange, Subscription
from tests.factories import make_plan
from tests.portal.conftest import Stage
from tests.portal.meadow import BEGAN_AT, CHANGED_AT, form_of, nothing_happened, wait_until, work
from tests.portal.shop import sign_in_as, text_of


@pytest.fixture
def large(subscription: Subscription) -> PlanVersion:
    """40,000 credits for 240.00 a month."""
    return make_plan("large", prices={"USD": {"fee": "240"}}, included_credits=Decimal(40_000))


@pytest.fixture
def change(meadow: Account, subscription: Subscription, large: PlanVersion) -> str:
    return f"/a/{encode('acc', meadow.pk)}/plans/large"


@pytest.fixture
def seats(meadow: Account, subscription: Subscription) -> str:
    return f"/a/{encode('acc', meadow.pk)}/plan/seats"


def test_a_dearer_plan_begins_today_for_the_days_that_are_left(
    alice: Client, subscription: Subscription, large: PlanVersion, change: str
) -> None:
    page = alice.get(change, follow=True)
    text = text_of(page)
    assert "Plan Team Large Fee $60.00 a month $240.00 a month" in text
    assert "Your seats 3 \N{EN DASH}" in text
    # 20 of 30 days: 160.00 less 40.00 are 120.00, with 22.80 tax.
    assert (
        "Unused time on Team \N{MINUS SIGN}$40.00 Large, 20 of 30 days $160.00 VAT 19% $22.80 Due today $142.80" in text
    )
    assert "Credits 20,000 more at once" in text
    text = text_of(alice.post(change, form_of(page, seats="0"), follow=True))
    assert "Your plan is Large now." in text
    subscription.refresh_from_db()
    assert (subscription.plan_version, subscription.state) == (large, "active")
    assert Invoice.objects.latest("pk").total == Decimal("142.80")


def test_a_plan_other_than_the_agreed_one_costs_its_list_price_and_says_so(
    alice: Client, meadow: Account, subscription: Subscription, change: str
) -> None:
    ContractTerms.objects.create(
        account=meadow, plan=subscription.plan_version.plan, currency="USD", fee=Decimal(30), starts_at=BEGAN_AT,
        created_at=BEGAN_AT,
    )  # fmt: skip
    text = text_of(alice.get(change, follow=True))
    assert "Fee $30.00 a month $240.00 a month" in text
    assert "Your contract The terms agreed with you are for Team; Large costs its list price." in text
    assert "From then on $285.60 a month, tax included" in text


def test_the_same_form_changes_once(alice: Client, subscription: Subscription, change: str) -> None:
    form = form_of(alice.get(change, follow=True), seats="0")
    alice.post(change, form)
    text = text_of(alice.post(change, form, follow=True))
    assert "That form was used already. Nothing more was charged." in text
    assert "used already" in text_of(alice.get(f"{change}?form={form['token']}", follow=True))
    assert Invoice.objects.count() == Payment.objects.count() == 2


@pytest.mark.parametrize(
    ("facts", "complaint"),
    [
        ({"state": "past_due", "past_due_at": CHANGED_AT}, "pay it first, or let the change come with the next"),
        ({"state": "paused", "paused_at": CHANGED_AT}, "Your plan cannot be changed at the moment."),
        ({"state": "cancelled", "cancelled_at": CHANGED_AT}, "Your plan cannot be changed at the moment."),
        ({"next_due_at": CHANGED_AT}, "Your plan cannot be changed at the moment."),
    ],
)
def test_a_subscription_that_cannot_be_changed_says_why(
    alice: Client, subscription: Subscription, seats: str, facts: dict[str, Any], complaint: str
) -> None:
    quoted = alice.post(seats, form_of(alice.get(seats, follow=True), act="quote", seats="5"))
    Subscription.objects.update(**facts)
    subscription.refresh_from_db()
    answer = alice.post(seats, form_of(quoted, seats="5"))
    assert answer.status_code == 422
    assert complaint in text_of(answer)
    assert nothing_happened(subscription)


def test_without_an_issuer_nothing_is_changed(alice: Client, subscription: Subscription, change: str) -> None:
    form = form_of(alice.get(change, follow=True), seats="0")
    Issuer.objects.update(is_default=False)
    answer = alice.post(change, form)
    assert answer.status_code == 422
    assert "the seller's details are missing" in text_of(answer)
    assert nothing_happened(subscription)


def test_a_plan_that_is_not_on_offer_any_more_is_not_found(
    alice: Client, subscription: Subscription, large: PlanVersion, change: str
) -> None:
    form = form_of(alice.get(change, follow=True), seats="0")
    large.plan.retired_at = CHANGED_AT
    large.plan.save()
    assert alice.post(change, form).status_code == 404
    assert nothing_happened(subscription)


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_only_owners_and_admins_change_it(
    client: Client, stage: Stage, meadow: Account, subscription: Subscription, seats: str, change: str, role: str
) -> None:
    sign_in_as(client, replace(stage, account=meadow), role)
    for page in (seats, change):
        assert client.get(page).status_code == client.post(page, {"seats": "5"}).status_code == 403
    assert nothing_happened(subscription)


def test_nobody_else_gets_at_it(
    client: Client, stage: Stage, subscription: Subscription, seats: str, change: str
) -> None:
    for page in (seats, change):
        assert client.get(page)["Location"].startswith("/login")
        assert client.post(page, {"seats": "5"})["Location"].startswith("/login")
    client.force_login(stage.mallory)
    for page in (seats, change):
        assert client.get(page).status_code == client.post(page, {"seats": "5"}).status_code == 404
    assert nothing_happened(subscription)


def test_resuming_after_the_period_has_ended_begins_a_new_one_that_day(
    alice: Client, meadow: Account, subscription: Subscription, seats: str
) -> None:
    plan = seats.removesuffix("/seats")
    pause_cancel.pause(subscription_id=subscription.pk, reference="p", actor="test", now=CHANGED_AT)
    back_at = datetime(2026, 6, 15, 9, tzinfo=BEGAN_AT.tzinfo)
    wait_until(meadow, back_at)
    text = text_of(alice.get(plan))
    assert "Paused since 11 April 2026" in text
    assert "Resuming begins a new period today, with an invoice at once" in text
    form = {"act": "resume", "token": str(uuid.uuid4())}
    for _ in range(2):
        assert "Team goes on." in text_of(alice.post(plan, form, follow=True))
    work(meadow, back_at)
    subscription.refresh_from_db()
    assert (subscription.state, subscription.period_number) == ("active", 2)
    assert subscription.period_starts_at == back_at
    assert subscription.period_ends_at == datetime(2026, 7, 15, tzinfo=BEGAN_AT.tzinfo)
    first, second = Invoice.objects.order_by("pk")
    assert (second.total, second.state, second.created_at) == (first.total, "paid", back_at)
    assert "Time day 1 of 30, until 15 Jul" in text_of(alice.get(plan))


def test_resuming_without_an_issuer_is_told_and_changes_nothing(
    alice: Client, meadow: Account, subscription: Subscription, seats: str
) -> None:
    plan = seats.removesuffix("/seats")
    pause_cancel.pause(subscription_id=subscription.pk, reference="p", actor="test", now=CHANGED_AT)
    subscription.refresh_from_db()
    wait_until(meadow, datetime(2026, 6, 15, 9, tzinfo=BEGAN_AT.tzinfo))
    Issuer.objects.update(is_default=False)
    text = text_of(alice.post(plan, {"act": "resume", "token": str(uuid.uuid4())}, follow=True))
    assert "the seller's details are missing" in text
    assert nothing_happened(subscription)


def test_a_change_that_waited_is_withdrawn_by_another_and_the_page_says_so(
    alice: Client, subscription: Subscription, seats: str, change: str
) -> None:
    small = make_plan("small", prices={"USD": {"fee": "9"}})
    here = change.replace("large", "small")
    alice.post(here, form_of(alice.get(here, follow=True), seats="0"))
    assert ScheduledChange.objects.get(applied_at=None, withdrawn_at=None).plan_version == small
    page = alice.get(change, follow=True)
    assert "Withdrawn by this" in text_of(page)
    assert "Your plan is Large now." in text_of(alice.post(change, form_of(page, seats="0"), follow=True))
    assert not ScheduledChange.objects.filter(applied_at=None, withdrawn_at=None).exists()
