"""Changes of plans with coupons, monthly credits, overage and trials, with the figures worked by hand."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.accounts.models import Account
from billing.catalog.models import Coupon, PlanVersion, RateCardAssignment
from billing.invoicing import settling
from billing.invoicing.models import Invoice, InvoiceLine, PendingItem
from billing.invoicing.tax_models import TaxRate
from billing.ledger import pools, posting
from billing.ledger.models import CreditPool
from billing.notifications.models import Notification
from billing.subscriptions.lifecycle import changes
from billing.subscriptions.models import OverageCharge, Subscription
from tests.factories import make_account, make_issuer, make_meter, make_plan, make_rate_card
from tests.subscriptions.makers import available, run, subscribe, tiers

pytestmark = pytest.mark.django_db

D = Decimal
START = datetime(2026, 1, 1, 8, tzinfo=UTC)


@pytest.fixture
def acme() -> Account:
    """An account in Berlin that pays by bank transfer."""
    make_issuer(rates={"DE": "0"})
    return make_account("acme", time_zone="Europe/Berlin", now=START)


def plan(key: str, fee: str, credits: int, *, overage: str = "", **fields: object) -> PlanVersion:
    """A monthly plan unless told otherwise."""
    price: dict[str, object] = {"fee": fee}
    if overage:
        price["overage_tiers"], fields["policy"] = tiers((None, overage)), "overage"
    return make_plan(key, included_credits=D(credits), prices={"USD": price}, **fields)


def change(subscription: Subscription, now: datetime, version: PlanVersion, **asked: object) -> list[Decimal]:
    """A change that does what its preview says; the amounts of its invoice."""
    given = {"subscription_id": subscription.pk, "plan_version_id": version.pk, "now": now, **asked}
    told = changes.preview(**given)
    changes.change(reference=f"c:{version}", actor="key:1", **given)
    if told.quote is None:
        return []
    amounts = [line.amount for line in Invoice.objects.latest("pk").lines.all()]
    assert amounts == [line.amount for line in told.quote.lines]
    return amounts


def noon(day: int, month: int = 1) -> datetime:
    """Noon of a day of 2026."""
    return datetime(2026, month, day, 12, tzinfo=UTC)


def spend(account: Account, credits: int, now: datetime) -> None:
    """Credits of the main pool, spent."""
    pool = pools.get_main_pool(account.pk)
    posting.spend(pool_id=pool.pk, credits=D(credits), reference=f"s:{now}", now=now)


@pytest.mark.parametrize(
    ("is_for_all", "amounts"), [(True, [-21, D("4.20"), 42, D("-8.40")]), (False, [-21, D("4.20"), 42])]
)
def test_a_discount_goes_with_the_days_that_it_was_for(acme, is_for_all, amounts):
    small, large = plan("small", "31.00", 310), plan("large", "62.00", 620)
    coupon = Coupon.objects.create(code="OFF", name="Off", percent=D(20), duration_periods=1, created_at=START)
    if not is_for_all:
        coupon.plans.add(small.plan)
    subscription = subscribe(acme, small, coupon_code="OFF", now=START)
    # 31.00 less 6.20, and 62.00 less 12.40, for 21 of 31 days.
    assert change(subscription, noon(11), large) == amounts
    # The coupon was for one period, and is not used again by a change in it.
    run(noon(1, 2))
    assert Invoice.objects.latest("pk").subtotal == 62


def test_an_amount_off_is_taken_off_once_a_period_however_often_it_changes(acme):
    small, large = plan("small", "31.00", 310), plan("large", "62.00", 620)
    Coupon.objects.create(code="OFF", name="Off", amount=D("6.20"), currency="USD", created_at=START)
    subscription = subscribe(acme, small, coupon_code="OFF", now=START)
    assert change(subscription, noon(11), large) == [-21, D("4.20"), 42, D("-4.20")]


def test_the_months_of_a_year_have_the_new_credits_and_all_credits_cost_what_was_billed(acme):
    old = plan("old", "365.00", 310, interval="year", grants_monthly=True)
    new = plan("new", "730.00", 620, interval="year", grants_monthly=True)
    subscription = subscribe(acme, old, now=START)
    # 355 of 365 days are left of the year, 21 of 31 of January's credits.
    assert change(subscription, noon(11), new) == [-355, 710]
    assert available(acme, noon(11)) == 310 + 210
    live = subscription.allocations.filter(cancelled_at=None)
    # What is promised stays, on the invoice that pays for it.
    assert live.count() == 1 + 1 + 11 + 11
    assert round(sum(row.credits * row.cost_basis for row in live), 2) == 365 + 355
    for invoice in Invoice.objects.all():
        settling.settle(invoice_id=invoice.pk, amount=invoice.owed, now=noon(11))
    run(noon(1, 2))
    assert available(acme, noon(1, 2)) == 620
    run(noon(1, 3))
    assert (available(acme, noon(1, 3)), Invoice.objects.count()) == (620, 2)


def test_however_often_seats_were_added_each_month_brings_the_credits_of_all(acme):
    fields = {"interval": "year", "grants_monthly": True, "credits_per_seat": D(10)}
    prices = {"USD": {"fee": "365.00", "seat_price": "36.50"}}
    version = make_plan("seats", included_credits=D(100), prices=prices, **fields)
    subscription = subscribe(acme, version, now=START)
    for seats in range(1, 13):
        changes.change(
            subscription_id=subscription.pk, plan_version_id=version.pk, seats=seats, when="now", actor="t",
            reference=f"s:{seats}", by_staff=True, now=noon(1 + seats),
        )  # fmt: skip
    assert run(noon(1, 2)).parked == ()
    assert available(acme, noon(1, 2)) == 220


def test_what_was_metered_before_is_billed_by_the_terms_before(acme):
    small, large = plan("small", "31.00", 310, overage="0.10"), plan("large", "62.00", 620, overage="0.05")
    subscription = subscribe(acme, small, now=START)
    spend(acme, 330, noon(5))
    assert change(subscription, noon(11), large) == [2, -21, 42]
    assert OverageCharge.objects.get().credits == 20
    spend(acme, 230, noon(12))
    run(noon(1, 2))
    assert [line.amount for line in Invoice.objects.latest("pk").lines.all()] == [1, 62]


def test_a_minimum_is_weighted_by_the_days_it_was_agreed_for(acme):
    small = make_plan("small", prices={"USD": {"fee": "0", "minimum": "31.00"}})
    large = make_plan("large", prices={"USD": {"fee": "0", "minimum": "62.00"}})
    subscription = subscribe(acme, small, now=START)
    assert change(subscription, noon(11), large) == []
    run(noon(1, 2))
    # Ten days at 1.00 and 21 at 2.00.
    assert Invoice.objects.get().subtotal == 52


def test_a_minimum_ends_with_a_period_that_another_interval_ends(acme):
    small = make_plan("small", prices={"USD": {"fee": "0", "minimum": "31.00"}})
    yearly = plan("yearly", "365.00", 100, interval="year")
    assert change(subscribe(acme, small, now=START), noon(11), yearly, when="now") == [10, 365]


def test_a_change_in_a_trial_costs_nothing_and_the_trial_goes_on(acme):
    small = plan("small", "31.00", 310, trial_days=14, trial_credits=D(50))
    large = plan("large", "62.00", 620, policy="burst", burst_limit=D(10))
    subscription = subscribe(acme, small, now=START)
    assert change(subscription, noon(5), large) == []
    subscription.refresh_from_db()
    assert (subscription.state, subscription.plan_version, available(acme, noon(5))) == ("trialing", large, 50)
    assert CreditPool.objects.get().policy == "block"
    run(noon(16))
    assert CreditPool.objects.get().policy == "burst"
    assert (Invoice.objects.get().subtotal, available(acme, noon(16))) == (62, 620)


def test_pool_rate_card_and_people_follow_a_change(acme):
    small, large = plan("small", "31.00", 310), None
    card = make_rate_card({make_meter(): "1"}, "large", is_default=False)
    large = plan("large", "62.00", 620, overage="0.05", rate_card=card)
    change(subscribe(acme, small, now=START), noon(11), large)
    assert CreditPool.objects.get().policy == "overage"
    assigned = RateCardAssignment.objects.get(ends_at=None)
    assert (assigned.rate_card, assigned.starts_at) == (card, noon(11))
    told = Notification.objects.get(kind="plan_changed").payload
    assert (told["plan_name"], told["previous_plan_name"], told["credits"]) == ("Large", "Small", "620.000000")


def test_people_are_told_of_a_change_that_waits(acme):
    small, large = plan("small", "31.00", 310), plan("large", "62.00", 620)
    subscription = subscribe(acme, large, now=START)
    change(subscription, noon(11), small)
    told = Notification.objects.get(kind="change_scheduled").payload
    assert (told["plan_name"], told["ends_at"]) == ("Small", subscription.period_ends_at.isoformat())


def test_credits_that_are_only_promised_are_given_up_first(acme):
    small, large = plan("small", "31.00", 310), plan("large", "62.00", 620)
    subscription = subscribe(acme, small, now=START)
    settling.settle(invoice_id=Invoice.objects.get().pk, amount=D(31), now=START)
    Subscription.objects.update(collection="automatic")
    change(subscription, noon(11), large)
    promised = subscription.allocations.get(granted_at=None)
    assert (promised.credits, promised.waits_for_payment, available(acme, noon(11))) == (210, True, 310)
    change(subscription, noon(11), small, when="now", by_staff=True)
    promised.refresh_from_db()
    assert (promised.cancelled_at, available(acme, noon(11))) == (noon(11), 310)
    assert sum(InvoiceLine.objects.values_list("amount", flat=True)) == 31 + 21


def test_prices_with_tax_in_them_are_prorated_as_they_are_to_be_paid(acme):
    TaxRate.objects.update(percent=19)
    small = plan("small", "59.50", 310, prices_include_tax=True)
    large = plan("large", "119.00", 620, prices_include_tax=True)
    subscription = subscribe(acme, small, now=START)
    change(subscription, noon(11), large)
    # For 21 of 31 days: 119.00 - 38.39 less 59.50 - 19.19, tax and all.
    invoice = Invoice.objects.latest("pk")
    assert (invoice.total, invoice.subtotal + invoice.tax_total) == (D("40.30"), D("40.30"))
    lot = subscription.allocations.get(kind="allocation", reference__endswith=":c1:1")
    assert round(lot.credits * lot.cost_basis, 2) == invoice.subtotal
    # And back: what is left to pay comes off the next invoice, tax and all.
    change(subscription, noon(11), small, when="now", by_staff=True)
    item = PendingItem.objects.get(invoice_line=None)
    assert (item.amount, item.includes_tax) == (D("-40.30"), True)
    run(noon(1, 2))
    assert Invoice.objects.latest("pk").total == D("59.50") - D("40.30")
