"""What ingest writes: events, counters, values, readings, daily totals, rejected events. Set-based statements."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from hashlib import blake2b
from zoneinfo import ZoneInfo

import psycopg
from django.db import connection

from billing.ledger.pool_store import OpenPools, write_pools
from billing.metering.known import counter_key, value_key
from billing.metering.work import NO_TIME, ZERO, Work, names_something
from billing.sql.pipeline import Statement, columns, pipelined

# From this many events on, COPY is faster than one INSERT over arrays, despite its extra round trip.
COPY_FROM = 40
MAX_REJECTED_LENGTH = 64 * 1024


@dataclass(slots=True)
class ValueSeen:
    """The first event of the batch that carries a value, and how many do."""

    event_id: str
    source: str
    events: int = 0


@dataclass(slots=True)
class Tally:
    """What the batch adds, summed by the rows it touches."""

    works: list[Work] = field(default_factory=list)
    counters: dict[tuple[int, int, str, datetime, int], list[Decimal]] = field(default_factory=dict)
    days: dict[tuple[int, date, int, int | None], list[Decimal]] = field(default_factory=dict)
    values: dict[tuple[int, int, datetime, bytes], ValueSeen] = field(default_factory=dict)
    readings: list[Work] = field(default_factory=list)

    def add(self, work: Work) -> None:
        if work.meter is None or work.account is None:
            return
        self.works.append(work)
        if work.price is not None and work.counted:
            count = self.counters.setdefault((*counter_key(work), work.price.rate_id), [ZERO] * 2)
            count[0] += work.counted
            count[1] += work.corrected
        if work.meter.kind == "unique":
            # The first of a batch is the one that was charged, where the value was not known before.
            usage = work.usage
            first = ValueSeen(usage.id if usage else "", usage.source if usage else "")
            seen = self.values.setdefault(value_key(work), first)
            seen.events += 1
        if work.meter.kind == "gauge" and not work.derived:
            self.readings.append(work)
        day = work.occurred_at.astimezone(_zone(work.account.time_zone)).date()
        total = self.days.setdefault((work.account.id, day, work.meter.id, work.member_id), [ZERO] * 4)
        total[0] += 1
        total[1] += work.counted
        total[2] += work.credits
        total[3] += work.counted * work.meter.unit_cost


_zones: dict[str, ZoneInfo] = {}


def _zone(name: str) -> ZoneInfo:
    zone = _zones.get(name)
    if zone is None:
        zone = _zones[name] = ZoneInfo(name)
    return zone


def write_usage(opened: OpenPools, tally: Tally, *, now: datetime) -> None:
    """Write events, counters, values, readings and daily totals together with the ledger's pools."""
    extras: list[Statement] = []
    if tally.works:
        rows = [_event_row(work, now) for work in tally.works]
        if len(rows) >= COPY_FROM:
            _copy_events(rows)
        else:
            extras.append((_INSERT_EVENTS, columns(rows, len(rows[0]))))
        extras.append((_UPSERT_DAYS, columns(((*key, *total) for key, total in tally.days.items()), 8)))
    if tally.counters:
        extras.append((_UPSERT_COUNTERS, columns(((*key, *count) for key, count in tally.counters.items()), 7)))
    if tally.values:
        rows_of_values = ((*key, seen.event_id, seen.source, seen.events) for key, seen in tally.values.items())
        extras.append((_UPSERT_VALUES, columns(rows_of_values, 7)))
    if tally.readings:
        extras += [
            (_INSERT_SERIES, columns({_series_row(work) for work in tally.readings}, 5)),
            (_INSERT_READINGS, columns((_reading_row(work) for work in tally.readings), 7)),
        ]
    write_pools(opened, now=now, extras=extras)


