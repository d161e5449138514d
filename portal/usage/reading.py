"""An account's usage in a range of days: by day, meter, member, or the value of a property. Reading only."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db.models import Sum
from django.utils.translation import gettext as _

from billing.accounts.models import Account
from billing.catalog.models import Meter
from billing.metering import properties
from billing.metering.models import DailyUsage
from portal.burn import Burn
from portal.charts import whole_percents
from portal.usage.filters import midnight

BY = ("day", "meter", "member", "property")
MAX_DAYS = 366
# Properties are read from the single events, so from fewer days.
MAX_PROPERTY_DAYS = 31
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Used:
    """What one meter, member or value used on one day. `quantity` is None where units of several meters would add."""

    day: date
    name: str
    unit: str
    quantity: Decimal | None
    credits: Decimal
    events: int


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: the totals of a day, or of a meter, member or value. `percent` is its share of credits."""

    name: str
    day: date | None
    unit: str
    quantity: Decimal | None
    credits: Decimal
    events: int
    percent: Decimal


def read_usage(account: Account, *, first: date, last: date, by: str, meter: Meter | None) -> list[Used]:
    """Totals of each day from `first` to `last`, both included, by meter, or by member; one query."""
    usage = DailyUsage.objects.filter(account=account, day__range=(first, last))
    if meter is not None:
        usage = usage.filter(meter=meter)
    sums = (Sum("quantity"), Sum("credits"), Sum("events"))
    if by == "member":
        rows = usage.values_list("day", "member__user__name", "member__user__email").annotate(*sums)
        people = list(rows.order_by("day", "member__user__email"))
        names = _distinct_names({(name, address) for _day, name, address, *_ in people})
        unit = meter.unit if meter else ""
        return [
            Used(day, names[address], unit, quantity if meter else None, credits, events)
            for day, _name, address, quantity, credits, events in people
        ]
    meters = usage.values_list("day", "meter__name", "meter__unit").annotate(*sums).order_by("day", "meter__name")
    return [Used(*row) for row in meters]


def _distinct_names(people: set[tuple[str | None, str | None]]) -> dict[str | None, str]:
    """By address what to call each person: the name, with the address where two have the same; None is nobody."""
    all_names = [name for name, _address in people]
    names: dict[str | None, str] = {}
    for name, address in people:
        names[address] = name if name and all_names.count(name) == 1 else f"{name or ''} {address}".strip()
    return {**names, None: _("No member")}


def read_property_usage(account: Account, *, first: date, last: date, name: str, meter: Meter | None) -> list[Used]:
    """The same by the value of a property, in a block of `properties.patient`."""
    zone = ZoneInfo(account.time_zone)
    rows = properties.list_by_property(
        account_id=account.pk,
        name=name,
        since=midnight(first, zone),
        until=midnight(last + timedelta(days=1), zone),
        time_zone=account.time_zone,
        meter_id=meter.pk if meter else None,
    )
    totals: dict[tuple[date, str], list[properties.PropertyUsage]] = {}
    for row in rows:
        label = row.value if row.value is not None else _("other values") if row.is_rest else _("without this property")
        totals.setdefault((row.day, label), []).append(row)
    return [
        Used(
            day,
            label,
            meter.unit if meter else "",
            sum((row.quantity for row in group), ZERO) if meter else None,
            sum((row.credits for row in group), ZERO),
            sum(row.events for row in group),
        )
        for (day, label), group in totals.items()
    ]


def rows_of(used: Sequence[Used], by: str) -> list[Row]:
    """The table: a row per day, newest first, or per meter, member or value, the costliest first."""
    groups: dict[object, list[Used]] = {}
    for each in used:
        groups.setdefault(each.day if by == "day" else (each.name, each.unit), []).append(each)
    percents = whole_percents([sum((each.credits for each in group), ZERO) for group in groups.values()])
    rows = [_row(group, by, percent) for group, percent in zip(groups.values(), percents, strict=True)]
    if by == "day":
        return sorted(rows, key=lambda row: row.day or date.min, reverse=True)
    return sorted(rows, key=lambda row: (-row.credits, -row.events, row.name))


def _row(group: Sequence[Used], by: str, percent: Decimal) -> Row:
    units = {each.unit for each in group}
    quantities = [each.quantity for each in group if each.quantity is not None]
    adds_up = len(units) == 1 and len(quantities) == len(group) and (by != "day" or len(group) == 1)
    return Row(
        name=group[0].name,
        day=group[0].day if by == "day" else None,
        unit=group[0].unit if adds_up else "",
        quantity=sum(quantities, ZERO) if adds_up else None,
        credits=sum((each.credits for each in group), ZERO),
        events=sum(each.events for each in group),
        percent=percent,
    )


def burns_of(used: Iterable[Used]) -> list[Burn]:
    """As the chart takes it."""
    return [Burn(each.day, each.name, each.unit, each.quantity or ZERO, each.credits) for each in used if each.credits]


def csv_columns(by: str) -> tuple[str, ...]:
    """The columns of `csv_rows`."""
    return ("day", "meter" if by == "day" else by, "quantity", "unit", "events", "credits")


def csv_rows(used: Iterable[Used]) -> Iterator[Sequence[object]]:
    """A row per day and meter, member or value."""
    for each in used:
        yield each.day, each.name, each.quantity, each.unit, each.events, each.credits
