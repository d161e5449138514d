"""Geometry of the charts."""

from datetime import date
from decimal import Decimal
from itertools import pairwise

import pytest

from billing.wording.amounts import share_text
from portal.burn import Burn, what_it_buys
from portal.charts import burn_chart, meter_of, whole_percents

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 30)


def _burn(day: int, meter: str, credits: str, quantity: str = "1") -> Burn:
    return Burn(date(2026, 3, day), meter, "token", Decimal(quantity), Decimal(credits))


def test_days_are_stacked_from_the_ground_up() -> None:
    chart = burn_chart([_burn(2, "Big", "30"), _burn(2, "Small", "10"), _burn(9, "Big", "5")], first=FIRST, last=LAST)
    assert len(chart.days) == 30
    assert chart.scale == [Decimal(40), Decimal(20), Decimal(0)]
    ground, top = chart.days[1].segments
    assert (ground.series.name, ground.y, ground.height) == ("Big", "50.00", "150.00")
    assert (top.series.name, top.y, top.height) == ("Small", "0.00", "50.00")
    assert chart.peak is chart.days[1]
    assert chart.credits == 45
    assert chart.daily == Decimal("1.5")


def test_coordinates_have_no_thousands_separators() -> None:
    chart = burn_chart([_burn(30, "Big", "1234567")], first=FIRST, last=LAST)
    assert "," not in "".join([chart.days[29].x, chart.days[29].hit_x, chart.days[29].segments[0].height])


def test_only_the_six_largest_meters_have_a_colour_of_their_own() -> None:
    burns = [_burn(1, f"meter {number}", str(number)) for number in range(1, 10)]
    chart = burn_chart(burns, first=FIRST, last=LAST)
    assert [series.number for series in chart.series] == [1, 2, 3, 4, 5, 6, 7]
    assert (chart.series[6].name, chart.series[6].credits) == ("Other", Decimal(6))
    assert sum(series.percent for series in chart.series) == pytest.approx(100)


def test_two_meters_of_one_name_are_one_series() -> None:
    chart = burn_chart([_burn(1, "Same", "1"), _burn(1, "Same", "2")], first=FIRST, last=LAST)
    assert [(series.name, series.credits) for series in chart.series] == [("Same", Decimal(3))]


def test_labels_do_not_touch_and_begin_and_end_the_axis() -> None:
    for days in (7, 30, 31):
        chart = burn_chart([], first=date(2026, 1, 1), last=date(2026, 1, days))
        labelled = [index for index, day in enumerate(chart.days) if day.label]
        assert labelled[0] == 0
        assert labelled[-1] == days - 1
        assert all(later - sooner >= days / 6 for sooner, later in pairwise(labelled))


def test_an_empty_chart_has_an_axis_and_no_peak() -> None:
    chart = burn_chart([], first=FIRST, last=LAST)
    assert (chart.credits, chart.peak, chart.scale[0]) == (0, None, 1)


@pytest.mark.parametrize(
    ("used", "width", "number", "tone"),
    [
        ("0", "0.00", "0%", "calm"),
        ("0.4", "0.40", "<1%", "calm"),
        ("74.999", "75.00", "74%", "calm"),
        ("75", "75.00", "75%", "high"),
        ("89.99", "89.99", "89%", "high"),
        ("90", "90.00", "90%", "urgent"),
        ("137.5", "100.00", "137%", "urgent"),
    ],
)
def test_a_meters_fill_is_its_number(used: str, width: str, number: str, tone: str) -> None:
    drawn = meter_of(Decimal(used), Decimal(100))
    assert (drawn.width, share_text(drawn.percent), drawn.tone, drawn.is_empty) == (width, number, tone, False)


def test_a_meter_of_nothing_is_empty() -> None:
    drawn = meter_of(Decimal(12), Decimal(0))
    assert (drawn.width, drawn.tone, drawn.is_empty) == ("0", "calm", True)


def test_credits_buy_what_they_cost_on_average() -> None:
    burns = [_burn(1, "Text", "10", "1000"), _burn(2, "Text", "20", "1000"), _burn(2, "Image", "40", "4")]
    image, text = what_it_buys(Decimal(60), burns)
    assert (image.meter, image.quantity) == ("Image", Decimal(6))
    assert (text.meter, text.quantity) == ("Text", Decimal(4000))
    assert [each.quantity for each in what_it_buys(Decimal(-5), burns)] == [0, 0]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ("1 1 1", "34% 33% 33%"),
        ("9155 845", "92% 8%"),
        ("9150 425 425", "92% 4% 4%"),
        ("999 1", "100% <1%"),
        ("0 0", "0% 0%"),
    ],
)
def test_shares_in_whole_percents_add_up(parts: str, said: str) -> None:
    assert " ".join(map(share_text, whole_percents([Decimal(part) for part in parts.split()]))) == said


def test_an_average_is_rounded() -> None:
    chart = burn_chart([_burn(1, "Big", "1580")], first=FIRST, last=date(2026, 3, 3))
    assert chart.daily == Decimal("526.67")
