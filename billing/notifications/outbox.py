"""The outbox: write what someone must be told, and deliver what is due.

A row is claimed by moving its `due_at` past the time one delivery may take, and only then sent; so no row lock is held
while a mail server answers, and a row whose worker died comes up again by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import F

from billing.notifications import emails
from billing.notifications.models import Notification

log = structlog.get_logger(__name__)

# After the n-th failure the n-th gap passes; after the last failure the row is given up.
GAPS = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=20),
    timedelta(hours=1),
    timedelta(hours=4),
    timedelta(hours=12),
    timedelta(hours=24),
)
MAX_ATTEMPTS = len(GAPS) + 1
CLAIM = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a round went: rows sent, failed and to be tried again, and given up."""

    sent: int
    failed: int
    given_up: int


def write(
    *,
    kind: str,
    dedupe_key: str,
    account_id: int | None,
    payload: Mapping[str, object],
    email: str = "",
    now: datetime,
) -> None:
    """Say that someone must be told, in the caller's transaction; due at once.

    One row per `dedupe_key`, for ever: writing it again changes nothing. `payload` holds the finished facts as JSON.
    Without `email` it goes to the account's billing address.
    """
    row = Notification(
        kind=kind,
        dedupe_key=dedupe_key,
        account_id=account_id,
        payload=dict(payload),
        email=email,
        created_at=now,
        due_at=now,
    )
    Notification.objects.bulk_create([row], ignore_conflicts=True)


def deliver_due(*, now: datetime, limit: int) -> Delivery:
    """Deliver at most `limit` due rows. Must run outside a transaction; several at once share the work.

    A failure is noted on its row, which becomes due again after the next gap, or FAILED after the last.
    """
    sent = failed = given_up = 0
    for row in _claim(now=now, limit=limit):
        try:
            emails.send(row)
        # Whatever goes wrong with one row, a template or a mail server, must not keep the others from being sent.
        except Exception as error:
            log.warning("notification.failed", notification_id=row.pk, attempt=row.attempts, exc_info=True)
            if _note_failure(row, error, now=now):
                given_up += 1
            else:
                failed += 1
        else:
            Notification.objects.filter(pk=row.pk).update(state=Notification.State.SENT, sent_at=now, last_error="")
            sent += 1
    return Delivery(sent=sent, failed=failed, given_up=given_up)


def _claim(*, now: datetime, limit: int) -> list[Notification]:
    due = Notification.objects.filter(state=Notification.State.PENDING, due_at__lte=now).order_by("due_at", "id")
    with transaction.atomic():
        ids = list(due.select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit])
        Notification.objects.filter(pk__in=ids).update(due_at=now + CLAIM, attempts=F("attempts") + 1)
    return list(Notification.objects.select_related("account").filter(pk__in=ids).order_by("id"))


def _note_failure(row: Notification, error: Exception, *, now: datetime) -> bool:
    """Write down the failure; True when the row is given up."""
    last = row.attempts >= MAX_ATTEMPTS
    row.last_error = f"{type(error).__name__}: {error}"[:2000]
    if last:
        row.state = Notification.State.FAILED
    else:
        row.due_at = now + GAPS[row.attempts - 1]
    row.save(update_fields=["last_error", "state", "due_at"])
    return last
