"""Calendar months, UTC, up to a moment."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Months:
    """The months from that of `starts_on` to that of `until`, which is not in them any more: `[starts_on, until)`.

    The last month ends at `until`, so a report of a month that has not passed says how it stands.
    """

    starts_on: date
    until: datetime

    @property
    def starts(self) -> list[date]:
        """The first day of each."""
        first, last = index_of(self.starts_on), index_of(last_day(self.until))
        return [day_of(index) for index in range(first, last + 1)]

    def ends_at(self, start: date) -> datetime:
        """The moment that the month which begins on `start` is over for the report."""
        return min(first_moment(day_of(index_of(start) + 1)), self.until)

    def last_moment(self, start: date) -> datetime:
        """The last moment of that month that the report has."""
        return self.ends_at(start) - timedelta(microseconds=1)


def index_of(on: date) -> int:
    """Months counted from the year 0."""
    return on.year * 12 + on.month - 1


def day_of(index: int) -> date:
    """The first day of a month counted from the year 0."""
    return date(index // 12, index % 12 + 1, 1)


def month_of(at: datetime) -> date:
    """The first day of the month that a moment lies in."""
    return at.astimezone(UTC).date().replace(day=1)


def first_moment(on: date) -> datetime:
    """When a day begins."""
    return datetime(on.year, on.month, on.day, tzinfo=UTC)


def last_day(until: datetime) -> date:
    """The first day of the last month that has a moment before `until`."""
    start = month_of(until)
    return day_of(index_of(start) - 1) if first_moment(start) == until else start
