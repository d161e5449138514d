"""Reading what was used: totals by day, meter and member, and single events. Takes no locks."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from django.db.models import F, Q, Sum

from billing.metering.models import DailyUsage, EventReversal, UsageEvent

_GROUPINGS = {"day": "day", "meter": "meter__key", "member": "member_id"}

# The usage table has no index by account and time, for each would cost every event written. Arrival times lie together
# on disk, so a recent slice is found fast; an older one is looked at only when the newer hold too few events.
_SLICES = (timedelta(hours=1), timedelta(days=1))
EVENTS_WINDOW = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Totals of one group. What it is not grouped by is None; quantities of several meters do not add up, so
    `quantity` is None unless it is grouped by meter. `credits` are net of reversals."""

    day: date | None
    meter_key: str | None
    member_id: int | None
    quantity: Decimal | None
    credits: Decimal
    events: int


@dataclass(frozen=True, slots=True)
class ListedEvent:
    """A stored event, and when it was reversed."""

    event: UsageEvent
    reversed_at: datetime | None


def list_usage(*, account_id: int, from_on: date, to_on: date, group_by: Collection[str]) -> list[UsageRow]:
    """Totals of `[from_on, to_on)`, days of the account's time zone by when usage happened, in the order of grouping.

    `group_by` holds `day`, `meter`, `member`; with none of them there is one row, or none without usage. Reads daily
    totals, so the cost grows with days and meters, not with events.
    """
    names = [name for name in _GROUPINGS if name in group_by]
    daily = DailyUsage.objects.filter(account_id=account_id, day__gte=from_on, day__lt=to_on)
    sums = {f"total_{name}": Sum(name) for name in ("quantity", "credits", "events")}
    columns = {f"by_{name}": F(_GROUPINGS[name]) for name in names}
    rows: Iterable[Mapping[str, Any]] = [daily.aggregate(**sums)]
    if columns:
        rows = cast(Iterable[Mapping[str, Any]], daily.values(**columns).annotate(**sums).order_by(*columns))
    return [
        UsageRow(
            day=row.get("by_day"),
            meter_key=row.get("by_meter"),
            member_id=row.get("by_member"),
            quantity=row["total_quantity"] if "meter" in names else None,
            credits=row["total_credits"],
            events=row["total_events"],
        )
        for row in rows
        if row["total_events"] is not None
    ]


def list_events(
    *,
    account_id: int,
    now: datetime,
    limit: int,
    before: tuple[datetime, str, str] | None = None,
    window: timedelta | None = EVENTS_WINDOW,
    meter_key: str = "",
    member_id: int | None = None,
    occurred_from: datetime | None = None,
    occurred_to: datetime | None = None,
) -> list[ListedEvent]:
    """Up to `limit` events of an account in the order they arrived, newest first, with meter and pool.

    The next page begins `before` the (received_at, event_id, source) of the last one. Looks back no further than
    `window` from there (or from `now`), so that an answer stays quick whatever the account's history; None: to its
    beginning.
    """
    rows = UsageEvent.objects.filter(account_id=account_id).select_related("meter", "pool")
    filters = {
        "meter__key": meter_key or None,
        "member_id": member_id,
        "occurred_at__gte": occurred_from,
        "occurred_at__lt": occurred_to,
    }
    rows = rows.filter(**{lookup: value for lookup, value in filters.items() if value is not None})
    if before is not None:
        received_at, event_id, source = before
        same_id = Q(event_id=event_id, source__lt=source)
        rows = rows.filter(
            Q(received_at__lt=received_at) | (Q(received_at=received_at) & (Q(event_id__lt=event_id) | same_id))
        )
    newest = before[0] if before else now
    found: list[UsageEvent] = []
    until = None if before is None else newest
    for reach in (*(each for each in _SLICES if window is None or each < window), window):
        slice_ = rows if until is None else rows.filter(received_at__lte=until)
        if reach is not None:
            until = newest - reach
            slice_ = slice_.filter(received_at__gt=until)
        found += slice_.order_by("-received_at", "-event_id", "-source")[: limit - len(found)]
        if len(found) == limit:
            break
    return _with_reversals(account_id, found)


def find_events(*, account_id: int, event_id: str) -> list[ListedEvent]:
    """The events of an id, one for each source that gave it."""
    rows = UsageEvent.objects.filter(account_id=account_id, event_id=event_id).select_related("meter", "pool")
    return _with_reversals(account_id, rows.order_by("source"))


def _with_reversals(account_id: int, events: Iterable[UsageEvent]) -> list[ListedEvent]:
    found = list(events)
    reversals = EventReversal.objects.filter(account_id=account_id, event_id__in={row.event_id for row in found})
    reversed_at = {row.pk: row.created_at for row in reversals}
    return [ListedEvent(row, reversed_at.get(row.pk)) for row in found]
