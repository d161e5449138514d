"""Pausing, resuming, cancelling, taking that back; coupons; what waits for the end of the period."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.db import connection

from billing.accounts.models import Account
from billing.catalog.models import Coupon, PlanVersion
from billing.invoicing import settling, verification
from billing.invoicing.models import CreditNote, Invoice, PendingItem
from billing.ledger import pools, posting
from billing.ledger.models import CreditPool
from billing.notifications.models import Notification
from billing.payments.models import Collection, Payment, Refund
from billing.payments.sandbox_models import SandboxCard
from billing.subscriptions import guards
from billing.subscriptions.lifecycle import changes, pause_cancel
from billing.subscriptions.lifecycle.pause_cancel import CouponRefused, NotAllowed, NothingScheduled
from billing.subscriptions.models import Subscription, SubscriptionChange
from tests.factories import make_account, make_issuer, make_plan
from tests.subscriptions.makers import add_card, available, run, subscribe, tiers

pytestmark = pytest.mark.django_db

D = Decimal
START = datetime(2026, 1, 1, 8, tzinfo=UTC)
OVERAGE = {"policy": "overage", "prices": {"USD": {"fee": "31.00", "overage_tiers": tiers((None, "0.10"))}}}


@pytest.fixture
def acme() -> Account:
    """An account in Berlin."""
    make_issuer(rates={"DE": "19"})
    return make_account("acme", time_zone="Europe/Berlin", now=START)


@pytest.fixture
def plan() -> PlanVersion:
    """31.00 a month for 310 credits, and 0.10 for each beyond."""
    return make_plan("small", included_credits=D(310), **OVERAGE)


@pytest.fixture
def subscription(acme: Account, plan: PlanVersion) -> Subscription:
    """Since 1 January, paid by card."""
    add_card(acme, now=START)
    made = subscribe(acme, plan, collection="automatic", now=START)
    run(START)
    made.refresh_from_db()
    assert made.state == "active"
    return made


def noon(day: int, month: int = 1) -> datetime:
    """Noon of a day of 2026."""
    return datetime(2026, month, day, 12, tzinfo=UTC)


def act(does, subscription: Subscription, now: datetime, *, reference: str = "l:1", **asked: object):
    """An act by a customer's key."""
    return does(subscription_id=subscription.pk, reference=reference, actor="key:1", now=now, **asked)


def refused(error: type[Exception], does, subscription: Subscription, now: datetime, **asked: object) -> None:
    """The act is refused and writes nothing."""
    before = rows()
    with pytest.raises(error):
        act(does, subscription, now, **asked)
    assert rows() == before


