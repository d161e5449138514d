"""What becomes of a change that waits for the end of a period when something else happens first."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.accounts.models import Account
from billing.catalog.models import DunningPolicy
from billing.invoicing.models import Invoice
from billing.notifications.models import Notification
from billing.payments import paying
from billing.subscriptions.lifecycle import changes, pause_cancel
from billing.subscriptions.models import Subscription
from tests.factories import NOW, make_plan
from tests.subscriptions.makers import add_card, available, make_team, run, subscribe

pytestmark = pytest.mark.django_db

D = Decimal
APRIL = datetime(2025, 3, 31, 22, tzinfo=UTC)
MAY = datetime(2025, 4, 30, 22, tzinfo=UTC)
DAY = timedelta(days=1)
DECLINED = "4000000000000002"


def make_policy(final_act: str, **fields: object) -> DunningPolicy:
    """Tries after three days, and ends after seven."""
    return DunningPolicy.objects.create(
        key=final_act, name=final_act, retry_days=[3], final_days=7, final_act=final_act, created_at=NOW, **fields
    )


def act(do, subscription: Subscription, now: datetime, **fields: object) -> None:
    do(subscription_id=subscription.pk, reference=f"{do.__name__}:{now}", actor="user:1", now=now, **fields)
    subscription.refresh_from_db()


def told(subscription: Subscription) -> list[tuple[str, str, str]]:
    """What its history says after its beginning: act, plan, by whom."""
    rows = subscription.changes.exclude(act__in=("subscribe", "activate", "renew", "past_due")).order_by("pk")
    return [(row.act, row.to_version.plan.key if row.to_version else "", row.actor) for row in rows]


def pay(account: Account, now: datetime) -> None:
    method = account.payment_methods.get(last4="4242")
    invoice = Invoice.objects.filter(state="open").earliest("pk")
    paying.pay(invoice_id=invoice.pk, method_id=method.pk, key=f"pay:{now}", off_session=False, now=now)


def test_a_preview_tells_which_planned_change_it_withdraws(account):
    large = make_plan("large", included_credits=D(3000), prices={"USD": {"fee": "150.00"}})
    small = make_plan("small", included_credits=D(100), prices={"USD": {"fee": "5.00"}})
    subscription = subscribe(account, make_team())
    asked = {"subscription_id": subscription.pk, "now": NOW + 2 * DAY}
    assert changes.preview(plan_version_id=large.pk, **asked).withdraws is None
    act(changes.change, subscription, NOW + DAY, plan_version_id=small.pk)
    for when in ("now", "period_end"):
        found = changes.preview(plan_version_id=large.pk, when=when, **asked).withdraws
        assert found is not None
        assert (found.plan_version, found.seats, found.subscription.period_ends_at) == (small, 0, APRIL)
    assert subscription.scheduled_changes.get().withdrawn_at is None


@pytest.mark.parametrize(
    ("does", "asked", "last"),
    [
        (changes.change, {"seats": 3, "when": "now"}, ("change", "team", "user:1")),
        (changes.change, {"seats": 3, "when": "period_end"}, ("schedule", "team", "user:1")),
        (pause_cancel.pause, {}, ("pause", "", "user:1")),
        (pause_cancel.cancel, {}, ("cancel", "", "user:1")),
        (pause_cancel.cancel, {"when": "now"}, ("end", "", "user:1")),
    ],
)
def test_what_withdraws_a_planned_change_says_so_in_the_history(account, does, asked, last):
    small = make_plan("small", included_credits=D(100), prices={"USD": {"fee": "5.00"}})
    subscription = subscribe(account, make_team(seats_max=None))
    act(changes.change, subscription, NOW + DAY, plan_version_id=small.pk)
    act(does, subscription, NOW + 2 * DAY, **asked)
    found = told(subscription)
    assert found.count(("unschedule", "small", "user:1")) == 1
    assert last in found
    first = subscription.scheduled_changes.earliest("pk")
    assert (first.withdrawn_at, first.applied_at) == (NOW + 2 * DAY, None)


def test_withdrawing_it_is_told_once(account):
    small = make_plan("small", included_credits=D(100), prices={"USD": {"fee": "5.00"}})
    subscription = subscribe(account, make_team())
    act(changes.change, subscription, NOW + DAY, plan_version_id=small.pk)
    act(pause_cancel.withdraw_scheduled, subscription, NOW + 2 * DAY)
    act(pause_cancel.withdraw_scheduled, subscription, NOW + 2 * DAY)
    assert told(subscription) == [("schedule", "small", "user:1"), ("unschedule", "small", "user:1")]


def test_a_pause_for_want_of_payment_that_outlasts_its_period_goes_on_as_was_planned(account):
    small = make_plan("small", included_credits=D(100), prices={"USD": {"fee": "5.00"}})
    add_card(account)
    subscription = subscribe(account, make_team(dunning_policy=make_policy("pause")), collection="automatic")
    run(NOW)
    add_card(account, DECLINED)
    run(APRIL)
    act(changes.change, subscription, APRIL + DAY, plan_version_id=small.pk)
    run(APRIL + 8 * DAY)
    run(MAY + DAY)
    subscription.refresh_from_db()
    assert (subscription.state, subscription.next_due_at) == ("paused", None)
    paid_at = MAY + 10 * DAY
    pay(account, paid_at)
    run(paid_at)
    subscription.refresh_from_db()
    assert (subscription.state, subscription.plan_version, subscription.period_starts_at) == ("active", small, paid_at)
    assert Invoice.objects.latest("pk").subtotal == D("5.00")
    assert available(account, paid_at) == 100
    assert subscription.scheduled_changes.get().applied_at == paid_at
    assert told(subscription)[-2:] == [("change", "small", "user:1"), ("resume", "", "system")]
    assert Notification.objects.get(kind="plan_changed").payload["previous_plan_name"] == "Team"


def test_a_pause_that_ends_within_its_period_leaves_the_planned_change_to_the_renewal(account):
    small = make_plan("small", included_credits=D(100), prices={"USD": {"fee": "5.00"}})
    add_card(account)
    subscription = subscribe(account, make_team(dunning_policy=make_policy("pause")), collection="automatic")
    run(NOW)
    add_card(account, DECLINED)
    run(APRIL)
    act(changes.change, subscription, APRIL + DAY, plan_version_id=small.pk)
    run(APRIL + 8 * DAY)
    pay(account, APRIL + 9 * DAY)
    run(APRIL + 9 * DAY)
    subscription.refresh_from_db()
    assert (subscription.state, subscription.plan_version.plan.key) == ("active", "team")
    run(MAY)
    subscription.refresh_from_db()
    assert (subscription.plan_version, Invoice.objects.latest("pk").subtotal) == (small, D("5.00"))


def test_a_downgrade_for_want_of_payment_leaves_what_its_customer_has_paused_paused(account):
    basic = make_plan("basic", included_credits=D(100), prices={"USD": {"fee": "5.00"}})
    version = make_team(dunning_policy=make_policy("downgrade", downgrade_to=basic.plan))
    subscription = subscribe(account, version)
    act(pause_cancel.pause, subscription, NOW + DAY)
    overdue = Invoice.objects.get().due_at
    run(overdue)
    lapsed = overdue + 8 * DAY
    run(lapsed)
    subscription.refresh_from_db()
    assert (subscription.state, subscription.plan_version, subscription.next_due_at) == ("paused", basic, None)
    assert (Invoice.objects.count(), available(account, lapsed), subscription.period_ends_at <= lapsed) == (1, 0, True)
    assert Notification.objects.get(kind="subscription_lapsed").payload["new_plan_name"] == "Basic"
    for days in range(1, 60, 5):
        run(lapsed + days * DAY)
    assert Invoice.objects.count() == 1
    later = lapsed + 60 * DAY
    act(pause_cancel.resume, subscription, later)
    assert (subscription.state, subscription.period_number, subscription.period_starts_at) == ("active", 2, later)
    assert [each.subtotal for each in Invoice.objects.order_by("pk")] == [D("50.00"), D("5.00")]
    assert available(account, later) == 100
