"""A renewal that commits after a request has read its clock, and before the request gets the subscription's lock."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction

from billing.catalog.models import PlanVersion
from billing.invoicing.models import Invoice
from billing.subscriptions.charges.proration import OutsidePeriod
from billing.subscriptions.lifecycle import changes, pause_cancel, period_start, unused_refund
from billing.subscriptions.models import Subscription, SubscriptionChange
from billing.subscriptions.renewal import renewals
from tests.factories import make_plan
from tests.ledger.racing import race
from tests.subscriptions.makers import START, available, subscribe

D = Decimal
FEBRUARY = datetime(2026, 1, 31, 23, tzinfo=UTC)
BEFORE, AFTER = FEBRUARY - timedelta(seconds=1), FEBRUARY + timedelta(seconds=1)
TO_BIG = {"when": "now", "by_staff": True}


@pytest.fixture
def large() -> PlanVersion:
    """56.00 a month for 560 credits: 2.00 and 20 credits a day of February."""
    return make_plan("large", included_credits=D(560), prices={"USD": {"fee": "56.00"}})


def change(subscription: Subscription, version: PlanVersion, **asked: object) -> Subscription:
    """Change the plan by a clock of one second before the renewal."""
    return changes.change(
        subscription_id=subscription.pk, plan_version_id=version.pk, reference="c:1", actor="key:1", now=BEFORE,
        **{**TO_BIG, **asked},
    )  # fmt: skip


def renew_while_waiting(act: Callable[[], object], *, expected: tuple[type[Exception], ...] = ()) -> dict[str, int]:
    """Renew in one thread, and commit once `act`, in another, waits for the subscription's lock."""
    renewed = threading.Event()

    def renew() -> None:
        with transaction.atomic():
            assert renewals.run_due(now=AFTER, limit=10).renewed == 1
            renewed.set()
            give_up_at = time.monotonic() + 60
            while not is_awaited() and time.monotonic() < give_up_at:
                time.sleep(0.01)

    def wait_and_act() -> None:
        assert renewed.wait(timeout=60)
        act()

    return race([renew, wait_and_act], expected=expected)


def is_awaited() -> bool:
    """Whether another connection waits for a lock of this one."""
    with connection.cursor() as cursor:
        # In a transaction the view shows what it showed first.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)))"
        )
        return bool(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_a_change_that_waited_for_the_renewal_is_made_in_the_new_period(acme, small, large):
    subscription = subscribe(acme, small, now=START)
    assert renew_while_waiting(lambda: change(subscription, large)) == {"done": 2}
    made = SubscriptionChange.objects.get(act="change")
    # All 28 days of February are left: 56.00 - 31.00.
    assert (made.at, made.invoice.subtotal) == (FEBRUARY, 25)
    assert available(acme, AFTER) == 560


@pytest.mark.django_db(transaction=True)
def test_without_catching_up_the_same_race_finds_no_day_of_the_period(acme, small, large, monkeypatch):
    # The positive control.
    monkeypatch.setattr(period_start, "catch_up", lambda subscription, *, now: now)
    subscription = subscribe(acme, small, now=START)
    outcomes = renew_while_waiting(lambda: change(subscription, large), expected=(OutsidePeriod,))
    assert outcomes == {"done": 1, "OutsidePeriod": 1}
    assert Invoice.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_change_at_the_price_of_the_old_period_is_refused_in_the_new_one(acme, small, large):
    subscription = subscribe(acme, small, now=START)
    outcomes = renew_while_waiting(
        lambda: change(subscription, large, expected_total=D("0.81")), expected=(changes.TotalChanged,)
    )
    assert outcomes == {"done": 1, "TotalChanged": 1}
    assert (Invoice.objects.count(), SubscriptionChange.objects.filter(act="change").count()) == (2, 0)


@pytest.mark.django_db
def test_every_act_and_preview_by_an_older_clock_is_judged_in_the_new_period(acme, small, large):
    subscription = subscribe(acme, small, now=START)
    renewals.run_due(now=AFTER, limit=10)
    subscription.refresh_from_db()
    preview = changes.preview(
        subscription_id=subscription.pk, plan_version_id=large.pk, by_staff=True, when="now", now=BEFORE
    )
    assert (preview.effective_at, preview.total, preview.credits_delta) == (FEBRUARY, 25, 250)
    assert unused_refund.worth(subscription, now=BEFORE) == 31
    for act, fields in (
        (pause_cancel.pause, {}),
        (pause_cancel.resume, {}),
        (pause_cancel.cancel, {}),
        (pause_cancel.reactivate, {}),
        (pause_cancel.cancel, {"when": "now", "gives_back": True}),
    ):
        done = act(
            subscription_id=subscription.pk, reference=f"{act.__name__}:{fields}", actor="", now=BEFORE, **fields
        )
    assert (done.state, done.ended_at) == ("ended", FEBRUARY)
    before, *judged = subscription.changes.order_by("pk").values_list("at", flat=True)
    assert (before, set(judged)) == (START, {FEBRUARY})
    assert Invoice.objects.latest("pk").credit_notes.get().subtotal == 31


@pytest.mark.django_db
def test_a_change_by_an_older_clock_belongs_to_the_month_of_credits_that_has_begun(acme):
    yearly = {"interval": "year", "grants_monthly": True}
    small = make_plan("small", included_credits=D(310), prices={"USD": {"fee": "365.00"}}, **yearly)
    large = make_plan("large", included_credits=D(620), prices={"USD": {"fee": "730.00"}}, **yearly)
    subscription = subscribe(acme, small, now=START)
    renewals.run_due(now=AFTER, limit=10)
    change(subscription, large)
    # February's credits whole, not the last day's of January.
    assert available(acme, AFTER) == 620
    # 334 days of the year are left.
    assert Invoice.objects.latest("pk").subtotal == 334
