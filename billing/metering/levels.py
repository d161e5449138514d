"""A gauge's levels over time and their integral. Pure arithmetic, exact until the one rounding; no I/O.

A series is a list of `Step`s in the order of their times: from each on, its level holds until the next.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Context, Decimal
from itertools import pairwise

from billing.catalog.pricing import units_of

_EXACT = Context(prec=60)


@dataclass(frozen=True, slots=True)
class Step:
    """From a moment on the level is this; the event `event_id` of the `source` said so."""

    at: datetime
    level: Decimal
    event_id: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A quantity to charge, in the meter's units, as used in `[starts_at, ends_at)`; corrections are included."""

    starts_at: datetime
    ends_at: datetime
    quantity: Decimal


def integral(steps: Sequence[Step], *, until: datetime, base: Decimal = Decimal(0)) -> Decimal:
    """`base` and level x seconds from the first step up to `until`, exact."""
    total = base
    for step, following in pairwise([*steps, Step(until, Decimal(0))]):
        if step.at >= until:
            break
        held = _EXACT.multiply(step.level, _seconds(min(following.at, until) - step.at))
        total = _EXACT.add(total, held)
    return total


def _seconds(length: timedelta) -> Decimal:
    return Decimal(length // timedelta(microseconds=1)).scaleb(-6)


def split(
    steps: Sequence[Step], *, bounds: Sequence[datetime], base: Decimal, charged: Decimal, unit_seconds: int
) -> Iterator[Part]:
    """What to charge between each two bounds, so that after each the rounded integral has been charged in total.

    `base` is the integral (level x seconds) before the first step, `charged` what was charged before, in units. What
    late readings have added before the first bound comes with the first part; where they lowered the integral, nothing
    is charged until it has risen past what was charged already.
    """
    for starts_at, ends_at in pairwise(bounds):
        quantity = units_of(integral(steps, until=ends_at, base=base), unit_seconds) - charged
        if quantity > 0:
            yield Part(starts_at, ends_at, quantity)
            charged += quantity


def in_force(steps: Sequence[Step], at: datetime) -> Step:
    """The last step at or before a moment; the first step when there is none."""
    return next((step for step in reversed(steps) if step.at <= at), steps[0])
