"""Holds: credits reserved now for work whose cost is known only afterwards, then captured or released.

Every function locks the hold's pool. A hold ends 24 hours after `now` at the latest and can be extended by as much at
a time. What a hold reserves cannot expire, be revoked or be spent otherwise while it is open.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import structlog
from django.conf import settings
from django.db import transaction

from billing.accounts import clocks
from billing.ledger import burn
from billing.ledger.models import Hold, HoldLine, Posting
from billing.ledger.pool_acts import count_against, ensure_at_work, ensure_within
from billing.ledger.pool_state import ZERO, Draft, Lot, PoolState, charged_as_of, draft, free_credits, spendable
from billing.ledger.pool_store import OpenPools, open_pools, write_pools
from billing.ledger.posting import ReferenceConflict
from billing.sql.pipeline import Statement

MAX_SECONDS = 24 * 3600

log = structlog.get_logger(__name__)


class HoldClosed(Exception):
    """The hold is captured, released or expired. `hold` tells which."""

    def __init__(self, hold: Hold) -> None:
        super().__init__(f"hold is {hold.state}")
        self.hold = hold


class HoldTooLong(Exception):
    """A hold may reach at most 24 hours ahead."""


class HoldConflict(Exception):
    """The reference is in use for another hold."""


def place(
    *,
    pool_id: int,
    amount: Decimal,
    reference: str,
    now: datetime,
    expires_in_seconds: int = 3600,
    meter_id: int | None = None,
    quantity: Decimal | None = None,
    properties: str = "{}",
    member_id: int | None = None,
    note: str = "",
    fingerprint: bytes | None = None,
) -> Hold:
    """Reserve `amount` credits, on lots first and then on the exhaustion policy. A repeat returns the first hold.

    With a `quantity` it is for usage of the meter, with these `properties` (JSON); it may then be of no credits. Raises
    InsufficientCredits, SpendLimitReached, posting.AccountParked or AccountPaused, HoldTooLong or HoldConflict, or
    ValueError for an amount that is not positive; nothing is written then.
    """
    if amount < 0 or (not amount and quantity is None):
        raise ValueError("a hold needs a positive amount")
    _check_length(expires_in_seconds)
    with transaction.atomic():
        opened = open_pools([pool_id], now=now, postings=0, member_ids=[member_id] if member_id else [])
        first = Hold.objects.filter(pool_id=pool_id, reference=reference).first()
        if first is not None:
            if fingerprint and first.fingerprint and bytes(first.fingerprint) != fingerprint:
                raise HoldConflict(reference)
            return first
        state = opened.states[pool_id]
        ensure_at_work(state)
        ensure_within(opened.limits.get(member_id or 0), amount)
        parts, uncovered = burn.reserve(state, amount, now=now, meter_id=meter_id)
        hold = Hold.objects.create(
            pool_id=pool_id,
            reference=reference,
            fingerprint=fingerprint,
            amount=amount,
            uncovered=uncovered,
            meter_id=meter_id,
            quantity=quantity,
            properties=properties,
            member_id=member_id,
            created_at=now,
            expires_at=now + timedelta(seconds=expires_in_seconds),
            note=note,
        )
        write_pools(opened, now=now)
        HoldLine.objects.bulk_create(
            HoldLine(hold=hold, grant_id=lot.id or 0, position=position, amount=part)
            for position, (lot, part) in enumerate(parts, start=1)
        )
        return hold


def capture(
    *,
    hold_id: int,
    amount: Decimal,
    now: datetime,
    final: bool = True,
    reference: str | None = None,
    note: str = "",
    actor: str = "",
) -> tuple[Hold, Posting | None]:
    """Spend `amount` of a hold, from the lots it reserved, as of when it was placed; beyond the hold as a charge does.

    `final` releases the rest; otherwise the rest stays reserved and further captures may follow. The posting is None
    for an amount of zero. `reference` makes a repeat safe (default: one final capture per hold).
    Raises Hold.DoesNotExist, HoldClosed, ReferenceConflict, and only for what exceeds the hold InsufficientCredits,
    SpendLimitReached, AccountParked or AccountPaused; nothing is written then.
    """
    if amount < 0:
        raise ValueError("a capture cannot be negative")
    reference = reference or f"capture:{hold_id}"
    with transaction.atomic():
        held = open_hold(hold_id, now=now, postings=1)
        hold = held.hold
        first = Posting.objects.filter(pool_id=hold.pool_id, reference=reference).first()
        if first is not None and first.hold_id == hold.pk and first.credits == amount:
            return hold, first
        if not amount and hold.state == Hold.State.CAPTURED:
            return hold, None
        ensure_open(held)
        if first is not None:
            raise ReferenceConflict(first)
        posting = capture_on(held, amount, reference=reference, final=final, note=note, actor=actor, now=now)
        write_pools(held.opened, now=now)
        return hold, Posting.objects.get(pk=posting.id) if posting else None


@dataclass(frozen=True, slots=True)
class OpenHold:
    """A hold and its pool's state, under the pool's lock."""

    hold: Hold
    opened: OpenPools
    state: PoolState


def open_hold(
    hold_id: int,
    *,
    now: datetime,
    postings: int,
    pool_ids: Collection[int] = (),
    extras: Mapping[str, Statement] | None = None,
) -> OpenHold:
    """Lock the hold's pool, and others, then read the hold: its row changes only under that lock. `extras` are further
    reads (`open_pools`). Raises Hold.DoesNotExist."""
    pool_id, member_id = Hold.objects.values_list("pool_id", "member_id").get(pk=hold_id)
    opened = open_pools(
        {pool_id, *pool_ids}, now=now, postings=postings, member_ids=[member_id] if member_id else [], extras=extras
    )
    return OpenHold(Hold.objects.get(pk=hold_id), opened, opened.states[pool_id])


def ensure_open(held: OpenHold) -> None:
    """Raise HoldClosed unless the hold is open, and its time not up."""
    if held.hold.pk in held.opened.lapsed_holds:
        held.hold.state = Hold.State.EXPIRED
    if held.hold.state != Hold.State.OPEN:
        raise HoldClosed(held.hold)


def capture_on(
    held: OpenHold,
    amount: Decimal,
    *,
    reference: str,
    final: bool,
    note: str,
    actor: str,
    now: datetime,
    charged_at: datetime | None = None,
) -> Draft | None:
    """Spend `amount` of an open hold on its pool, and save the hold; the caller writes the pools.

    It counts at `charged_at` (default: when the hold was placed, while that cycle runs or is in its grace). The posting
    is None for an amount of zero. Raises as `capture` does for what exceeds the hold.
    """
    hold, opened, state = held.hold, held.opened, held.state
    parts, lines = _reserved_parts(hold, state)
    taken, rest, left = _take(parts, amount)
    uncovered = min(left, hold.uncovered)
    extra = left - uncovered
    if charged_at is None:
        grace = settings.FLORIN_EXPIRY_GRACE_SECONDS
        charged_at = charged_as_of(state, hold.created_at, now=now, grace_seconds=grace)
    lots = spendable(state, now=now, charged_at=charged_at, meter_id=hold.meter_id)
    limit = opened.limits.get(hold.member_id or 0)
    if extra:
        ensure_at_work(state)
        ensure_within(limit, amount - max(hold.amount - hold.captured, ZERO))
        burn.ensure_covered(state, uncovered + extra, free_credits(lots) + uncovered, at=charged_at)
    posting = None
    if amount:
        posting = draft(state, act="spend", reference=reference, now=now, occurred_at=charged_at)
        posting.hold_id, posting.meter_id, posting.member_id = hold.pk, hold.meter_id, hold.member_id
        posting.actor, posting.note = actor, note
        burn.capture(state, posting, taken, uncovered=uncovered, extra=extra, lots=lots)
        count_against(limit, amount)
    hold.captured += amount
    hold.uncovered -= uncovered
    _note_captured(lines, taken)
    if final:
        burn.unreserve(state, rest, hold.uncovered)
        hold.state, hold.closed_at = Hold.State.CAPTURED, now
        burn.settle_overdraft(state, now=now)
    hold.save()
    return posting


def release(*, hold_id: int, now: datetime) -> Hold:
    """Give back all that a hold still reserves. Releasing a released hold changes nothing. Raises HoldClosed."""
    return _close(hold_id, Hold.State.RELEASED, now)


def extend(*, hold_id: int, expires_in_seconds: int, now: datetime) -> Hold:
    """Let an open hold last until `now` + `expires_in_seconds`. Raises HoldClosed, HoldTooLong."""
    _check_length(expires_in_seconds)
    with transaction.atomic():
        held = open_hold(hold_id, now=now, postings=0)
        ensure_open(held)
        hold = held.hold
        hold.expires_at = now + timedelta(seconds=expires_in_seconds)
        hold.save(update_fields=["expires_at"])
        return hold


def expire_due(*, now: datetime, limit: int = 1000, account_id: int | None = None) -> int:
    """Close open holds whose time is up, each in its own transaction; how many. One that fails is logged.

    With `account_id` only that account's; without, what is on a test clock is left alone.
    """
    due = Hold.objects.filter(state=Hold.State.OPEN, expires_at__lte=now).order_by("expires_at")
    due = clocks.narrow(due, account_id=account_id, road="pool__account")
    closed = 0
    for hold_id in list(due.values_list("pk", flat=True)[:limit]):
        try:
            closed += _close(hold_id, Hold.State.EXPIRED, now).state == Hold.State.EXPIRED
        except Exception:
            log.exception("hold_expiry_failed", hold_id=hold_id)
    return closed


def _close(hold_id: int, ending: Hold.State, now: datetime) -> Hold:
    with transaction.atomic():
        held = open_hold(hold_id, now=now, postings=0)
        hold, opened, state = held.hold, held.opened, held.state
        if hold.state == ending:
            return hold
        if ending == Hold.State.EXPIRED:
            # A hold past its end is among those that the pools close anyway.
            if hold_id in opened.lapsed_holds:
                write_pools(opened, now=now)
                hold.refresh_from_db()
            return hold
        ensure_open(held)
        parts, _ = _reserved_parts(hold, state)
        burn.unreserve(state, parts, hold.uncovered)
        burn.settle_overdraft(state, now=now)
        hold.state, hold.closed_at = ending, now
        hold.save(update_fields=["state", "closed_at"])
        write_pools(opened, now=now)
        return hold


def _check_length(seconds: int) -> None:
    if not 0 < seconds <= MAX_SECONDS:
        raise HoldTooLong


def _reserved_parts(hold: Hold, state: PoolState) -> tuple[list[tuple[Lot, Decimal]], list[HoldLine]]:
    """What the hold still reserves, lot by lot in burn order, and the rows that say so."""
    lots = {lot.id: lot for lot in state.lots}
    lines = list(HoldLine.objects.filter(hold=hold).order_by("position"))
    return [(lots[line.grant_id], line.amount - line.captured) for line in lines if line.amount > line.captured], lines


Parts = list[tuple[Lot, Decimal]]


def _take(parts: Parts, amount: Decimal) -> tuple[Parts, Parts, Decimal]:
    """The first `amount` credits of the parts, what is left of the parts, and what of the amount they do not cover."""
    taken, rest, left = [], [], amount
    for lot, part in parts:
        piece = min(part, left)
        left -= piece
        if piece:
            taken.append((lot, piece))
        if part > piece:
            rest.append((lot, part - piece))
    return taken, rest, left


def _note_captured(lines: list[HoldLine], taken: list[tuple[Lot, Decimal]]) -> None:
    pieces = {lot.id: piece for lot, piece in taken}
    for line in lines:
        if line.grant_id in pieces:
            line.captured += pieces[line.grant_id]
            line.save(update_fields=["captured"])
