"""Bad values for every field of every operation that takes a body, as the schema lists them, and bad bodies: always a
problem document that says what is wrong, and nothing is written. What no JSON may have is refused by the parser,
whichever field has it; `test_parsing` goes into that.
"""

import json
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import pytest

from tests.api.asking import everything
from tests.api.operations import Operation, judge

# Values as JSON text. One of each type; of those, a field is not given what it takes.
OF_TYPE = {
    "null": "null", "boolean": "true", "integer": "5", "number": "-1.5", "string": '"x"', "array": "[]",
    "object": '{"a": {"b": []}}',
}  # fmt: skip
HUGE, LONG = "9" * 300, f'"{"x" * 20_000}"'
# Of the right type, and yet no such value.
OF_KIND = {
    "decimal": [HUGE, LONG, '""', '"-1"', '"1_000"', '"1,000"', '"1e3"', '"NaN"', '"\\uff11"', "1e18", "1e-13"],
    "integer": [HUGE, LONG, '"1.5"', '"\\uff11"', "1e3", "-100000000000"],
    "boolean": ["0", '"true"'],
    "date-time": [
        LONG, '""', '"2026-01-01"', '"2026-01-01T00:00:00"', '"2026-02-30T00:00:00Z"', '"9999-12-31T23:59:59Z"',
        '"2026-01-01T00:00:00+99:99"',
    ],
    "choice": [LONG, '""', '"nothing"', '"BONUS"'],
    "id": [LONG, '""', '"{}_0"', '"{}_-1"', '"{}_100000000000000000000"', '"{}_\\uff11"', '"xyz_1"'],
    "email": [LONG, '""', '"nobody"', '"a b@c.example"'],
    "uri": [LONG, '""', '"javascript:alert(1)"', '"/back"'],
    "array": ["[]", "[5]", "[null]", "[[[]]]", '["a", 1]'],
    "object": [LONG],
    "text": [LONG, HUGE, '""', '"   "'],
}  # fmt: skip
# These may be empty.
NOTES = {"note", "reason", "source", "tax_number", "segment_override", "region", "postal_code", "address"}
MALFORMED, INVALID = (400, "malformed_json"), (400, "invalid_request")
# Each with what is answered.
BODIES = {
    b"{": MALFORMED, b"\xff\xfe": MALFORMED, b"[" * 3000: MALFORMED, b'{"a": 1, "a": 1}': MALFORMED,
    b'{"note": NaN}': MALFORMED, b'{"note": 1e400}': MALFORMED, b'{"note": "a\\u0000b"}': MALFORMED,
    b'{"note": "\\ud800"}': MALFORMED, b"null": INVALID, b"5": INVALID, b'"x"': INVALID, b"[]": INVALID,
    b"[1]": INVALID, b'{"no_such_field": 1}': INVALID, b" " * 5001: (413, "payload_too_large"),
}  # fmt: skip
# A list is a batch, with a result for each event; of a lone event it is said what is wrong with it.
OTHERWISE = {("report_events", b"[1]"): (200, ""), ("report_events", b'{"no_such_field": 1}'): (422, "unknown_field")}
# Any JSON is an event to the schema; what an event has is not said there.
EVENT: dict[str, dict[str, Any]] = {
    "id": {"type": "string"}, "account": {"type": "string"}, "meter": {"type": "string"},
    "quantity": {"type": "string", "format": "decimal"}, "pool": {"type": ["string", "null"]},
    "member": {"type": ["string", "null"], "pattern": "^mem_[1-9]"}, "properties": {"type": ["object", "null"]},
    "occurred_at": {"type": ["string", "null"], "format": "date-time"},
}  # fmt: skip


def types_of(field: Mapping[str, Any]) -> set[str]:
    """The types that the schema allows a field."""
    return {field["type"]} if isinstance(field["type"], str) else set(field["type"])


