"""What happens to a subscription while something else is under way: dunning, another time zone, a voided invoice."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.accounts.models import Account
from billing.catalog.models import Coupon, DunningPolicy
from billing.invoicing import pending
from billing.invoicing.models import Invoice, PendingItem
from billing.ledger import pools, posting
from billing.payments import paying, voiding
from billing.subscriptions.lifecycle import changes, pause_cancel, subscribing
from billing.subscriptions.models import Subscription
from tests.factories import NOW, make_plan
from tests.subscriptions.makers import add_card, available, make_team, run, subscribe

pytestmark = pytest.mark.django_db

APRIL = datetime(2025, 3, 31, 22, tzinfo=UTC)
MAY = datetime(2025, 4, 30, 22, tzinfo=UTC)
DAY = timedelta(days=1)
DECLINED = "4000000000000002"


def make_policy(final_act: str, **fields: object) -> DunningPolicy:
    """Tries after three days, and ends after seven."""
    return DunningPolicy.objects.create(
        key=final_act, name=final_act, retry_days=[3], final_days=7, final_act=final_act, created_at=NOW, **fields
    )


def fail_in_april(account: Account, dunning: DunningPolicy) -> Subscription:
    """A subscription whose second period the card declines; the first one was paid with another."""
    add_card(account)
    subscription = subscribe(account, make_team(dunning_policy=dunning), collection="automatic")
    run(NOW)
    add_card(account, DECLINED)
    run(APRIL)
    return subscription


def pay(account: Account, now: datetime) -> None:
    method = account.payment_methods.get(last4="4242")
    invoice = Invoice.objects.filter(state="open").earliest("pk")
    paying.pay(invoice_id=invoice.pk, method_id=method.pk, key=f"pay:{now}", off_session=False, now=now)


def spend(account: Account, credits: int, now: datetime) -> None:
    pool = pools.get_main_pool(account.pk)
    posting.spend(pool_id=pool.pk, credits=Decimal(credits), reference=f"s:{now}", now=now)


def act(do, subscription: Subscription, now: datetime, **fields: object) -> None:
    do(subscription_id=subscription.pk, reference=f"{do.__name__}:{now}", actor="test", now=now, **fields)


def test_what_was_cancelled_stays_cancelled_when_dunning_pauses_it(account):
    subscription = fail_in_april(account, make_policy("pause"))
    act(pause_cancel.cancel, subscription, APRIL + DAY)
    run(APRIL + 8 * DAY)
    subscription.refresh_from_db()
    account.refresh_from_db()
    assert (subscription.state, account.paused_at) == ("cancelled", APRIL + 8 * DAY)
    pay(account, APRIL + 9 * DAY)
    run(APRIL + 9 * DAY)
    run(MAY)
    subscription.refresh_from_db()
    account.refresh_from_db()
    assert (subscription.state, account.paused_at, Invoice.objects.count()) == ("ended", None, 2)


def test_taking_back_a_cancellation_does_not_end_the_pause_of_what_is_unpaid(account):
    subscription = fail_in_april(account, make_policy("pause"))
    run(APRIL + 8 * DAY)
    act(pause_cancel.cancel, subscription, APRIL + 9 * DAY)
    act(pause_cancel.reactivate, subscription, APRIL + 10 * DAY)
    subscription.refresh_from_db()
    assert subscription.state == "paused"
    pay(account, APRIL + 11 * DAY)
    run(APRIL + 11 * DAY)
    subscription.refresh_from_db()
    assert subscription.state == "active"


def test_paying_does_not_take_up_what_the_customer_has_paused(account):
    version = make_team(dunning_policy=make_policy("pause"))
    subscription = subscribe(account, version)
    act(pause_cancel.pause, subscription, NOW + DAY)
    overdue = Invoice.objects.get().due_at
    run(overdue)
    run(overdue + 8 * DAY)
    account.refresh_from_db()
    assert account.paused_at is not None
    add_card(account, now=overdue)
    pay(account, overdue + 9 * DAY)
    run(overdue + 9 * DAY)
    subscription.refresh_from_db()
    account.refresh_from_db()
    assert (subscription.state, account.paused_at, Invoice.objects.count()) == ("paused", None, 1)


def test_what_is_resumed_while_an_invoice_is_overdue_is_past_due(account):
    subscription = subscribe(account, make_team(dunning_policy=make_policy("keep")))
    act(pause_cancel.pause, subscription, NOW + DAY)
    overdue = Invoice.objects.get().due_at
    run(overdue)
    act(pause_cancel.resume, subscription, overdue + DAY)
    subscription.refresh_from_db()
    assert subscription.state == "past_due"


def test_voiding_the_invoice_that_paused_it_lets_it_go_on(account):
    subscription = fail_in_april(account, make_policy("pause"))
    run(APRIL + 8 * DAY)
    voiding.void(invoice_id=Invoice.objects.get(state="open").pk, now=APRIL + 9 * DAY)
    run(APRIL + 9 * DAY)
    subscription.refresh_from_db()
    account.refresh_from_db()
    assert (subscription.state, account.paused_at) == ("active", None)


def test_credits_that_were_used_are_not_paid_for_with_a_change_back(account):
    add_card(account)
    small, large = make_team(), make_plan("large", included_credits=50_000, prices={"USD": {"fee": "2000.00"}})
    subscription = subscribe(account, small, collection="automatic")
    run(NOW)
    act(changes.change, subscription, NOW + DAY, plan_version_id=large.pk)
    run(NOW + DAY)
    spend(account, 40_000, NOW + DAY)
    later = NOW + DAY + timedelta(hours=1)
    with pytest.raises(changes.CreditsUsed):
        act(changes.change, subscription, later, plan_version_id=small.pk, when="now")
    subscription.refresh_from_db()
    assert (subscription.plan_version, PendingItem.objects.count()) == (large, 0)
    act(changes.change, subscription, later, plan_version_id=small.pk)
    assert subscription.scheduled_changes.get().plan_version == small


def test_credits_that_are_paid_for_come_although_more_of_them_are_not(account):
    add_card(account)
    version = make_team(
        interval="year", grants_monthly=True, credits_per_seat=Decimal(100), seats_max=None,
        prices={"USD": {"fee": "600.00", "seat_price": "60.00"}},
    )  # fmt: skip
    subscription = subscribe(account, version, collection="automatic")
    run(NOW)
    add_card(account, DECLINED)
    act(changes.change, subscription, NOW + DAY, seats=5)
    run(APRIL)
    assert available(account, APRIL) == 1000
    pay(account, APRIL + DAY)
    run(APRIL + DAY)
    assert available(account, APRIL + DAY) == 1500
    run(MAY)
    assert available(account, MAY) == 1500


def test_what_was_cancelled_ends_where_others_are_downgraded(account):
    free = make_plan("free", included_credits=Decimal(10), prices={"USD": {"fee": "5.00"}})
    subscription = fail_in_april(account, make_policy("downgrade", downgrade_to=free.plan))
    act(pause_cancel.cancel, subscription, APRIL + DAY)
    run(APRIL + 8 * DAY)
    subscription.refresh_from_db()
    assert (subscription.state, Invoice.objects.count()) == ("ended", 2)


def test_what_can_go_down_to_no_plan_of_its_currency_ends(account):
    abroad = make_plan("abroad", prices={"EUR": {"fee": "5.00"}})
    subscription = fail_in_april(account, make_policy("downgrade", downgrade_to=abroad.plan))
    run(APRIL + 8 * DAY)
    subscription.refresh_from_db()
    assert (subscription.state, Invoice.objects.latest("pk").state) == ("ended", "uncollectible")


def test_a_downgrade_for_want_of_payment_withdraws_what_was_scheduled(account):
    free = make_plan("free", included_credits=Decimal(10), prices={"USD": {"fee": "0"}})
    small = make_plan("small", included_credits=Decimal(500), prices={"USD": {"fee": "20.00"}})
    subscription = fail_in_april(account, make_policy("downgrade", downgrade_to=free.plan))
    act(changes.change, subscription, APRIL + DAY, plan_version_id=small.pk, when="period_end")
    run(APRIL + 8 * DAY)
    run(MAY + 10 * DAY)
    subscription.refresh_from_db()
    assert (subscription.plan_version, Invoice.objects.count()) == (free, 2)


def test_credits_on_an_invoice_that_becomes_void_are_pending_again(account):
    pending.add(
        account_id=account.pk, currency="USD", reference="c", description="c", amount=Decimal("-20.00"), now=NOW
    )
    subscription = subscribe(account, make_team(), collection="automatic")
    assert Invoice.objects.get().subtotal == Decimal("30.00")
    run(NOW + DAY)
    subscription.refresh_from_db()
    assert (subscription.state, Invoice.objects.get().state) == ("ended", "void")
    left = pending.list_open(account_id=account.pk, currency="USD")
    assert [item.amount for item in left] == [Decimal("-20.00")]
    assert PendingItem.objects.count() == 2


def test_a_trial_is_given_once(account):
    version = make_team(trial_days=14, trial_credits=Decimal(100))
    subscription = subscribe(account, version)
    assert (subscription.state, available(account, NOW)) == ("trialing", Decimal(100))
    act(pause_cancel.cancel, subscription, NOW + DAY, when="now")
    again = subscribing.preview(account_id=account.pk, plan_version_id=version.pk, seats=0, now=NOW + 2 * DAY)
    assert again.trial_ends_at is None
    assert again.quote is not None
    second = subscribe(account, version, now=NOW + 2 * DAY)
    assert (second.state, second.period_number, Invoice.objects.count()) == ("active", 1, 1)


def test_a_coupon_is_redeemed_once_by_an_account(account):
    Coupon.objects.create(
        code="FIRST", name="First month", percent=100, duration_periods=1, is_active=True, created_at=NOW
    )
    version = make_team()
    subscription = subscribe(account, version, coupon_code="FIRST")
    act(pause_cancel.cancel, subscription, NOW + DAY, when="now")
    with pytest.raises(subscribing.CouponRefused):
        subscribe(account, version, now=NOW + DAY, coupon_code="FIRST")


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_months_of_credits_go_on_in_another_time_zone(account, zone):
    version = make_team(
        interval="year", grants_monthly=True, policy="overage", overage_unit=1,
        prices={"USD": {"fee": "600.00", "overage_tiers": [{"up_to": None, "price": "1"}]}},
    )  # fmt: skip
    add_card(account)
    subscription = subscribe(account, version, collection="automatic")
    run(NOW)
    run(NOW + 31 * DAY)
    spend(account, 1100, NOW + 35 * DAY)
    run(NOW + 70 * DAY)
    account.time_zone = zone
    account.save()
    spend(account, 1200, NOW + 71 * DAY)
    for day in range(72, 360):
        # Months of credits begin on the first or the last day of a month.
        if (moment := NOW + day * DAY).day >= 28 or moment.day <= 4:
            run(moment)
    subscription.refresh_from_db()
    assert (subscription.problem, subscription.parked_at) == ("", None)
    assert subscription.allocations.exclude(granted_at=None).count() == 12
    totals = Invoice.objects.order_by("pk").values_list("subtotal", flat=True)
    assert list(totals) == [Decimal(600), Decimal(100), Decimal(200)]
