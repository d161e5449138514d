"""What a part of a period costs and includes, by whole days. Pure arithmetic, no I/O, no clock.

A period is cut at a day of the account's time zone; that day, whole, belongs to what follows. What the days before the
cut come to is rounded once, and what is left is the rest: the two parts always add up to the whole, and a change that
is taken back on the same day leaves nothing behind.

Example: 100.00 for the 31 days of January, cut on the 11th. 10 days are used: 100 x 10 / 31 = 32.258..., so 32.26; the
21 days left are 67.74. A plan for 200.00 instead, from the 11th on: 200.00 less 64.52 for its first ten days, 135.48.
So January comes to 100.00 - 67.74 + 135.48 = 167.74: 32.26 for ten days of the one and 135.48 for 21 of the other.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.catalog import periods, pricing


class OutsidePeriod(ValueError):
    """The moment lies before the period, or in none of its days any more."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A period of `days` days, of which `used` lie before the cut: from 0 (nothing yet) to `days` (all of it)."""

    days: int
    used: int

    @property
    def left(self) -> int:
        """Days from the cut on, the day of the cut among them."""
        return self.days - self.used


def cut(*, starts_at: datetime, ends_at: datetime, at: datetime, time_zone: str) -> Cut:
    """Cut the period `[starts_at, ends_at)` at the day that `at` lies in, in the time zone.

    The day a period begins counts whole, at whatever hour it begins; it ends with the last moment of a day. Days are
    days of the calendar, so one of 23 or 25 hours weighs as much as any other. Where the days of the zone have moved
    since, what is left of the period beyond its last one belongs to that. Raises OutsidePeriod.
    """
    first, last = periods.day_of(starts_at, time_zone), periods.day_of(ends_at, time_zone)
    found = Cut((last - first).days, (periods.day_of(at, time_zone) - first).days)
    if at < ends_at and found.used == found.days:
        found = Cut(found.days, found.days - 1)
    if not 0 <= found.used < found.days:
        raise OutsidePeriod(f"{at} is no day of the period from {starts_at} to {ends_at}")
    return found


def money_used(amount: Decimal, cut: Cut, currency: str) -> Decimal:
    """What the days before the cut come to of an `amount` for the whole period, rounded to the minor unit.

    Example: 10 of 31 days of 100.00 EUR: 32.26. 10 of 30 days of 1,000 JPY: 333.
    """
    return pricing.part_of_money(amount, part=Decimal(cut.used), of=Decimal(cut.days), currency=currency)


def money_left(amount: Decimal, cut: Cut, currency: str) -> Decimal:
    """The rest of an `amount` for the whole period: what the days from the cut on come to.

    Example: 21 of 31 days of 100.00 EUR: 100.00 - 32.26 = 67.74.
    """
    return amount - money_used(amount, cut, currency)


def credits_left(credits: Decimal, cut: Cut) -> Decimal:
    """What the days from the cut on have of the `credits` of the whole period, to six decimals.

    Example: 21 of 31 days of 1,000 credits: 1,000 - 322.580645 = 677.419355.
    """
    return credits - pricing.part_of_credits(credits, part=Decimal(cut.used), of=Decimal(cut.days))


def is_dearer(new: Decimal, *, new_days: int, old: Decimal, old_days: int) -> bool:
    """Whether `new` money for `new_days` days is more a day than `old` for `old_days`; exact, never rounded.

    Example: 300.00 for the 365 days of a year is less a day than 30.00 for 30 days: no.
    """
    return new * old_days > old * new_days
