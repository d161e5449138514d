"""Deliveries: mail what is due, once, and try again what failed.

A row is claimed by moving its `due_at` past the time one mail may take, and only then sent; so no row lock is held
while a mail server answers, and a row whose worker died comes up again by itself. A mail is sent twice only if a mail
server took it and died, or the worker did, before that was written down.
"""

from dataclasses import astuple, dataclass
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import QuerySet

from billing.accounts import clocks
from billing.notifications import emails, fanout
from billing.notifications.models import Notification, NotificationDelivery
from billing.tracing.redaction import describe_error
from billing.tracing.requests import on_behalf_of

log = structlog.get_logger(__name__)

State = NotificationDelivery.State

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
# Longer than a mail server may take for one mail: EMAIL_TIMEOUT for each of its answers.
CLAIM = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Round:
    """How a round went: mails sent, failed and to be tried again, given up, and not the person's to read any more."""

    sent: int = 0
    failed: int = 0
    given_up: int = 0
    dropped: int = 0

    def __add__(self, other: "Round") -> "Round":
        return Round(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


def deliver_due(
    *, now: datetime, limit: int, account_id: int | None = None, papers: emails.Papers = lambda _notification: ()
) -> Round:
    """Mail at most `limit` due deliveries. Must run outside a transaction; several at once share the work.

    With `account_id` what is about that account only; without, nothing about accounts on a test clock. Each claim
    counts from `now`: a door that means to send many takes the time anew for every few. A failure is noted
    on its row, which becomes due again after the next gap, or FAILED after the last. `papers` finds the documents that
    go with mails to who has no login.
    """
    total = Round()
    for _ in range(limit):
        row = _claim(now, account_id)
        if row is None:
            break
        with on_behalf_of(row.notification.request_id):
            total += _deliver(row, now, papers)
    return total


def retry(*, deliveries: QuerySet[NotificationDelivery], now: datetime) -> int:
    """Let deliveries that failed, or wait for their next try, be tried at once, as if for the first time; how many."""
    waiting = deliveries.filter(state__in=(State.FAILED, State.PENDING))
    return waiting.update(state=State.PENDING, due_at=now, attempts=0)


def expand_again(*, notifications: QuerySet[Notification]) -> int:
    """Look once more for somebody to tell, where there was nobody; how many notifications."""
    lost = notifications.filter(state=Notification.State.UNDELIVERABLE)
    return lost.update(state=Notification.State.PENDING, expanded_at=None)


def give_up(*, deliveries: QuerySet[NotificationDelivery]) -> int:
    """Drop deliveries that failed for good, so that they no longer wait for staff; returns how many."""
    return deliveries.filter(state=State.FAILED).update(state=State.DROPPED)


def settle(*, notifications: QuerySet[Notification]) -> int:
    """Let notifications that reach nobody be, so that they no longer wait for staff; returns how many."""
    lost = notifications.filter(state=Notification.State.UNDELIVERABLE)
    return lost.update(state=Notification.State.EXPANDED)


def _claim(now: datetime, account_id: int | None) -> NotificationDelivery | None:
    due = NotificationDelivery.objects.filter(state=State.PENDING, due_at__lte=now).order_by("due_at", "id")
    due = clocks.narrow(due, account_id=account_id, road="notification__account")
    with transaction.atomic():
        row = due.select_for_update(skip_locked=True, of=("self",)).first()
        if row is None:
            return None
        row.due_at, row.attempts = now + CLAIM, row.attempts + 1
        row.save(update_fields=["due_at", "attempts"])
    return NotificationDelivery.objects.select_related("notification__account", "user").get(pk=row.pk)


def _deliver(row: NotificationDelivery, now: datetime, papers: emails.Papers) -> Round:
    if row.user and not fanout.may_read(row.user, row.notification):
        _finish(row, state=State.DROPPED)
        return Round(dropped=1)
    try:
        emails.send(row, papers=papers)
    # Whatever goes wrong with one row, its words or a mail server, must not keep the others from being sent.
    except Exception as error:
        log.warning("notification.failed", delivery_id=row.pk, attempt=row.attempts, exc_info=True)
        last_error = describe_error(error)[:2000]
        if row.attempts >= MAX_ATTEMPTS:
            _finish(row, state=State.FAILED, last_error=last_error)
            return Round(given_up=1)
        _finish(row, last_error=last_error, due_at=now + GAPS[row.attempts - 1])
        return Round(failed=1)
    _finish(row, state=State.SENT, sent_at=now, last_error="")
    log.info("notification.sent", delivery_id=row.pk, kind=row.notification.kind)
    return Round(sent=1)


def _finish(row: NotificationDelivery, **outcome: object) -> None:
    """Write how it went, unless another worker has claimed the row since."""
    NotificationDelivery.objects.filter(pk=row.pk, state=State.PENDING, attempts=row.attempts).update(**outcome)
