"""Beginning a period today instead of at a boundary: what was paused goes on, what lapsed begins anew.

The caller holds the subscription's lock. Locks: all pools of the account, then the issuer's row.
"""

from collections.abc import Sequence
from datetime import datetime

from billing.catalog import periods
from billing.invoicing.lines import LineDraft
from billing.notifications import outbox
from billing.subscriptions import history
from billing.subscriptions.agreement import calendar
from billing.subscriptions.agreement import terms as agreed
from billing.subscriptions.agreement.terms import Terms
from billing.subscriptions.lifecycle import period_start, scheduled_change
from billing.subscriptions.lifecycle.period_start import Started
from billing.subscriptions.models import Subscription, SubscriptionChange


def start_afresh(
    subscription: Subscription,
    *,
    terms: Terms,
    arrears: Sequence[LineDraft] = (),
    waits_for_payment: bool = False,
    reference: str,
    now: datetime,
) -> Started:
    """Begin the next period today instead of at a boundary, which makes today the anchor: a subscription that is taken
    up again, or whose interval changes. Its invoice has that reference.

    The caller has set the subscription's version, seats and state, has closed the period before, and writes history.
    """
    set_out(subscription, terms=terms, now=now)
    started = period_start.start_period(
        subscription,
        terms=terms,
        arrears=arrears,
        waits_for_payment=waits_for_payment,
        reference=reference,
        now=now,
    )
    cycle = calendar.cycles_of(subscription, terms)[0]
    subscription.next_due_at = cycle[1]
    subscription.save()
    period_start.settle_in(subscription, terms, cycle=cycle, starts_at=now, now=now)
    return started


def set_out(subscription: Subscription, *, terms: Terms, now: datetime) -> None:
    """Let the row, unsaved, say that its next period begins today."""
    subscription.period_number += 1
    subscription.anchor_on = periods.day_of(now, subscription.account.time_zone)
    subscription.anchor_number = subscription.period_number
    subscription.period_starts_at, subscription.period_ends_at = now, calendar.end_of(subscription, terms)


def take_up(subscription: Subscription, *, reference: str, actor: str, now: datetime) -> None:
    """Let a paused subscription go on: in its period while that runs, else with a new one from today, and with the
    change that was to be made at the end of the old one."""
    is_overdue = subscription.past_due_at is not None
    subscription.state = Subscription.State.PAST_DUE if is_overdue else Subscription.State.ACTIVE
    subscription.paused_at = None
    invoice = None
    if subscription.next_due_at is None or subscription.period_ends_at <= now:
        change, old, old_seats = (
            scheduled_change.find(subscription),
            agreed.of(subscription, at=now),
            subscription.seats,
        )
        if change is not None:
            subscription.plan_version, subscription.seats = change.plan_version, change.seats
        terms = agreed.of(subscription, at=now)
        subscription.seats = max(subscription.seats, terms.seats_included)
        invoice = start_afresh(subscription, terms=terms, reference=reference, now=now).invoice
        if change is not None:
            scheduled_change.note_made(subscription, change, old=old, old_seats=old_seats, terms=terms, at=now, now=now)
    else:
        terms = agreed.of(subscription, at=now)
        subscription.save(update_fields=["state", "paused_at"])
    history.write(
        subscription, SubscriptionChange.Act.RESUME, reference=reference, at=now, actor=actor, invoice=invoice
    )
    outbox.write(
        kind="subscription_resumed",
        dedupe_key=f"subscription_resumed:{reference}",
        account_id=subscription.account_id,
        payload=period_start.facts(subscription, terms),
        now=now,
    )
