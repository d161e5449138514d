"""Giving back what a usage event cost, once, and taking it out of the totals and counters.

A reversal returns exactly what was charged (L9), which need not be what the event's quantity costs now. The period
remembers the difference as a `correction`, and the next events are charged so much more or less, until the events that
stand have paid what their quantities cost (U3):

- Packages of 1,000 at 2 credits: a = 600 costs 2, b = 400 costs 0. Reversing a returns 2; yet 400 units still begin a
  package, so the correction is -2: the next 600 units cost 0 + 2, and 1,000 units have paid 2.
- 100 units at 1 credit, then 2 each: a = 100 costs 100, b = 100 costs 200. Reversing a returns 100, and b
  alone, worth 100, has paid 200: the correction is 100. The next 100 units, worth 200,
  cost 100; 200 units have paid 300.

A correction is never paid out and ends with its period. A new rate version in mid-period goes on where the last one
stopped counting: what a period's quantities cost is the sum of each version's share, in the order of their first use.

A unique meter charges a value's first event of a period for all that carry it. Reversing any of them returns nothing
while another stands, for the value is still in use; the last one returns what the first was charged.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import F, TextField
from django.db.models.functions import Cast

from billing.accounts.models import Account
from billing.catalog.models import Meter
from billing.catalog.prices import price_of
from billing.catalog.pricing import credits_by_turns
from billing.ledger import posting as ledger
from billing.ledger.models import CreditPool, Posting
from billing.ledger.pool_state import Draft
from billing.ledger.pool_store import open_pools, write_pools
from billing.ledger.pools import get_main_pool
from billing.metering.events import reference
from billing.metering.known import value_digest
from billing.metering.models import (
    DailyUsage,
    EventReversal,
    GaugeReading,
    GaugeSeries,
    UniqueValue,
    UsageCounter,
    UsageEvent,
)
from billing.metering.work import ZERO


class EventNotFound(LookupError):
    """The account has no event of this id."""


class AlreadyReversed(Exception):
    """The event was reversed before."""


class ReadingSettled(Exception):
    """The event is a gauge's reading from so long ago that its level x time has been settled for good."""


def reverse_event(
    *, account_id: int, event_id: str, source: str = "", reason: str = "", actor: str = "", now: datetime
) -> EventReversal:
    """Give an event's credits back to the lots they came from, last burned first, and uncount it. At most once.

    The event itself stays, as a fact; the day's totals, the period's cumulative quantity and the member's spending are
    as if it had not happened, and later usage makes up for what it made others cost (see above). The result's credits
    are what was returned: zero for a value of a unique meter that another event of the period still carries.
    Reversing a gauge's reading takes its level out; what was charged for it comes off later usage.

    Raises EventNotFound, AlreadyReversed or ReadingSettled. Locks, like usage itself, the event's pool and the
    account's main pool (for a unique meter all pools of the account); for a gauge's reading its series first.
    """
    with transaction.atomic():
        events = UsageEvent.objects.filter(account_id=account_id, event_id=event_id, source=source)
        event = events.select_related("meter").first()
        if event is None:
            raise EventNotFound(event_id)
        if event.meter.kind == Meter.Kind.GAUGE and event.rate_id is None:
            _drop_reading(event)
        open_pools(_pools_of(event), now=now, postings=0)
        if _is_reversed(event):
            raise AlreadyReversed
        zone = Account.objects.values_list("time_zone", flat=True).get(pk=account_id)
        charged = _charged_for(event)
        posting = _give_back(charged, event, reason, actor, now) if charged else None
        credits = posting.credits if posting else ZERO
        _change_day(event, zone, events=-1)
        if charged:
            _change_day(charged, zone, quantity=-charged.counted, credits=-charged.credits)
            _uncount(charged, credits)
        return EventReversal.objects.create(
            account_id=account_id,
            event_id=event_id,
            source=source,
            posting_id=posting.id if posting else None,
            credits=credits,
            reason=reason,
            actor=actor,
            created_at=now,
        )


def _pools_of(event: UsageEvent) -> Sequence[int]:
    """The pools whose locks keep other usage of the account, and other reversals of this event, away."""
    if event.meter.kind == Meter.Kind.UNIQUE:  # Another event may have been charged for it, in any pool.
        return list(CreditPool.objects.filter(account_id=event.account_id).values_list("pk", flat=True))
    return [get_main_pool(event.account_id).pk, event.pool_id]