_EVENT_COLUMNS = (
    "account_id, event_id, source, meter_id, pool_id, member_id, quantity, counted, properties, occurred_at, "
    "received_at, late, credits, unit_cost, rate_id, posting_id, burn_offset, period_starts_at, fingerprint"
)
_INSERT_EVENTS = """
INSERT INTO billing_usageevent (account_id, event_id, source, meter_id, pool_id, member_id, quantity, counted,
    properties, occurred_at, received_at, late, credits, unit_cost, rate_id, posting_id, burn_offset, period_starts_at,
    fingerprint)
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::numeric[],
    %s::numeric[], %s::jsonb[], %s::timestamptz[], %s::timestamptz[], %s::bool[], %s::numeric[], %s::numeric[],
    %s::bigint[], %s::bigint[], %s::numeric[], %s::timestamptz[], %s::bytea[])
"""
# Rows are written in key order, so that two batches for pools of one account cannot deadlock on them.
_UPSERT_DAYS = """
INSERT INTO billing_dailyusage AS d (account_id, day, meter_id, member_id, events, quantity, credits, cost)
SELECT * FROM unnest(%s::bigint[], %s::date[], %s::bigint[], %s::bigint[], %s::bigint[], %s::numeric[], %s::numeric[],
    %s::numeric[]) ORDER BY 1, 2, 3, 4
ON CONFLICT (account_id, day, meter_id, member_id) DO UPDATE SET events = d.events + EXCLUDED.events,
    quantity = d.quantity + EXCLUDED.quantity, credits = d.credits + EXCLUDED.credits, cost = d.cost + EXCLUDED.cost
"""
_UPSERT_COUNTERS = """
INSERT INTO billing_usagecounter AS c (account_id, meter_id, dimension, period_starts_at, rate_id, quantity, correction)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::timestamptz[], %s::bigint[], %s::numeric[],
    %s::numeric[]) ORDER BY 1, 4, 2, 5
ON CONFLICT (account_id, period_starts_at, meter_id, rate_id)
DO UPDATE SET quantity = c.quantity + EXCLUDED.quantity, correction = c.correction + EXCLUDED.correction
"""
_UPSERT_VALUES = """
INSERT INTO billing_uniquevalue AS v (account_id, meter_id, period_starts_at, value, event_id, source, events)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[], %s::bytea[], %s::text[], %s::text[], %s::bigint[])
ORDER BY 1, 3, 2, 4
ON CONFLICT (account_id, period_starts_at, meter_id, value) DO UPDATE SET events = v.events + EXCLUDED.events
"""
_INSERT_SERIES = """
INSERT INTO billing_gaugeseries (account_id, meter_id, pool_id, series, base_at, base_level, base_level_seconds,
    charged_quantity, charged_until, sequence)
SELECT account_id, meter_id, pool_id, series, base_at, 0, 0, 0, base_at, 0
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::timestamptz[])
    AS u(account_id, meter_id, pool_id, series, base_at) ORDER BY 1, 2, 4
ON CONFLICT (account_id, meter_id, series) DO NOTHING
"""
_INSERT_READINGS = """
INSERT INTO billing_gaugereading (account_id, meter_id, series, occurred_at, event_id, source, level)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::timestamptz[], %s::text[], %s::text[], %s::numeric[])
"""


def _event_row(work: Work, now: datetime) -> tuple[object, ...]:
    usage, account, meter = work.usage, work.account, work.meter
    if usage is None or account is None or meter is None:
        raise TypeError("only looked-up usage of a meter has a row")
    return (
        account.id,
        usage.id,
        usage.source,
        meter.id,
        work.pool_id,
        work.member_id,
        usage.quantity,
        work.counted,
        usage.encoded_properties,
        work.occurred_at,
        now,
        work.late,
        work.credits,
        meter.unit_cost,
        work.price.rate_id if work.price else None,
        work.posting_id,
        work.burn_offset,
        work.period_starts_at,
        usage.fingerprint,
    )


def _copy_events(rows: list[tuple[object, ...]]) -> None:
    text = "".join([_copy_line(row) for row in rows])
    with (
        psycopg.Cursor(connection.connection) as cursor,
        cursor.copy(f"COPY billing_usageevent ({_EVENT_COLUMNS}) FROM STDIN") as copy,
    ):
        copy.write(text.encode())


def _copy_line(row: tuple[object, ...]) -> str:
    """A row in PostgreSQL's COPY text format: tab-separated, backslash-escaped, `\\N` for NULL."""
    account, event, source, meter, pool, member, quantity, counted, properties, *rest = row
    occurred, received, late, credits, cost, rate, posting, offset, period, fingerprint = rest
    return (
        f"{account}\t{_escaped(event)}\t{_escaped(source)}\t{meter}\t{pool}\t{_or_null(member)}\t{quantity}\t{counted}\t"
        f"{_escaped(properties)}\t{occurred}\t{received}\t{late}\t{credits}\t{cost}\t{_or_null(rate)}\t"
        f"{_or_null(posting)}\t{offset}\t{period}\t\\\\x{fingerprint.hex()}\n"  # type: ignore[attr-defined]
    )


