"""Billing periods: dates that recur from an anchor, and the moments they begin. Pure arithmetic, no I/O, no clock.

A period is half-open, `[starts, ends)`, counted in whole days of a time zone: it begins at the first moment of a day
there. Dates are always counted from the anchor, never from the last date, so a month too short does no harm to the
next: 31 January, 28 February, 31 March.
"""

import calendar
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

MONTHS = {"month": 1, "quarter": 3, "year": 12}
# What any range that somebody asks for lies within.
EARLIEST, LATEST = date(1970, 1, 1), date(9998, 12, 31)


class RangeRefused(ValueError):
    """A range of days that is not read. `end` is the day at fault, `first` or `last`; `reason` is `order` (the last day
    is before the first), `far` (before EARLIEST or after LATEST) or `long` (more than `most_days`)."""

    def __init__(self, end: str, reason: str, most_days: int | None = None) -> None:
        super().__init__(f"{end}: {reason}")
        self.end, self.reason, self.most_days = end, reason, most_days


def check_range(first: date | None, last: date | None, *, most_days: int | None = None) -> None:
    """Refuse a range of days, both included, that would cost more to read than anybody needs. Raises RangeRefused.

    An end that is None is left open. Every page, list and report that takes a range asks here.
    """
    for end, day in (("first", first), ("last", last)):
        if day is not None and not EARLIEST <= day <= LATEST:
            raise RangeRefused(end, "far")
    if first is None or last is None:
        return
    if last < first:
        raise RangeRefused("last", "order")
    if most_days is not None and (last - first).days >= most_days:
        raise RangeRefused("first", "long", most_days)


def boundary(anchor_on: date, *, interval: str, count: int, number: int) -> date:
    """The date on which period `number` (from 0) of an anchor begins; `interval` is week, month, quarter or year.

    Example: from 31 January by the month: 28 (29) February, 31 March, 30 April. From 29 February by the year: 28
    February, but 29 February again in the next leap year.
    """
    if interval == "week":
        return anchor_on + timedelta(weeks=count * number)
    months = anchor_on.year * 12 + anchor_on.month - 1 + MONTHS[interval] * count * number
    year, month = divmod(months, 12)
    return date(year, month + 1, min(anchor_on.day, calendar.monthrange(year, month + 1)[1]))


def number_at(anchor_on: date, *, interval: str, count: int, on: date) -> int:
    """The number of the period that a date lies in; negative before the anchor."""
    if interval == "week":
        return (on - anchor_on).days // (7 * count)
    months = (on.year - anchor_on.year) * 12 + on.month - anchor_on.month
    number = months // (MONTHS[interval] * count)
    while boundary(anchor_on, interval=interval, count=count, number=number + 1) <= on:
        number += 1
    while boundary(anchor_on, interval=interval, count=count, number=number) > on:
        number -= 1
    return number


def first_moment(on: date, time_zone: str) -> datetime:
    """The first moment of a day in the time zone, as UTC. Where the clock skips midnight that is the skip itself."""
    return datetime(on.year, on.month, on.day, tzinfo=ZoneInfo(time_zone)).astimezone(UTC)


def day_of(at: datetime, time_zone: str) -> date:
    """The day that a moment lies in, in the time zone."""
    return at.astimezone(ZoneInfo(time_zone)).date()
