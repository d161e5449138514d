"""Saying things to people, and what they get."""

from datetime import datetime
from typing import Any

from django.core.mail import EmailMultiAlternatives

from billing.accounts.models import Account
from billing.notifications import delivery, fanout, outbox
from billing.notifications.delivery import Round
from billing.notifications.models import Notification, NotificationDelivery
from tests.factories import NOW
from tests.notifications import plan_kinds

THRESHOLD = {
    "pool": "main",
    "pool_name": "Main pool",
    "threshold": 75,
    "spent": "750.500000",
    "allocation": "1000.000000",
    "cycle_ends_at": "2025-04-01T00:00:00+00:00",
}
PAYLOADS: dict[str, dict[str, Any]] = {
    "threshold": THRESHOLD,
    "low_balance": {"pool_name": "Main pool", "available": "480.500000", "threshold": "500.000000"},
    "expiring": {
        "credits": "1200.000000", "expires_at": "2025-03-08T12:00:00+00:00", "days": 7,
        "pools": [{"pool": "main", "pool_name": "Main pool", "credits": "1200.000000"}],
    },
    "charge_refused": {
        "pool": "main", "pool_name": "Main pool", "required": "12.500000", "available": "3.000000",
        "refused_at": "2025-03-01T11:00:00+00:00", "cycle_ends_at": "2025-04-01T00:00:00+00:00",
    },
    "receipt": {"invoice_id": 7, "number": "INV-7", "total": "119.000", "currency": "EUR", "credits": "5000.000000"},
    "payment_failed": {
        "invoice_id": 7, "number": "INV-7", "total": "119.000", "currency": "EUR", "reason": "The card was declined.",
    },
    "refund": {
        "number": "CN-3", "invoice_number": "INV-7", "total": "59.500", "currency": "EUR", "credits": "2500.000000",
    },
    "dispute": {
        "state": "lost", "is_refund": "", "invoice_id": "7", "invoice_number": "INV-7", "total": "119.000",
        "currency": "EUR", "number": "CN-5",
    },
    "credit_note": {
        "credit_note_id": "1", "number": "CN-4", "invoice_id": "1", "invoice_number": "INV-7", "total": "59.500",
        "currency": "EUR", "refund_to": "balance", "reason": "Outage in March",
    },
    "top_up_failed": {
        "pool_name": "Main pool", "reason": "The card was declined.", "waits_until": "2025-03-01T18:30:00+00:00",
    },
    "top_up_switched_off": {"pool_name": "Main pool", "reason": "Three payments in a row were declined."},
    **plan_kinds.PAYLOADS,
}  # fmt: skip


def tell(
    account: Account | None = None,
    kind: str = "threshold",
    *,
    key: str = "once",
    email: str = "",
    now: datetime = NOW,
    **changes: object,
) -> Notification:
    """Write a notification with a payload as its kind has it."""
    payload = {**PAYLOADS.get(kind, {}), **changes}
    account_id = account.pk if account else None
    outbox.write(kind=kind, dedupe_key=key, account_id=account_id, payload=payload, email=email, now=now)
    return Notification.objects.get(dedupe_key=key)


def deliver(now: datetime = NOW, limit: int = 100) -> Round:
    """What a run of the job does: find whom to mail, and mail."""
    fanout.expand_due(now=now, limit=limit)
    return delivery.deliver_due(now=now, limit=limit)


def addresses() -> list[str]:
    """Where deliveries go, in alphabetical order."""
    return sorted(NotificationDelivery.objects.values_list("address", flat=True))


def html_of(message: Any) -> str:
    """The HTML alternative of a mail."""
    assert isinstance(message, EmailMultiAlternatives)
    (alternative,) = message.alternatives
    assert alternative.mimetype == "text/html"
    return str(alternative.content)
