"""Each field of an event as it came: what is read, and what is refused with which code."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.metering.events import InvalidEvent, fingerprint, read_event
from tests.metering.makers import NOW, event

AHEAD, AGE = timedelta(minutes=5), timedelta(days=35)


def read(raw):
    return read_event(raw, now=NOW, max_ahead=AHEAD, max_age=AGE)


def fault(raw):
    with pytest.raises(InvalidEvent) as refused:
        read(raw)
    return refused.value.code, refused.value.field


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, "5"), (0, "0"), ("5", "5"), ("0.000001", "0.000001"), (Decimal("1.50"), "1.50"), (Decimal("1E+3"), "1000"),
     ("007", "7"), (10**18 - 1, str(10**18 - 1)), ("999999999999999999.999999", "999999999999999999.999999")],
)  # fmt: skip
def test_a_quantity_may_be_a_number_or_a_decimal_text(value, expected):
    assert read(event(value)).quantity == Decimal(expected)


@pytest.mark.parametrize(
    "value",
    [-1, "-1", "+1", True, None, "", " 1", "1 ", "1e3", "1_000", "1,000", ".5", "5.", "0x1", "NaN", "Infinity",
     "\uff11",     "٣", "²", "1\n", 10**18, "1" * 19, "0.0000001", Decimal("NaN"), Decimal("Infinity"), Decimal("-0.1"),
     Decimal("1E+400"), Decimal("1E-7"), 1.5, [], {}],
)  # fmt: skip
def test_anything_else_is_no_quantity(value):
    assert fault(event(value)) == ("invalid_quantity", "quantity")


def test_without_a_quantity_an_event_counts_one():
    raw = event()
    del raw["quantity"]
    assert read(raw).quantity == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [("2026-03-10T12:00:00Z", NOW), ("2026-03-10t12:00:00z", NOW), ("2026-03-10 14:00:00+02:00", NOW),
     ("2026-03-10T12:00:00.123456789Z", NOW + timedelta(microseconds=123456)),
     ("2026-03-10T12:05:00Z", NOW + AHEAD), ("2026-02-03T12:00:00Z", NOW - AGE),
     ("2026-03-09T12:00:01-23:59", datetime(2026, 3, 10, 11, 59, 1, tzinfo=UTC))],
)  # fmt: skip
def test_a_time_has_an_offset(value, expected):
    assert read(event(at=None, occurred_at=value)).stated_at == expected


@pytest.mark.parametrize(
    ("value", "code"),
    [("2026-03-10T12:00:00", "invalid_time"), ("2026-03-10", "invalid_time"), ("yesterday", "invalid_time"),
     (1773144000, "invalid_time"), ("2026-02-30T12:00:00Z", "invalid_time"),
     ("2026-03-10T12:00:60Z", "invalid_time"), ("\uff12026-03-10T12:00:00Z", "invalid_time"),
     ("2026-03-10T12:00:00Z\n", "invalid_time"), ("2026-03-10T12:00:00+99:00", "invalid_time"),
     ("9999-12-31T23:59:59-23:59", "invalid_time"), ("0001-01-01T00:00:00+23:59", "invalid_time"),
     ("9999-12-31T23:59:59Z", "time_ahead"), ("2026-03-10T12:05:00.000001Z", "time_ahead"),
     ("2026-02-03T11:59:59Z", "time_too_old"), ("0001-01-01T00:00:00Z", "time_too_old")],
)  # fmt: skip
def test_a_time_that_is_none_or_out_of_the_window_is_refused(value, code):
    assert fault(event(at=None, occurred_at=value)) == (code, "occurred_at")


@pytest.mark.parametrize("field", ["id", "meter", "account", "pool", "member"])
@pytest.mark.parametrize("value", ["", 5, True, [], {}, "a\x00b", "a\nb", "\ud800", "x" * 201, "\u200b"])
def test_names_are_printable_texts_of_bounded_length(field, value):
    assert fault({**event(), field: value}) == ("invalid_field", field)


@pytest.mark.parametrize("field", ["id", "meter"])
def test_id_and_meter_are_required(field):
    raw = event()
    del raw[field]
    assert fault(raw) == ("missing_field", field)


@pytest.mark.parametrize("raw", [None, 5, "x", [], [{}], True])
def test_an_event_is_an_object(raw):
    assert fault(raw) == ("invalid_event", "")


def test_unknown_fields_are_refused_by_name():
    assert fault({**event(), "qty": 5}) == ("unknown_field", "qty")
    assert fault({**event(), "x" * 100: 5}) == ("unknown_field", "x" * 60)


@pytest.mark.parametrize(
    "value",
    [[], "x", 5, {"": 1}, {"x" * 61: 1}, {"a": []}, {"a": {}}, {"a": "x" * 501}, {"a": 10**30}, {"a": 1.5},
     {"a": Decimal("NaN")}, {"a": Decimal("1E+30")}, {"a": Decimal("1E-31")}, {"a": Decimal("0." + "1" * 31)},
     {"a": "\x00"}, {"\x00": 1}, {"a": "\ud800"}, {"\udfff": 1}, {str(n): n for n in range(51)}],
)  # fmt: skip
def test_properties_are_a_flat_bounded_object(value):
    assert fault({**event(), "properties": value}) == ("invalid_properties", "properties")


def test_a_text_that_only_looks_like_an_escape_is_fine():
    assert read({**event(), "properties": {"a": "\\u0000"}}).properties == {"a": "\\u0000"}


CLOUD = {"specversion": "1.0", "id": "a", "source": "/x", "type": "tokens", "subject": "acme"}


def test_a_cloud_event_says_the_same_as_a_flat_one():
    data = {"quantity": 2, "properties": {"a": 1}, "pool": "team", "member": "mem_1"}
    cloud = {**CLOUD, "time": "2026-03-10T12:00:00Z", "datacontenttype": "application/json", "data": data}
    flat = event(2, id="a", source="/x", properties={"a": 1}, pool="team", member="mem_1")
    assert read(cloud) == read(flat)
    assert read({**CLOUD, "data": None}).quantity == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"specversion": "0.3"}, ("invalid_event", "specversion")), ({"data": []}, ("invalid_event", "data")),
     ({"data": {"qty": 1}}, ("unknown_field", "data")), ({"type": 5}, ("invalid_field", "meter")),
     ({"subject": ""}, ("invalid_field", "account")), ({"id": None}, ("missing_field", "id")),
     ({"source": None}, ("missing_field", "source")), ({"source": ""}, ("invalid_field", "source")),
     ({"source": "a b"}, ("invalid_field", "source"))],
)  # fmt: skip
def test_a_faulty_cloud_event_says_where(changes, expected):
    assert fault({**CLOUD, **changes}) == expected


def test_the_fingerprint_knows_every_part_of_the_body_but_the_account():
    base = event(1, id="a")
    bodies = [base, {**base, "quantity": 2}, {**base, "meter": "m"}, {**base, "properties": {"a": 1}},
              {**base, "properties": {"a": "1"}}, {**base, "pool": "p"}, {**base, "member": "p"},
              {**base, "occurred_at": "2026-03-10T11:00:00Z"}, event(1, id="a", at=None)]  # fmt: skip
    assert len({read(body).fingerprint for body in bodies}) == len(bodies)
    assert read({**base, "account": "other"}).fingerprint == read(base).fingerprint
    assert fingerprint(read(base), "charge") != read(base).fingerprint
