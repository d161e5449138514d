"""Serializer fields that take one spelling of a value and no other, and the serializers made of them."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.accounts import ids
from billing.accounts.text import find_hidden
from billing.catalog import periods
from billing.metering.events import MAX_SOURCE_LENGTH

_DECIMAL = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,12})?\Z", re.ASCII)
_INSTANT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})\Z",
    re.ASCII,
)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,18}\Z", re.ASCII)
MIN_YEAR, MAX_YEAR = 1970, 9998


class Strict(serializers.Serializer[Any]):
    """A serializer that refuses fields it does not know, so that a misspelt one is never silently ignored."""

    def to_internal_value(self, data: Any) -> Any:
        """As DRF's, after the names of the fields."""
        if isinstance(data, Mapping):
            unknown = [name for name in data if name not in self.fields or self.fields[name].read_only]
            if unknown:
                message = serializers.ErrorDetail("There is no such field.", code="unknown_field")
                raise serializers.ValidationError({str(name)[:100]: [message] for name in unknown[:10]})
        return super().to_internal_value(data)


class Document(serializers.Serializer[Any]):
    """What an answer looks like."""


class Text(serializers.CharField):
    """A JSON string; numbers and booleans are not taken for one. Outer blanks are removed, and what a text may not hide
    (`billing.accounts.text`) is refused; with `lines` it may have line breaks."""

    default_error_messages = {"hidden_character": "Remove line breaks and invisible characters."}

    def __init__(self, *, lines: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.lines = lines

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        text = super().to_internal_value(data)
        if find_hidden(text, lines=self.lines):
            self.fail("hidden_character")
        return text


class Reference(Text):
    """A caller's own id of an act: printable, and taken as it is, so outer blanks are refused rather than removed."""

    default_error_messages = {"unprintable": "Use printable characters, without blanks at either end."}

    def __init__(self, *, max_length: int = 150, required: bool = False, **options: Any) -> None:
        super().__init__(max_length=max_length, required=required, trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if text != text.strip() or not text.isprintable():
            self.fail("unprintable")
        return text


class EventSource(Text):
    """Which of the caller's systems gave an event's id: a URI reference, as CloudEvents have it, so without blanks."""

    default_error_messages = {"unprintable": "Use printable characters without blanks, such as a URI."}

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MAX_SOURCE_LENGTH, required=False, trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if " " in text or not text.isprintable():
            self.fail("unprintable")
        return text


class Email(serializers.EmailField):
    """An e-mail address."""

    default_error_messages = {"hidden_character": "Remove line breaks and invisible characters."}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        address = super().to_internal_value(data)
        if find_hidden(address):
            self.fail("hidden_character")
        return address


class Choice(serializers.ChoiceField):
    """One of a few strings."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or data not in self.choices:
            self.fail("invalid_choice", input=str(data)[:50])
        return data


class Flag(serializers.BooleanField):
    """JSON's true or false."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=str(data)[:50])
        return data


@extend_schema_field({"type": "integer"})
class Whole(serializers.IntegerField):
    """A whole number: a JSON integer, or ASCII digits in a query parameter."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, str) and _WHOLE.match(data):
            return int(data)
        if not isinstance(data, int) or isinstance(data, bool) or abs(data) >= 10**18:
            self.fail("invalid")
        return data


@extend_schema_field({"type": "string", "format": "decimal", "examples": ["12.5"]})
class Amount(serializers.Field[Decimal, Any, str, Any]):
    """Credits or a quantity: at most 18 digits before the point and 6 after; a price: 12 and 12.

    Taken as a string of ASCII digits (no exponent, no separators) or a JSON number of that size; written as a string
    without needless zeros.
    """

    default_error_messages = {
        "invalid": 'Write a decimal string with at most {digits} digits before the point and {decimals} after: "12.5".',
        "not_positive": "Must be more than zero.",
        "negative": "Must not be negative.",
    }

    def __init__(self, *, zero: bool = True, digits: int = 18, decimals: int = 6, **options: Any) -> None:
        super().__init__(**options)
        self.takes_zero, self.digits, self.decimals = zero, digits, decimals

    def to_internal_value(self, data: Any) -> Decimal:
        amount = read_decimal(data, digits=self.digits, decimals=self.decimals)
        if amount is None:
            self.fail("invalid", digits=self.digits, decimals=self.decimals)
        if amount < 0:
            self.fail("negative")
        if not amount and not self.takes_zero:
            self.fail("not_positive")
        return amount

    def to_representation(self, value: Decimal) -> str:
        return write_decimal(value)


def read_decimal(data: object, *, digits: int = 18, decimals: int = 6) -> Decimal | None:
    """A decimal of bounded size from a string or a JSON number; None for anything else."""
    if isinstance(data, str):
        if not _DECIMAL.match(data) or len(data.partition(".")[2]) > decimals:
            return None
    elif isinstance(data, bool) or not isinstance(data, int | Decimal):
        return None
    number = Decimal(data)
    if not number:
        return Decimal(0)
    # The very largest number of that many digits is where the columns' checks begin to refuse.
    if not number.is_finite() or number.adjusted() >= digits or number >= 10**digits - 1:
        return None
    text = write_decimal(number)
    return Decimal(text) if len(text.partition(".")[2]) <= decimals else None


def write_decimal(value: Decimal) -> str:
    """Plain digits, without exponent and needless zeros: `12.5`, `100`, `0`."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


@extend_schema_field(OpenApiTypes.DATETIME)
class Instant(serializers.Field[datetime, Any, str, Any]):
    """A moment: RFC 3339 with an offset, years 1970 to 9998. Digits below a microsecond are cut off."""

    default_error_messages = {
        "invalid": "Write an RFC 3339 time with an offset, e.g. 2026-03-01T12:00:00Z.",
        "out_of_range": f"The year must be {MIN_YEAR} to {MAX_YEAR}.",
    }

    def to_internal_value(self, data: Any) -> datetime:
        if not isinstance(data, str) or (match := _INSTANT.match(data)) is None:
            self.fail("invalid")
        if not MIN_YEAR <= int(match[1]) <= MAX_YEAR:
            self.fail("out_of_range")
        day, fraction, offset = data[:10], (match[7] or ".0")[:7], match[8].upper()
        try:
            moment = datetime.fromisoformat(f"{day}T{data[11:19]}{fraction.ljust(7, '0')}{offset}")
        except ValueError:
            self.fail("invalid")
        return moment.astimezone(UTC)

    def to_representation(self, value: datetime) -> str:
        return write_instant(value)


def write_instant(value: datetime) -> str:
    """RFC 3339 in UTC: `2026-03-01T12:00:00Z`, with microseconds only when there are any."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


@extend_schema_field(OpenApiTypes.DATE)
class Day(serializers.Field[date, Any, str, Any]):
    """A calendar day, `2026-03-01`."""

    default_error_messages = {
        "invalid": "Write a day as YYYY-MM-DD.",
        "out_of_range": f"The year must be {MIN_YEAR} to {MAX_YEAR}.",
    }

    def to_internal_value(self, data: Any) -> date:
        if not isinstance(data, str) or not _DAY.match(data):
            self.fail("invalid")
        try:
            day = date.fromisoformat(data)
        except ValueError:
            self.fail("invalid")
        if not MIN_YEAR <= day.year <= MAX_YEAR:
            self.fail("out_of_range")
        return day

    def to_representation(self, value: date) -> str:
        return value.isoformat()


class PublicId(serializers.Field[int, Any, str, Any]):
    """A public id of one kind (`grt_…`) for a primary key."""

    default_error_messages = {"invalid": "This is not an id of this kind."}

    def __init__(self, prefix: str, **options: Any) -> None:
        super().__init__(**options)
        self.prefix = prefix

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, str):
            self.fail("invalid")
        try:
            return ids.decode(self.prefix, data)
        except ids.InvalidId:
            self.fail("invalid")

    def to_representation(self, value: int) -> str:
        return ids.encode(self.prefix, value)


class Properties(serializers.DictField):
    """Named values of usage; what they may be is the metering room's to say."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("not_a_dict", input_type=type(data).__name__)
        return data


def check_range(
    attrs: dict[str, Any], *, first: str = "from", end: str = "to", most_days: int | None = None
) -> dict[str, Any]:
    """Of the query parameters that begin and end a half-open range, days or moments, refuse one that is upside down,
    too far away or too long."""
    since, until = attrs.get(first), attrs.get(end)
    if since is not None and until is not None and until < since:
        raise serializers.ValidationError({end: f"Must not be before `{first}`."}, code="range")
    days = [moment.date() if isinstance(moment, datetime) else moment for moment in (since, until)]
    try:
        # The last day of the range is the one before its end, so a range may be one day longer.
        periods.check_range(days[0], days[1], most_days=most_days and most_days + 1)
    except periods.RangeRefused as refusal:
        name = first if refusal.end == "first" and refusal.reason == "far" else end
        said = {
            "far": f"Must lie between {periods.EARLIEST} and {periods.LATEST}.",
            "long": f"At most {most_days} days after `{first}`.",
        }
        raise serializers.ValidationError({name: said[refusal.reason]}, code="range") from None
    return attrs


def as_field_error(error: DjangoValidationError) -> serializers.ValidationError:
    """Django's validation error as DRF's, fields kept."""
    return serializers.ValidationError(serializers.as_serializer_error(error))
