"""Acts of staff that need a second person (M8): what one author may do alone in a day, and the queue of the rest.

Promises
- What an author did alone on a day (UTC) is added up: credits, and the money of each currency. Within both limits an
  act is done immediately, beyond either it waits. Cutting an act into pieces does not help, nor sending them at once.
  What a second person has to decide does not use up the author's own limit.
- An act whose worth has no bound (rights, terms for periods to come) always waits.
- Nobody decides what they asked for themselves. A decision is made once.

The acts themselves are the caller's: `ask` and `approve` say whether to do them, in the caller's transaction, so that
an act and the row that allows it are one. Locks: the author's row (`ask`), the approval's row (decisions).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Sum

from billing.accounts.models import Approval, User

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Worth:
    """What an act moves, and so what counts against the author's day: credits, and money of a currency. Both may be
    zero. `is_boundless`: no figure says it, so that no limit covers it."""

    credits: Decimal = ZERO
    amount: Decimal = ZERO
    currency: str = ""
    is_boundless: bool = False

    def exceeds(self, other: "Worth") -> bool:
        """Whether it is more than `other`, in credits or in money, or money of another currency."""
        more = self.credits > other.credits or self.amount > other.amount
        return more or bool(self.amount and self.currency != other.currency)


class ReferenceConflict(Exception):
    """The reference is in use for another act."""


class AlreadyDecided(Exception):
    """Somebody approved, rejected or withdrew it before."""


class SamePerson(Exception):
    """Whoever asked for an act cannot decide it."""


class NotYours(Exception):
    """Only whoever asked for an act withdraws it."""


def limit_of(currency: str) -> Decimal:
    """What one author may do alone in a day: credits (no currency), or money of any one currency."""
    return Decimal(settings.FLORIN_APPROVAL_MONEY if currency else settings.FLORIN_APPROVAL_CREDITS)


def used_today(*, user_id: int, currency: str, now: datetime) -> Decimal:
    """What the author did alone on the day of `now`: credits (no currency), or money of the currency."""
    begins = datetime.combine(now.astimezone(UTC).date(), time(), tzinfo=UTC)
    alone = Approval.objects.filter(
        requested_by_id=user_id,
        requested_at__gte=begins,
        requested_at__lt=begins + timedelta(days=1),
        state=Approval.State.IMMEDIATE,
    )
    figure = "amount" if currency else "credits"
    if currency:
        alone = alone.filter(currency=currency)
    return alone.aggregate(total=Sum(figure))["total"] or ZERO


def is_within_limit(*, user_id: int, worth: Worth, now: datetime) -> bool:
    """Whether the author may do something of this worth alone, after what they did today."""
    if worth.is_boundless:
        return False
    parts = [(worth.credits, ""), (worth.amount, worth.currency)]
    return all(
        used_today(user_id=user_id, currency=currency, now=now) + part <= limit_of(currency)
        for part, currency in parts
        if part
    )


def ask(
    *,
    user: User,
    account_id: int | None,
    act: str,
    payload: Mapping[str, Any],
    reference: str,
    worth: Worth,
    reason: str,
    now: datetime,
) -> tuple[Approval, bool]:
    """Record an act and return it with whether this call made it: if so and it is `immediate`, the caller does it, in
    the same transaction (required); if it is `waiting`, a second person must approve it.

    The same reference returns the first row. Locks the author's row. Raises ReferenceConflict when it was asked for
    with another payload, and ValueError outside a transaction.
    """
    if not transaction.get_connection().in_atomic_block:
        raise ValueError("an act and what allows it are one transaction")
    _lock_author(user.pk)
    first = find(user=user, act=act, payload=payload, reference=reference)
    if first is not None:
        return first, False
    alone = is_within_limit(user_id=user.pk, worth=worth, now=now)
    made = Approval.objects.create(
        account_id=account_id,
        act=act,
        payload=dict(payload),
        reference=reference,
        credits=worth.credits,
        amount=worth.amount,
        currency=worth.currency,
        reason=reason,
        state=Approval.State.IMMEDIATE if alone else Approval.State.WAITING,
        requested_by=user,
        requested_at=now,
    )
    return made, True


def find(*, user: User, act: str, payload: Mapping[str, Any], reference: str) -> Approval | None:
    """What was asked for by this reference before. Raises ReferenceConflict when that was something else."""
    first = Approval.objects.filter(reference=reference).first()
    if first is not None and (first.act, first.payload, first.requested_by_id) != (act, dict(payload), user.pk):
        raise ReferenceConflict(reference)
    return first


def approve(*, approval_id: int, user: User, note: str, now: datetime) -> Approval:
    """Approve a waiting act; the caller does it in the same transaction. Raises AlreadyDecided, SamePerson."""
    return _decide(approval_id, Approval.State.APPROVED, user, note, now)


def reject(*, approval_id: int, user: User, note: str, now: datetime) -> Approval:
    """Refuse a waiting act; it is not done. Raises AlreadyDecided, SamePerson."""
    return _decide(approval_id, Approval.State.REJECTED, user, note, now)


def withdraw(*, approval_id: int, user: User, now: datetime) -> Approval:
    """Take back what one asked for. Raises AlreadyDecided, NotYours."""
    return _decide(approval_id, Approval.State.WITHDRAWN, user, "", now)


def _decide(approval_id: int, state: Approval.State, user: User, note: str, now: datetime) -> Approval:
    with transaction.atomic():
        approval = Approval.objects.select_for_update(no_key=True).get(pk=approval_id)
        if approval.state != Approval.State.WAITING:
            raise AlreadyDecided(approval.state)
        is_author = approval.requested_by_id == user.pk
        if state == Approval.State.WITHDRAWN and not is_author:
            raise NotYours
        if state != Approval.State.WITHDRAWN and is_author:
            raise SamePerson
        approval.state, approval.decided_by, approval.decided_at, approval.decision_note = state, user, now, note
        approval.save(update_fields=["state", "decided_by", "decided_at", "decision_note"])
        return approval


def _lock_author(user_id: int) -> None:
    """Let the acts of one author take turns, so that none overlooks another."""
    User.objects.select_for_update(no_key=True).get(pk=user_id)
