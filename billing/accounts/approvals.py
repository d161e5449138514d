"""Acts of staff that need a second person (M8): what one author may do alone in a day, and the queue of the rest.

Promises
- What an author did, and asked for, on a day (UTC) is added up per unit: credits, or a currency's money. Within the
  limit an act is done at once, beyond it waits; cutting an act into pieces does not help, nor sending them at once.
- Nobody decides what they asked for themselves. A decision falls once.

The acts themselves are the caller's: `ask` and `approve` say whether to do them, in the caller's transaction, so that
an act and the row that allows it are one. Locks: the author's row (`ask`), the approval's row (decisions).
"""

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Sum

from billing.accounts.models import Approval, User

COUNTED = (Approval.State.IMMEDIATE, Approval.State.WAITING, Approval.State.APPROVED)


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
    """What counts against the author's limit on the day of `now`: done, waiting and approved acts."""
    begins = datetime.combine(now.astimezone(UTC).date(), time(), tzinfo=UTC)
    acts = Approval.objects.filter(
        requested_by_id=user_id,
        requested_at__gte=begins,
        requested_at__lt=begins + timedelta(days=1),
        currency=currency,
        state__in=COUNTED,
    )
    return acts.aggregate(total=Sum("amount"))["total"] or Decimal(0)


def ask(
    *,
    user: User,
    account_id: int,
    act: str,
    payload: Mapping[str, Any],
    reference: str,
    amount: Decimal,
    currency: str = "",
    reason: str,
    now: datetime,
) -> tuple[Approval, bool]:
    """Note an act and return it with whether this call made it: if so and it is `immediate`, the caller does it, in the
    same transaction (required); if it is `waiting`, a second person must approve it.

    The same reference returns the first row. Locks the author's row. Raises ReferenceConflict when it was asked for
    with another payload, and ValueError outside a transaction.
    """
    if not transaction.get_connection().in_atomic_block:
        raise ValueError("an act and what allows it are one transaction")
    _lock_author(user.pk)
    first = Approval.objects.filter(reference=reference).first()
    if first is not None:
        if (first.act, first.payload, first.requested_by_id) != (act, dict(payload), user.pk):
            raise ReferenceConflict(reference)
        return first, False
    alone = used_today(user_id=user.pk, currency=currency, now=now) + amount <= limit_of(currency)
    made = Approval.objects.create(
        account_id=account_id,
        act=act,
        payload=dict(payload),
        reference=reference,
        amount=amount,
        currency=currency,
        reason=reason,
        state=Approval.State.IMMEDIATE if alone else Approval.State.WAITING,
        requested_by=user,
        requested_at=now,
    )
    return made, True


def approve(*, approval_id: int, user: User, note: str, now: datetime) -> Approval:
    """Approve a waiting act; the caller does it in the same transaction. Raises AlreadyDecided, SamePerson."""
    return _decide(approval_id, Approval.State.APPROVED, user, note, now)


def reject(*, approval_id: int, user: User, note: str, now: datetime) -> Approval:
    """Refuse a waiting act; it counts no longer. Raises AlreadyDecided, SamePerson."""
    return _decide(approval_id, Approval.State.REJECTED, user, note, now)


def withdraw(*, approval_id: int, user: User, now: datetime) -> Approval:
    """Take back what one asked for; it counts no longer. Raises AlreadyDecided, NotYours."""
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
