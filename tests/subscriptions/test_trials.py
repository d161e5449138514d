"""From trial to paid, and the reminder before."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.invoicing.models import Invoice
from billing.ledger import pools, posting
from billing.ledger.burn import InsufficientCredits
from billing.notifications.models import Notification
from billing.subscriptions.models import SubscriptionPeriod
from billing.subscriptions.renewal import renewals, trial_reminders
from tests.factories import NOW
from tests.subscriptions.makers import add_card, available, make_team, run, subscribe, tiers

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
TRIAL_ENDS = datetime(2025, 3, 14, 23, tzinfo=UTC)


def make_trial():
    return make_team(trial_days=14, trial_credits=Decimal(100))


def test_a_trial_becomes_paid_and_its_credits_end(account):
    add_card(account)
    subscription = subscribe(account, make_trial(), collection="automatic")
    assert available(account, NOW) == 100
    run(TRIAL_ENDS - DAY)
    assert not Invoice.objects.exists()
    run(TRIAL_ENDS)
    subscription.refresh_from_db()
    assert (subscription.state, subscription.period_number) == ("active", 1)
    assert (subscription.period_starts_at, subscription.anchor_on.isoformat()) == (TRIAL_ENDS, "2025-03-15")
    assert Invoice.objects.get().state == "paid"
    assert available(account, TRIAL_ENDS) == 1000
    numbers = SubscriptionPeriod.objects.order_by("number").values_list("number", "fee")
    assert list(numbers) == [(0, 0), (1, 50)]
    run(datetime(2025, 4, 14, 22, tzinfo=UTC))
    assert Invoice.objects.count() == 2


def test_a_free_trial_ends_with_its_credits_and_what_follows_is_metered(account):
    add_card(account)
    prices = {"USD": {"fee": "50.00", "overage_tiers": tiers((None, "0.10"))}}
    plan = make_team(trial_days=14, trial_credits=Decimal(100), policy="overage", overage_cap=Decimal(9), prices=prices)
    subscribe(account, plan, collection="automatic")
    pool = pools.get_main_pool(account.pk)
    with pytest.raises(InsufficientCredits):
        posting.spend(pool_id=pool.pk, credits=Decimal(101), reference="s:1", now=NOW)
    assert available(account, NOW) == 100
    run(TRIAL_ENDS)
    pool.refresh_from_db()
    assert (pool.policy, pool.overage_cap, Invoice.objects.get().subtotal) == ("overage", 9, 50)


@pytest.mark.parametrize(("credits", "said"), [(0, "yes"), (5, "")])
def test_whether_usage_in_the_trial_is_charged_is_told(account, credits, said):
    prices = {"USD": {"fee": "0", "overage_tiers": tiers((None, "0.10"))}}
    subscribe(account, make_team(trial_days=14, trial_credits=Decimal(credits), policy="overage", prices=prices))
    assert Notification.objects.get(kind="subscription_started").payload["trial_is_charged"] == said


def test_the_first_paid_credits_wait_for_the_payment(account):
    subscription = subscribe(account, make_trial(), collection="automatic")
    run(TRIAL_ENDS)
    subscription.refresh_from_db()
    assert (subscription.state, available(account, TRIAL_ENDS)) == ("past_due", 0)
    add_card(account, now=TRIAL_ENDS + DAY)
    run(TRIAL_ENDS + DAY)
    run(TRIAL_ENDS + DAY)
    subscription.refresh_from_db()
    assert (subscription.state, available(account, TRIAL_ENDS + DAY)) == ("active", 1000)


def test_a_trial_that_was_cancelled_costs_nothing(account):
    subscription = subscribe(account, make_trial(), collection="automatic")
    type(subscription).objects.update(state="cancelled", cancelled_at=NOW)
    assert renewals.run_due(now=TRIAL_ENDS, limit=5).renewed == 1
    subscription.refresh_from_db()
    assert (subscription.state, Invoice.objects.exists()) == ("ended", False)


def test_three_days_before_its_end_the_account_is_told_once(account):
    subscription = subscribe(account, make_trial(), collection="automatic")
    assert trial_reminders.remind_due(now=TRIAL_ENDS - 4 * DAY, limit=5) == 0
    assert trial_reminders.remind_due(now=TRIAL_ENDS - 3 * DAY, limit=5) == 1
    assert trial_reminders.remind_due(now=TRIAL_ENDS - 2 * DAY, limit=5) == 0
    told = Notification.objects.get(kind="trial_ending").payload
    assert told == {
        "plan_name": "Team", "ends_at": TRIAL_ENDS.isoformat(), "currency": "USD", "has_method": "", "total": "59.50",
    }  # fmt: skip
    subscription.refresh_from_db()
    assert subscription.trial_reminded_at == TRIAL_ENDS - 3 * DAY


def test_a_short_trial_is_not_announced_to_end(account):
    subscribe(account, make_team(trial_days=3))
    assert trial_reminders.remind_due(now=NOW + DAY, limit=5) == 0
    assert not Notification.objects.filter(kind="trial_ending").exists()