def _drop_reading(event: UsageEvent) -> None:
    """Delete a gauge's reading under its series' lock, so that the next accrual corrects what it charged."""
    readings = GaugeReading.objects.filter(
        account_id=event.account_id,
        meter_id=event.meter_id,
        occurred_at=event.occurred_at,
        event_id=event.event_id,
        source=event.source,
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
    return EventReversal.objects.filter(pk=event.pk).exists()


def _charged_for(event: UsageEvent) -> UsageEvent | None:
    """The event whose charge ends with this one: itself, except that a unique meter's value is charged once, with its
    first event, and in use as long as any stands. None while another does."""
    if event.meter.kind != Meter.Kind.UNIQUE:
        return event
    stored = UsageEvent.objects.filter(pk=event.pk)
    properties = json.loads(stored.values_list(Cast("properties", TextField()), flat=True)[0], parse_float=Decimal)
    # Late events count in the period that they happened in; it is the last that began by then.
    periods = (
        {"period_starts_at__lte": event.occurred_at} if event.late else {"period_starts_at": event.period_starts_at}
    )
    found = UniqueValue.objects.filter(
        account_id=event.account_id,
        meter_id=event.meter_id,
        value=value_digest(properties.get(event.meter.unique_property)),
        **periods,
    )
    value = found.order_by("-period_starts_at").first()
    if value is None:
        return event
    values = UniqueValue.objects.filter(pk=value.pk)
    if value.events > 1:
        values.update(events=F("events") - 1)
        return None
    values.delete()
    return UsageEvent.objects.select_related("meter").get(pk=(event.account_id, value.event_id, value.source))


def _give_back(charged: UsageEvent, event: UsageEvent, reason: str, actor: str, now: datetime) -> Draft | None:
    """Post the return of the event's slice of its posting; None when it cost nothing."""
    if charged.posting_id is None:
        return None
    try:
        opened, posting = ledger.reverse_part(
            Posting.objects.get(pk=charged.posting_id),
            now=now,
            reference=reference("unuse", event.source, event.event_id),
            window=(charged.burn_offset, charged.burn_offset + charged.credits),
            member_id=charged.member_id,
        )
    except ledger.AlreadyReversed as error:
        raise AlreadyReversed from error
    posting.meter_id, posting.actor, posting.note = charged.meter_id, actor, reason
    write_pools(opened, now=now)
    return posting


def _change_day(
    event: UsageEvent, zone: str, *, events: int = 0, quantity: Decimal = ZERO, credits: Decimal = ZERO
) -> None:
    """Change the totals of the event's day."""
    row = {
        "account_id": event.account_id,
        "meter_id": event.meter_id,
        "member_id": event.member_id,
        "day": event.occurred_at.astimezone(ZoneInfo(zone)).date(),
    }
    change: dict[str, Decimal] = {
        "events": Decimal(events),
        "quantity": quantity,
        "credits": credits,
        "cost": quantity * event.unit_cost,
    }
    # No such row: the account has moved to another time zone since; its sums stay right all the same.
    if not DailyUsage.objects.filter(**row).update(**{name: F(name) + by for name, by in change.items()}):
        DailyUsage.objects.create(**row, **change)


def _uncount(event: UsageEvent, returned: Decimal) -> None:
    """Take the event's quantity out of its period's counter. What its quantity costs less, in excess of what was
    returned, is a correction to what later events of the period cost."""
    if event.rate_id is None or not event.counted:
        return
    counters = UsageCounter.objects.filter(
        account_id=event.account_id, meter_id=event.meter_id, period_starts_at=event.period_starts_at
    )
    mine = counters.select_related("rate").get(rate_id=event.rate_id)
    turns = counters.filter(dimension=mine.dimension).select_related("rate").order_by("pk")
    before = [(price_of(row.rate), row.quantity) for row in turns]
    after = [(price, left - event.counted if price.rate_id == mine.rate_id else left) for price, left in before]
    correction = credits_by_turns(before) - credits_by_turns(after) - returned
    counters.filter(pk=mine.pk).update(quantity=F("quantity") - event.counted, correction=F("correction") + correction)
    if not any(left for _, left in after):  # Nothing stands that could have been charged too much or too little.
        counters.filter(dimension=mine.dimension).update(correction=0)
