"""Renewing: each period once, with its own dates, however late, however often, whoever else fails."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError

from billing.accounts import roles
from billing.invoicing import contents, pending
from billing.invoicing.models import Invoice
from billing.ledger import expiry, pools
from billing.ledger.models import Posting
from billing.notifications.models import Notification
from billing.payments.models import Collection
from billing.subscriptions.lifecycle import period_start
from billing.subscriptions.models import Allocation, ScheduledChange, SubscriptionChange, SubscriptionPeriod
from billing.subscriptions.renewal import renewals
from billing.subscriptions.renewal.renewals import Round
from tests.factories import NOW, make_account, make_plan, make_user
from tests.subscriptions.makers import add_card, available, make_team, run, subscribe

pytestmark = pytest.mark.django_db

APRIL, MAY, JUNE = (datetime(2025, month, 30 if month == 4 else 31, 22, tzinfo=UTC) for month in (3, 4, 5))
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def test_a_period_is_billed_granted_collected_and_told_of_once(account):
    add_card(account)
    subscription = subscribe(account, make_team(), collection="automatic")
    run(NOW)
    assert run(APRIL - HOUR) == Round()
    assert run(APRIL) == Round(renewed=1)
    assert run(APRIL) == Round()
    subscription.refresh_from_db()
    assert (subscription.state, subscription.period_number) == ("active", 2)
    assert (subscription.period_starts_at, subscription.period_ends_at) == (APRIL, MAY)
    assert subscription.next_due_at == MAY
    invoice = Invoice.objects.get(reference=f"renewal:{subscription.pk}:2")
    assert (invoice.subtotal, invoice.state, invoice.number) == (50, "paid", "INV-000002")
    period = SubscriptionPeriod.objects.get(number=2)
    assert (period.invoice, period.fee, period.starts_at, period.ends_at) == (invoice, 50, APRIL, MAY)
    assert available(account, APRIL) == 1000
    assert Notification.objects.filter(kind="invoice_issued").count() == 2
    change = SubscriptionChange.objects.get(reference=f"renewal:{subscription.pk}:2")
    assert (change.act, change.at, change.invoice, change.actor) == ("renew", APRIL, invoice, "system")
    lot = pools.get_main_pool(account.pk).grants.order_by("pk").last()
    assert lot is not None
    assert (lot.effective_at, lot.expires_at, lot.cost_basis) == (APRIL, MAY, Decimal("0.05"))


def test_after_forty_days_without_workers_each_period_has_its_own_dates(account):
    subscription = subscribe(account, make_team())
    late = MAY + 10 * DAY
    assert run(late) == Round(renewed=2)
    periods = list(SubscriptionPeriod.objects.order_by("number").values_list("number", "starts_at", "ends_at"))
    assert periods == [(1, NOW, APRIL), (2, APRIL, MAY), (3, MAY, JUNE)]
    assert [invoice.number for invoice in Invoice.objects.order_by("pk")] == ["INV-000001", "INV-000002", "INV-000003"]
    lines = [line for invoice in Invoice.objects.order_by("pk") for line in invoice.lines.all()]
    assert [(line.starts_at, line.ends_at) for line in lines] == [(NOW, APRIL), (APRIL, MAY), (MAY, JUNE)]
    lots = pools.get_main_pool(account.pk).grants.order_by("pk")
    assert [(lot.effective_at, lot.expires_at) for lot in lots] == [(NOW, APRIL), (APRIL, MAY), (MAY, JUNE)]
    assert available(account, late) == 1000
    pool = pools.get_main_pool(account.pk)
    assert (pool.cycle_starts_at, pool.cycle_ends_at, pool.cycle_allocation) == (MAY, JUNE, 1000)
    subscription.refresh_from_db()
    assert run(late) == Round()


def test_what_is_left_expires_with_its_period(account):
    subscribe(account, make_team())
    run(APRIL)
    assert (available(account, APRIL), pools.get_main_pool(account.pk).balance) == (1000, 2000)
    # What is left waits for late usage, as any lot that ends.
    assert [expiry.expire_due(now=APRIL + wait, grace_seconds=3600) for wait in (HOUR - SECOND, HOUR)] == [0, 1]
    expired = Posting.objects.get(act="expire")
    assert (expired.credits, expired.amount, expired.occurred_at) == (1000, -1000, APRIL)


def test_one_that_fails_is_parked_and_named_and_the_others_go_on(account):
    version = make_team()
    broken = subscribe(account, version)
    others = [subscribe(make_account(), version) for _ in range(3)]
    broken.period_ends_at += 90 * DAY
    broken.save()
    before = Invoice.objects.count()
    assert run(APRIL + DAY) == Round(renewed=3, parked=(broken.pk,))
    broken.refresh_from_db()
    assert broken.parked_at == APRIL + DAY
    assert broken.problem.startswith("Inconsistent: period 1 ends at")
    assert (broken.period_number, Invoice.objects.count()) == (1, before + 3)
    assert run(APRIL + 2 * DAY) == Round()
    broken.period_ends_at = broken.next_due_at
    broken.save()
    renewals.release(subscription_id=broken.pk, actor="user:1", now=APRIL + 2 * DAY)
    assert run(APRIL + 2 * DAY) == Round(renewed=1)
    for each in [broken, *others]:
        each.refresh_from_db()
        assert (each.period_number, each.problem) == (2, "")


def test_staff_who_may_release_a_parked_one_are_told_once_each_time(account):
    roles.ensure()
    for name, group in (("fiona", "Finance"), ("paula", "Pricing"), ("gone", "Finance")):
        person = make_user(name)
        person.is_staff, person.is_active = True, name != "gone"
        person.save()
        person.groups.add(Group.objects.get(name=group))
    broken = subscribe(account, make_team())
    broken.period_ends_at += 90 * DAY
    broken.save()
    told = Notification.objects.filter(kind="subscription_parked")
    for day in (1, 2):
        run(APRIL + day * DAY)
    assert [row.email for row in told] == ["fiona@example.com"]
    assert told[0].payload["problem"].startswith("Inconsistent: period 1 ends at")
    assert (told[0].payload["subscription_id"], told[0].payload["due_at"]) == (broken.pk, APRIL.isoformat())
    renewals.park(subscription_id=broken.pk, problem="Again", now=APRIL + 3 * DAY)
    assert told.all().count() == 1
    renewals.release(subscription_id=broken.pk, actor="user:1", now=APRIL + 3 * DAY)
    run(APRIL + 3 * DAY)
    assert told.all().count() == 2


def test_a_period_that_was_billed_before_is_not_billed_again(account):
    subscription = subscribe(account, make_team())
    run(APRIL)
    subscription.refresh_from_db()
    type(subscription).objects.filter(pk=subscription.pk).update(
        period_number=1, period_starts_at=NOW, period_ends_at=APRIL, next_due_at=APRIL
    )
    assert run(APRIL).parked == (subscription.pk,)
    subscription.refresh_from_db()
    assert "is closed" in subscription.problem
    assert (Invoice.objects.count(), Allocation.objects.count()) == (2, 2)


def test_a_lost_connection_parks_nobody(account, monkeypatch):
    subscription = subscribe(account, make_team())

    def lose(*_: object, **__: object) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patch:
        patch.setattr(period_start, "start_periods", lose)
        with pytest.raises(OperationalError):
            renewals.run_due(now=APRIL, limit=10)
    subscription.refresh_from_db()
    assert (subscription.parked_at, subscription.period_number) == (None, 1)
    assert run(APRIL) == Round(renewed=1)


def test_a_cancelled_one_ends_with_its_period(account):
    subscription = subscribe(account, make_team())
    type(subscription).objects.filter(pk=subscription.pk).update(state="cancelled", cancelled_at=NOW)
    run(APRIL + HOUR)
    subscription.refresh_from_db()
    assert (subscription.state, subscription.ended_at, subscription.next_due_at) == ("ended", APRIL + HOUR, None)
    assert Invoice.objects.count() == 1
    pool = pools.get_main_pool(account.pk)
    assert (pool.policy, pool.cycle_anchor_on, pool.renews_at) == ("block", None, None)
    assert available(account, APRIL + HOUR) == 0
    assert Notification.objects.filter(kind="subscription_ended").count() == 1
    assert subscribe(account, make_team(), now=APRIL + DAY).state == "active"


def test_a_paused_one_rests_after_its_period(account):
    subscription = subscribe(account, make_team(policy="burst", burst_limit=Decimal(100)))
    type(subscription).objects.filter(pk=subscription.pk).update(state="paused", paused_at=NOW)
    assert run(APRIL) == Round(renewed=1)
    subscription.refresh_from_db()
    assert (subscription.state, subscription.period_number, subscription.next_due_at) == ("paused", 1, None)
    assert (Invoice.objects.count(), pools.get_main_pool(account.pk).policy) == (1, "block")
    assert run(JUNE) == Round()


def test_a_scheduled_change_is_made_when_the_period_ends(account):
    subscription = subscribe(account, make_team())
    small = make_plan("small", interval="week", included_credits=Decimal(50), prices={"USD": {"fee": "5.00"}})
    scheduled = ScheduledChange.objects.create(
        subscription=subscription, plan_version=small, seats=0, created_at=NOW, actor="user:1"
    )
    run(APRIL)
    subscription.refresh_from_db()
    scheduled.refresh_from_db()
    assert (subscription.plan_version, scheduled.applied_at) == (small, APRIL)
    assert (subscription.period_starts_at, subscription.period_ends_at) == (APRIL, APRIL + 7 * DAY)
    assert Invoice.objects.get(reference=f"renewal:{subscription.pk}:2").subtotal == 5
    assert available(account, APRIL) == 50
    pool = pools.get_main_pool(account.pk)
    assert (pool.cycle_starts_at, pool.cycle_ends_at) == (APRIL, APRIL + 7 * DAY)
    run(APRIL + 7 * DAY)
    subscription.refresh_from_db()
    assert (subscription.period_number, subscription.period_ends_at) == (3, APRIL + 14 * DAY)
    acts = list(subscription.changes.exclude(act="past_due").order_by("pk").values_list("act", flat=True))
    assert acts == ["subscribe", "change", "renew", "renew"]


def test_pending_items_stand_on_the_renewals_invoice(account):
    subscription = subscribe(account, make_team())
    for reference, amount in (("charge", "7.00"), ("credit", "-20.00")):
        pending.add(
            account_id=account.pk, currency="USD", reference=reference, description=reference.title(),
            amount=Decimal(amount), now=NOW,
        )  # fmt: skip
    run(APRIL)
    invoice = Invoice.objects.get(reference=f"renewal:{subscription.pk}:2")
    assert [line.amount for line in invoice.lines.all()] == [50, 7, -20]
    assert Allocation.objects.get(reference=f"{subscription.pk}:2:1").cost_basis == Decimal("0.05")


def test_credits_can_wait_for_the_payment_of_a_renewal(account, settings):
    settings.FLORIN_ALLOCATE_ON = "payment"
    add_card(account)
    subscribe(account, make_team(), collection="automatic")
    run(NOW)
    renewals.run_due(now=APRIL, limit=10)
    assert (Invoice.objects.count(), available(account, APRIL)) == (2, 0)
    run(APRIL)
    assert available(account, APRIL) == 1000
    assert Collection.objects.filter(state="paid").count() == 2


def test_loyalty_is_rewarded_from_its_period_on(account):
    subscribe(account, make_team(loyalty_steps=[{"from_period": 3, "percent": "5"}]))
    run(APRIL)
    assert available(account, APRIL) == 1000
    run(MAY)
    assert available(account, MAY) == 1050
    lot = pools.get_main_pool(account.pk).grants.get(kind="loyalty")
    assert (lot.amount, lot.cost_basis, lot.expires_at) == (50, 0, JUNE)


def test_an_annual_plan_renews_its_credits_by_the_month_and_its_fee_by_the_year(account):
    version = make_team(interval="year", grants_monthly=True, prices={"USD": {"fee": "600.00"}})
    add_card(account)
    subscription = subscribe(account, version, collection="automatic", now=datetime(2025, 1, 31, 9, tzinfo=UTC))
    run(subscription.started_at)
    moment, balances = subscription.started_at, []
    while moment < subscription.period_ends_at + 20 * DAY:
        moment += DAY
        # Months of credits begin between the 27th and the 30th.
        if moment.day >= 25 or moment.day <= 3:
            run(moment)
            balances.append(available(account, moment))
    assert len(balances) > 100
    assert set(balances) == {1000}
    assert Invoice.objects.count() == 2
    lots = list(pools.get_main_pool(account.pk).grants.order_by("pk"))
    assert len(lots) == 13
    days = [lot.effective_at.astimezone(UTC).date().isoformat() for lot in lots[1:13]]
    assert days == [
        "2025-02-27", "2025-03-30", "2025-04-29", "2025-05-30", "2025-06-29", "2025-07-30", "2025-08-30",
        "2025-09-29", "2025-10-30", "2025-11-29", "2025-12-30", "2026-01-30",
    ]  # fmt: skip


def test_many_are_renewed_together_and_numbered_in_turn(account, django_assert_max_num_queries):
    version = make_team(rollover="share", rollover_percent=Decimal(25))
    everyone = [
        subscribe(each, version) for each in (account, *(make_account(time_zone="Europe/Berlin") for _ in range(9)))
    ]
    with django_assert_max_num_queries(30):
        assert renewals.run_due(now=APRIL, limit=10) == Round(renewed=10)
    numbers = Invoice.objects.filter(reference__startswith="renewal:").order_by("pk").values_list("number", flat=True)
    assert list(numbers) == [f"INV-{number:06d}" for number in range(11, 21)]
    for each in everyone:
        assert available(each.account, APRIL) == 1250
        invoice = Invoice.objects.get(reference=f"renewal:{each.pk}:2")
        assert invoice.content_hash == contents.hash_invoice(invoice, invoice.lines.order_by("position"))
