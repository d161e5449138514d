"""The days of a dunning policy as moments. Pure, no clock.

Days count from the local day on which a collection became overdue, in its account's time zone; what a policy says for
day `n` is due with the first moment of the n-th day after it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from billing.catalog.periods import day_of, first_moment


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a collection that is overdue is charged again, reminded of, and given up. All moments are in order."""

    retries: tuple[datetime, ...]
    reminders: tuple[datetime, ...]
    final_at: datetime

    def retries_due(self, now: datetime) -> int:
        """How many retries the policy has asked for by now."""
        return _due(self.retries, now)

    def reminders_due(self, now: datetime) -> int:
        """How many reminders the policy has asked for by now."""
        return _due(self.reminders, now)

    def next_retry_at(self, now: datetime) -> datetime | None:
        """When the next retry comes that is before the end."""
        return next((at for at in self.retries if now < at < self.final_at), None)

    def next_at(self, now: datetime) -> datetime:
        """When something is to be done next."""
        coming = (at for at in (*self.retries, *self.reminders, self.final_at) if at > now)
        return min(coming, default=self.final_at)


def schedule(policy: Mapping[str, Any], *, overdue_at: datetime, time_zone: str) -> Schedule:
    """The moments of a policy (`retry_days`, `reminder_days`, `final_days`) for what became overdue then."""
    day = day_of(overdue_at, time_zone)

    def moment(days: int) -> datetime:
        # What is to happen on the very day happens at once.
        return max(first_moment(day + timedelta(days=days), time_zone), overdue_at)

    return Schedule(
        retries=tuple(moment(days) for days in sorted(set(policy.get("retry_days", ())))),
        reminders=tuple(moment(days) for days in sorted(set(policy.get("reminder_days", ())))),
        final_at=moment(policy["final_days"]),
    )


def _due(moments: Sequence[datetime], now: datetime) -> int:
    return sum(at <= now for at in moments)
