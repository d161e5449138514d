"""What was used by the value of a property, read from the single events. Takes no locks.

Totals are kept by day, meter and member only; properties are as many as integrators care to send. So this reads every
event of a range of days, and gives up when that takes too long.
"""

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


def list_names(*, account_id: int, since: datetime) -> list[str]:
    """Names of properties that the account's events since then have, as a sample of SAMPLE_EVENTS shows; sorted."""
    return [name for (name,) in _read(_NAMES, {"account": account_id, "since": since, "sample": SAMPLE_EVENTS})]


def list_by_property(
    *, account_id: int, name: str, since: datetime, until: datetime, time_zone: str, meter_id: int | None = None
) -> list[PropertyUsage]:
    """Usage that happened in `[since, until)` by day of the time zone, meter and value of the property.

    Raises TooManyEvents when it takes longer than PATIENCE_MS.
    """
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
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(PATIENCE_MS)])
            cursor.execute(sql, asked)
            return cursor.fetchall()
    except OperationalError as error:
        if "statement timeout" in str(error):
            raise TooManyEvents from error
        raise


_NAMES = """
SELECT DISTINCT jsonb_object_keys(properties) AS name FROM (
    SELECT properties FROM billing_usageevent WHERE account_id = %(account)s AND received_at >= %(since)s
    LIMIT %(sample)s
) sample ORDER BY name
"""

_BY_PROPERTY = """
WITH used AS MATERIALIZED (
    SELECT (e.occurred_at AT TIME ZONE %(zone)s)::date AS day, e.meter_id, e.properties ->> %(name)s AS value,
           e.counted AS quantity, e.credits
    FROM billing_usageevent e
    WHERE e.account_id = %(account)s AND e.received_at >= %(arrived_since)s
      AND e.occurred_at >= %(since)s AND e.occurred_at < %(until)s
      AND (%(meter)s::bigint IS NULL OR e.meter_id = %(meter)s)
      AND NOT EXISTS (SELECT FROM billing_eventreversal r WHERE r.account_id = e.account_id AND r.event_id = e.event_id)
), costly AS (
    SELECT value FROM used WHERE value IS NOT NULL
    GROUP BY value ORDER BY sum(credits) DESC, count(*) DESC, value LIMIT %(values)s
)
SELECT used.day, used.meter_id, costly.value, used.value IS NOT NULL AND costly.value IS NULL AS is_rest,
       sum(used.quantity), sum(used.credits), count(*)
FROM used LEFT JOIN costly ON costly.value = used.value
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
