"""What waits for somebody: the queues of all rooms, how many rows each has and how old the oldest is. One query."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.translation import gettext as _

from billing.accounts.models import Account, Approval, User
from billing.admin import test_accounts
from billing.admin.payments.payment_queue import list_needing_staff
from billing.ledger.models import Hold
from billing.metering.models import RejectedEvent
from billing.notifications.models import Notification, NotificationDelivery
from billing.payments.models import BankTransfer, Collection, Dispute, GatewayEvent, GatewayName, Refund
from billing.purchases.models import TopUpRule
from billing.subscriptions.models import Subscription

# A queue with more rows is shown as having so many and more.
COUNTED = 10_000
LATE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Queue:
    """Rows that wait for somebody. `hint` says what to do with them."""

    name: str
    hint: str
    url: str
    count: int
    oldest_at: datetime | None

    @property
    def count_text(self) -> str:
        """The count, honest about its bound."""
        return f"{COUNTED:,}+" if self.count >= COUNTED else f"{self.count:,}"


@dataclass(frozen=True, slots=True)
class _Source:
    name: str
    hint: str
    rows: QuerySet[Any]
    since: str
    query: str

    @property
    def permission(self) -> str:
        return f"billing.view_{self.rows.model._meta.model_name}"

    @property
    def url(self) -> str:
        """The list of its rows."""
        narrowed = f"&{test_accounts.CUSTOMERS}" if test_accounts.road_of(self.rows.model) is not None else ""
        return f"{reverse(f'admin:billing_{self.rows.model._meta.model_name}_changelist')}?{self.query}{narrowed}"


def list_queues(*, user: User, now: datetime) -> list[Queue]:
    """The queues that the person may see, without rows of test accounts, in the order of their urgency, the empty ones
    too."""
    sources = [source for source in _sources(now) if user.has_perm(source.permission)]
    if not sources:
        return []
    parts, params = [], []
    for source in sources:
        rows = test_accounts.without(source.rows).order_by().values_list(source.since)[:COUNTED]
        sql, values = rows.query.sql_with_params()
        parts.append(f"SELECT count(*), min(since) FROM ({sql}) AS queue (since)")  # noqa: S608 (the ORM's own)
        params += list(values)
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(f"({part})" for part in parts), params)
        counts = cursor.fetchall()
    return [
        Queue(
            source.name,
            source.hint,
            source.url,
            count,
            oldest_at,
        )
        for source, (count, oldest_at) in zip(sources, counts, strict=True)
    ]


def _sources(now: datetime) -> list[_Source]:
    return [*_of_money(), *_of_operation(now)]


def _of_money() -> list[_Source]:
    return [
        _Source(
            _("Acts to approve"), _("A second person must say yes or no."),
            Approval.objects.filter(state=Approval.State.WAITING), "requested_at", "state__exact=waiting",
        ),
        _Source(
            _("Payments to look at"), _("The last try failed, or nobody knows how it ended."),
            list_needing_staff(), "created_at", "queue=open",
        ),
        _Source(
            _("Refunds that failed"), _("The money has not gone back: try again, or pay it out by hand and say so."),
            Refund.objects.filter(state=Refund.State.FAILED), "created_at", "state__exact=failed",
        ),
        _Source(
            _("Collections with a fault"), _("Look at the error; they are tried again every five minutes."),
            Collection.objects.exclude(last_error=""), "created_at", "standing=fault",
        ),
        _Source(
            _("Disputes"), _("Send evidence in the gateway's dashboard, in time."),
            Dispute.objects.filter(closed_at=None), "opened_at", "queue=open",
        ),
        _Source(
            _("Transfers to match"), _("Say which invoices they pay, or send them back."),
            BankTransfer.objects.unmatched(), "recorded_at", "queue=open",
        ),
        _Source(
            _("Refunds to pay out"), _("They were paid by transfer: send the money back, then say so."),
            Refund.objects.filter(state=Refund.State.PROCESSING, payment__gateway=GatewayName.MANUAL), "created_at",
            "state__exact=processing&payment__gateway__exact=manual",
        ),
        _Source(
            _("Gateway reports to look at"), _("See what each says, then process or dismiss it."),
            GatewayEvent.objects.filter(processed_at=None).exclude(last_error=""), "received_at",
            "queue=open",
        ),
    ]  # fmt: skip


def _of_operation(now: datetime) -> list[_Source]:
    delivery = NotificationDelivery.State
    return [
        _Source(
            _("Parked subscriptions"), _("They failed to renew: fix the problem shown, then release them."),
            Subscription.objects.filter(parked_at__isnull=False), "parked_at", "parked_at__isempty=0",
        ),
        _Source(
            _("Subscriptions past due"), _("Dunning is under way; a call may help."),
            Subscription.objects.filter(state=Subscription.State.PAST_DUE), "past_due_at", "state__exact=past_due",
        ),
        _Source(
            _("Parked accounts"), _("Examine the ledger, then release them."),
            Account.objects.filter(parked_at__isnull=False), "parked_at", "parked_at__isempty=0",
        ),
        _Source(
            _("Rejected events"), _("Fix the cause, then replay them, or give them up."),
            RejectedEvent.objects.filter(state=RejectedEvent.State.OPEN), "received_at", "state__exact=open",
        ),
        _Source(
            _("Mails given up"), _("See the error, then try again or dismiss them."),
            NotificationDelivery.objects.filter(state=delivery.FAILED), "created_at", "state__exact=failed",
        ),
        _Source(
            _("Mails late by an hour"), _("Is the worker of the queue notifications running?"),
            NotificationDelivery.objects.filter(state=delivery.PENDING, due_at__lte=now - LATE), "due_at",
            "state__exact=pending",
        ),
        _Source(
            _("Nobody to notify"), _("The account has no reader and no billing address: add one, or dismiss them."),
            Notification.objects.filter(state=Notification.State.UNDELIVERABLE), "created_at",
            "state__exact=undeliverable",
        ),
        _Source(
            _("Top-ups switched off"), _("After repeated failures; the customer has been told."),
            TopUpRule.objects.filter(switched_off_at__isnull=False, is_active=False), "switched_off_at",
            "standing=gave_up",
        ),
        _Source(
            _("Holds past their end"), _("Is the worker of the queue billing running?"),
            Hold.objects.filter(state=Hold.State.OPEN, expires_at__lte=now - LATE), "expires_at", "state__exact=open",
        ),
    ]  # fmt: skip
