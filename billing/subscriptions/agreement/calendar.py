"""When a subscription's periods, and the cycles of credits in them, begin and end. Pure arithmetic, no I/O, no clock.

Periods are counted from the anchor, each beginning at the first moment of a day of the account's time zone: 31 January,
28 February, 31 March. A period that grants monthly has a cycle a month, counted from the same anchor.
"""

from datetime import date, datetime, timedelta
from itertools import pairwise

from billing.catalog import periods
from billing.subscriptions.agreement.terms import Terms
from billing.subscriptions.models import Subscription

# The days of an account's time zone may move by so much while a period runs; no two cycles end as near to each other.
MOST_DRIFT = timedelta(hours=27)


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


def end_of(subscription: Subscription, terms: Terms) -> datetime:
    """When the subscription's period ends, by its anchor."""
    return ends_at(
        terms,
        anchor_on=subscription.anchor_on,
        anchor_number=subscription.anchor_number,
        number=subscription.period_number,
        time_zone=subscription.account.time_zone,
    )


def cycles_of(subscription: Subscription, terms: Terms) -> list[tuple[datetime, datetime]]:
    """The cycles of credits of the subscription's period, which begins now."""
    return cycles(
        terms,
        anchor_on=subscription.anchor_on,
        anchor_number=subscription.anchor_number,
        number=subscription.period_number,
        starts_at=subscription.period_starts_at,
        ends_at=subscription.period_ends_at,
        time_zone=subscription.account.time_zone,
    )
