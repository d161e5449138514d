"""Powers over credits: grants, revocations, adjustments, reversals and what a pool may overdraw."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Model
from django.utils.translation import gettext as _

from billing.accounts.approvals import Worth
from billing.accounts.models import Approval
from billing.admin.powers.power import CannotBeDone, Payload, actor_of
from billing.catalog import pricing
from billing.ledger import pools, posting
from billing.ledger.models import CreditGrant, CreditPool, GrantKind, Posting
from billing.metering import reversal
from billing.metering.models import EventReversal, UsageEvent

ZERO = Decimal(0)


# --- Grant -----------------------------------------------------------------------------------------------------------
def worth_of_grant(asked: Payload, now: datetime) -> Worth:
    """The credits, and what they are said to have been sold for."""
    credits = Decimal(asked["amount"])
    pool = CreditPool.objects.select_related("account").get(pk=asked["pool_id"])
    return _worth(credits, credits * Decimal(asked["cost_basis"]), asked["currency"] or pool.account.currency)


def grant(approval: Approval, now: datetime) -> Model:
    """Grant the credits."""
    asked = approval.payload
    expires_at = _moment(asked["expires_at"])
    if expires_at is not None and expires_at <= now:
        raise CannotBeDone(_("The credits would have expired by now."))
    made = posting.grant(
        pool_id=asked["pool_id"],
        amount=Decimal(asked["amount"]),
        kind=asked["kind"],
        reference=approval.reference,
        now=now,
        priority=asked["priority"],
        effective_at=_moment(asked["effective_at"]),
        expires_at=expires_at,
        cost_basis=Decimal(asked["cost_basis"]),
        currency=asked["currency"] or None,
        meter_id=asked["meter_id"],
        note=approval.reason,
        actor=actor_of(approval),
    )
    return made.entries.select_related("grant__pool").order_by("line")[0].grant


# --- Revoke ----------------------------------------------------------------------------------------------------------
def lot_of(asked: Payload) -> Model | None:
    """The lot to revoke."""
    return CreditGrant.objects.select_related("pool").get(pk=asked["grant_id"])


def worth_of_revocation(asked: Payload, now: datetime) -> Worth:
    """The credits, at what was paid for them."""
    lot = CreditGrant.objects.get(pk=asked["grant_id"])
    credits = lot.remaining - lot.held if asked["amount"] is None else Decimal(asked["amount"])
    return _worth(credits, credits * lot.cost_basis, str(lot.currency))


def revoke(approval: Approval, now: datetime) -> Model:
    """Take back what was asked; where that was all that is left, never more than what was counted."""
    asked, lot = approval.payload, CreditGrant.objects.get(pk=approval.payload["grant_id"])
    credits = Decimal(asked["amount"]) if asked["amount"] else min(approval.credits, lot.remaining - lot.held)
    if credits <= 0:
        raise CannotBeDone(_("Nothing is left of the lot."))
    posting.revoke(
        grant_id=lot.pk, amount=credits, reference=approval.reference, now=now, note=approval.reason,
        actor=actor_of(approval),
    )  # fmt: skip
    return lot


# --- Adjust ----------------------------------------------------------------------------------------------------------
def pool_of(asked: Payload) -> Model | None:
    """The pool that is changed."""
    return CreditPool.objects.get(pk=asked["pool_id"])


def worth_of_adjustment(asked: Payload, now: datetime) -> Worth:
    """The credits; those that are taken away, at what was paid for them."""
    change = Decimal(asked["change"])
    taken = _lots_for(asked["pool_id"], -change) if change < 0 else []
    pool = CreditPool.objects.select_related("account").get(pk=asked["pool_id"])
    return _worth(abs(change), sum((part * lot.cost_basis for lot, part in taken), ZERO), pool.account.currency)


def adjust(approval: Approval, now: datetime) -> Model:
    """Up: a new lot. Down: off the pool's lots, unpaid ones first, then those that expire soonest."""
    pool_id, change = approval.payload["pool_id"], Decimal(approval.payload["change"])
    named: dict[str, Any] = {"now": now, "note": approval.reason, "actor": actor_of(approval)}
    pool = CreditPool.objects.select_for_update(no_key=True).get(pk=pool_id)
    if change > 0:
        posting.grant(
            pool_id=pool_id, amount=change, kind=GrantKind.ADJUSTMENT, reference=approval.reference, **named
        )  # fmt: skip
        return pool
    left = -change
    for lot, part in _lots_for(pool_id, left):
        posting.revoke(grant_id=lot.pk, amount=part, reference=f"{approval.reference}:{lot.pk}", **named)
        left -= part
    if left:
        raise CannotBeDone(_("The pool has fewer credits than that which are not held."))
    return pool


