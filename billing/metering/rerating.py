"""What a month's stored usage would have cost by a draft of a rate card: a look, nothing is written.

How it reckons, and what it leaves out
- The events of the periods that began in the month, in the account's time zone, that this card priced and that are not
  reversed. A billing period that began then may still run. Usage that had no rate was rejected when it came, so there
  is none of it.
- Their quantities are added up by account, meter, period and the properties that any rate asks for; each sum gets the
  draft's rate for those properties, and the sums of a rate are priced by the period, as real usage is (U3). Old credits
  are what was really charged, net of reversals.
- A version that changed within the month has counted on; the draft is taken to have been in force all month, and to
  count by the same periods. Customers would have behaved as they did. Corrections after reversals are not re-enacted.

Bounded: at most MAX_GROUPS sums, and SECONDS for the one statement that reads the events, found by when they arrived.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import OperationalError, connection, transaction

from billing.catalog.models import RateCardVersion
from billing.catalog.prices import price_of
from billing.catalog.pricing import ZERO, Price, best_price, cumulative_credits, specific_first

MAX_GROUPS = 200_000
SECONDS = 20
# Months begin between these bounds around UTC's, whatever the account's zone.
ZONES = timedelta(hours=15)


class TooMuch(Exception):
    """There is more usage than is re-rated at once: look at one account."""


@dataclass(frozen=True, slots=True)
class Line:
    """One account's month of one meter. `unpriced` is the quantity for which the draft has no rate."""

    account_id: int
    account_name: str
    meter_name: str
    events: int
    quantity: Decimal
    old: Decimal
    new: Decimal
    unpriced: Decimal

    @property
    def change(self) -> Decimal:
        """Credits more, or fewer, than were charged."""
        return self.new - self.old


@dataclass(frozen=True, slots=True)
class Comparison:
    """A month by account and meter, the largest changes first."""

    month: datetime
    lines: list[Line]

    @property
    def old(self) -> Decimal:
        """Credits that were charged."""
        return sum((line.old for line in self.lines), ZERO)

    @property
    def new(self) -> Decimal:
        """Credits that the draft would have charged."""
        return sum((line.new for line in self.lines), ZERO)

    @property
    def change(self) -> Decimal:
        """Credits more, or fewer, than were charged."""
        return self.new - self.old

    @property
    def by_meter(self) -> list[tuple[str, Decimal, Decimal]]:
        """(meter, old, new) of all accounts together."""
        totals: dict[str, tuple[Decimal, Decimal]] = {}
        for line in self.lines:
            old, new = totals.get(line.meter_name, (ZERO, ZERO))
            totals[line.meter_name] = (old + line.old, new + line.new)
        return sorted((name, old, new) for name, (old, new) in totals.items())


@dataclass(frozen=True, slots=True)
class _Group:
    account_id: int
    account_name: str
    meter_id: int
    meter_name: str
    period_starts_at: datetime
    properties: Mapping[str, Any]
    events: int
    quantity: Decimal
    credits: Decimal


def compare(*, version_id: int, account_id: int | None, now: datetime) -> Comparison:
    """Last calendar month's usage, as charged and as the version would have charged it.

    `account_id` None: all but test accounts. Raises TooMuch.
    """
    version = RateCardVersion.objects.get(pk=version_id)
    prices: dict[int, list[Price]] = {}
    for rate in version.rates.select_related("meter"):
        prices.setdefault(rate.meter_id, []).append(price_of(rate))
    sorted_prices = {meter_id: specific_first(found) for meter_id, found in prices.items()}
    names = sorted({name for found in prices.values() for price in found for name, _ in price.match})
    month = _last_month(now)
    return Comparison(month, _lines(_read(version.rate_card_id, month, names, account_id), sorted_prices))


def _last_month(now: datetime) -> datetime:
    first = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first - timedelta(days=1)).replace(day=1)


