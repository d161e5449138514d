"""What every act on a subscription begins with: its lock, whether it was done before, whether it may be done now."""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from billing.subscriptions.models import Subscription, SubscriptionChange


class SubscriptionNotFound(LookupError):
    """There is no subscription of this primary key."""


class NotAllowed(Exception):
    """The subscription's state does not allow it; `state` says which it is, and the message why."""

    def __init__(self, state: str, why: str = "") -> None:
        super().__init__(why or f"a subscription that is {state} does not allow this")
        self.state = state


class RenewalDue(Exception):
    """A period of it has just ended and is about to be renewed, or has failed to be: try again after that."""


class ReferenceConflict(Exception):
    """The reference is in use for another act on this subscription."""


def lock(subscription_id: int) -> Subscription:
    """The subscription, its row locked until the transaction ends. Raises SubscriptionNotFound."""
    # Without joins: whoever waits here for a change of plan would find its row joined to the old plan, so not at all.
    if Subscription.objects.select_for_update(no_key=True).filter(pk=subscription_id).first() is None:
        raise SubscriptionNotFound(subscription_id)
    return get(subscription_id)


def find_unlocked(subscription_id: int) -> Subscription | None:
    """`lock` for whoever works through many: None where another has locked it, or there is none."""
    rows = Subscription.objects.select_for_update(skip_locked=True, no_key=True).filter(pk=subscription_id)
    return None if rows.first() is None else get(subscription_id)


def in_turn(rows: QuerySet[Any], *, size: int) -> Iterator[int]:
    """The primary keys of rows in their order, read so many at a time. Whoever takes as many of them as they can act
    on, not the first so many, lets those that always fail keep no others waiting."""
    last = 0
    while page := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:size]):
        yield from page
        last = page[-1]


def get(subscription_id: int) -> Subscription:
    """The subscription, for reading. Raises SubscriptionNotFound."""
    found = Subscription.objects.select_related("account", "plan_version__plan").filter(pk=subscription_id).first()
    if found is None:
        raise SubscriptionNotFound(subscription_id)
    return found


def name(subscription: Subscription, reference: str) -> str:
    """How history knows an act of this reference (of up to 100 characters)."""
    return f"{subscription.pk}:{reference}"


def is_repeat(
    subscription: Subscription, *, reference: str, acts: Collection[str], asked: Mapping[str, object]
) -> bool:
    """Whether an act of this reference was done before, asked for in the same words. The caller holds the lock.

    Raises ReferenceConflict where it was another act, or asked for something else.
    """
    first = SubscriptionChange.objects.filter(reference=name(subscription, reference)).first()
    if first is None:
        return False
    if first.act not in acts or first.details.get("asked", {}) != dict(asked):
        raise ReferenceConflict(reference)
    return True


def ensure_allowed(subscription: Subscription, states: Collection[str], *, now: datetime) -> None:
    """Raise NotAllowed outside of these states, and RenewalDue while a boundary that has passed is not renewed."""
    if subscription.state not in states:
        raise NotAllowed(subscription.state)
    if subscription.next_due_at is not None and subscription.next_due_at <= now:
        raise RenewalDue(subscription)
