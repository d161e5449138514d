"""Reading usage as it came in: the flat JSON form and CloudEvents 1.0, checked field by field. No I/O.

What is wrong is told as `InvalidEvent(code, field, detail)`; the codes are part of the API.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b

import msgspec

MAX_SOURCE_LENGTH = 200
MAX_PROPERTIES = 50
MAX_PROPERTY_LENGTH = 500

_NUMBER = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,6})?\Z", re.ASCII)
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})\Z",
    re.ASCII,
)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_NUL_ESCAPE = "\\u0000"
_FLAT_FIELDS = frozenset(
    ("id", "source", "account", "meter", "quantity", "properties", "occurred_at", "pool", "member")
)
_DATA_FIELDS = frozenset(("quantity", "properties", "pool", "member"))
_ENCODER = msgspec.json.Encoder(decimal_format="number", order="sorted")


class InvalidEvent(Exception):
    """One field of an event, or the event as a whole, cannot be taken."""

    def __init__(self, code: str, detail: str, field: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field


@dataclass(slots=True)
class Usage:
    """One event as reported, well-formed but not yet looked up. `stated_at` is None when no time was given; `account`,
    `pool`, `member` and `source` are empty when absent."""

    id: str
    account: str
    meter: str
    quantity: Decimal
    properties: dict[str, object]
    encoded_properties: str
    stated_at: datetime | None
    pool: str
    member: str
    source: str = ""
    fingerprint: bytes = field(default=b"")


def read_event(raw: object, *, now: datetime, max_ahead: timedelta, max_age: timedelta) -> Usage:
    """Check one event in either form. Raises InvalidEvent."""
    if type(raw) is not dict:
        raise InvalidEvent("invalid_event", "An event must be a JSON object.")
    flat = _flatten(raw) if "specversion" in raw else raw
    if not _FLAT_FIELDS.issuperset(flat):
        unknown = next(name for name in flat if name not in _FLAT_FIELDS)
        raise InvalidEvent("unknown_field", f"Unknown field {str(unknown)[:60]!r}.", str(unknown)[:60])
    stated_at = flat.get("occurred_at")
    usage = Usage(
        _text(flat, "id", 200),
        _text(flat, "account", 110, optional=True),
        _text(flat, "meter", 60),
        read_quantity(flat["quantity"]) if "quantity" in flat else _ONE,
        *read_properties(flat.get("properties")),
        None if stated_at is None else read_time(stated_at, now=now, max_ahead=max_ahead, max_age=max_age),
        _text(flat, "pool", 70, optional=True),
        _text(flat, "member", 70, optional=True),
        _source(flat) if "source" in flat else "",
    )
    usage.fingerprint = fingerprint(usage, "event")
    return usage


_ONE = Decimal(1)


def fingerprint(usage: Usage, kind: str) -> bytes:
    """16 bytes that tell a repeat (same body) from a conflict (other body under the same id)."""
    stated_at = usage.stated_at.timestamp() if usage.stated_at else ""
    body = (
        f"{kind}\x1f{usage.meter}\x1f{usage.quantity.normalize():f}\x1f{stated_at}\x1f{usage.pool}\x1f{usage.member}"
        f"\x1f{usage.encoded_properties}"
    )
    return blake2b(body.encode(), digest_size=16).digest()


def _flatten(raw: Mapping[str, object]) -> dict[str, object]:
    """A CloudEvent as the flat form: type is the meter, subject the account, data the rest. Ids are unique per source,
    so it must name one."""
    if raw["specversion"] != "1.0":
        raise InvalidEvent("invalid_event", "Only CloudEvents 1.0 is read.", "specversion")
    data = raw.get("data")
    data = {} if data is None else data
    if type(data) is not dict:
        raise InvalidEvent("invalid_event", "The data of a usage event must be a JSON object.", "data")
    if not _DATA_FIELDS.issuperset(data):
        unknown = next(name for name in data if name not in _DATA_FIELDS)
        raise InvalidEvent("unknown_field", f"Unknown field {str(unknown)[:60]!r} in data.", "data")
    if raw.get("source") is None:
        raise InvalidEvent("missing_field", "A CloudEvent names its source: ids are unique per source.", "source")
    names = {"id": "id", "source": "source", "type": "meter", "subject": "account", "time": "occurred_at"}
    flat = {ours: raw[theirs] for theirs, ours in names.items() if theirs in raw}
    return {**data, **flat}


def _text(flat: Mapping[str, object], name: str, longest: int, *, optional: bool = False) -> str:
    value = flat.get(name)
    if value is None:
        if optional:
            return ""
        raise InvalidEvent("missing_field", f"The field {name!r} is required.", name)
    if type(value) is not str or not 0 < len(value) <= longest or not value.isprintable():
        raise InvalidEvent("invalid_field", f"{name!r} must be a printable text of 1 to {longest} characters.", name)
    return value


def _source(flat: Mapping[str, object]) -> str:
    """Who gave the id. A URI reference has no blanks, which keeps a source and an id apart where they stand in one
    text (see `reference`)."""
    source = _text(flat, "source", MAX_SOURCE_LENGTH, optional=True)
    if " " in source:
        raise InvalidEvent("invalid_field", "'source' is a URI reference: it has no blanks.", "source")
    return source


def reference(act: str, source: str, event_id: str) -> str:
    """Names the posting that an act on an event makes; the same for no two events of an account."""
    return f"{act}@{source} {event_id}" if source else f"{act}:{event_id}"


def read_quantity(value: object) -> Decimal:
    """A quantity, level or amount: a JSON number or decimal string, zero or more, at most 18 digits before the point
    and 6 after. Raises InvalidEvent."""
    if isinstance(value, int):
        if type(value) is not bool and 0 <= value < 10**18:
            return Decimal(value)
    elif isinstance(value, str):
        if _NUMBER.match(value):
            return Decimal(value)
    elif (
        isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) < 30 and _NUMBER.match(f"{value:f}")
    ):
        return value
    raise InvalidEvent(
        "invalid_quantity",
        "A quantity is zero or more, with at most 18 digits before the point and 6 after.",
        "quantity",
    )


def read_properties(value: object) -> tuple[dict[str, object], str]:
    """Properties and their canonical JSON: at most 50 entries, values texts, numbers, booleans or null."""
    if value is None or value == {}:
        return {}, "{}"
    if type(value) is not dict or len(value) > MAX_PROPERTIES:
        raise InvalidEvent("invalid_properties", f"Properties are an object of up to {MAX_PROPERTIES}.", "properties")
    for name, item in value.items():
        if not 0 < len(name) <= 60:
            raise InvalidEvent("invalid_properties", "A property's name has 1 to 60 characters.", "properties")
        if type(item) is str:
            fits = len(item) <= MAX_PROPERTY_LENGTH
        elif type(item) is Decimal:
            fits = item.is_finite() and -30 < item.adjusted() < 30 and len(item.as_tuple().digits) <= 30
        elif type(item) is int:
            fits = -(10**30) < item < 10**30
        else:
            fits = item is None or type(item) is bool
        if not fits:
            raise InvalidEvent(
                "invalid_properties",
                f"Property {name!r} must be a short text, a number, a boolean or null.",
                "properties",
            )
    try:
        encoded = _ENCODER.encode(value).decode()
    except UnicodeEncodeError:
        encoded = _NUL_ESCAPE
    if _NUL_ESCAPE in encoded and any(_UNSTORABLE.search(text) for text in _texts(value)):
        raise InvalidEvent("invalid_properties", "A property has a character that cannot be stored.", "properties")
    return value, encoded


def _texts(properties: Mapping[str, object]) -> Iterator[str]:
    yield from properties
    yield from (value for value in properties.values() if isinstance(value, str))


def read_time(value: object, *, now: datetime, max_ahead: timedelta, max_age: timedelta) -> datetime:
    """An RFC 3339 time with offset, as UTC, within the allowed window around `now`. Raises InvalidEvent."""
    if type(value) is not str or not _TIME.match(value):
        raise InvalidEvent(
            "invalid_time", "A time is RFC 3339 with an offset, e.g. 2026-05-01T12:00:00Z.", "occurred_at"
        )
    try:
        at = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidEvent("invalid_time", "There is no such time.", "occurred_at") from error
    if at > now + max_ahead:
        raise InvalidEvent("time_ahead", "The time lies too far ahead of ours.", "occurred_at")
    if at < now - max_age:
        raise InvalidEvent(
            "time_too_old", "The event is older than what is taken here; import it instead.", "occurred_at"
        )
    return at
