"""Pausing, resuming, cancelling and taking that back; withdrawing a scheduled change; redeeming a coupon.

Once per reference; repeating an act changes nothing. Locks: the subscription's row, then what the act needs (invoices,
pools, the issuer's row).
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from django.db import transaction
from django.utils.translation import gettext as _

from billing.notifications import outbox
from billing.subscriptions import guards, history
from billing.subscriptions.charges import coupons
from billing.subscriptions.charges.coupons import CouponRefused
from billing.subscriptions.guards import NotAllowed
from billing.subscriptions.lifecycle import end, period_start, restart, scheduled_change, unused_refund
from billing.subscriptions.lifecycle.change_preview import When
from billing.subscriptions.models import CouponRedemption, Subscription, SubscriptionChange

__all__ = ["CouponRefused", "NotAllowed"]

NOTHING: Mapping[str, object] = MappingProxyType({})
State = Subscription.State
Act = SubscriptionChange.Act
RUNNING = (State.TRIALING, State.ACTIVE, State.PAST_DUE)


class NothingScheduled(Exception):
    """No change waits for the end of the period."""


def pause(*, subscription_id: int, reference: str, actor: str, now: datetime) -> Subscription:
    """Let a subscription rest: it does not renew. What is paid can be used until the period ends; after that the pools
    stand by themselves. A change that waited is withdrawn. Raises what `guards` raises; nothing is written then."""
    with transaction.atomic():
        subscription = guards.lock(subscription_id)
        if guards.is_repeat(subscription, reference=reference, acts=(Act.PAUSE,), asked={}):
            return subscription
        now = period_start.catch_up(subscription, now=now)
        guards.ensure_allowed(subscription, (State.ACTIVE,), now=now)
        scheduled_change.withdraw(subscription, actor=actor, now=now)
        subscription.state, subscription.paused_at = State.PAUSED, now
        subscription.save(update_fields=["state", "paused_at"])
        _note(subscription, Act.PAUSE, reference, actor=actor, now=now)
        _tell(subscription, "subscription_paused", reference, now=now)
        return subscription


def resume(*, subscription_id: int, reference: str, actor: str, now: datetime) -> Subscription:
    """Let a paused subscription go on: in its period while that runs, else with a new one that begins today.

    One that was paused because an invoice stayed unpaid goes on by paying it. Raises what `guards` raises, and
    issuing.NoIssuer; nothing is written then.
    """
    with transaction.atomic():
        subscription = guards.lock(subscription_id)
        if guards.is_repeat(subscription, reference=reference, acts=(Act.RESUME,), asked={}):
            return subscription
        now = period_start.catch_up(subscription, now=now)
        guards.ensure_allowed(subscription, (State.PAUSED,), now=now)
        if subscription.account.paused_at is not None:
            raise NotAllowed(subscription.state, "it goes on once what is overdue is paid")
        name = guards.name(subscription, reference)
        restart.take_up(subscription, reference=name, actor=actor, now=now)
        return subscription


def cancel(
    *,
    subscription_id: int,
    when: str = When.PERIOD_END,
    reason: str = "",
    gives_back: bool = False,
    reference: str,
    actor: str,
    now: datetime,
) -> Subscription:
    """Cancel a subscription: at the end of its period, until which it runs and the cancellation can be taken back, or
    now. A trial that is cancelled is never billed.

    Now: what is in arrears is billed. What was paid does not go back, unless staff ask for it (`gives_back`): then the
    days that are left are credited, refunded and their credits taken back. Of what was not paid only the days up to now
    are collected (`unused_refund`). One that is not paid for yet, or is
    paused and past its period, ends now in any case. Raises what `guards` raises, and issuing.NoIssuer; nothing is
    written then.
    """
    asked = {"when": str(when), "gives_back": gives_back}
    with transaction.atomic():
        subscription = guards.lock(subscription_id)
        if guards.is_repeat(subscription, reference=reference, acts=(Act.CANCEL,), asked=asked):
            return subscription
        now = period_start.catch_up(subscription, now=now)
        _ensure_cancellable(subscription, when, now=now)
        has_run_out = subscription.state == State.PAUSED and subscription.period_ends_at <= now
        is_now = when == When.NOW or subscription.state == State.INCOMPLETE or has_run_out
        subscription.cancelled_at, subscription.cancel_reason = now, reason
        subscription.save(update_fields=["cancelled_at", "cancel_reason"])
        _note(subscription, Act.CANCEL, reference, asked=asked, reason=reason, actor=actor, now=now)
        if is_now:
            _end(subscription, reason=reason, gives_back=gives_back, actor=actor, now=now)
            return subscription
        scheduled_change.withdraw(subscription, actor=actor, now=now)
        subscription.state, subscription.paused_at = State.CANCELLED, None
        subscription.save(update_fields=["state", "paused_at"])
        _tell(subscription, "subscription_cancelled", reference, now=now)
        return subscription


def reactivate(*, subscription_id: int, reference: str, actor: str, now: datetime) -> Subscription:
    """Take a cancellation back before the period has ended: it renews again, once it is paid if the account is paused
    for an unpaid invoice. Raises what `guards` raises."""
    with transaction.atomic():
        subscription = guards.lock(subscription_id)
        if guards.is_repeat(subscription, reference=reference, acts=(Act.REACTIVATE,), asked={}):
            return subscription
        now = period_start.catch_up(subscription, now=now)
        guards.ensure_allowed(subscription, (State.CANCELLED,), now=now)
        subscription.state = _state_before(subscription)
        subscription.cancelled_at, subscription.cancel_reason = None, ""
        subscription.paused_at = now if subscription.state == State.PAUSED else None
        subscription.save(update_fields=["state", "paused_at", "cancelled_at", "cancel_reason"])
        _note(subscription, Act.REACTIVATE, reference, actor=actor, now=now)
        return subscription


def withdraw_scheduled(*, subscription_id: int, reference: str, actor: str, now: datetime) -> Subscription:
    """Withdraw the change that waits for the end of the period. Raises NothingScheduled, and what `guards` raises."""
    with transaction.atomic():
        subscription = guards.lock(subscription_id)
        if guards.is_repeat(subscription, reference=reference, acts=(Act.UNSCHEDULE,), asked={}):
            return subscription
        now = period_start.catch_up(subscription, now=now)
        guards.ensure_allowed(subscription, (*RUNNING, State.PAUSED), now=now)
        name = guards.name(subscription, reference)
        if not scheduled_change.withdraw(subscription, reference=name, actor=actor, now=now):
            raise NothingScheduled(subscription)
        return subscription


def redeem(*, subscription_id: int, code: str, reference: str, actor: str, now: datetime) -> CouponRedemption:
    """Give a subscription the discounts of a coupon, from its next invoice on. Locks the coupon's row.

    Raises CouponRefused with the reason, and what `guards` raises; nothing is written then.
    """
    asked = {"code": code.strip().upper()}
    with transaction.atomic():
        subscription = guards.lock(subscription_id)
        if guards.is_repeat(subscription, reference=reference, acts=(Act.COUPON,), asked=asked):
            return subscription.redemptions.get(coupon__code=asked["code"])
        now = period_start.catch_up(subscription, now=now)
        guards.ensure_allowed(subscription, (*RUNNING, State.PAUSED), now=now)
        redemption = coupons.redeem(subscription, code=code, now=now)
        _note(subscription, Act.COUPON, reference, asked=asked, actor=actor, now=now)
        return redemption


def _ensure_cancellable(subscription: Subscription, when: str, *, now: datetime) -> None:
    if subscription.state == State.INCOMPLETE:
        return
    states = (*RUNNING, State.PAUSED)
    guards.ensure_allowed(subscription, (*states, State.CANCELLED) if when == When.NOW else states, now=now)


def _end(subscription: Subscription, *, reason: str, gives_back: bool, actor: str, now: datetime) -> None:
    if subscription.state == State.INCOMPLETE:
        if not end.abandon(subscription, now=now):
            raise NotAllowed(subscription.state, "its first invoice is paid, or about to be")
        return
    if subscription.period_number and now < subscription.period_ends_at:
        act = unused_refund.give_back if gives_back else unused_refund.forgive_unpaid
        act(subscription, reason=reason or _("Cancelled"), actor=actor, now=now)
    end.end(subscription, at=now, reference=f"end:{subscription.pk}", actor=actor, reason=reason, now=now)


def _state_before(subscription: Subscription) -> str:
    if subscription.account.paused_at is not None:
        return State.PAUSED
    if subscription.period_number == 0:
        return State.TRIALING
    return State.ACTIVE if subscription.past_due_at is None else State.PAST_DUE


def _note(
    subscription: Subscription,
    act: str,
    reference: str,
    *,
    asked: Mapping[str, object] = NOTHING,
    reason: str = "",
    actor: str,
    now: datetime,
) -> None:
    details: dict[str, object] = {"asked": dict(asked)} if asked else {}
    if reason:
        details["reason"] = reason
    name = guards.name(subscription, reference)
    history.write(subscription, act, reference=name, at=now, actor=actor, details=details)


def _tell(subscription: Subscription, kind: str, reference: str, *, now: datetime) -> None:
    payload = {
        "plan_name": subscription.plan_version.plan.name,
        "ends_at": subscription.period_ends_at.isoformat(),
    }
    outbox.write(
        kind=kind,
        dedupe_key=f"{kind}:{guards.name(subscription, reference)}",
        account_id=subscription.account_id,
        payload=payload,
        now=now,
    )
