"""Giving back what a usage event cost, once, and taking it out of the totals and counters."""

from datetime import datetime
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import F

from billing.accounts.models import Account
from billing.catalog.models import Meter, Rate
from billing.catalog.prices import price_of
from billing.ledger import posting as ledger
from billing.ledger.book import Draft
from billing.ledger.books import open_books, write_books
from billing.ledger.models import Posting
from billing.ledger.pools import get_main_pool
from billing.metering.models import (
    DailyUsage,
    EventReversal,
    GaugeReading,
    GaugeSeries,
    UniqueValue,
    UsageCounter,
    UsageEvent,
)


class EventNotFound(LookupError):
    """The account has no event of this id."""


class AlreadyReversed(Exception):
    """The event, or its whole posting, was reversed before."""


class ReadingSettled(Exception):
    """The event is a gauge's reading from so long ago that its level x time has been settled for good."""


def reverse_event(*, account_id: int, event_id: str, reason: str = "", actor: str = "", now: datetime) -> EventReversal:
    """Give an event's credits back to the lots they came from, last burned first, and uncount it. At most once.

    The event itself stays, as a fact; the day's totals, the period's cumulative quantity, the member's spending and a
    unique value it brought are as if it had not happened, so later usage is priced without it. Reversing a gauge's
    reading takes its level out; what was charged for it comes off later usage.

    Raises EventNotFound, AlreadyReversed or ReadingSettled. Locks, like usage itself, the event's pool and the
    account's main pool; for a gauge's reading its series first.
    """
    with transaction.atomic():
        event = UsageEvent.objects.select_related("meter").filter(account_id=account_id, event_id=event_id).first()
        if event is None:
            raise EventNotFound(event_id)
        if event.meter.kind == Meter.Kind.GAUGE and event.rate_id is None:
            _drop_reading(event)
        posting = _give_back(event, reason, actor, now)
        _uncount(event)
        return EventReversal.objects.create(
            account_id=account_id,
            event_id=event_id,
            posting_id=posting.id if posting else None,
            credits=posting.credits if posting else 0,
            reason=reason,
            actor=actor,
            created_at=now,
        )


def _drop_reading(event: UsageEvent) -> None:
    """Delete a gauge's reading under its series' lock, so that the next accrual corrects what it charged."""
    readings = GaugeReading.objects.filter(
        account_id=event.account_id, meter_id=event.meter_id, occurred_at=event.occurred_at, event_id=event.event_id
    )
    name = readings.values_list("series", flat=True).first()
    series = (
        GaugeSeries.objects.select_for_update(no_key=True)
        .filter(account_id=event.account_id, meter_id=event.meter_id, series=name)
        .first()
    )
    if _is_reversed(event):
        raise AlreadyReversed
    if series is None or event.occurred_at <= series.base_at:
        raise ReadingSettled
    readings.delete()


def _is_reversed(event: UsageEvent) -> bool:
    return EventReversal.objects.filter(account_id=event.account_id, event_id=event.event_id).exists()


def _give_back(event: UsageEvent, reason: str, actor: str, now: datetime) -> Draft | None:
    """Post the reversal of the event's slice of its posting; None when it cost nothing. Takes the pools' locks."""
    main_id = get_main_pool(event.account_id).pk
    if event.posting_id is None:
        open_books([main_id], now=now, postings=0)
        if _is_reversed(event):
            raise AlreadyReversed
        return None
    try:
        opened, posting = ledger.reverse_part(
            Posting.objects.get(pk=event.posting_id),
            now=now,
            reference=f"unuse:{event.event_id}",
            window=(event.burn_offset, event.burn_offset + event.credits),
            extra_pool_ids=[main_id],
            member_id=event.member_id,
        )
    except ledger.AlreadyReversed as error:
        raise AlreadyReversed from error
    posting.meter_id, posting.actor, posting.note = event.meter_id, actor, reason
    write_books(opened, now=now)
    return posting


def _uncount(event: UsageEvent) -> None:
    """Take the event out of its day's totals, its period's counter and the period's unique values."""
    zone = Account.objects.values_list("time_zone", flat=True).get(pk=event.account_id)
    row = {
        "account_id": event.account_id,
        "meter_id": event.meter_id,
        "member_id": event.member_id,
        "day": event.occurred_at.astimezone(ZoneInfo(zone)).date(),
    }
    cost = event.counted * event.unit_cost
    changed = DailyUsage.objects.filter(**row).update(
        events=F("events") - 1,
        quantity=F("quantity") - event.counted,
        credits=F("credits") - event.credits,
        cost=F("cost") - cost,
    )
    if not changed:  # The account has moved to another time zone since; its sums stay right all the same.
        DailyUsage.objects.create(**row, events=-1, quantity=-event.counted, credits=-event.credits, cost=-cost)
    if event.rate_id is None or not event.counted:
        return
    of_period = {
        "account_id": event.account_id,
        "meter_id": event.meter_id,
        "period_starts_at": event.period_starts_at,
    }
    dimension = price_of(Rate.objects.get(pk=event.rate_id)).dimension
    UsageCounter.objects.filter(**of_period, dimension=dimension).update(quantity=F("quantity") - event.counted)
    if event.meter.kind == Meter.Kind.UNIQUE:
        UniqueValue.objects.filter(**of_period, event_id=event.event_id).delete()