def bad_values(name: str, field: Mapping[str, Any]) -> list[str]:
    """What a field must not be given."""
    taken = types_of(field)
    pattern = field.get("pattern", "")
    (kind,) = taken - {"null"}
    kind = field.get("format", "text" if kind == "string" else kind)
    if "enum" in field:
        kind = "choice"
    elif "_[1-9]" in pattern:
        kind = "id"
    elif kind == "decimal":
        taken = taken - {"string"} | {"integer"}
    of_kind = OF_KIND["text"][:2] if name in NOTES else OF_KIND[kind]
    values = [value for type_, value in OF_TYPE.items() if type_ not in taken] + of_kind
    return [value.replace("{}", pattern.removeprefix("^").partition("_")[0]) for value in values]


def fields_refused(answer: Any) -> set[str]:
    """The fields that a problem document finds invalid, of nested ones the first name."""
    if answer["Content-Type"] != "application/problem+json" or judge(answer) != (400, "invalid_request"):
        return set()
    return {error["field"].partition(".")[0] for error in answer.json()["errors"]}


def written_out(body: Mapping[str, Any], **values: str) -> bytes:
    """A body as JSON, with these values, which are JSON already, in place of its own."""
    fields = {name: json.dumps(value) for name, value in body.items()} | values
    return ("{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}").encode()


@pytest.fixture
def writing(every_operation: list[Operation]) -> list[Operation]:
    """The operations that take a body."""
    found = [operation for operation in every_operation if operation.takes_body]
    assert len(found) > 40
    return found


def test_every_bad_value_of_every_field_is_refused_and_nothing_written(writing, hers, platform):
    before = everything()
    count, taken = 0, []

    def ask(operation: Operation, values: Mapping[str, str]) -> Any:
        """The answer to a body that is right but for these values."""
        body = written_out(operation.body(hers), **values)
        return platform.send(operation.method, operation.address(hers), body)

    for operation in writing:
        bad = {name: bad_values(name, field) for name, field in operation.fields.items()}
        for row in zip_longest(*bad.values()):
            # Of each field its next value, all in one body; a field that goes unmentioned there is tried by itself.
            values = {name: value for name, value in zip(bad, row, strict=True) if value is not None}
            count += len(values)
            for name in values.keys() - fields_refused(ask(operation, values)):
                answer = ask(operation, {name: values[name]})
                if name not in fields_refused(answer):
                    taken.append((operation.name, name, values[name][:50], answer.status_code, answer.content[:200]))
    assert taken == []
    assert count > 1_500
    assert everything() == before


def test_every_bad_body_is_refused_and_nothing_written(writing, hers, platform, settings):
    settings.FLORIN_MAX_BODY_BYTES = 5000
    before = everything()
    odd = []
    for operation in writing:
        for body, expected in BODIES.items():
            answer = platform.send(operation.method, operation.address(hers), body)
            if judge(answer) != OTHERWISE.get((operation.name, body), expected):
                odd.append((operation.name, body[:50], answer.status_code, answer.content[:200]))
    assert odd == []
    assert everything() == before


def test_where_something_must_be_said_an_empty_body_is_refused(writing, hers, platform):
    saying = [operation for operation in writing if operation.needs_body]
    before = everything()
    found = {
        (operation.name, body): judge(platform.send(operation.method, operation.address(hers), body))
        for operation in saying
        for body in (b"", b"{}")
    }
    assert found == dict.fromkeys(found, INVALID)
    assert len(saying) > 15
    assert everything() == before


def test_every_bad_event_is_refused_and_a_good_one_beside_it_counts(hers, platform):
    before = everything()
    good = {"id": "good", "account": "acme", "meter": "tokens", "quantity": 1}
    bad = [
        written_out(good, **{name: value})
        for name, field in EVENT.items()
        for value in bad_values(name, field)
        if (name, value) != ("id", '"   "')
    ]
    answers = {event[:120]: platform.send("POST", "/events", event) for event in bad}
    assert {event: answer.content for event, answer in answers.items() if answer.status_code not in (400, 422)} == {}
    assert everything() == before
    batch = b", ".join([*bad, written_out(good)])
    results = platform.send("POST", "/events", b"[" + batch + b"]").json()["results"]
    assert [result["status"] for result in results] == ["rejected"] * len(bad) + ["accepted"]
    assert len(bad) > 60
