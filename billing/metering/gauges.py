"""Turning gauges into usage: level x time, by event time, as events that Florin derives itself.

A gauge's readings say which level holds from a moment on. What a series has used up to a moment is the integral of
its level, rounded once. Whatever of it has not been charged becomes derived events, priced like any other; so in the
end exactly the integral is charged, in whatever order readings arrive and however often this runs.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet

from billing.accounts import clocks, ids
from billing.catalog.prices import Catalog
from billing.catalog.pricing import best_price
from billing.metering.events import Usage, fingerprint, read_properties
from billing.metering.levels import Part, Step, in_force, integral, split
from billing.metering.models import GaugeReading, GaugeSeries, UsageEvent
from billing.metering.processing import process
from billing.metering.resolve import AccountInfo, resolve
from billing.metering.work import ZERO, Work

# Usage is derived by whole hours, each after this pause for late readings. The pause is far shorter than the grace of
# a period's end, so that the last hour of a month still counts in it.
LAG = timedelta(minutes=5)
BATCH = 500

log = structlog.get_logger(__name__)

Properties = dict[str, object]


def horizon_of(now: datetime) -> datetime:
    """Up to when usage is derived at `now`: the last whole hour (UTC) that ended at least the lag ago."""
    return (now - LAG).replace(minute=0, second=0, microsecond=0)


def next_due_at(*, after: datetime, account_id: int | None = None) -> datetime | None:
    """When, after a moment, there is usage to derive next: once an hour while gauges are in use. Of one account, or for
    None of all that are on no test clock."""
    in_use = GaugeSeries.objects.filter(Q(meter__archived_at=None) | Q(charged_until__lt=F("meter__archived_at")))
    if not clocks.narrow(in_use, account_id=account_id).exists():
        return None
    return horizon_of(after) + timedelta(hours=1) + LAG


def accrue_due(*, now: datetime, limit: int, account_id: int | None = None) -> int:
    """Charge what series have used since they were charged last, for up to `limit` of them. How many were brought up.

    One transaction a series, which locks its row, then the pools; a row that another worker has locked is left to it.
    A series that cannot be charged (no rate for its meter, a fault) does not keep others waiting, and is tried again.
    A meter that is archived, and so takes no readings, is charged up to that moment. With `account_id` only that
    account's; without, what is on a test clock is left alone.
    """
    due = clocks.narrow(_due(now), account_id=account_id).order_by("pk")
    done = last_id = 0
    while done < limit:
        ids = list(due.filter(pk__gt=last_id).values_list("pk", flat=True)[: min(BATCH, limit - done)])
        if not ids:
            break
        for last_id in ids:
            try:
                done += accrue(series_id=last_id, now=now)
            except Exception:
                log.exception("gauge.not_charged", series=last_id)
    return done


def _due(now: datetime) -> QuerySet[GaugeSeries]:
    """Series with time to charge; archiving a meter ends theirs."""
    in_use = Q(meter__archived_at=None) | Q(charged_until__lt=F("meter__archived_at"))
    return GaugeSeries.objects.filter(in_use, charged_until__lt=horizon_of(now))


def accrue(*, series_id: int, now: datetime) -> bool:
    """Charge one series up to the horizon, in one transaction. False when it is not due, locked, or lacks a rate."""
    with transaction.atomic():
        series = (
            _due(now)
            .select_for_update(skip_locked=True, no_key=True, of=("self",))
            .select_related("meter", "pool")
            .filter(pk=series_id)
            .first()
        )
        if series is None:
            return False
        until = min(horizon_of(now), series.meter.archived_at or now)
        name = ids.encode(ids.ACCOUNT, series.account_id)
        world = resolve(accounts=[name], pools=(), members=())
        steps = _read_steps(series, until)
        works, charged_until = _derive(series, steps, world.accounts[name], world.catalog, until, now)
        process(works, now=now, keep_rejected=False)
        series.sequence += len(works)
        series.charged_quantity += sum((work.counted for work in works if work.verdict == "accepted"), ZERO)
        if all(work.verdict == "accepted" for work in works):
            series.charged_until = charged_until
        _fold(series, steps, now)
        series.save()
        return series.charged_until == until


def readings_of(series: GaugeSeries) -> QuerySet[GaugeReading]:
    """The readings of a series; of several at one moment the last by event id and source holds."""
    found = GaugeReading.objects.filter(account_id=series.account_id, meter_id=series.meter_id, series=series.series)
    return found.order_by("occurred_at", "event_id", "source")


def _read_steps(series: GaugeSeries, until: datetime) -> list[Step]:
    """The series' levels from its base on. A reading from before the base changes nothing any more: only an import or
    a replay, out of the order of time, can bring one."""
    found = readings_of(series).filter(occurred_at__gte=series.base_at, occurred_at__lt=until)
    base, steps = Step(series.base_at, series.base_level), []
    for at, level, *event in found.values_list("occurred_at", "level", "event_id", "source"):
        if at == series.base_at:
            base = Step(at, series.base_level, *event)
        else:
            steps.append(Step(at, level, *event))
    return [base, *steps]


def _derive(
    series: GaugeSeries,
    steps: Sequence[Step],
    account: AccountInfo,
    catalog: Catalog,
    until: datetime,
    now: datetime,
) -> tuple[list[Work], datetime]:
    """Derived events for what has not been charged by `until`, and up to when they charge: the first part without a
    price ends them and waits for one."""
    begin = series.charged_until
    if not series.sequence and len(steps) > 1 and not steps[0].level:
        begin = max(begin, steps[1].at)
    properties = _properties(series, [step for step in steps if step.at > begin] + [in_force(steps, begin)])
    bounds = [begin, *_changes(begin, until, steps, properties, account, catalog), until]
    parts = split(
        steps,
        bounds=bounds,
        base=series.base_level_seconds,
        charged=series.charged_quantity,
        unit_seconds=series.meter.gauge_unit_seconds,
    )
    works: list[Work] = []
    for part in parts:
        names = properties.get(_event_of(in_force(steps, part.starts_at)), {})
        card_id = catalog.card_id(account.assignments, part.starts_at)
        if best_price(catalog.prices(card_id, series.meter_id, part.starts_at, now=now), names) is None:
            return works, part.starts_at
        works.append(_work_of(series, part, names, series.sequence + len(works) + 1))
    return works, until


def _event_of(step: Step) -> tuple[str, str]:
    return step.event_id, step.source


def _properties(series: GaugeSeries, steps: Iterable[Step]) -> dict[tuple[str, str], Properties]:
    """The properties of readings by event: they decide which rate applies while the reading holds."""
    events = UsageEvent.objects.filter(account_id=series.account_id, event_id__in={step.event_id for step in steps})
    return {
        (event_id, source): {
            name: Decimal(str(value)) if type(value) is float else value for name, value in found.items()
        }
        for event_id, source, found in events.values_list("event_id", "source", "properties")
    }


def _changes(
    begin: datetime,
    until: datetime,
    steps: Sequence[Step],
    properties: dict[tuple[str, str], Properties],
    account: AccountInfo,
    catalog: Catalog,
) -> list[datetime]:
    """Where to split: midnights of the account's zone, periods, and wherever the price may change."""
    card_ids = {catalog.default_card_id} | {each.rate_card_id for each in account.assignments}
    changes = {version.effective_at for card_id in card_ids for version in catalog.cards.get(card_id or 0, ())}
    changes |= {moment for each in account.assignments for moment in (each.starts_at, each.ends_at) if moment}
    changes |= {
        step.at
        for before, step in pairwise(steps)
        if properties.get(_event_of(before), {}) != properties.get(_event_of(step), {})
    }
    changes |= set(_midnights(begin, until, account.time_zone))
    # Periods begin at midnights, but for the first of a plan.
    changes |= {moment for moment in (account.last_cycle_starts_at, account.cycle_starts_at) if moment}
    return sorted(change for change in changes if begin < change < until)


