"""THE list of what has to be done as time goes on, in order, and when each next has something to do."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Min, QuerySet

from billing.accounts import clocks
from billing.invoicing import papers
from billing.ledger import expiry, expiry_notices, holds, sealing
from billing.ledger.models import CreditGrant, Hold
from billing.metering import gauges
from billing.notifications import delivery, fanout
from billing.notifications.models import NotificationDelivery
from billing.payments import checking, collecting, refunding, webhooks
from billing.payments.gateways import sandbox_webhooks
from billing.payments.gateways.contract import Delivery
from billing.payments.models import Collection, GatewayEvent, GatewayName, Payment, Refund
from billing.payments.sandbox_models import SandboxEvent
from billing.purchases import abandoned, topups
from billing.subscriptions.credits import allocations
from billing.subscriptions.followup import payment_news, unbilled_items
from billing.subscriptions.models import Allocation, Subscription
from billing.subscriptions.renewal import renewals, trial_reminders

BATCH = 1000


@dataclass(frozen=True, slots=True)
class Job:
    """What is done at a moment, and how much that was; and when, after a moment, it has something to do (None: as
    things stand never), so that what is done does not depend on where else time stops. Without `next_at` it follows
    other jobs at their own moments. Both for one account on a test clock, or for None for all that are on none.

    `affects` names the only jobs, itself among them, that have more to do, now or later, after this one has done
    something; None: any of them."""

    name: str
    run: Callable[[datetime, int | None], int]
    next_at: Callable[[datetime, int | None], datetime | None] | None = None
    affects: frozenset[str] | None = None


def _first(
    rows: QuerySet[Any], column: str, after: datetime, account_id: int | None, road: str = "account"
) -> datetime | None:
    """The first time in a column after a moment."""
    narrowed = clocks.narrow(rows, account_id=account_id, road=road).filter(**{f"{column}__gt": after})
    found: datetime | None = narrowed.aggregate(first=Min(column))["first"]
    return found


def _moved(found: datetime | None, by: timedelta) -> datetime | None:
    return found + by if found is not None else None


def _expire_holds(now: datetime, account_id: int | None) -> int:
    return holds.expire_due(now=now, limit=BATCH, account_id=account_id)


def _next_hold(after: datetime, account_id: int | None) -> datetime | None:
    return _first(Hold.objects.filter(state=Hold.State.OPEN), "expires_at", after, account_id, "pool__account")


def _accrue_gauges(now: datetime, account_id: int | None) -> int:
    return gauges.accrue_due(now=now, limit=BATCH, account_id=account_id)


def _next_accrual(after: datetime, account_id: int | None) -> datetime | None:
    return gauges.next_due_at(after=after, account_id=account_id)


def _expire_lots(now: datetime, account_id: int | None) -> int:
    grace = settings.FLORIN_EXPIRY_GRACE_SECONDS
    return expiry.expire_due(now=now, grace_seconds=grace, limit=BATCH, account_id=account_id)


def _next_expiry(after: datetime, account_id: int | None) -> datetime | None:
    grace = timedelta(seconds=settings.FLORIN_EXPIRY_GRACE_SECONDS)
    lots = CreditGrant.objects.filter(is_open=True, remaining__gt=0)
    return _moved(_first(lots, "expires_at", after - grace, account_id, "pool__account"), grace)


def _renew(now: datetime, account_id: int | None) -> int:
    done = renewals.run_due(now=now, limit=BATCH, account_id=account_id)
    return done.renewed + len(done.parked)


def _next_renewal(after: datetime, account_id: int | None) -> datetime | None:
    return _first(Subscription.objects.filter(parked_at=None), "next_due_at", after, account_id)


def _remind_trials(now: datetime, account_id: int | None) -> int:
    return trial_reminders.remind_due(now=now, limit=BATCH, account_id=account_id)


def _next_trial(after: datetime, account_id: int | None) -> datetime | None:
    waiting = Subscription.objects.filter(state=Subscription.State.TRIALING, trial_reminded_at=None)
    return _moved(
        _first(waiting, "trial_ends_at", after + trial_reminders.REMIND_BEFORE, account_id),
        -trial_reminders.REMIND_BEFORE,
    )


def _grant(now: datetime, account_id: int | None) -> int:
    return allocations.grant_due(now=now, limit=BATCH, account_id=account_id)


def _next_allocation(after: datetime, account_id: int | None) -> datetime | None:
    waiting = Allocation.objects.filter(granted_at=None, cancelled_at=None)
    return _first(waiting, "starts_at", after, account_id, "subscription__account")


def _collect(now: datetime, account_id: int | None) -> int:
    return collecting.run_due(now=now, limit=BATCH, account_id=account_id).looked


def _next_collection(after: datetime, account_id: int | None) -> datetime | None:
    return _first(Collection.objects.all(), "next_at", after, account_id, "invoice__account")


def _check_payments(now: datetime, account_id: int | None) -> int:
    return checking.check_due(now=now, limit=BATCH, account_id=account_id).asked


def _next_payment(after: datetime, account_id: int | None) -> datetime | None:
    return _first(Payment.objects.all(), "next_check_at", after, account_id, "invoice__account")


def _check_refunds(now: datetime, account_id: int | None) -> int:
    return refunding.check_due(now=now, limit=BATCH, account_id=account_id).asked


def _next_refund(after: datetime, account_id: int | None) -> datetime | None:
    return _first(Refund.objects.all(), "next_check_at", after, account_id, "payment__invoice__account")


def _send_webhooks(now: datetime, account_id: int | None) -> int:
    return sandbox_webhooks.send_due(now=now, limit=BATCH, account_id=account_id, send=_hand_over).taken


def _hand_over(event: SandboxEvent, *, now: datetime) -> str:
    """Give a webhook of the sandbox to its receiver in this process: a signature is good for minutes of real time."""
    told = Delivery(event_id=event.event_id, kind=event.kind, payload=event.payload)
    webhooks.accept(gateway_name=GatewayName.SANDBOX, delivery=told, now=now)
    return ""


def _process_events(now: datetime, account_id: int | None) -> int:
    # Kept events are of no account; those of accounts on test clocks are acted upon by the worker's job, in their time.
    return webhooks.process_due(now=now, limit=BATCH).done if account_id is None else 0


def _next_event(after: datetime, account_id: int | None) -> datetime | None:
    if account_id is not None:
        return None
    events = GatewayEvent.objects.filter(next_try_at__gt=after)
    found: datetime | None = events.aggregate(first=Min("next_try_at"))["first"]
    return found


def _next_webhook(after: datetime, account_id: int | None) -> datetime | None:
    events = sandbox_webhooks.events_of(account_id).filter(due_at__gt=after)
    found: datetime | None = events.aggregate(first=Min("due_at"))["first"]
    return found


def _follow_up(now: datetime, account_id: int | None) -> int:
    done = payment_news.follow_up(now=now, limit=BATCH, account_id=account_id)
    return done.followed + done.abandoned + unbilled_items.settle_due(now=now, limit=BATCH, account_id=account_id)


def _next_follow_up(after: datetime, account_id: int | None) -> datetime | None:
    incomplete = Subscription.objects.filter(state=Subscription.State.INCOMPLETE)
    until = payment_news.INCOMPLETE_FOR
    abandoned_at = _moved(_first(incomplete, "started_at", after - until, account_id), until)
    stranded_at = unbilled_items.next_due_at(after=after, account_id=account_id)
    return min((at for at in (abandoned_at, stranded_at) if at is not None), default=None)


def _top_up(now: datetime, account_id: int | None) -> int:
    done = topups.run_due(now=now, limit=BATCH, account_id=account_id)
    return done.opened + done.succeeded + done.failed


def _next_top_up(after: datetime, account_id: int | None) -> datetime | None:
    return topups.next_due_at(after=after, account_id=account_id)


def _void_purchases(now: datetime, account_id: int | None) -> int:
    return abandoned.void_due(now=now, limit=BATCH, account_id=account_id)


def _next_void(after: datetime, account_id: int | None) -> datetime | None:
    until = abandoned.PAYABLE_FOR
    return _moved(_first(abandoned.list_unpaid(), "created_at", after - until, account_id), until)


def _announce(now: datetime, account_id: int | None) -> int:
    return expiry_notices.announce_expiring(now=now, limit=BATCH, account_id=account_id)


def _next_announcement(after: datetime, account_id: int | None) -> datetime | None:
    return expiry_notices.next_due_at(after=after, account_id=account_id)


def _keep_in_inbox(now: datetime, account_id: int | None) -> int:
    return fanout.keep_in_inbox(account_id=account_id, now=now)


def _mail(now: datetime, account_id: int | None) -> int:
    return fanout.expand_due(now=now, limit=BATCH, account_id=account_id)


def _deliver(now: datetime, account_id: int | None) -> int:
    return delivery.deliver_due(now=now, limit=BATCH, account_id=account_id, papers=papers.papers_of).sent


def _next_delivery(after: datetime, account_id: int | None) -> datetime | None:
    pending = NotificationDelivery.objects.filter(state=NotificationDelivery.State.PENDING)
    return _first(pending, "due_at", after, account_id, "notification__account")


def _seal(now: datetime, account_id: int | None) -> int:
    # The chain goes over all pools in real time; for one account it is left to the job.
    return sealing.seal(now=now) if account_id is None else 0


def _next_seal(after: datetime, account_id: int | None) -> datetime | None:
    # Nothing else depends on it, so once a day will do.
    return midnight_after(after) if account_id is None else None


def midnight_after(at: datetime) -> datetime:
    """The next midnight (UTC)."""
    return datetime.combine(at.astimezone(UTC).date() + timedelta(days=1), time(), UTC)


_TOP_UP, _INBOX, _FAN_OUT, _GAUGES, _SEAL = (
    "pools are topped up", "notifications stay in the inbox", "notifications go out", "gauges accrue",
    "the ledger is sealed",
)  # fmt: skip
# Usage is charged before what it was used of is billed and ends; what was billed is collected, what was collected is
# followed up, and only then is what has run low filled up.
_ORDER = (
    Job("holds expire", _expire_holds, _next_hold),
    # Most moments of an account with a gauge have its hour of usage only, which lowers a balance and may be told of.
    Job(_GAUGES, _accrue_gauges, _next_accrual, frozenset({_GAUGES, _TOP_UP, _INBOX, _FAN_OUT})),
    Job("trials are reminded of", _remind_trials, _next_trial),
    Job("subscriptions renew", _renew, _next_renewal),
    Job("lots expire", _expire_lots, _next_expiry),
    Job("allocations are granted", _grant, _next_allocation),
    Job("invoices are collected", _collect, _next_collection),
    Job("payments are asked about", _check_payments, _next_payment),
    Job("refunds are asked about", _check_refunds, _next_refund),
    Job("webhooks come", _send_webhooks, _next_webhook),
    Job("kept webhooks are tried again", _process_events, _next_event),
    Job("subscriptions follow up", _follow_up, _next_follow_up),
    Job(_TOP_UP, _top_up, _next_top_up),
    Job("unpaid purchases are voided", _void_purchases, _next_void),
    Job("expiring credits are announced", _announce, _next_announcement),
    Job(_SEAL, _seal, _next_seal, frozenset()),
)
_QUIET = Job(_INBOX, _keep_in_inbox)
_LOUD = (Job(_FAN_OUT, _mail), Job("mails are sent", _deliver, _next_delivery))


def list_jobs(*, with_mails: bool) -> tuple[Job, ...]:
    """The jobs in order; without mails what is told stands in inboxes only."""
    return (*_ORDER, *(_LOUD if with_mails else (_QUIET,)))
