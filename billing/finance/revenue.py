"""Recognised revenue by month: of which plan (or packs), by which way of earning it, and by meter for what was used,
within the credits and beyond them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing.catalog.plan_pricing import share_money
from billing.catalog.pricing import round_money, round_parts
from billing.finance.accrual import Column, Key, Movements
from billing.finance.months import Months
from billing.finance.prepayments import Share

ZERO = Decimal(0)
# What earns, and what the report calls it.
WAYS = {
    Column.USED: "use",
    Column.TIME: "time",
    Column.OVERAGE: "overage",
    Column.AT_ONCE: "at_once",
    Column.BREAKAGE: "breakage",
    Column.ADJUSTED: "adjusted",
    Column.OTHER_USED: "not_invoiced_use",
    Column.OTHER_BREAKAGE: "not_invoiced_breakage",
}
INVOICED = ("use", "overage", "time", "at_once", "breakage", "adjusted", "rounding")
ROUNDING = "rounding"
BY_METER = ("use", "overage", "not_invoiced_use")
COLUMNS = ("currency", "month", "source", "way", "meter", "revenue")


@dataclass(frozen=True, slots=True)
class Earned:
    """What was earned in a month: `way` is one of WAYS, `meter` is empty but for those of BY_METER."""

    currency: str
    month: date
    source: str
    way: str
    meter: str
    money: Decimal


@dataclass(frozen=True, slots=True)
class Total:
    """What was earned in a month in all, by the exact sums rounded once; `ways` and its rounding add up to it."""

    currency: str
    month: date
    money: Decimal


def list_earned(found: Movements, months: Months, shares: Iterable[Share]) -> list[Earned]:
    """What was earned in each month; a row named rounding makes a month's rows add up to `list_totals`. `shares` divide
    what was used by several meters at once."""
    sums: dict[Key, Decimal] = defaultdict(lambda: ZERO)
    for key, money in found.items():
        if key.column in WAYS and key.month >= months.starts_on:
            sums[key] -= money
    rows = _beyond(sums)
    weights = _weights(shares)
    for key, money in sums.items():
        if key.column != Column.OVERAGE and (rounded := round_money(money, key.currency)):
            rows += _by_meter(key, rounded, weights.get((key.month, key.currency, key.column, key.source), {}))
    for total in list_totals(found, months):
        mine = [row for row in rows if (row.currency, row.month) == (total.currency, total.month)]
        left = total.money - sum((row.money for row in mine if row.way in INVOICED), ZERO)
        if left:
            rows.append(Earned(total.currency, total.month, "", ROUNDING, "", left))
    return sorted(_joined(rows), key=lambda row: (row.currency, row.month, row.source, row.way, row.meter))


def _beyond(sums: Mapping[Key, Decimal]) -> list[Earned]:
    """Overage by meter: the parts of each plan's and month's add up to what it comes to, by largest remainder."""
    together: dict[tuple[str, date, str], dict[str, Decimal]] = defaultdict(dict)
    for key, money in sums.items():
        if key.column == Column.OVERAGE:
            together[key.currency, key.month, key.source][key.meter] = money
    return [
        Earned(currency, month, source, WAYS[Column.OVERAGE], meter, part)
        for (currency, month, source), parts in together.items()
        for meter, part in zip(parts, round_parts(list(parts.values()), currency), strict=True)
        if part
    ]


def _joined(rows: Iterable[Earned]) -> list[Earned]:
    """One row for each meter, whether it was charged alone or with others."""
    sums: dict[tuple[str, date, str, str, str], Decimal] = defaultdict(lambda: ZERO)
    for row in rows:
        sums[row.currency, row.month, row.source, row.way, row.meter] += row.money
    return [Earned(*key, money) for key, money in sums.items()]


def _weights(shares: Iterable[Share]) -> dict[tuple[date, str, Column, str], dict[str, Decimal]]:
    found: dict[tuple[date, str, Column, str], dict[str, Decimal]] = defaultdict(dict)
    for share in shares:
        column = Column.USED if share.paid else Column.OTHER_USED
        found[share.month, share.currency, column, share.source][share.meter] = share.weight
    return found


def _by_meter(key: Key, money: Decimal, weights: dict[str, Decimal]) -> list[Earned]:
    """The money as a row, or divided among meters where several had it."""
    way = WAYS[key.column]
    if key.meter or not weights or not any(weights.values()):
        return [Earned(key.currency, key.month, key.source, way, key.meter, money)]
    parts = share_money(money, list(weights.values()), key.currency)
    return [
        Earned(key.currency, key.month, key.source, way, meter, part)
        for meter, part in zip(weights, parts, strict=True)
        if part
    ]


def list_totals(found: Movements, months: Months) -> list[Total]:
    """What invoices and subscriptions earned in each month: differences of rounded sums, so that months add up."""
    sums: dict[tuple[str, date], Decimal] = defaultdict(lambda: ZERO)
    for key, money in found.items():
        if WAYS.get(key.column) in INVOICED:
            sums[key.currency, key.month] -= money
    totals = []
    for currency in sorted({currency for currency, _ in sums}):
        for start in months.starts:
            before = sum((money for (each, at), money in sums.items() if each == currency and at < start), ZERO)
            after = before + sums.get((currency, start), ZERO)
            totals.append(Total(currency, start, round_money(after, currency) - round_money(before, currency)))
    return totals


def by_source(rows: Iterable[Earned]) -> dict[tuple[str, str], Decimal]:
    """Sums by source and way."""
    found: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    for row in rows:
        found[row.source, row.way] += row.money
    return dict(found)


def by_meter(rows: Iterable[Earned]) -> dict[str, Decimal]:
    """Sums by meter, of what was used, within the credits and beyond them."""
    found: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for row in rows:
        if row.way in BY_METER:
            found[row.meter] += row.money
    return dict(found)


def csv_rows(rows: Iterable[Earned]) -> list[list[object]]:
    """All rows, in the order of COLUMNS."""
    return [[row.currency, f"{row.month:%Y-%m}", row.source, row.way, row.meter, row.money] for row in rows]
