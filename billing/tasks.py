"""Every Celery task: take the time, make one domain call, log how it went. When they run: config/celery.py.

Each looks for what is due in rows, so a lost, doubled or late run does no harm.
"""

from collections import Counter
from dataclasses import asdict
from datetime import timedelta
from time import monotonic

import structlog
from celery import shared_task
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone

from billing.accounts import clocks, idempotency, throttles
from billing.clock import advancing
from billing.invoicing import exchange, papers, stripe_tax, tax_numbers
from billing.ledger import expiry, expiry_notices, holds, sealing
from billing.metering import gauges, verification
from billing.notifications import delivery, fanout
from billing.payments import checking, collecting, refunding, webhooks
from billing.payments.gateways import sandbox_webhooks
from billing.purchases import abandoned, topups
from billing.subscriptions.credits import allocations
from billing.subscriptions.followup import payment_news, unbilled_items
from billing.subscriptions.renewal import renewals, trial_reminders

log = structlog.get_logger(__name__)

BATCH = 1000
# Well within the time limit of a task, also when a mail server is slow.
DELIVER_FOR_SECONDS = 240
MOVE_FOR_SECONDS = 20


def _report(event: str, **counts: int) -> None:
    """Log what a job did; that there was nothing to do, which most of its runs find, is for DEBUG."""
    (log.info if any(counts.values()) else log.debug)(event, **counts)


@shared_task
def expire_lots() -> None:
    """Post the breakage of lots whose end, and the grace after it, has passed."""
    expired = 0
    while count := expiry.expire_due(
        now=timezone.now(), grace_seconds=settings.FLORIN_EXPIRY_GRACE_SECONDS, limit=BATCH
    ):
        expired += count
    _report("lots.expired", count=expired)


@shared_task
def announce_expiring() -> None:
    """Say which credits expire soon."""
    told = 0
    while count := expiry_notices.announce_expiring(now=timezone.now(), limit=BATCH):
        told += count
    _report("expiring.announced", count=told)


@shared_task
def expire_holds() -> None:
    """Give back what holds reserve whose time is up."""
    expired = 0
    while count := holds.expire_due(now=timezone.now(), limit=BATCH):
        expired += count
    _report("holds.expired", count=expired)


@shared_task
def check_tax_numbers() -> None:
    """Ask the register about accounts' tax numbers that are new, or that it is time to ask about again."""
    done = tax_numbers.check_due(now=timezone.now(), limit=50)
    _report("tax_numbers.checked", asked=done.asked, answered=done.answered)


@shared_task
def purge_tax_calculations() -> None:
    """Forget what tax services worked out long ago."""
    now, purged = timezone.now(), 0
    while count := stripe_tax.purge(now=now, limit=BATCH):
        purged += count
    _report("tax_calculations.purged", count=purged)


@shared_task
def import_exchange_rates() -> None:
    """Fetch the exchange rates of the day, where an address is set."""
    if settings.FLORIN_EXCHANGE_RATES_URL:
        content = exchange.fetch(settings.FLORIN_EXCHANGE_RATES_URL)
        log.info("exchange_rates.imported", count=exchange.import_rates(content))


@shared_task
def seal_ledger() -> None:
    """Add new postings to the hash chain."""
    _report("ledger.sealed", postings=sealing.seal(now=timezone.now()))


@shared_task
def export_ledger_head() -> None:
    """Write the head of the hash chain to the day's file."""
    path = sealing.export_head(directory=settings.FLORIN_SEAL_EXPORT_DIR, now=timezone.now())
    log.info("ledger.head_exported", path=str(path))


@shared_task
def verify_ledger() -> None:
    """Verify the whole ledger, park accounts with differences and tell staff."""
    report = verification.verify_and_park(now=timezone.now())
    tell = log.error if report.findings else log.info
    tell("ledger.verified", accounts=report.accounts, postings=report.postings, findings=len(report.findings))


@shared_task
def accrue_gauges() -> None:
    """Charge what gauges have used since they were charged last."""
    _report("gauges.accrued", series=gauges.accrue_due(now=timezone.now(), limit=20 * BATCH))


