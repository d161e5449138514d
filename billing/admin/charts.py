"""Charts of the staff pages as geometry for SVG. Pure arithmetic; the same figures stand in a table beneath.

All coordinates are strings, because Django would put thousands separators into numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

WIDTH, HEIGHT = 1000, 200
BAR_SHARE = 0.72


@dataclass(frozen=True, slots=True)
class Bar:
    """One value: its rectangle, and a label for some of them; a `minor` one only where there is room."""

    name: str
    value: Decimal
    x: str
    y: str
    width: str
    height: str
    label: str
    label_x: str
    minor: bool


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars from left to right. `top` is what the axis ends with."""

    bars: list[Bar]
    top: Decimal
    total: Decimal

    @property
    def half(self) -> Decimal:
        """The middle of the axis."""
        return self.top / 2


def bar_chart(points: Sequence[tuple[str, Decimal]]) -> BarChart:
    """Lay out (name, value) pairs; values below zero stand as zero."""
    top = _nice_ceiling(max((value for _, value in points), default=Decimal(0)))
    step = WIDTH / max(len(points), 1)
    every = max(1, -(-len(points) // 6))
    bars = []
    for index, (name, value) in enumerate(points):
        height = HEIGHT * max(value, Decimal(0)) / top
        from_end = len(points) - 1 - index
        labelled = from_end % every == 0
        bars.append(
            Bar(
                name=name,
                value=value,
                x=f"{step * (index + (1 - BAR_SHARE) / 2):.2f}",
                y=f"{HEIGHT - height:.2f}",
                width=f"{step * BAR_SHARE:.2f}",
                height=f"{height:.2f}",
                label=name if labelled else "",
                label_x=f"{step * (index + 0.5):.2f}",
                minor=from_end % (2 * every) != 0,
            )
        )
    return BarChart(bars, top, sum((value for _, value in points), Decimal(0)))


def _nice_ceiling(value: Decimal) -> Decimal:
    """The next of 1, 2, 4, 5, 10 times a power of ten, so that the axis' half is a short number too."""
    if value <= 0:
        return Decimal(1)
    power = Decimal(1).scaleb(value.adjusted())
    return next(step * power for step in map(Decimal, (1, 2, 4, 5, 10)) if value <= step * power)
