"""Saying in time that a trial ends. Locks: the subscription's row."""

from datetime import datetime, timedelta
from functools import partial

import structlog
from django.db import transaction

from billing.accounts import clocks
from billing.catalog.pricing import round_money
from billing.invoicing import engines, issuing
from billing.notifications import outbox
from billing.payments import methods
from billing.subscriptions import guards
from billing.subscriptions.agreement import terms as agreed
from billing.subscriptions.agreement.terms import Terms
from billing.subscriptions.charges import coupons, fee_lines
from billing.subscriptions.models import Subscription

log = structlog.get_logger(__name__)

REMIND_BEFORE = timedelta(days=3)


def remind_due(*, now: datetime, limit: int, account_id: int | None = None) -> int:
    """Tell at most `limit` accounts whose trial ends within three days, once each; how many. A trial of up to three
    days ends too soon to be told of. Safe to run at any time, twice, or in several workers."""
    trials = Subscription.objects.filter(
        state=Subscription.State.TRIALING, trial_reminded_at=None, trial_ends_at__lte=now + REMIND_BEFORE
    ).filter(trial_ends_at__gt=now)
    trials = clocks.narrow(trials, account_id=account_id)
    told = 0
    for subscription_id in guards.in_turn(trials, size=limit):
        if told == limit:
            break
        try:
            told += engines.with_tax(partial(_remind, subscription_id, now=now), now=now)
        except Exception:
            log.exception("trial.reminder_failed", subscription_id=subscription_id)
    return told


def _remind(subscription_id: int, *, now: datetime) -> bool:
    with transaction.atomic():
        rows = Subscription.objects.select_for_update(skip_locked=True, no_key=True, of=("self",))
        waiting = rows.filter(pk=subscription_id, trial_reminded_at=None).select_related("account")
        subscription = waiting.first()
        if subscription is None or subscription.trial_ends_at is None:
            return False
        subscription.trial_reminded_at = now
        subscription.save(update_fields=["trial_reminded_at"])
        if subscription.trial_ends_at - subscription.started_at <= REMIND_BEFORE + timedelta(days=1):
            return False
        terms = agreed.of(subscription, at=subscription.trial_ends_at)
        outbox.write(
            kind="trial_ending",
            dedupe_key=f"trial_ending:{subscription.pk}",
            account_id=subscription.account_id,
            payload={
                "plan_name": terms.plan_name,
                "ends_at": subscription.trial_ends_at.isoformat(),
                "currency": subscription.currency,
                "has_method": "yes" if _has_method(subscription) else "",
                **_total(subscription, terms),
            },
            now=now,
        )
        return True


def _has_method(subscription: Subscription) -> bool:
    if subscription.collection == Subscription.Collection.MANUAL:
        return True
    return subscription.method_id is not None or methods.find_default(subscription.account_id) is not None


def _total(subscription: Subscription, terms: Terms) -> dict[str, str]:
    """What the first paid period costs, if it costs anything."""
    assert subscription.trial_ends_at is not None  # noqa: S101
    ends_at = subscription.trial_ends_at
    span = fee_lines.span(subscription.pk, 1, ends_at, ends_at)
    advance = fee_lines.advance(terms, seats=subscription.seats, of=span)
    advance += coupons.discounts(coupons.active(subscription), terms=terms, advance=advance, of=span)[0]
    if not advance:
        return {}
    on = issuing.supply_date(subscription.account, ends_at)
    quote = issuing.quote(account=subscription.account, currency=terms.currency, lines=advance, on=on)
    return {"total": f"{round_money(quote.total, terms.currency):f}"}