def _midnights(begin: datetime, until: datetime, time_zone: str) -> Iterator[datetime]:
    zone = ZoneInfo(time_zone)
    day = begin.astimezone(zone).date()
    while (midnight := datetime(day.year, day.month, day.day, tzinfo=zone)) < until:
        yield midnight.astimezone(UTC)
        day += timedelta(days=1)


def _work_of(series: GaugeSeries, part: Part, names: Properties, number: int) -> Work:
    """The derived event of a part. Should somebody have used its id, it conflicts, and the next number is tried."""
    properties, encoded = read_properties(names)
    usage = Usage(
        id=f"gauge:{series.pk}:{number}",
        account=ids.encode(ids.ACCOUNT, series.account_id),
        meter=series.meter.key,
        quantity=part.quantity,
        properties=properties,
        encoded_properties=encoded,
        stated_at=part.starts_at,
        pool=series.pool.key,
        member="",
    )
    usage.fingerprint = fingerprint(usage, "gauge")
    return Work(is_charge=False, usage=usage, derived=True, actor="system")


def _fold(series: GaugeSeries, steps: Sequence[Step], now: datetime) -> None:
    """Move readings that no event can precede any more into the series' base; the last stays, for its properties."""
    settled_at = now - timedelta(days=settings.FLORIN_EVENT_MAX_AGE_DAYS + 1)
    settled = [step for step in steps if step.at < min(settled_at, series.charged_until)]
    if len(settled) < 2:
        return
    last = settled[-1]
    series.base_level_seconds = integral(settled, until=last.at, base=series.base_level_seconds)
    series.base_at, series.base_level = last.at, last.level
    old = readings_of(series).filter(occurred_at__lte=last.at)
    old.exclude(occurred_at=last.at, event_id=last.event_id, source=last.source).delete()
