"""How the background work stands, for monitoring: how long the oldest row of each queue has been due, and how many rows
are stuck until somebody looks at them. Reads, in one query each; accounts on a test clock do not count."""

from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from billing.accounts import clocks
from billing.accounts.models import Account
from billing.ledger.models import Hold
from billing.metering.models import RejectedEvent
from billing.notifications.models import Notification, NotificationDelivery
from billing.payments.models import Collection, GatewayEvent, Payment, Refund
from billing.subscriptions.models import Subscription

# More stuck rows than that are not counted.
COUNTED = 10_000


def measure_delays(*, now: datetime) -> dict[str, float]:
    """For each queue of rows that jobs work through, how many seconds ago its oldest row became due; 0 when none is."""
    delivery, invoice_account = NotificationDelivery.State, "invoice__account"
    told = _real(Notification.objects.filter(state=Notification.State.PENDING), "account")
    mails = _real(NotificationDelivery.objects.filter(state=delivery.PENDING), "notification__account")
    sources: dict[str, tuple[QuerySet[Any], str]] = {
        "notifications": (told, "created_at"),
        "mails": (mails, "due_at"),
        "payments": (_real(Payment.objects.all(), invoice_account), "next_check_at"),
        "refunds": (_real(Refund.objects.all(), "payment__invoice__account"), "next_check_at"),
        "collections": (_real(Collection.objects.all(), invoice_account), "next_at"),
        "gateway_events": (GatewayEvent.objects.all(), "next_try_at"),
        "renewals": (_real(Subscription.objects.filter(parked_at=None), "account"), "next_due_at"),
        "holds": (_real(Hold.objects.filter(state=Hold.State.OPEN), "pool__account"), "expires_at"),
    }
    parts, params = [], []
    for rows, field in sources.values():
        oldest = rows.filter(**{f"{field}__lte": now}).order_by(field).values_list(field)[:1]
        sql, values = oldest.query.sql_with_params()
        parts.append(f"SELECT (SELECT due FROM ({sql}) AS oldest (due))")  # noqa: S608 (the ORM's own)
        params += list(values)
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts), params)
        due = [row[0] for row in cursor.fetchall()]
    ages = [round((now - at).total_seconds(), 1) if at is not None else 0.0 for at in due]
    return dict(zip(sources, ages, strict=True))


def count_stuck() -> dict[str, int]:
    """How many rows wait for a person, by what they are; the admin's page *Work* lists them."""
    failed = NotificationDelivery.objects.filter(state=NotificationDelivery.State.FAILED)
    sources: dict[str, QuerySet[Any]] = {
        "accounts_parked": Account.objects.filter(parked_at__isnull=False, clock_at=None),
        "subscriptions_parked": _real(Subscription.objects.filter(parked_at__isnull=False), "account"),
        "payments_unknown": _real(Payment.objects.filter(state=Payment.State.UNKNOWN), "invoice__account"),
        "refunds_failed": _real(Refund.objects.filter(state=Refund.State.FAILED), "payment__invoice__account"),
        "collections_faulty": _real(Collection.objects.exclude(last_error=""), "invoice__account"),
        "gateway_events_failed": GatewayEvent.objects.filter(processed_at=None).exclude(last_error=""),
        "mails_given_up": _real(failed, "notification__account"),
        "events_rejected": _real(RejectedEvent.objects.filter(state=RejectedEvent.State.OPEN), "account"),
    }
    parts, params = [], []
    for rows in sources.values():
        sql, values = rows.order_by().values_list("pk")[:COUNTED].query.sql_with_params()
        parts.append(f"SELECT count(*) FROM ({sql}) AS stuck")  # noqa: S608 (the ORM's own)
        params += list(values)
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts), params)
        counts = [row[0] for row in cursor.fetchall()]
    return dict(zip(sources, counts, strict=True))


def _real(rows: QuerySet[Any], road: str) -> QuerySet[Any]:
    return clocks.narrow(rows, account_id=None, road=road)
