"""Holds for usage of a meter: reserving what a quantity is estimated to cost, and capturing what was used as an event.

Locks: the hold's pool and the account's main pool, as usage does.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.db import transaction

from billing.accounts.models import Account
from billing.catalog.models import Meter
from billing.catalog.pricing import AmountTooLarge
from billing.ledger import holds
from billing.ledger.models import Hold, Posting
from billing.ledger.pools import get_main_pool
from billing.metering import estimates
from billing.metering.events import InvalidEvent, Usage, read_properties, reference
from billing.metering.events import fingerprint as digest_of
from billing.metering.ingest import IdConflict
from billing.metering.known import First, known_statements, read_known
from billing.metering.processing import ensure_holdable, rate
from billing.metering.quotes import Asked
from billing.metering.resolve import resolve
from billing.metering.store import Tally, write_usage
from billing.metering.work import Work, find_out


class NotMetered(Exception):
    """The hold is of credits, for no meter: capture an amount."""


@dataclass(frozen=True, slots=True)
class Captured:
    """What capturing usage has done: the event of this id and its credits. `posting` is None when it cost nothing."""

    hold: Hold
    posting: Posting | None
    event_id: str
    credits: Decimal


def place(
    *,
    account: Account,
    pool_id: int,
    usage: Asked,
    amount: Decimal | None = None,
    reference: str,
    expires_in_seconds: int = 3600,
    member_id: int | None = None,
    note: str = "",
    fingerprint: bytes | None = None,
    now: datetime,
) -> Hold:
    """Reserve what usage is estimated to cost, or an `amount` of credits, and remember what it is for.

    A repeat returns the first hold. Raises InvalidEvent (unknown_meter also for gauges, which measure levels and not
    work; no_rate, invalid_properties, amount_too_large), and what `ledger.holds.place` raises; nothing is written then.
    """
    first = Hold.objects.filter(pool_id=pool_id, reference=reference).first()
    found = Meter.objects.filter(key=usage.meter).first()
    if found is None or found.kind == Meter.Kind.GAUGE:
        raise InvalidEvent("unknown_meter", f"There is no meter {usage.meter!r} that work could be held for.", "meter")
    if first is None:
        estimated = _estimate(account, usage, now=now)
        amount = estimated if amount is None else amount
    else:
        amount = first.amount
    return holds.place(
        pool_id=pool_id,
        amount=amount,
        reference=reference,
        expires_in_seconds=expires_in_seconds,
        meter_id=found.pk,
        quantity=usage.quantity,
        properties=read_properties(usage.properties)[1],
        member_id=member_id,
        note=note,
        fingerprint=fingerprint,
        now=now,
    )


def _estimate(account: Account, asked: Asked, *, now: datetime) -> Decimal:
    try:
        return estimates.estimate(account=account.external_id, lines=[asked], now=now).credits
    except InvalidEvent as fault:
        raise InvalidEvent(fault.code, fault.detail, fault.field.removeprefix("lines.0.")) from fault


def capture(
    *,
    hold_id: int,
    quantity: Decimal | None = None,
    properties: dict[str, object] | None = None,
    event_id: str,
    final: bool = True,
    note: str = "",
    actor: str = "",
    now: datetime,
) -> Captured:
    """Record what was used under a hold as a usage event, rate it, and spend that of the hold; beyond it as a charge
    does. Quantity and properties are those that the hold names, unless given.

    The event happened when the hold was placed: at the prices, in the period and from the credits of that moment. Once
    per event id of the account; repeating it returns the first result, and raises IdConflict for another body. Raises
    Hold.DoesNotExist, NotMetered, InvalidEvent, and what `ledger.holds.capture` raises; nothing is written then.
    """
    hold = Hold.objects.select_related("pool__account", "meter").get(pk=hold_id)
    if hold.meter is None:
        raise NotMetered(hold)
    work = _work_of(hold, quantity, properties, event_id, final=final, actor=actor, note=note)
    world = resolve(accounts=[hold.pool.account.external_id], pools=[hold.pool.key], members=())
    find_out(work, world, now=now, grace_seconds=settings.FLORIN_EXPIRY_GRACE_SECONDS)
    if work.fault is not None:
        raise work.fault
    work.member_id = hold.member_id
    main_id = get_main_pool(hold.pool.account_id).pk
    with transaction.atomic():
        held = holds.open_hold(hold_id, now=now, postings=1, pool_ids=[main_id], extras=known_statements([work]))
        known = read_known(held.opened.extras)
        first = known.first_of(work)
        if first is not None:
            return _repeated(hold, work, first)
        holds.ensure_open(held)
        try:
            rate(work, known)
            ensure_holdable(work, held.state)
        except AmountTooLarge:
            raise InvalidEvent("amount_too_large", "This is more than a pool can hold.", "quantity") from None
        posting = holds.capture_on(
            held, work.credits, reference=reference("usage", "", event_id), final=final, note=note, actor=actor,
            charged_at=work.charged_at, now=now,
        )  # fmt: skip
        work.draft, work.posting_id = posting, posting.id if posting else None
        tally = Tally()
        tally.add(work)
        write_usage(held.opened, tally, now=now)
        done = Posting.objects.get(pk=posting.id) if posting else None
        return Captured(held.hold, done, event_id, work.credits)


def _work_of(
    hold: Hold,
    quantity: Decimal | None,
    properties: dict[str, object] | None,
    event_id: str,
    *,
    final: bool,
    actor: str,
    note: str,
) -> Work:
    named = hold.quantity if hold.quantity is not None else Decimal(1)
    if properties is None:
        properties = json.loads(hold.properties, parse_float=Decimal)
    values, encoded = read_properties(properties)
    usage = Usage(
        id=event_id,
        account=hold.pool.account.external_id,
        meter=hold.meter.key if hold.meter else "",
        quantity=named if quantity is None else quantity,
        properties=values,
        encoded_properties=encoded,
        stated_at=hold.created_at,
        pool=hold.pool.key,
        member="",
    )
    usage.fingerprint = digest_of(usage, f"capture {hold.pk} {final}")
    return Work(is_charge=False, usage=usage, actor=actor, note=note)


def _repeated(hold: Hold, work: Work, first: First) -> Captured:
    """The result of the first of this event id. Raises IdConflict for another body."""
    event_id = work.usage.id if work.usage else ""
    if work.usage is None or first.fingerprint != work.usage.fingerprint:
        raise IdConflict(event_id)
    posting = Posting.objects.filter(pk=first.posting_id).first() if first.posting_id else None
    return Captured(Hold.objects.get(pk=hold.pk), posting, event_id, first.credits)
