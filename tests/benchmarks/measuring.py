"""Rounds, ratios and verdicts: what every benchmark hands in, and how it is told."""

import json
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from django.db import connection

from tests.benchmarks import place


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured: the real thing, or a quick look that only shows that everything runs."""

    rounds: int
    seconds: float
    batches: int
    accounts: int
    history: int
    stored: tuple[int, ...]
    expiries: int
    renewals: int


FULL = Scale(
    rounds=5,
    seconds=2.0,
    batches=16,
    accounts=1000,
    history=100_000,
    stored=(1_000_000, 5_000_000),
    expiries=4_000,
    renewals=10_000,
)
QUICK = Scale(rounds=1, seconds=0.1, batches=1, accounts=100, history=500, stored=(2_000,), expiries=50, renewals=20)


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table: medians over the rounds. `ratio` is product to floor; the bars are what both must reach:
    `bar` for the ratio, `least` (or, where small is good, `most`) for the product's own figure."""

    name: str
    unit: str
    product: float
    floor: float | None = None
    ratio: float | None = None
    bar: float | None = None
    least: float | None = None
    most: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """`met` or `missed`; empty for a figure without a bar."""
        checks = []
        if self.bar is not None and self.ratio is not None:
            checks.append(self.ratio >= self.bar)
        if self.least is not None:
            checks.append(self.product >= self.least)
        if self.most is not None:
            checks.append(self.product <= self.most)
        return "" if not checks else "met" if all(checks) else "missed"


def compare(
    name: str,
    *,
    rounds: int,
    product: Callable[[], float],
    floor: Callable[[], float],
    unit: str = "/s",
    bar: float | None = None,
    least: float | None = None,
    note: Callable[[], str] = str,
) -> Result:
    """Measure product and floor in turn, so that both meet the same machine, and take the median of the rounds' ratios.

    Both return a rate. A round before the first warms up and does not count; the tables are analyzed after it.
    """
    floor(), product()
    place.analyze()
    pairs = [(floor(), product()) for _ in range(rounds)]
    return Result(
        name=name,
        unit=unit,
        product=statistics.median(pair[1] for pair in pairs),
        floor=statistics.median(pair[0] for pair in pairs),
        ratio=statistics.median(mine / theirs for theirs, mine in pairs),
        bar=bar,
        least=least,
        note=note(),
    )


class Processor:
    """CPU time of processes, to say what a request costs whatever else the machine does meanwhile."""

    def __init__(self, name: str, pids: Callable[[], Sequence[int]]) -> None:
        self.name = name
        self.pids = pids
        self.seconds = 0.0
        self.requests = 0

    def count(self, act: Callable[[], tuple[float, int]]) -> tuple[float, int]:
        """Run an act, which returns a rate and how many requests it made, and add what they cost."""
        before = cpu_seconds(self.pids())
        rate, requests = act()
        self.seconds += sum(spent - before.get(pid, 0.0) for pid, spent in cpu_seconds(self.pids()).items())
        self.requests += requests
        return rate, requests

    def __str__(self) -> str:
        return f"{self.name} {1000 * self.seconds / max(self.requests, 1):.2f}"


class Processors:
    """The web's and the database's, together."""

    def __init__(self, **pids: Callable[[], Sequence[int]]) -> None:
        self.parts = [Processor(name, found) for name, found in pids.items()]

    def count(self, act: Callable[[], tuple[float, int]]) -> float:
        """Run an act inside all of them; its rate."""
        for part in self.parts:
            act = partial(part.count, act)
        return act()[0]

    def __str__(self) -> str:
        return f"CPU ms each: {', '.join(map(str, self.parts))}"


def cpu_seconds(pids: Sequence[int]) -> dict[int, float]:
    """User and system time of each of the processes that lives, seconds."""
    found = {}
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def machine_facts() -> dict[str, str]:
    """What the figures depend on."""
    with connection.cursor() as cursor:
        names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
        cursor.execute("SELECT " + ", ".join(f"current_setting('{name}')" for name in names))
        database = dict(zip(names, cursor.fetchone(), strict=True))
    cpu = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0")
    return {
        "processor": f"{len(os.sched_getaffinity(0))} x {cpu[0] if cpu else platform.machine()}",
        "memory": f"{int(memory) / 1024 / 1024:.0f} GB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "load before": " ".join(f"{value:.1f}" for value in os.getloadavg()),
        **{f"postgres {name}": value for name, value in database.items()},
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def as_json(facts: dict[str, str], results: Sequence[Result]) -> str:
    """Everything, for a program."""
    rows = [
        {name: getattr(result, name) for name in (*Result.__slots__, "verdict")}
        for result in results
    ]  # fmt: skip
    return json.dumps({"machine": facts, "results": rows}, indent=2)


def as_table(facts: dict[str, str], results: Sequence[Result]) -> str:
    """Everything, for a person."""
    rows = [("benchmark", "product", "floor", "ratio", "bar", "verdict", "note")]
    for each in results:
        bars = [f"{each.bar:.0%}"] if each.bar is not None else []
        bars += [f">= {each.least:,.0f}"] if each.least is not None else []
        bars += [f"<= {each.most:,.0f}"] if each.most is not None else []
        rows.append(
            (
                each.name,
                _figure(each.product, each.unit),
                _figure(each.floor, each.unit) if each.floor is not None else "",
                f"{each.ratio:.0%}" if each.ratio is not None else "",
                ", ".join(bars),
                each.verdict,
                each.note,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [f"{name}: {value}" for name, value in facts.items()] + [""]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [row[column].rjust(widths[column]) for column in range(1, 4)]
        cells += [row[column].ljust(widths[column]) for column in range(4, 7)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _figure(value: float, unit: str) -> str:
    return f"{value:,.0f}{unit}" if value >= 100 else f"{value:,.1f}{unit}"
