"""Prices agreed with one account: for one plan, in their time, as previews tell them and invoices bill them."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.accounts.models import Account
from billing.catalog.models import Coupon, PlanVersion
from billing.invoicing.models import Invoice
from billing.subscriptions.agreement import contracts
from billing.subscriptions.agreement.contracts import Agreed
from billing.subscriptions.lifecycle import changes, subscribing
from billing.subscriptions.models import Subscription
from tests.factories import make_plan
from tests.subscriptions.makers import START, run, subscribe

pytestmark = pytest.mark.django_db

D = Decimal


@pytest.fixture
def large() -> PlanVersion:
    """62.00 a month for 620 credits: twice the small one."""
    return make_plan("large", included_credits=D(620), prices={"USD": {"fee": "62.00"}})


def noon(day: int, month: int = 1) -> datetime:
    return datetime(2026, month, day, 12, tzinfo=UTC)


def agree(account: Account, version: PlanVersion, fee: str, starts_at: datetime, now: datetime = START) -> None:
    """A fee for a plan, for periods that begin from then on."""
    contracts.agree(
        account_id=account.pk, agreed=Agreed(version.plan_id, "USD", fee=D(fee)), starts_at=starts_at, ends_at=None,
        note="Order 7", actor="t", now=now,
    )  # fmt: skip


def change(subscription: Subscription, version: PlanVersion, now: datetime, **asked: object) -> changes.ChangePreview:
    """A change that a customer makes, as its preview told it."""
    given = {"subscription_id": subscription.pk, "plan_version_id": version.pk, "now": now, **asked}
    told = changes.preview(**given)
    changes.change(reference=f"c:{version}:{now}", actor="key:1", expected_total=told.total, **given)
    return told


def last_bill() -> Decimal:
    return Invoice.objects.latest("pk").subtotal


def test_what_is_agreed_for_one_plan_makes_no_other_cheaper(acme, small, large):
    agree(acme, small, "10.00", START)
    subscription = subscribe(acme, small, now=START)
    assert last_bill() == 10
    told = change(subscription, large, noon(11))
    # 21 of 31 days: 42.00 of 62.00 less 6.77 of 10.00.
    assert (told.when, told.total, last_bill(), told.renewal.total) == ("now", D("35.23"), D("35.23"), 62)
    run(noon(1, 2))
    assert last_bill() == 62
    # Back with the plan that they are agreed for, they hold again.
    assert change(subscription, small, noon(2, 2)).renewal.total == 10
    run(noon(1, 3))
    assert last_bill() == 10


def test_a_change_at_the_end_of_the_period_tells_the_price_agreed_for_the_next(acme, small, large):
    subscription = subscribe(acme, large, now=START)
    agree(acme, small, "29.00", noon(20))
    told = change(subscription, small, noon(11))
    run(noon(1, 2))
    assert (told.when, told.renewal.total, last_bill()) == ("period_end", 29, 29)


def test_a_change_today_tells_the_price_agreed_for_the_next_period(acme, small, large):
    subscription = subscribe(acme, small, now=START)
    agree(acme, large, "50.00", noon(20))
    told = change(subscription, large, noon(11))
    # 21 of 31 days at the price of this period's list, 62.00 and 31.00.
    assert (told.total, told.renewal.total) == (21, 50)
    run(noon(1, 2))
    assert last_bill() == 50


def test_a_trial_tells_the_price_agreed_for_its_end(acme):
    tried = make_plan("tried", prices={"USD": {"fee": "31.00"}}, trial_days=14)
    agree(acme, tried, "20.00", noon(10))
    told = subscribing.preview(account_id=acme.pk, plan_version_id=tried.pk, seats=0, now=START)
    subscribe(acme, tried, now=START)
    run(noon(16))
    assert (told.price.total, last_bill()) == (20, 20)


@pytest.mark.parametrize(("periods", "then"), [(3, 62), (None, None)])
def test_the_price_after_a_coupon_is_told_where_it_ends(acme, small, large, periods, then):
    Coupon.objects.create(code="HALF", name="Half", percent=D(50), duration_periods=periods, created_at=START)
    asked = {"account_id": acme.pk, "plan_version_id": large.pk, "seats": 0, "coupon_code": "HALF", "now": START}
    first = subscribing.preview(**asked)
    subscription = subscribe(acme, small, coupon_code="HALF", now=START)
    told = change(subscription, large, noon(11))
    for each, price in ((first, first.price), (told, told.renewal)):
        assert (price.total, each.after_coupons and each.after_coupons.total) == (31, then)


def test_a_period_that_begins_today_uses_the_coupons_last_one(acme, small):
    yearly = make_plan("yearly", prices={"USD": {"fee": "365.00"}}, interval="year", included_credits=D(365))
    Coupon.objects.create(code="HALF", name="Half", percent=D(50), duration_periods=2, created_at=START)
    subscription = subscribe(acme, small, coupon_code="HALF", now=START)
    told = change(subscription, yearly, noon(11), when="now")
    # Half of the year, less half of 21 of the 31 days at 1.00.
    assert (told.total, told.renewal.total, told.after_coupons) == (D("172.00"), 365, None)
