"""What happens does not depend on the steps by which time is moved: every kind of due time has its next time."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate

import pytest
from django.apps import apps
from django.db.models import DateTimeField

from billing.accounts.models import Account
from billing.catalog import rate_cards
from billing.catalog.models import DunningPolicy
from billing.clock import advancing, jobs
from billing.invoicing import pending
from billing.invoicing.models import Invoice, PendingItem
from billing.ledger import holds, pools, posting
from billing.ledger.models import Hold, Posting
from billing.metering import ingest
from billing.notifications.models import Notification
from billing.payments.models import Collection, Payment
from billing.purchases import topups
from billing.purchases.models import TopUp, TopUpRule
from billing.subscriptions.models import Subscription, SubscriptionChange
from config.celery import BEAT_SCHEDULE
from tests.clock.conftest import REAL, START
from tests.clock.test_moving import go
from tests.factories import give_credits, make_account, make_meter, make_pack, make_plan, make_rate_card
from tests.purchases.makers import make_rule
from tests.subscriptions.makers import add_card, make_team, subscribe

pytestmark = pytest.mark.django_db

D = Decimal
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DECLINED = "4000000000000002"
# Half past, so that no step ends when something is due.
HALF = HOUR / 2


def top_ups_are_declined(account: Account) -> timedelta:
    """A top-up is declined again after 1, 6 and 24 hours, until its rule is switched off."""
    add_card(account, DECLINED, now=START)
    make_rule(pools.get_main_pool(account.pk), make_pack(account.external_id), now=START)
    return 34 * HOUR


def credits_end_and_a_cap_is_reached(account: Account) -> timedelta:
    """Credits end after 10 hours, but the cap of the month is reached: it rests until February in New York."""
    add_card(account, now=START)
    pool = pools.get_main_pool(account.pk)
    make_rule(pool, make_pack(account.external_id), max_count=1, now=START)
    topups.run_due(now=START, limit=1, account_id=account.pk)
    posting.spend(pool_id=pool.pk, credits=D(960), reference="s", now=START)
    give_credits(account, "200", now=START, expires_at=START + 10 * HOUR)
    placed = {"pool_id": pool.pk, "amount": D(50), "now": START}
    holds.place(reference="short", expires_in_seconds=3 * 3600 + 7, **placed)
    holds.place(reference="long", expires_in_seconds=11 * 3600 + 7, **placed)
    return 30 * HOUR


def a_trial_ends_and_is_dunned(account: Account) -> timedelta:
    """A trial is reminded of and ends; its first invoice is declined, dunned, and given up."""
    add_card(account, DECLINED, now=START)
    policy, _ = DunningPolicy.objects.get_or_create(
        key="short", name="short", retry_days=[1, 2], reminder_days=[1], final_days=3, final_act="cancel",
        defaults={"created_at": START},
    )  # fmt: skip
    version = make_team(key=f"trial-{account.external_id}", trial_days=5, trial_credits=D(90), dunning_policy=policy)
    subscribe(account, version, now=START, collection="automatic")
    return 9 * DAY


def one_is_abandoned_and_an_item_left(account: Account) -> timedelta:
    """A subscription that nobody pays is given up after 23 hours; an item that meets no renewal is billed alone."""
    add_card(account, DECLINED, now=START)
    subscribe(account, make_plan(f"plain-{account.external_id}"), now=START, collection="automatic")
    since = START - timedelta(days=29, hours=14)
    pending.add(
        account_id=account.pk,
        currency="USD",
        reference=account.external_id,
        description="Setup",
        amount=D(9),
        now=since,
        actor="",
    )
    return 26 * HOUR


def a_gauge_runs(account: Account) -> timedelta:
    """A gauge is charged every hour, and uses up what there is."""
    give_credits(account, "20", now=START)
    meter = f"storage-{account.external_id}"
    gauge = make_meter(meter, kind="gauge", now=START - DAY)
    card = make_rate_card({gauge: "2"}, key=meter, is_default=False, now=START - DAY)
    rate_cards.set_plan_card(account_id=account.pk, rate_card_id=card.pk, starts_at=START - DAY)
    event = {"id": "r", "account": account.external_id, "meter": meter, "quantity": "1.5"}
    ingest.take_events(events=[{**event, "occurred_at": (START + HALF).isoformat()}], now=START + HALF)
    return 9 * HOUR


def credits_are_announced(account: Account) -> timedelta:
    """Credits end on a day in New York that is told of a week and a day before."""
    give_credits(account, "20", now=START, expires_at=START + 9 * DAY + 5 * HOUR)
    return 10 * DAY


STORIES = (
    top_ups_are_declined, credits_end_and_a_cap_is_reached, a_trial_ends_and_is_dunned,
    one_is_abandoned_and_an_item_left, a_gauge_runs, credits_are_announced,
)  # fmt: skip


def rows_of(account: Account) -> dict[str, list[tuple[object, ...]]]:
    """All that has happened to the account, and when."""
    of_invoice = {"invoice__account": account}
    subscription = {"subscription__account": account}
    found = {
        "postings": (Posting, {"pool__account": account}, ("posted_at", "act", "credits", "balance_after")),
        "holds": (Hold, {"pool__account": account}, ("reference", "state", "closed_at")),
        "invoices": (Invoice, {"account": account}, ("issued_at", "state", "total", "voided_at")),
        "items": (PendingItem, {"account": account}, ("amount", "invoice_line__invoice__issued_at")),
        "payments": (Payment, of_invoice, ("created_at", "state", "finished_at", "failure_code")),
        "collections": (Collection, of_invoice, ("state", "overdue_at", "closed_at", "tries", "reminders_sent")),
        "top-ups": (TopUp, {"rule__pool__account": account}, ("created_at", "state", "finished_at")),
        "rules": (TopUpRule, {"pool__account": account}, ("failures", "is_active", "waits_until", "capped_until")),
        "plans": (Subscription, {"account": account}, ("state", "period_number", "trial_reminded_at", "ended_at")),
        "changes": (SubscriptionChange, subscription, ("act", "at")),
        "told": (Notification, {"account": account}, ("kind", "created_at")),
    }
    return {
        name: sorted(tuple(map(str, row)) for row in model.objects.filter(**of).values_list(*columns))
        for name, (model, of, columns) in found.items()
    }


def tell(story, name: str, steps: list[timedelta] | None) -> dict[str, list[tuple[object, ...]]]:
    """Let an account of its own live through a story, in one step or in these."""
    account = make_account(name, country="US", time_zone="America/New_York", now=START)
    advancing.open_clock(account_id=account.pk, starts_at=START, now=REAL)
    lasts = story(account)
    at = START
    for moment in accumulate(steps or [lasts], initial=START):
        end = min(moment, START + lasts)
        go(account, end, start=at)
        at = end
    assert at == START + lasts
    return rows_of(account)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_story_in_one_step_is_the_story_hour_by_hour(version, story):
    # Later by longer steps, for the sake of the test's time.
    hours = [HALF, *[HOUR] * 12, *[5 * HOUR] * 6, *[2 * DAY + HALF] * 8]
    at_once, by_hours = tell(story, "once", None), tell(story, "hours", hours)
    assert at_once == by_hours
    assert sum(map(len, at_once.values())) > 2


def test_a_declined_top_up_is_tried_after_one_six_and_twenty_four_hours(version):
    tell(top_ups_are_declined, "once", None)
    tried = Payment.objects.order_by("pk").values_list("created_at", flat=True)
    assert [(at - START) / HOUR for at in tried] == [0, 1, 7, 31]
    assert not TopUpRule.objects.get().is_active


def test_a_rule_at_its_cap_buys_again_with_the_first_moment_of_the_month(version):
    told = tell(credits_end_and_a_cap_is_reached, "once", None)
    bought = [datetime.fromisoformat(row[0]) - START for row in told["top-ups"]]
    # Credits end after 10 hours; the next month begins 24 hours after the start, which is midnight in New York.
    assert bought == [timedelta(), 24 * HOUR]
    assert ("top_up_failed", str(START + 10 * HOUR)) in told["told"]


# What is done for accounts as time goes on, by the jobs of a moved clock.
JOBS = {
    "expire_holds": "holds expire", "accrue_gauges": "gauges accrue", "remind_trials": "trials are reminded of",
    "renew_subscriptions": "subscriptions renew", "expire_lots": "lots expire",
    "collect_invoices": "invoices are collected", "check_payments": "payments are asked about",
    "send_sandbox_webhooks": "webhooks come", "process_gateway_events": "kept webhooks are tried again",
    "follow_up_subscriptions": "subscriptions follow up", "run_top_ups": "pools are topped up",
    "announce_expiring": "expiring credits are announced", "seal_ledger": "the ledger is sealed",
    "void_abandoned_purchases": "unpaid purchases are voided",
    "deliver_notifications": "mails are sent",
}  # fmt: skip
# The rest is of no account: it moves the clocks themselves, keeps house, or asks services in real time.
OF_NO_ACCOUNT = {
    "move_test_clocks", "purge_idempotency_keys", "purge_sessions", "purge_tax_calculations", "verify_ledger",
    "export_ledger_head", "import_exchange_rates", "check_tax_numbers",
}  # fmt: skip
# What only follows other jobs, at their moments.
FOLLOWING = {"notifications stay in the inbox", "notifications go out"}


def test_every_job_of_the_schedule_is_done_by_a_moved_clock_and_knows_its_next_time():
    tasks = {entry["task"].rpartition(".")[2] for entry in BEAT_SCHEDULE.values()}
    assert tasks == JOBS.keys() | OF_NO_ACCOUNT
    every = {job for loud in (True, False) for job in jobs.list_jobs(with_mails=loud)}
    assert set(JOBS.values()) <= {job.name for job in every}
    assert {job.name for job in every if job.next_at is None} == FOLLOWING


# Times at which something is due, by the job that has them as its next time; others only say until when.
DUE = {
    "Hold.expires_at", "CreditGrant.expires_at", "GaugeSeries.charged_until", "Subscription.next_due_at",
    "Subscription.trial_ends_at", "Collection.next_at", "Payment.next_check_at", "Refund.next_check_at",
    "SandboxEvent.due_at", "GatewayEvent.next_try_at", "TopUpRule.waits_until", "TopUpRule.capped_until",
    "NotificationDelivery.due_at",
}  # fmt: skip
NOT_DUE = {
    # Asked about where it matters, or of people and real time.
    "ApiKey.expires_at", "Invitation.expires_at", "TestClock.locked_until", "IdempotencyKey.locked_until",
    "Invoice.due_at", "TaxNumberCheck.next_check_at", "SandboxCharge.action_until",
}  # fmt: skip


def test_every_due_time_of_a_table_is_the_next_time_of_a_job():
    fields = [field for model in apps.get_app_config("billing").get_models() for field in model._meta.get_fields()]
    named = re.compile(r"next_.*_at|next_at|due_at|next_due_at|.*_until|expires_at|trial_ends_at")
    found = {
        f"{field.model.__name__}.{field.name}"
        for field in fields
        if isinstance(field, DateTimeField) and named.fullmatch(field.name)
    }
    assert found == DUE | NOT_DUE