@shared_task
def deliver_notifications() -> None:
    """Find whom to mail about what is in the outbox, and mail what is due, for at most DELIVER_FOR_SECONDS."""
    ends = monotonic() + DELIVER_FOR_SECONDS
    while fanout.expand_due(now=timezone.now(), limit=BATCH):
        pass
    total = delivery.Round()
    # One at a time, so that each claim begins when its mail does.
    while monotonic() < ends:
        done = delivery.deliver_due(now=timezone.now(), limit=1, papers=papers.papers_of)
        if done == delivery.Round():
            break
        total += done
    _report("notifications.delivered", **asdict(total))


@shared_task
def check_payments() -> None:
    """Send what was left unsent, and ask gateways about payments and refunds whose outcome is not known yet."""
    now = timezone.now()
    payments = checking.check_due(now=now, limit=100)
    refunds = refunding.check_due(now=now, limit=100)
    _report(
        "payments.checked",
        asked=payments.asked,
        ended=payments.ended,
        refunds_asked=refunds.asked,
        refunds_ended=refunds.ended,
    )


@shared_task
def collect_invoices() -> None:
    """Charge invoices that are collected without anyone's hand, and dun for those that are overdue."""
    total: Counter[str] = Counter()
    while (done := collecting.run_due(now=timezone.now(), limit=BATCH)).looked:
        total.update(asdict(done))
    _report("invoices.collected", **total)


@shared_task
def process_gateway_events() -> None:
    """Act upon gateways' webhooks that could not be acted upon when they came."""
    done = webhooks.process_due(now=timezone.now(), limit=100)
    _report("gateway_events.processed", done=done.done, failed=done.failed)


@shared_task
def send_sandbox_webhooks() -> None:
    """Send the webhooks of the sandbox gateway that are due, as its own process would."""
    sent = sandbox_webhooks.send_due(now=timezone.now(), limit=100)
    _report("sandbox.webhooks_sent", taken=sent.taken, refused=sent.refused)


@shared_task
def run_top_ups() -> None:
    """Follow up automatic top-ups under way, and top up pools that have run low."""
    done = topups.run_due(now=timezone.now(), limit=100)
    _report("top_ups.run", opened=done.opened, succeeded=done.succeeded, failed=done.failed)


@shared_task
def void_abandoned_purchases() -> None:
    """Void purchases that nobody has paid for a day, or that another one has replaced."""
    _report("purchases.voided", count=abandoned.void_due(now=timezone.now(), limit=BATCH))


@shared_task
def renew_subscriptions() -> None:
    """Bill and renew what is due, until nothing is; any number of workers share the work."""
    renewed, parked = 0, 0
    while (done := renewals.run_due(now=timezone.now(), limit=BATCH)) != renewals.Round():
        renewed, parked = renewed + done.renewed, parked + len(done.parked)
    _report("subscriptions.renewed", count=renewed, parked=parked)


@shared_task
def follow_up_subscriptions() -> None:
    """Let subscriptions follow what became of their invoices, grant the credits that waited for it, and settle pending
    items that no renewal takes."""
    now = timezone.now()
    done = payment_news.follow_up(now=now, limit=BATCH)
    granted = allocations.grant_due(now=now, limit=BATCH)
    settled = unbilled_items.settle_due(now=now, limit=BATCH)
    _report("subscriptions.followed_up", **asdict(done), granted=granted, settled=settled)


@shared_task
def remind_trials() -> None:
    """Say which trials end soon."""
    _report("trials.reminded", count=trial_reminders.remind_due(now=timezone.now(), limit=BATCH))


@shared_task
def move_test_clocks() -> None:
    """Go on with test clocks that are on their way, where nobody does."""
    arrived = 0
    for account_id in clocks.list_moving(now=timezone.now(), limit=10):
        arrived += advancing.carry_on(account_id=account_id, seconds=MOVE_FOR_SECONDS, read_clock=timezone.now)
    _report("test_clocks.moved", arrived=arrived)


@shared_task
def purge_idempotency_keys() -> None:
    """Forget stored answers that are older than the retention."""
    now = timezone.now()
    older_than = now - timedelta(hours=settings.FLORIN_IDEMPOTENCY_RETENTION_HOURS)
    purged = 0
    while count := idempotency.purge(older_than=older_than, now=now, limit=BATCH):
        purged += count
    _report("idempotency_keys.purged", count=purged)


@shared_task
def purge_sessions() -> None:
    """Forget browser sessions that have ended, and counts of what was throttled."""
    SessionStore.clear_expired()
    throttles.purge(now=timezone.now())
    log.info("sessions.purged")
