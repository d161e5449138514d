from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.pricing import units_of
from billing.metering.levels import Part, Step, in_force, integral, split
from tests.metering.makers import DAY, HOUR, NOW

D = Decimal


def at(hours):
    return NOW + hours * HOUR


def parts(steps, *hours, charged="0"):
    bounds = [at(each) for each in hours]
    return list(split(steps, bounds=bounds, base=D(0), charged=D(charged), unit_seconds=3600))


def test_a_level_counts_from_its_reading_to_the_next():
    steps = [Step(at(0), D(0)), Step(at(1), D(5)), Step(at(3), D(2))]
    assert integral(steps, until=at(1)) == 0
    assert integral(steps, until=at(2)) == 5 * 3600
    assert integral(steps, until=at(5)) == (5 * 2 + 2 * 2) * 3600
    assert integral(steps, until=at(5), base=D(7)) == 14 * 3600 + 7


def test_the_integral_is_exact_however_large_and_fine_the_levels():
    level = D("123456789012345678.123456")
    steps = [Step(NOW, level)]
    until = NOW + timedelta(days=10_000, microseconds=1)
    micros = (10_000 * 86_400 * 10**6 + 1) * int(level.scaleb(6))
    assert Fraction(integral(steps, until=until)) == Fraction(micros, 10**12)


def test_each_part_brings_the_charged_total_to_the_integral():
    steps = [Step(at(0), D("0.1"))]
    assert parts(steps, 0, 1, 2) == [Part(at(0), at(1), D("0.1")), Part(at(1), at(2), D("0.1"))]
    assert parts(steps, 1, 2, charged="0") == [Part(at(1), at(2), D("0.2"))]


def test_what_was_charged_too_much_comes_off_later_parts():
    steps = [Step(at(0), D(1))]
    assert parts(steps, 1, 2, 3, 4, charged="2.5") == [
        Part(at(2), at(3), D("0.5")), Part(at(3), at(4), D(1)),
    ]  # fmt: skip


def test_rounding_never_adds_up():
    steps = [Step(at(0), D("0.000001"))]
    sevenths = [at(0) + HOUR * n / 7 for n in range(8)]
    found = list(split(steps, bounds=sevenths, base=D(0), charged=D(0), unit_seconds=3600))
    assert sum(part.quantity for part in found) == D("0.000001")


def test_the_last_reading_before_a_moment_is_in_force():
    steps = [Step(at(0), D(0)), Step(at(1), D(5), "a"), Step(at(1), D(6), "b")]
    assert in_force(steps, at(1)).event_id == "b"
    assert in_force(steps, at(-1)) == steps[0]


levels = st.decimals(min_value=0, max_value=10**9, places=6)
moments = st.integers(min_value=0, max_value=40 * 86_400).map(lambda seconds: NOW + timedelta(seconds=seconds))


@given(st.lists(st.builds(Step, moments, levels), min_size=1), st.lists(moments, max_size=20))
def test_any_split_of_any_levels_charges_the_integral(steps, cuts):
    steps.sort(key=lambda step: step.at)
    bounds = sorted({NOW, NOW + 41 * DAY, *cuts})
    found = list(split(steps, bounds=bounds, base=D(0), charged=D(0), unit_seconds=3600))
    assert sum((part.quantity for part in found), D(0)) == units_of(integral(steps, until=NOW + 41 * DAY), 3600)
    assert all(part.quantity > 0 and part.starts_at < part.ends_at for part in found)


@given(st.lists(st.builds(Step, moments, levels), min_size=1, max_size=10), moments)
def test_the_integral_of_two_halves_is_that_of_the_whole(steps, middle):
    steps.sort(key=lambda step: step.at)
    begin, end = min(steps[0].at, middle), NOW + 41 * DAY
    steps = [Step(begin, D(0)), *steps]
    first = integral(steps, until=middle)
    rest = [Step(middle, in_force(steps, middle).level), *(step for step in steps if step.at > middle)]
    assert integral(rest, until=end, base=first) == integral(steps, until=end)
