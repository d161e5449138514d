"""Amounts and times in words."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from billing.wording import amounts, times

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0"),
        ("0.000000", "0"),
        ("500.000000", "500"),
        ("12345.678", "12,345.67"),
        ("99.999999", "99.99"),
        ("1.5", "1.5"),
        ("0.0012345", "0.00123"),
        ("0.999999", "0.999"),
        ("0.000001", "0.000001"),
        ("-250.5", "\N{MINUS SIGN}250.5"),
        ("1E+6", "1,000,000"),
        ("999999999999999999.999999", "999,999,999,999,999,999.99"),
    ],
)
def test_credits_show_at_most_the_digits_that_matter(amount: str, text: str) -> None:
    assert amounts.credits_text(Decimal(amount)) == text


@pytest.mark.parametrize(
    ("amount", "places", "text"),
    [
        ("19043.558000", 0, "19,043.558"),
        ("0.000001", 0, "0.000001"),
        ("1200", 0, "1,200"),
        ("1200", 3, "1,200.000"),
        ("-1.23456", 3, "\N{MINUS SIGN}1.23456"),
    ],
)
def test_a_ledger_shows_every_digit(amount: str, places: int, text: str) -> None:
    assert amounts.exact_credits_text(Decimal(amount), places) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0"),
        ("26329683.21", "26.3 million"),
        ("1250000000", "1.25 billion"),
        ("4E+12", "4 trillion"),
        ("10559", "10,500"),
        ("0.12345", "0.123"),
        ("1000000", "1 million"),
    ],
)
def test_estimates_are_rough(amount: str, text: str) -> None:
    assert amounts.rough_text(Decimal(amount)) == text


@pytest.mark.parametrize(
    ("noun", "many"),
    [("token", "tokens"), ("query", "queries"), ("day", "days"), ("batch", "batches"), ("GB-hour", "GB-hours")],
)
def test_units_have_a_plural(noun: str, many: str) -> None:
    assert amounts.plural(noun) == many


@pytest.mark.parametrize(
    ("off", "text"),
    [
        (timedelta(0), "now"),
        (timedelta(days=-3), "now"),
        (timedelta(minutes=59), "within the hour"),
        (timedelta(hours=1), "in 1 hour"),
        (timedelta(hours=5), "in 5 hours"),
        (timedelta(hours=13), "tomorrow"),
        (timedelta(days=12), "in 12 days"),
        (timedelta(days=100), "in 3 months"),
    ],
)
def test_a_moment_is_told_by_how_far_off_it_is(off: timedelta, text: str) -> None:
    assert times.days_off(NOON + off, NOON) == text


def test_days_are_counted_in_the_readers_time_zone() -> None:
    late_in_auckland = NOON.astimezone(ZoneInfo("Pacific/Auckland"))
    assert times.days_off(NOON + timedelta(hours=10), NOON) == "in 10 hours"
    assert times.days_off(NOON + timedelta(hours=24), late_in_auckland) == "tomorrow"
    assert times.days_off(NOON + timedelta(hours=-1, days=1), late_in_auckland.replace(hour=1)) == "tomorrow"


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("1200", "EUR", "€1,200.00"),
        ("1200.5", "USD", "$1,200.50"),
        ("1200", "JPY", "¥1,200"),
        ("-3.5", "USD", "\N{MINUS SIGN}$3.50"),
        ("0", "USD", "$0.00"),
        ("1.5", "KWD", "KWD\N{NO-BREAK SPACE}1.500"),
        ("1200.5", "RSD", "RSD\N{NO-BREAK SPACE}1,200.50"),
        ("9.9", "AUD", "A$9.90"),
    ],
)
def test_money_has_its_sign_and_minor_units(amount: str, currency: str, text: str) -> None:
    assert amounts.money_text(Decimal(amount), currency) == text


@pytest.mark.parametrize(
    ("price", "text"), [("0.120000000", "$0.12"), ("0.0725", "$0.0725"), ("5", "$5.00"), ("0", "$0.00")]
)
def test_a_unit_price_keeps_all_its_digits(price: str, text: str) -> None:
    assert amounts.unit_price_text(Decimal(price), "USD") == text


def test_a_unit_price_may_be_less_than_the_smallest_coin() -> None:
    assert amounts.unit_price_text(Decimal("0.07"), "JPY") == "¥0.07"
    assert amounts.unit_price_text(Decimal("1000"), "JPY") == "¥1,000"


@pytest.mark.parametrize(
    ("days", "text"),
    [(None, "no expiry"), (1, "1 day"), (45, "45 days"), (180, "6 months"), (365, "1 year"), (730, "2 years")],
)
def test_validity_is_said_in_the_largest_unit_that_is_exact(days: int | None, text: str) -> None:
    assert times.validity_text(days) == text