def rows() -> object:
    """What a refused act leaves as it is."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM billing_posting UNION ALL SELECT count(*) FROM billing_notification")
        counts = cursor.fetchall()
    found = [
        list(model.objects.order_by("pk").values()) for model in (Subscription, SubscriptionChange, Invoice, Coupon)
    ]
    return counts, found


def spend(account: Account, credits: int, now: datetime) -> None:
    """Credits of the main pool, spent."""
    pool = pools.get_main_pool(account.pk)
    posting.spend(pool_id=pool.pk, credits=D(credits), reference=f"s:{now}", now=now)


def kinds() -> list[str]:
    """What the account has been told of its subscription."""
    about = Notification.objects.filter(kind__startswith="subscription").order_by("pk")
    return list(about.values_list("kind", flat=True))


def test_a_paused_subscription_can_be_used_until_its_period_ends_and_then_rests(acme, subscription):
    paused = act(pause_cancel.pause, subscription, noon(11))
    assert (paused.state, paused.paused_at) == ("paused", noon(11))
    # Also beyond what is included, as the plan says.
    spend(acme, 320, noon(20))
    run(noon(1, 2))
    subscription.refresh_from_db()
    assert (subscription.state, subscription.next_due_at, subscription.period_number) == ("paused", None, 1)
    # The overage of January is billed, February is not.
    assert list(Invoice.objects.order_by("pk").values_list("subtotal", flat=True)) == [31, 1]
    assert (available(acme, noon(1, 2)), CreditPool.objects.get().policy) == (0, "block")
    with pytest.raises(posting.InsufficientCredits):
        spend(acme, 1, noon(2, 2))
    run(noon(20, 5))
    assert Invoice.objects.count() == 2
    assert kinds() == ["subscription_started", "subscription_paused"]


def test_a_pause_that_ends_within_the_period_changes_nothing_else(subscription):
    act(pause_cancel.pause, subscription, noon(11))
    resumed = act(pause_cancel.resume, subscription, noon(20), reference="l:2")
    assert (resumed.state, resumed.paused_at, resumed.anchor_on) == ("active", None, date(2026, 1, 1))
    run(noon(1, 2))
    assert Invoice.objects.latest("pk").reference == f"renewal:{subscription.pk}:2"
    assert list(subscription.changes.order_by("pk").values_list("act", flat=True))[-3:] == ["pause", "resume", "renew"]


def test_a_subscription_that_is_resumed_later_begins_a_new_period_that_day(acme, subscription):
    act(pause_cancel.pause, subscription, noon(11))
    run(noon(1, 2))
    resumed = act(pause_cancel.resume, subscription, noon(10, 3), reference="l:2")
    assert (resumed.state, resumed.period_number, resumed.anchor_on) == ("active", 2, date(2026, 3, 10))
    assert (available(acme, noon(10, 3)), CreditPool.objects.get().policy) == (310, "overage")
    run(noon(10, 4))
    subscription.refresh_from_db()
    assert subscription.period_number == 3
    assert Invoice.objects.count() == 3


def test_what_was_paused_for_want_of_payment_is_resumed_by_paying(acme, subscription):
    act(pause_cancel.pause, subscription, noon(11))
    Account.objects.update(paused_at=noon(12))
    refused(NotAllowed, pause_cancel.resume, subscription, noon(13), reference="l:2")


def test_a_cancelled_subscription_runs_until_its_period_ends(acme, subscription):
    cancelled = act(pause_cancel.cancel, subscription, noon(11), reason="Too dear")
    assert (cancelled.state, cancelled.cancelled_at, cancelled.cancel_reason) == ("cancelled", noon(11), "Too dear")
    spend(acme, 320, noon(20))
    run(noon(1, 2))
    subscription.refresh_from_db()
    assert (subscription.state, subscription.next_due_at) == ("ended", None)
    assert list(Invoice.objects.order_by("pk").values_list("reference", "subtotal")) == [
        (f"subscription:{subscription.pk}:1", 31), (f"final:{subscription.pk}", 1),
    ]  # fmt: skip
    assert kinds() == ["subscription_started", "subscription_cancelled", "subscription_ended"]


def test_a_cancellation_can_be_taken_back_until_then(subscription):
    act(pause_cancel.cancel, subscription, noon(11))
    back = act(pause_cancel.reactivate, subscription, noon(20), reference="l:2")
    assert (back.state, back.cancelled_at, back.cancel_reason) == ("active", None, "")
    run(noon(1, 2))
    assert Invoice.objects.latest("pk").reference == f"renewal:{subscription.pk}:2"
    act(pause_cancel.cancel, subscription, noon(3, 2), reference="l:3")
    refused(guards.RenewalDue, pause_cancel.reactivate, subscription, noon(1, 3), reference="l:4")
    run(noon(1, 3))
    refused(NotAllowed, pause_cancel.reactivate, subscription, noon(1, 3), reference="l:4")


def test_an_end_now_bills_what_is_in_arrears_and_gives_nothing_back(acme, subscription):
    spend(acme, 330, noon(5))
    ended = act(pause_cancel.cancel, subscription, noon(11), when="now")
    assert (ended.state, ended.ended_at) == ("ended", noon(11))
    assert Invoice.objects.latest("pk").subtotal == 2
    assert not CreditNote.objects.exists()
    assert not PendingItem.objects.exists()
    assert kinds()[-1] == "subscription_ended"


def test_after_an_end_now_only_the_days_up_to_it_are_collected(acme, subscription):
    """The card fails on 1 February; the subscription is cancelled on the 8th: 7 of 28 days are 7.75 net, 9.22."""
    SandboxCard.objects.update(behaviour="decline")
    run(noon(1, 2))
    invoice = Invoice.objects.get(reference=f"renewal:{subscription.pk}:2")
    assert (invoice.owed, available(acme, noon(2, 2))) == (D("36.89"), 310)
    act(pause_cancel.cancel, subscription, noon(8, 2), when="now")
    invoice.refresh_from_db()
    assert (invoice.state, invoice.owed, CreditNote.objects.get().subtotal) == ("open", D("9.22"), D("23.25"))
    assert (available(acme, noon(8, 2)), Refund.objects.exists()) == (D("77.5"), False)
    SandboxCard.objects.update(behaviour="success")
    run(noon(20, 2))
    paid = Payment.objects.filter(invoice=invoice, state="succeeded")
    assert [payment.amount for payment in paid] == [D("9.22")]
    assert not verification.verify().findings


def test_an_unpaid_period_that_is_ended_on_its_first_day_is_not_collected_at_all(acme, subscription):
    SandboxCard.objects.update(behaviour="decline")
    run(noon(1, 2))
    act(pause_cancel.cancel, subscription, noon(1, 2), when="now")
    run(noon(20, 2))
    assert (Invoice.objects.latest("pk").state, available(acme, noon(1, 2))) == ("void", 0)
    assert Collection.objects.latest("pk").state == "stopped"


def test_staff_may_give_back_the_days_that_are_left(acme, subscription):
    ended = act(pause_cancel.cancel, subscription, noon(11), when="now", gives_back=True, reason="Moved away")
    # 21 of 31 days: 21.00 net, 24.99 with tax, and 210 of the 310 credits.
    note = CreditNote.objects.get()
    assert (note.subtotal, note.total, note.reason, note.actor) == (21, D("24.99"), "Moved away", "key:1")
    assert (Refund.objects.get().amount, Refund.objects.get().credit_note) == (D("24.99"), note)
    assert (ended.state, available(acme, noon(11))) == ("ended", 100)


def test_what_is_given_back_is_less_where_a_coupon_took_something_off(acme, plan):
    add_card(acme, now=START)
    Coupon.objects.create(code="HALF", name="Half", percent=D(50), created_at=START)
    made = subscribe(acme, plan, collection="automatic", coupon_code="HALF", now=START)
    run(START)
    act(pause_cancel.cancel, made, noon(11), when="now", gives_back=True)
    assert CreditNote.objects.get().subtotal == D("10.50")


def test_an_incomplete_subscription_ends_at_once_and_its_invoice_is_void(acme, plan):
    add_card(acme, now=START)
    made = subscribe(acme, plan, collection="automatic", now=START)
    assert act(pause_cancel.cancel, made, noon(1)).state == "ended"
    assert Invoice.objects.get().state == "void"


def test_an_incomplete_subscription_that_was_just_paid_does_not_end(acme, plan):
    add_card(acme, now=START)
    made = subscribe(acme, plan, collection="automatic", now=START)
    invoice = Invoice.objects.get()
    settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=START)
    refused(NotAllowed, pause_cancel.cancel, made, noon(1))


def test_a_trial_that_is_cancelled_is_never_billed_and_can_go_on(acme):
    made = subscribe(acme, make_plan("trial", trial_days=14, trial_credits=D(50)), now=START)
    act(pause_cancel.cancel, made, noon(5))
    assert act(pause_cancel.reactivate, made, noon(6), reference="l:2").state == "trialing"
    act(pause_cancel.cancel, made, noon(7), reference="l:3")
    run(noon(20))
    made.refresh_from_db()
    assert (made.state, Invoice.objects.count()) == ("ended", 0)


def test_a_paused_subscription_past_its_period_ends_at_once(subscription):
    act(pause_cancel.pause, subscription, noon(11))
    run(noon(1, 2))
    assert act(pause_cancel.cancel, subscription, noon(3, 2), reference="l:2").state == "ended"
    assert Invoice.objects.count() == 1


def test_a_change_that_waits_can_be_withdrawn(subscription, plan):
    cheaper = make_plan("cheaper", prices={"USD": {"fee": "10.00"}})
    act(changes.change, subscription, noon(5), reference="c:1", plan_version_id=cheaper.pk)
    act(pause_cancel.withdraw_scheduled, subscription, noon(6))
    act(pause_cancel.withdraw_scheduled, subscription, noon(7))
    refused(NothingScheduled, pause_cancel.withdraw_scheduled, subscription, noon(7), reference="l:2")
    run(noon(1, 2))
    subscription.refresh_from_db()
    assert subscription.plan_version == plan


@pytest.mark.parametrize("does", [pause_cancel.pause, pause_cancel.cancel])
def test_a_pause_or_cancellation_withdraws_what_waits(subscription, does):
    cheaper = make_plan("cheaper", prices={"USD": {"fee": "10.00"}})
    act(changes.change, subscription, noon(5), reference="c:1", plan_version_id=cheaper.pk)
    act(does, subscription, noon(6))
    assert subscription.scheduled_changes.get().withdrawn_at == noon(6)


def test_a_coupon_is_taken_off_the_next_invoice(subscription):
    coupon = Coupon.objects.create(code="SPRING", name="Spring", percent=D(20), duration_periods=1, created_at=START)
    redemption = act(pause_cancel.redeem, subscription, noon(5), code=" spring ")
    assert (redemption.coupon, redemption.periods_left) == (coupon, 1)
    assert act(pause_cancel.redeem, subscription, noon(5), code="SPRING") == redemption
    refused(CouponRefused, pause_cancel.redeem, subscription, noon(5), code="SPRING", reference="l:2")
    refused(guards.ReferenceConflict, pause_cancel.redeem, subscription, noon(5), code="OTHER")
    run(noon(1, 2))
    run(noon(1, 3))
    assert list(Invoice.objects.order_by("pk").values_list("subtotal", flat=True)) == [31, D("24.80"), 31]


@pytest.mark.parametrize(
    ("does", "states"),
    [
        (pause_cancel.pause, ["incomplete", "trialing", "past_due", "paused", "cancelled"]),
        (pause_cancel.resume, ["incomplete", "trialing", "active", "past_due", "cancelled"]),
        (pause_cancel.cancel, ["cancelled"]),
        (pause_cancel.reactivate, ["incomplete", "trialing", "active", "past_due", "paused"]),
        (pause_cancel.withdraw_scheduled, ["incomplete", "cancelled"]),
    ],
)
def test_an_act_that_a_state_does_not_allow_is_refused(subscription, does, states):
    for state in states:
        Subscription.objects.update(state=state)
        refused(NotAllowed, does, subscription, noon(5))


@pytest.mark.parametrize("does", [pause_cancel.pause, pause_cancel.cancel])
def test_a_repeat_does_nothing_more(subscription, does):
    act(does, subscription, noon(5))
    before = rows()
    act(does, subscription, noon(6))
    assert rows() == before
    refused(guards.ReferenceConflict, pause_cancel.reactivate, subscription, noon(6))


def test_a_subscription_that_is_not_there_is_refused(db):
    with pytest.raises(guards.SubscriptionNotFound):
        pause_cancel.pause(subscription_id=987, reference="x", actor="", now=START)
    with pytest.raises(guards.SubscriptionNotFound):
        changes.preview(subscription_id=987, seats=3, now=START)
