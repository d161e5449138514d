"""Usage as a customer's application would report it, drawn from the customer's habit. Pure: no I/O, no clock."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import count
from random import Random
from zoneinfo import ZoneInfo

from billing.demo.cast import Customer, Habit

YEAR = timedelta(days=365)

Event = dict[str, object]


class Reporter:
    """One customer's side: it remembers up to when it has reported, and numbers its events."""

    def __init__(self, customer: Customer, *, begins_at: datetime, seed: int) -> None:
        self.customer = customer
        self.begins_at = begins_at
        self.reported_until = begins_at
        self.ends_at: datetime | None = None
        # Where usage goes, as (weight, pool, member); one entry of nothing for an account without teams.
        self.places: list[tuple[float, str, str]] = [(1.0, "", "")]
        self.zone = ZoneInfo(customer.time_zone)
        self.numbers = count(1)
        self.random = Random(f"{seed}:{customer.key}")  # noqa: S311  (a story, not a secret)

    def report(self, until: datetime) -> list[Event]:
        """The events since the last report, in the order they happened."""
        since, self.reported_until = self.reported_until, max(until, self.reported_until)
        until = min(until, self.ends_at) if self.ends_at else until
        moments = sorted(self._requests(since, until)) if until > since else []
        events = [event for at in moments for event in self._request(at)]
        for day_at in self._mornings(since, until):
            events += self._morning(day_at)
        return events

    def _requests(self, since: datetime, until: datetime) -> Iterator[datetime]:
        """Moments of requests: drawn evenly at the habit's highest rate, then thinned to what the moment deserves."""
        habit = self.customer.habit
        peak = max(habit.by_hour) * max(habit.by_weekday) * max(habit.by_month.values(), default=1.0)
        peak *= max(1.0, habit.growth)
        expected = habit.requests_per_day * peak * ((until - since) / timedelta(days=1))
        for _ in range(_poisson(self.random, expected)):
            at = since + self.random.random() * (until - since)
            if self.random.random() * peak < self._intensity(habit, at):
                yield at.replace(microsecond=at.microsecond // 1000 * 1000)

    def _intensity(self, habit: Habit, at: datetime) -> float:
        local = at.astimezone(self.zone)
        weight = habit.by_hour[local.hour // 4] * habit.by_weekday[local.weekday()]
        age = (at - self.begins_at) / YEAR
        return weight * habit.by_month.get(local.month, 1.0) * habit.growth ** min(age, 1.0)

    def _request(self, at: datetime) -> list[Event]:
        habit, random = self.customer.habit, self.random
        kind = random.choices(list(habit.mix), list(habit.mix.values()))[0]
        if kind == "image":
            quality = {"quality": "hd"} if random.random() < 0.2 else {"quality": "standard"}
            return [self._event("images", at, random.choice((1, 1, 2, 4, 4, 8, 12)), quality)]
        if kind == "gpu":
            return [self._event("gpu-seconds", at, int(random.lognormvariate(6.2, 0.9)), {"gpu": "l40s"})]
        model = {"model": random.choice(habit.models)}
        tokens = int(habit.tokens * random.lognormvariate(0.0, 0.8)) + 20
        answer = int(tokens * random.uniform(0.1, 0.6)) + 5
        place = random.choices(self.places, [weight for weight, _, _ in self.places])[0]
        return [
            self._event("llm-input", at, tokens, model, place),
            self._event("llm-output", at, answer, model, place),
        ]

    def _event(
        self,
        meter: str,
        at: datetime,
        quantity: int,
        properties: dict[str, str],
        place: tuple[float, str, str] = (1.0, "", ""),
    ) -> Event:
        key = self.customer.key
        event: Event = {
            "id": f"{key}-{next(self.numbers):06d}",
            "account": key,
            "meter": meter,
            "quantity": quantity,
            "properties": properties,
            "occurred_at": at.isoformat(),
        }
        _, pool, member = place
        return event | ({"pool": pool} if pool else {}) | ({"member": member} if member else {})

    def _mornings(self, since: datetime, until: datetime) -> Iterator[datetime]:
        """Nine o'clock of each local day in `[since, until)`."""
        day = since.astimezone(self.zone).date()
        while (at := datetime.combine(day, time(9), self.zone).astimezone(UTC)) < until:
            if at >= since:
                yield at
            day += timedelta(days=1)

    def _morning(self, at: datetime) -> list[Event]:
        """Who of the team comes in on a working day, and how large the indexes are."""
        habit, random, events = self.customer.habit, self.random, []
        if habit.seats and at.astimezone(self.zone).weekday() < 5:
            for seat in random.sample(range(habit.seats), k=max(1, habit.seats // 4)):
                events.append(self._event("active-seats", at, 1, {"user": f"u{seat + 1}"}))
        if habit.storage_gb:
            level = habit.storage_gb * (1 + (at - self.begins_at) / YEAR) * random.uniform(0.97, 1.03)
            events.append(self._event("vector-storage", at, round(level), {"index": "documents"}))
        return events


def _poisson(random: Random, expected: float) -> int:
    """How often something happens that is expected so often (Knuth's method; fine below a few hundred)."""
    limit, product, number = math.exp(-expected), random.random(), 0
    while product > limit:
        product *= random.random()
        number += 1
    return number
