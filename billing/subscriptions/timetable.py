"""When a subscription's periods, and the cycles of credits in them, begin and end. Pure arithmetic, no I/O, no clock.

Periods are counted from the anchor, each beginning at the first moment of a day of the account's time zone: 31 January,
28 February, 31 March. A period that grants monthly has a cycle a month, counted from the same anchor.
"""

from datetime import date, datetime
from itertools import pairwise

from billing.catalog import periods
from billing.subscriptions.terms import Terms


def ends_at(terms: Terms, *, anchor_on: date, anchor_number: int, number: int, time_zone: str) -> datetime:
    """When period `number` ends, which is when the next one begins."""
    return periods.first_moment(terms.starts_on(anchor_on, number + 1 - anchor_number), time_zone)


def cycles(
    terms: Terms,
    *,
    anchor_on: date,
    anchor_number: int,
    number: int,
    starts_at: datetime,
    ends_at: datetime,
    time_zone: str,
) -> list[tuple[datetime, datetime]]:
    """The cycles of the period `[starts_at, ends_at)`, one after the other; the period itself, if it has but one."""
    first = (number - anchor_number) * terms.cycles
    inner = [
        periods.first_moment(periods.boundary(anchor_on, interval="month", count=1, number=first + each), time_zone)
        for each in range(1, terms.cycles)
    ]
    bounds = [starts_at, *inner, ends_at]
    return list(pairwise(bounds))