def _lots_for(pool_id: int, credits: Decimal) -> Iterator[tuple[CreditGrant, Decimal]]:
    """The lots that so many credits would be taken from, and how many of each."""
    for lot in sorted(CreditGrant.objects.filter(pool_id=pool_id, is_open=True), key=_first_to_go):
        part = min(credits, lot.remaining - lot.held)
        if part > 0:
            yield lot, part
            credits -= part


def _first_to_go(lot: CreditGrant) -> tuple[Any, ...]:
    never = lot.expires_at is None
    return (lot.cost_basis > 0, never, lot.expires_at or lot.created_at, lot.pk)


# --- Reverse ---------------------------------------------------------------------------------------------------------
def posting_of(asked: Payload) -> Model | None:
    """The posting to reverse."""
    return Posting.objects.select_related("pool").get(pk=asked["posting_id"])


def worth_of_reversal(asked: Payload, now: datetime) -> Worth:
    """The credits that come back, at what was paid for them."""
    return _worth_of_posting(Posting.objects.select_related("pool__account").get(pk=asked["posting_id"]))


def reverse(approval: Approval, now: datetime) -> Model:
    """Give back what is left to give back of a spend."""
    return posting.reverse(
        posting_id=approval.payload["posting_id"], now=now, note=approval.reason[:200], actor=actor_of(approval)
    )


def worth_of_event(asked: Payload, now: datetime) -> Worth:
    """The credits that the event cost. Their price is not followed up: events of a batch share a posting."""
    event = UsageEvent.objects.get(pk=_event_of(asked))
    return Worth(credits=event.credits)


def reverse_event(approval: Approval, now: datetime) -> Model:
    """Give back what a usage event cost; it stays as a fact."""
    account_id, event_id, source = event = _event_of(approval.payload)
    reversal.reverse_event(
        account_id=account_id, event_id=event_id, source=source, reason=approval.reason[:200],
        actor=actor_of(approval), now=now,
    )  # fmt: skip
    return EventReversal.objects.get(pk=event)


def _event_of(asked: Payload) -> tuple[int, str, str]:
    return asked["account_id"], asked["event_id"], asked["source"]


# --- What a pool may overdraw ----------------------------------------------------------------------------------------
def worth_of_policy(asked: Payload, now: datetime) -> Worth:
    """The credits by which the pool may be overdrawn further than now; without a bound where overage has no cap."""
    now_allowed = ZERO
    if asked["pool_id"] is not None:
        pool = CreditPool.objects.get(pk=asked["pool_id"])
        allowed = _overdraft(pool.policy, pool.burst_limit, pool.overage_cap)
        if allowed is None:
            return Worth()
        now_allowed = allowed
    cap = None if asked["overage_cap"] is None else Decimal(asked["overage_cap"])
    wanted = _overdraft(asked["policy"], Decimal(asked["burst_limit"]), cap)
    return Worth(is_boundless=True) if wanted is None else Worth(credits=max(ZERO, wanted - now_allowed))


def set_policy(approval: Approval, now: datetime) -> Model:
    """Set what happens when the pool's credits run out."""
    asked = approval.payload
    return pools.set_policy(
        pool_id=asked["pool_id"],
        policy=asked["policy"],
        burst_limit=Decimal(asked["burst_limit"]),
        overage_cap=None if asked["overage_cap"] is None else Decimal(asked["overage_cap"]),
    )


def _overdraft(policy: str, burst_limit: Decimal, overage_cap: Decimal | None) -> Decimal | None:
    """How far below zero a policy lets a pool go; None without a bound."""
    if policy == CreditPool.Policy.BURST:
        return burst_limit
    return overage_cap if policy == CreditPool.Policy.OVERAGE else ZERO


def _worth_of_posting(row: Posting) -> Worth:
    paid = sum((abs(entry.amount) * entry.grant.cost_basis for entry in row.entries.select_related("grant")), ZERO)
    return _worth(row.credits, paid, row.pool.account.currency)


def _worth(credits: Decimal, money: Decimal, currency: str) -> Worth:
    amount = pricing.round_money(money, currency)
    return Worth(credits=credits, amount=amount, currency=currency if amount else "")


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
