"""What the database already holds of a batch's ids, counters and values; read under the locks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any

from billing.metering.work import ZERO, Work
from billing.sql.pipeline import Statement, columns

_EVENTS = """
SELECT e.account_id, e.event_id, e.source, e.fingerprint, e.credits, e.posting_id, e.late
FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS u(account_id, event_id, source)
JOIN billing_usageevent e ON e.account_id = u.account_id AND e.event_id = u.event_id AND e.source = u.source
"""
_CHARGES = """
SELECT c.account_id, p.reference, p.fingerprint, p.credits, p.id, false
FROM unnest(%s::bigint[], %s::text[]) AS u(account_id, reference)
JOIN billing_creditpool c ON c.account_id = u.account_id
JOIN billing_posting p ON p.pool_id = c.id AND p.reference = u.reference
"""
_COUNTERS = """
SELECT c.account_id, c.meter_id, c.dimension, c.period_starts_at, c.quantity, c.correction
FROM unnest(%s::bigint[], %s::timestamptz[], %s::bigint[]) AS u(account_id, period_starts_at, meter_id)
JOIN billing_usagecounter c ON c.account_id = u.account_id AND c.period_starts_at = u.period_starts_at
    AND c.meter_id = u.meter_id
"""
_VALUES = """
SELECT v.account_id, v.meter_id, v.period_starts_at, v.value
FROM unnest(%s::bigint[], %s::timestamptz[], %s::bigint[], %s::bytea[])
    AS u(account_id, period_starts_at, meter_id, value)
JOIN billing_uniquevalue v ON v.account_id = u.account_id AND v.period_starts_at = u.period_starts_at
    AND v.meter_id = u.meter_id AND v.value = u.value
"""


@dataclass(frozen=True, slots=True)
class First:
    """The first result under an id."""

    fingerprint: bytes
    credits: Decimal
    posting_id: int | None
    late: bool


@dataclass(slots=True)
class Known:
    """What the database, and the batch so far, already hold."""

    events: dict[tuple[int, str, str], First] = field(default_factory=dict)
    charges: dict[tuple[int, str], First] = field(default_factory=dict)
    counters: dict[tuple[Any, ...], Decimal] = field(default_factory=dict)
    corrections: dict[tuple[Any, ...], Decimal] = field(default_factory=dict)
    values: set[tuple[int, int, datetime, bytes]] = field(default_factory=set)

    def first_of(self, work: Work) -> First | None:
        first = self.events.get(_key(work))
        return first or (self.charges.get(_charge_key(work)) if work.is_charge else None)

    def counter(self, work: Work) -> Decimal:
        return self.counters.get(counter_key(work), ZERO)

    def correction(self, work: Work) -> Decimal:
        return self.corrections.get(counter_key(work), ZERO)

    def add_to_counter(self, key: tuple[Any, ...], quantity: Decimal, correction: Decimal) -> None:
        """Add what one rate of the counter's dimension counts."""
        self.counters[key] = self.counters.get(key, ZERO) + quantity
        self.corrections[key] = self.corrections.get(key, ZERO) + correction

    def count_of_value(self, work: Work) -> Decimal:
        """1 when the value is new in the period it was seen in, else 0."""
        return Decimal(0) if value_key(work) in self.values else Decimal(1)

    def count(self, work: Work) -> None:
        """Take in an accepted work, so that the batch's later items see it."""
        first = First(work.usage.fingerprint if work.usage else b"", work.credits, work.posting_id, work.late)
        if work.meter:
            self.events[_key(work)] = first
        else:
            self.charges[_charge_key(work)] = first
        if work.price is not None:
            self.add_to_counter(counter_key(work), work.counted, work.corrected)
        if work.meter and work.meter.kind == "unique":
            self.values.add(value_key(work))


def known_statements(works: Sequence[Work]) -> dict[str, Statement]:
    """The reads, to run under the locks, that `read_known` understands; only those the batch has a use for."""
    charges = [_charge_key(work) for work in works if work.is_charge]
    counters = {(key[0], key[3], key[1]) for work in works if work.meter for key in (counter_key(work),)}
    values = {value_key(work) for work in works if work.meter and work.meter.kind == "unique"}
    reads = {"events": (_EVENTS, columns(map(_key, works), 3))}
    if charges:
        reads["charges"] = (_CHARGES, columns(charges, 2))
    if counters:
        reads["counters"] = (_COUNTERS, columns(counters, 3))
    if values:
        reads["values"] = (_VALUES, columns(((key[0], key[2], key[1], key[3]) for key in values), 4))
    return dict(reads)


def read_known(rows: Mapping[str, list[tuple[Any, ...]]]) -> Known:
    """What the rows of `known_statements` say."""
    known = Known()
    for account_id, event_id, source, *first in rows["events"]:
        known.events[account_id, event_id, source] = First(*first)
    for account_id, reference, fingerprint, *first in rows.get("charges", []):
        known.charges[account_id, reference] = First(fingerprint or b"", *first)
    for *key, quantity, correction in rows.get("counters", []):
        known.add_to_counter(tuple(key), quantity, correction)
    known.values = {(row[0], row[1], row[2], bytes(row[3])) for row in rows.get("values", [])}
    return known


def _key(work: Work) -> tuple[int, str, str]:
    usage = work.usage
    return (work.account.id if work.account else 0, usage.id if usage else "", usage.source if usage else "")


def _charge_key(work: Work) -> tuple[int, str]:
    """A charge of bare credits leaves no event: it is known by its posting."""
    return (work.account.id if work.account else 0, work.reference("charge"))


def counter_key(work: Work) -> tuple[int, int, str, datetime]:
    return (
        work.account.id if work.account else 0,
        work.meter.id if work.meter else 0,
        work.price.dimension if work.price else "",
        work.period_starts_at,
    )


def value_key(work: Work) -> tuple[int, int, datetime, bytes]:
    """Which value a unique meter's work carries. It counts once in the period it happened in, however late it comes."""
    value = work.usage.properties.get(work.meter.unique_property) if work.usage and work.meter else None
    return (
        work.account.id if work.account else 0,
        work.meter.id if work.meter else 0,
        work.own_period_starts_at,
        value_digest(value),
    )


def value_digest(value: object) -> bytes:
    """16 bytes that stand for a property's value; the same for every way to write a number (1, 1.0, 1e0)."""
    text = json.dumps(value) if not isinstance(value, Decimal) else f"{value:f}"
    if isinstance(value, Decimal) and "." in text:
        text = text.rstrip("0").rstrip(".")
    return blake2b(("0" if text == "-0" else text).encode(), digest_size=16).digest()
