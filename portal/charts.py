"""Charts as geometry for the templates' SVG. Pure arithmetic: no I/O, no clock. Coordinates are strings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

from django.utils.formats import date_format

from portal.burn import Burn

# The stylesheet has seven fills; the last is for everything that is not among the six largest.
SERIES = 6
MAX_BARS = 92
NICE_STEPS = tuple(map(Decimal, ("1", "1.2", "1.6", "2", "3", "4", "5", "6", "8", "10")))
OTHER = "Other"
WIDTH, HEIGHT = 1000, 200
BAR_SHARE = 0.72
WARNINGS = (75, 90)
ZERO, CENT = Decimal(0), Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Series:
    """One meter's burn: its colour's number, its credits in the whole period and their share."""

    number: int
    name: str
    credits: Decimal
    percent: Decimal


@dataclass(frozen=True, slots=True)
class Segment:
    """A day's burn of one series as a rectangle."""

    series: Series
    credits: Decimal
    y: str
    height: str


@dataclass(frozen=True, slots=True)
class Day:
    """A bar of one day, or of `step` days from `on` to `until`: `hit_x` and `hit_width` are the bar's whole strip.
    `label` stands under it, a `minor` one only on a wide page."""

    on: date
    until: date
    credits: Decimal
    segments: list[Segment]
    x: str
    width: str
    hit_x: str
    hit_width: str
    label: str
    minor: bool


@dataclass(frozen=True, slots=True)
class BurnChart:
    """Credits used by day, stacked by meter; `step` days to a bar, `length` days in all. `scale` are the axis labels
    from the top down."""

    days: list[Day]
    step: int
    length: int
    series: list[Series]
    scale: list[Decimal]
    credits: Decimal
    peak: Day | None

    @property
    def daily(self) -> Decimal:
        """Credits a day, on average, to two decimals."""
        return (self.credits / self.length).quantize(CENT, rounding=ROUND_HALF_UP)


def burn_chart(burns: Sequence[Burn], *, first: date, last: date) -> BurnChart:
    """Lay out burns from `first` to `last`, both included, by week from MAX_BARS days on. Two meters of one name are
    one series."""
    series = _series(burns)
    of_name = {entry.name: entry for entry in series}
    length = (last - first).days + 1
    step = 1 if length <= MAX_BARS else 7
    stacks: dict[int, dict[Series, Decimal]] = {}
    for burn in burns:
        stack = stacks.setdefault((burn.day - first).days // step, {})
        entry = of_name.get(burn.meter) or of_name[OTHER]
        stack[entry] = stack.get(entry, ZERO) + burn.credits
    top = _nice_ceiling(max((sum(stack.values(), ZERO) for stack in stacks.values()), default=ZERO))
    count = -(-length // step)
    days = []
    for index in range(count):
        on = first + timedelta(days=index * step)
        until = min(on + timedelta(days=step - 1), last)
        days.append(_day(on, until, stacks.get(index, {}), index, count, top))
    total = sum((entry.credits for entry in series), ZERO)
    return BurnChart(
        days=days,
        step=step,
        length=length,
        series=series,
        scale=[top, top / 2, ZERO],
        credits=total,
        peak=max(days, key=lambda day: day.credits) if total else None,
    )


def whole_percents(parts: Sequence[Decimal]) -> list[Decimal]:
    """The share of each part in whole percents that add up to 100: cut off, and what is missing goes to those that were
    cut most (largest remainder). A part that comes to none keeps its exact share, below 1."""
    total = sum(parts, ZERO)
    if not total:
        return [ZERO for _ in parts]
    exact = [part * 100 / total for part in parts]
    shares = [percent // 1 for percent in exact]
    missing = int(100 - sum(shares, ZERO))
    for index in sorted(range(len(parts)), key=lambda index: shares[index] - exact[index])[:missing]:
        shares[index] += 1
    return [share or percent for share, percent in zip(shares, exact, strict=True)]


def _series(burns: Sequence[Burn]) -> list[Series]:
    totals: dict[str, Decimal] = {}
    for burn in burns:
        totals[burn.meter] = totals.get(burn.meter, ZERO) + burn.credits
    ranked = sorted(totals.items(), key=lambda pair: (-pair[1], pair[0]))
    if len(ranked) > SERIES:
        ranked = [*ranked[:SERIES], (OTHER, sum((credits for _, credits in ranked[SERIES:]), ZERO))]
    percents = whole_percents([credits for _, credits in ranked])
    return [
        Series(number=number, name=name, credits=credits, percent=percent)
        for number, ((name, credits), percent) in enumerate(zip(ranked, percents, strict=True), start=1)
    ]


def _day(on: date, until: date, stack: Mapping[Series, Decimal], index: int, count: int, top: Decimal) -> Day:
    step = WIDTH / count
    below = ZERO
    segments = []
    for series, credits in sorted(stack.items(), key=lambda pair: pair[0].number):
        below += credits
        if credits:
            y, height = HEIGHT * (1 - below / top), HEIGHT * credits / top
            segments.append(Segment(series=series, credits=credits, y=f"{y:.2f}", height=f"{height:.2f}"))
    # About five labels, counted from the last day, and none so close to the first that they would touch.
    from_end, stride = count - 1 - index, math.ceil(count / 5)
    labelled = index == 0 or (from_end % stride == 0 and index >= stride)
    return Day(
        on=on,
        until=until,
        credits=below,
        segments=segments,
        x=f"{step * (index + (1 - BAR_SHARE) / 2):.2f}",
        width=f"{step * BAR_SHARE:.2f}",
        hit_x=f"{step * index:.2f}",
        hit_width=f"{step:.2f}",
        label=date_format(on, "j M") if labelled else "",
        minor=index != 0 and from_end % (2 * stride) != 0,
    )


def _nice_ceiling(value: Decimal) -> Decimal:
    """The next of these times a power of ten, so that the axis' half is a short number too."""
    if not value:
        return Decimal(1)
    power = Decimal(1).scaleb(value.adjusted())
    return next(step * power for step in NICE_STEPS if value <= step * power)


@dataclass(frozen=True, slots=True)
class Meter:
    """How much of a whole is used: `percent` is the number, which may exceed 100, and `width` the fill in percent of
    the track. `tone`: `calm`, `high` from 75 %, `urgent` from 90 %, or `plain` for what warns of nothing. Empty: no
    whole.
    """

    percent: Decimal
    width: str
    tone: str
    is_empty: bool = False


def meter_of(part: Decimal, whole: Decimal) -> Meter:
    """Lay out how much of `whole` is used by `part`."""
    if whole <= 0:
        return Meter(ZERO, "0", "calm", is_empty=True)
    percent = max(ZERO, part) * 100 / whole
    tone = "urgent" if percent >= WARNINGS[1] else "high" if percent >= WARNINGS[0] else "calm"
    return Meter(percent, f"{min(percent, Decimal(100)):.2f}", tone)
