"""Renewing what is due (M4), in rounds that any number of workers may run at once.

Each boundary is one transaction, under the subscription's lock, asked again whether it is due: what a crash left undone
is due as before, two schedulers skip what the other has locked, and after an outage every period is made, one after the
other. What happens when a period ends is in `period_end`. Locks: the subscription's row, then what that locks.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

import structlog
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import QuerySet
from psycopg.errors import DeadlockDetected, SerializationFailure

from billing.accounts import clocks, people
from billing.invoicing import engines
from billing.invoicing.tax import TaxUnavailable
from billing.notifications import outbox
from billing.subscriptions.models import Subscription
from billing.subscriptions.renewal import period_end
from billing.tracing.redaction import describe_error

log = structlog.get_logger(__name__)

State = Subscription.State

MOST_ATTEMPTS = 5
# So many renew in one transaction: each costs a fraction then, and a lock is held for a moment still.
TOGETHER = 25
# Of staff, when a subscription is parked.
MOST_TOLD = 50


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did: periods and cycles renewed, and the subscriptions that were parked because they failed."""

    renewed: int = 0
    parked: tuple[int, ...] = ()


def run_due(*, now: datetime, limit: int, account_id: int | None = None) -> Round:
    """Renew what is due, at most `limit` boundaries; any number of workers may run at once. With `account_id` only
    that account's; without, what is on a test clock is left alone.

    Some are renewed together in one transaction; where that fails, each in its own, and the one that fails is parked
    with what went wrong. A lost connection or a database that stops parks nobody: it is raised, and what was not done
    is due as before. So is one whose tax cannot be worked out now, while the others go on.
    """
    renewed = 0
    parked: list[int] = []
    waiting: list[int] = []
    while (left := limit - renewed - len(parked)) > 0:
        due = clocks.narrow(_due(now), account_id=account_id).exclude(pk__in=waiting)
        claimed: list[int] = []
        try:
            count = _attempt(due, min(left, TOGETHER), claimed, now=now)
            if not count:
                break
            renewed += count
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            if not claimed:
                raise
            log.info("renewal.one_by_one", subscriptions=len(claimed), reason=type(error).__name__)
            for subscription_id in claimed:
                renewed += _renew_alone(subscription_id, parked, waiting, now=now)
    return Round(renewed, tuple(parked))


def _renew_alone(subscription_id: int, parked: list[int], waiting: list[int], *, now: datetime) -> int:
    """Renew one whose transaction with others has failed, or say what is the matter with it; how many renewed."""
    try:
        return _attempt(_due(now).filter(pk=subscription_id), 1, [], now=now)
    except (OperationalError, InterfaceError):
        raise
    except TaxUnavailable as error:
        log.warning("renewal.no_tax", subscription_id=subscription_id, reason=error.reason)
        Subscription.objects.filter(pk=subscription_id).update(problem=f"Tax: {error.reason}"[:300])
        waiting.append(subscription_id)
    except Exception as error:
        log.exception("renewal.failed", subscription_id=subscription_id)
        park(subscription_id=subscription_id, problem=describe_error(error), now=now)
        parked.append(subscription_id)
    return 0


def park(*, subscription_id: int, problem: str, now: datetime) -> None:
    """Set a subscription aside until staff have looked at it, and tell those who may release it, once; it does not
    renew meanwhile."""
    problem = " ".join(problem.split())[:300]
    with transaction.atomic():
        rows = Subscription.objects.filter(pk=subscription_id)
        if not rows.filter(parked_at=None).update(parked_at=now, problem=problem):
            return
        parked = rows.select_related("account", "plan_version__plan").get()
        for person in people.staff_with("change_subscription")[:MOST_TOLD]:
            outbox.write(
                kind="subscription_parked",
                dedupe_key=f"subscription_parked:{subscription_id}:{now.isoformat()}:{person.pk}",
                account_id=parked.account_id,
                email=person.email,
                payload={
                    "subscription_id": subscription_id,
                    "account_name": parked.account.name,
                    "plan_name": parked.plan_version.plan.name,
                    "due_at": (parked.next_due_at or now).isoformat(),
                    "problem": problem,
                },
                now=now,
            )


def release(*, subscription_id: int, actor: str, now: datetime) -> Subscription:
    """Let a parked subscription renew again, from the boundary that it failed at."""
    with transaction.atomic():
        subscription = Subscription.objects.select_for_update(no_key=True).get(pk=subscription_id)
        subscription.parked_at, subscription.problem = None, ""
        subscription.save(update_fields=["parked_at", "problem"])
    log.info("subscription.released", subscription_id=subscription_id, actor=actor)
    return subscription


def _due(now: datetime) -> QuerySet[Subscription]:
    rows = Subscription.objects.select_for_update(skip_locked=True, no_key=True, of=("self",))
    return rows.filter(next_due_at__lte=now, parked_at=None).select_related("account").order_by("next_due_at", "pk")


def _attempt(due: QuerySet[Subscription], count: int, claimed: list[int], *, now: datetime) -> int:
    """Renew, in one transaction, those that are due longest and nobody has locked; how many. `claimed` tells which,
    for whoever catches what goes wrong. Again where the database breaks a deadlock with it, or the tax engine must be
    asked first."""

    def act() -> int:
        claimed.clear()
        with transaction.atomic():
            subscriptions = _alike(list(due[:count]))
            claimed.extend(each.pk for each in subscriptions)
            if subscriptions:
                period_end.renew(subscriptions, now=now)
            return len(subscriptions)

    for number in range(1, MOST_ATTEMPTS + 1):
        try:
            return engines.with_tax(act, now=now)
        except OperationalError as error:
            if number == MOST_ATTEMPTS or not isinstance(error.__cause__, DeadlockDetected | SerializationFailure):
                raise
            time.sleep(0.02 * number)
    return 0


def _alike(subscriptions: list[Subscription]) -> list[Subscription]:
    """The first of them with those after it that renew together, or alone where it does something else: so nothing is
    locked after the issuer's row. What is left out is due as before."""
    return list(takewhile(period_end.is_renewing, subscriptions)) or subscriptions[:1]
