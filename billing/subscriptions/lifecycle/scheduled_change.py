"""The change that waits for the end of a period: at most one of a subscription, made then or withdrawn before.

Locks: the caller holds the subscription's row.
"""

from collections.abc import Iterable
from datetime import datetime

from billing.catalog import rate_cards
from billing.notifications import outbox
from billing.subscriptions import history
from billing.subscriptions.agreement.terms import Terms
from billing.subscriptions.lifecycle import period_start
from billing.subscriptions.models import ScheduledChange, Subscription, SubscriptionChange

Act = SubscriptionChange.Act


def find(subscription: Subscription) -> ScheduledChange | None:
    """The change that waits, with its plan."""
    return find_all([subscription]).get(subscription.pk)


def find_all(subscriptions: Iterable[Subscription]) -> dict[int, ScheduledChange]:
    """`find` of several, by subscription; those that none waits for are left out."""
    waiting = ScheduledChange.objects.filter(subscription__in=subscriptions, applied_at=None, withdrawn_at=None)
    return {each.subscription_id: each for each in waiting.select_related("plan_version__plan", "subscription")}


def withdraw(subscription: Subscription, *, reference: str = "", actor: str, now: datetime) -> bool:
    """Withdraw the change that waits, and write that into the history, under `reference` if it is an act of its own;
    False where none waits."""
    waiting = find(subscription)
    if waiting is None:
        return False
    waiting.withdrawn_at = now
    waiting.save(update_fields=["withdrawn_at"])
    history.write(
        subscription,
        Act.UNSCHEDULE,
        reference=reference or f"unschedule:{waiting.pk}",
        at=now,
        actor=actor,
        to_version=waiting.plan_version,
        to_seats=waiting.seats,
    )
    return True


def note_made(
    subscription: Subscription,
    made: ScheduledChange,
    *,
    old: Terms,
    old_seats: int,
    terms: Terms,
    at: datetime,
    now: datetime,
) -> None:
    """Write down and tell that the change has been made: the subscription's row says so, from the period on that begins
    `at`."""
    made.applied_at = now
    made.save(update_fields=["applied_at"])
    rate_cards.set_plan_card(account_id=subscription.account_id, rate_card_id=terms.version.rate_card_id, starts_at=at)
    history.write(
        subscription,
        Act.CHANGE,
        reference=f"change:scheduled:{made.pk}",
        at=at,
        actor=made.actor or history.SYSTEM,
        from_version=old.version,
        to_version=terms.version,
        from_seats=old_seats,
        to_seats=subscription.seats,
    )
    outbox.write(
        kind="plan_changed",
        dedupe_key=f"plan_changed:scheduled:{made.pk}",
        account_id=subscription.account_id,
        payload={"previous_plan_name": old.plan_name, **period_start.facts(subscription, terms)},
        now=now,
    )