# Most periods begin at midnight of the account's zone; an event arrives at most a little before it happens.
_READ = """
SELECT e.account_id, a.name, e.meter_id, m.name, e.period_starts_at,
    (SELECT jsonb_object_agg(name, e.properties -> name) FROM unnest(%(names)s::text[]) AS name
     WHERE e.properties ? name)::text AS wanted,
    count(*), sum(e.counted), sum(e.credits)
FROM billing_usageevent e
JOIN billing_account a ON a.id = e.account_id
JOIN billing_meter m ON m.id = e.meter_id
JOIN billing_rate r ON r.id = e.rate_id
JOIN billing_ratecardversion v ON v.id = r.version_id
WHERE e.received_at >= %(arrived)s AND e.period_starts_at BETWEEN %(begins)s AND %(ends)s
    AND date_trunc('month', e.period_starts_at AT TIME ZONE a.time_zone) = %(month)s
    AND e.counted > 0 AND v.rate_card_id = %(card)s
    AND CASE WHEN %(account)s::bigint IS NULL THEN a.clock_at IS NULL ELSE a.id = %(account)s END
    AND NOT EXISTS (SELECT FROM billing_eventreversal x
                    WHERE x.account_id = e.account_id AND x.event_id = e.event_id AND x.source = e.source)
GROUP BY 1, 2, 3, 4, 5, 6
LIMIT %(limit)s
"""


def _read(card_id: int, month: datetime, names: list[str], account_id: int | None) -> list[_Group]:
    """Sums of the month's events."""
    asked: dict[str, Any] = {
        "names": names, "card": card_id, "account": account_id, "limit": MAX_GROUPS + 1,
        "month": month.replace(tzinfo=None), "arrived": month - ZONES - timedelta(days=1),
        "begins": month - ZONES, "ends": month + timedelta(days=31) + ZONES,
    }  # fmt: skip
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{SECONDS}s"])
            cursor.execute(_READ, asked)
            rows = cursor.fetchall()
    except OperationalError as error:
        raise TooMuch from error
    if len(rows) > MAX_GROUPS:
        raise TooMuch
    return [
        _Group(account_id, account, meter_id, meter, starts_at, json.loads(wanted or "{}", parse_float=Decimal), *sums)
        for account_id, account, meter_id, meter, starts_at, wanted, *sums in rows
    ]


def _lines(groups: Iterable[_Group], prices: Mapping[int, tuple[Price, ...]]) -> list[Line]:
    by_pair: dict[tuple[int, int], list[_Group]] = {}
    for group in groups:
        by_pair.setdefault((group.account_id, group.meter_id), []).append(group)
    lines = []
    for (account_id, meter_id), found in by_pair.items():
        new, unpriced = price_month(found, prices.get(meter_id, ()))
        lines.append(
            Line(
                account_id=account_id,
                account_name=found[0].account_name,
                meter_name=found[0].meter_name,
                events=sum(group.events for group in found),
                quantity=sum((group.quantity for group in found), ZERO),
                old=sum((group.credits for group in found), ZERO),
                new=new,
                unpriced=unpriced,
            )
        )
    return sorted(lines, key=lambda line: (-abs(line.change), line.account_name, line.meter_name))


def price_month(groups: Iterable[_Group], prices: tuple[Price, ...]) -> tuple[Decimal, Decimal]:
    """What one meter's sums of a month cost by these rates, and the quantity that none of them prices. Pure."""
    quantities: dict[tuple[datetime, int], Decimal] = {}
    unpriced = ZERO
    for group in groups:
        price = best_price(prices, group.properties)
        if price is None:
            unpriced += group.quantity
        else:
            key = (group.period_starts_at, price.rate_id)
            quantities[key] = quantities.get(key, ZERO) + group.quantity
    by_id = {price.rate_id: price for price in prices}
    return sum((cumulative_credits(by_id[rate], total) for (_, rate), total in quantities.items()), ZERO), unpriced
