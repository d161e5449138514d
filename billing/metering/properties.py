"""What was used by the value of a property, read from the single events. Takes no locks.

Totals are kept by day, meter and member only; properties are as many as integrators care to send. So this reads every
event of a range of days; who calls it for a page that somebody waits for does so in `patient`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import OperationalError, connection, transaction

MAX_VALUES = 50
SAMPLE_EVENTS = 2_000
PATIENCE_MS = 3_000


class TooManyEvents(Exception):
    """The events of the range could not be read in time; a shorter one may do."""


@dataclass(frozen=True, slots=True)
class PropertyUsage:
    """What one meter used on one day with one value of a property; credits and events without those reversed.

    `value` is None for events that do not have the property, and for all values beyond the MAX_VALUES that cost most
    together (`is_rest`).
    """

    day: date
    meter_id: int
    value: str | None
    is_rest: bool
    quantity: Decimal
    credits: Decimal
    events: int


@contextmanager
def patient() -> Iterator[None]:
    """Let reads in the block take PATIENCE_MS each at most; raises TooManyEvents when one takes longer."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(PATIENCE_MS)])
            yield
    except OperationalError as error:
        if "statement timeout" in str(error):
            raise TooManyEvents from error
        raise


def list_names(*, account_id: int, since: datetime) -> list[str]:
    """Names of properties of the account's events since then, the most common first, as SAMPLE_EVENTS of them show."""
    return [name for (name,) in _read(_NAMES, {"account": account_id, "since": since, "sample": SAMPLE_EVENTS})]


def list_by_property(
    *, account_id: int, name: str, since: datetime, until: datetime, time_zone: str, meter_id: int | None = None
) -> list[PropertyUsage]:
    """Usage that happened in `[since, until)` by day of the time zone, meter and value of the property."""
    ahead = timedelta(seconds=settings.FLORIN_EVENT_MAX_AHEAD_SECONDS)
    asked: dict[str, Any] = {
        "account": account_id,
        "name": name,
        "since": since,
        "until": until,
        # Nothing arrives before it happens (but for clocks that are wrong), and arrival is what is indexed.
        "arrived_since": since - ahead,
        "zone": time_zone,
        "meter": meter_id,
        "values": MAX_VALUES,
    }
    return [PropertyUsage(*row) for row in _read(_BY_PROPERTY, asked)]


def _read(sql: str, asked: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, asked)
        return cursor.fetchall()


_NAMES = """
SELECT name FROM (
    SELECT properties FROM billing_usageevent WHERE account_id = %(account)s AND received_at >= %(since)s
    LIMIT %(sample)s
) sample, jsonb_object_keys(properties) AS name GROUP BY name ORDER BY count(*) DESC, name
"""

_BY_PROPERTY = """
WITH used AS MATERIALIZED (
    SELECT (e.occurred_at AT TIME ZONE %(zone)s)::date AS day, e.meter_id, e.properties ->> %(name)s AS value,
           e.counted AS quantity, e.credits
    FROM billing_usageevent e
    WHERE e.account_id = %(account)s AND e.received_at >= %(arrived_since)s
      AND e.occurred_at >= %(since)s AND e.occurred_at < %(until)s
      AND (%(meter)s::bigint IS NULL OR e.meter_id = %(meter)s)
      AND NOT EXISTS (SELECT FROM billing_eventreversal r
                      WHERE r.account_id = e.account_id AND r.event_id = e.event_id AND r.source = e.source)
), costly AS (
    SELECT value FROM used WHERE value IS NOT NULL
    GROUP BY value ORDER BY sum(credits) DESC, count(*) DESC, value LIMIT %(values)s
)
SELECT used.day, used.meter_id, costly.value, used.value IS NOT NULL AND costly.value IS NULL AS is_rest,
       sum(used.quantity), sum(used.credits), count(*)
FROM used LEFT JOIN costly ON costly.value = used.value
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