def _escaped(value: object) -> str:
    text = str(value)
    if "\\" in text or "\t" in text or "\n" in text or "\r" in text:
        text = text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    return text


def _or_null(value: object) -> object:
    return "\\N" if value is None else value


def series_of(work: Work) -> str:
    """Which series of its gauge a reading belongs to; empty when the meter tells none apart, or the event none."""
    if work.usage is None or work.meter is None or not work.meter.series_property:
        return ""
    value = work.usage.properties.get(work.meter.series_property)
    return str(value)[:200] if names_something(value) else ""


def _series_row(work: Work) -> tuple[object, ...]:
    """A series begins at the first moment an event may still report, so that a late first reading finds it begun."""
    return (
        work.account.id if work.account else 0,
        work.meter.id if work.meter else 0,
        work.pool_id,
        series_of(work),
        NO_TIME,
    )


def _reading_row(work: Work) -> tuple[object, ...]:
    return (
        work.account.id if work.account else 0,
        work.meter.id if work.meter else 0,
        series_of(work),
        work.occurred_at,
        work.usage.id if work.usage else "",
        work.usage.source if work.usage else "",
        work.usage.quantity if work.usage else ZERO,
    )


def store_rejected(works: Sequence[Work], *, now: datetime, door: str) -> None:
    """Keep rejected events as they came, to be replayed once the cause is fixed. Up to 64 KiB each are kept.

    One that is sent again while its row is open adds to that row's attempts, and brings the reason up to date. Locks
    rejected rows, in the order of their digests, after the pools.
    """
    rows: dict[bytes, list[object]] = {}
    for work in works:
        body = _ascii_json(work.raw)
        digest = _digest_of(work, body, door)
        again = rows[digest][-1] + 1 if digest in rows else 0  # type: ignore[operator]
        fault = work.fault
        rows[digest] = [
            digest,
            work.account.id if work.account else None,
            work.api_key_id,
            work.bound_account_id,
            work.usage.id if work.usage else "",
            work.usage.source if work.usage else "",
            body if len(body) <= MAX_REJECTED_LENGTH else "",
            fault.code if fault else "",
            fault.detail[:300] if fault else "",
            door,
            now,
            again,
        ]
    pipelined([(_UPSERT_REJECTED, columns(rows.values(), 12))])


# Numbered in the order they came, for replays, but written in the order of digests, in which their rows are locked.
_UPSERT_REJECTED = """
WITH u AS MATERIALIZED (
    SELECT *, nextval('billing_rejectedevent_id_seq') AS id
    FROM unnest(%s::bytea[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[],
        %s::text[], %s::text[], %s::timestamptz[], %s::int[]) AS given(digest, account_id, api_key_id,
        bound_account_id, event_id, source, body, code, detail, door, received_at, attempts)
)
INSERT INTO billing_rejectedevent AS r (digest, account_id, api_key_id, bound_account_id, event_id, source, body, code,
    detail, door, received_at, attempts, id, state)
SELECT *, 'open' FROM u ORDER BY digest
ON CONFLICT (digest) WHERE state = 'open' DO UPDATE SET attempts = r.attempts + EXCLUDED.attempts + 1,
    account_id = coalesce(EXCLUDED.account_id, r.account_id), code = EXCLUDED.code, detail = EXCLUDED.detail
"""


def _digest_of(work: Work, body: str, door: str) -> bytes:
    """What tells one rejected event from another: who sent it, which way, and all of its body."""
    sender = f"{door}\x1f{work.api_key_id}\x1f{work.bound_account_id}\x1f"
    return blake2b((sender + body).encode(), digest_size=16).digest()


def _ascii_json(value: object) -> str:
    """JSON in ASCII, so that it can be stored whatever its texts hold, with each number as it was written."""
    if isinstance(value, dict):
        pairs = (f"{json.dumps(str(name))}: {_ascii_json(item)}" for name, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join([_ascii_json(item) for item in value]) + "]"
    if isinstance(value, Decimal) and value.is_finite():
        return str(value)
    return json.dumps(value, default=str)
