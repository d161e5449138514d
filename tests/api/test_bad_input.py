"""Bad values for every field of every POST and PATCH: always a problem document below 500, and nothing is written."""

import json
from typing import Any

import pytest

from billing.accounts.models import Member
from billing.ledger import pools
from tests.api.asking import Api, written
from tests.factories import NOW, give_credits, make_meter, make_rate_card

# Values as JSON text, for some of them json.dumps would not write.
NEVER = [
    "NaN", "Infinity", "-Infinity", "1e400", "-1e400", '"a\\u0000b"', '"\\ud800"', '"\\udc00\\ud800"', '"a\x00b"', "[]",
    "{}", "[[]]", '{"a": {"b": []}}', "[" * 3000 + "]" * 3000, '{"a": 1, "a": 2}', '"' + "x" * 20_000 + '"', "1" * 5000,
    "'x'", "undefined", "",
]  # fmt: skip
NUMBERLESS = [
    "-1", '"-1"', '"-0.000001"', '"1_000"', '"1,000"', '"1e3"', '"NaN"', '"Infinity"', '"-inf"', '"\\uff11\\uff12"',
    '"\\u0661"', '" 1"', '"1 "', '"+1"', '"0x1"', '".5"', '"5."', '""', '"1.0000001"', '"1000000000000000000"',
    "1000000000000000000", "1e18", "0.0000001", "1e-7", "true", "false",
]  # fmt: skip
BAD = {
    "text": [*NEVER, "5", "-1.5", "true", '""', '"   "'],
    "note": [*NEVER, "5", "-1.5", "true", "null"],
    "amount": [*NEVER, *NUMBERLESS, "null", '"1e400"'],
    "cap": [*NEVER, *NUMBERLESS],
    "whole": [*NEVER, "null", "1.5", '"1.5"', '"\\uff11"', "true", '"one"', "1e3", "100000000000"],
    "time": [
        *NEVER, "5", "true", '""', '"now"', '"2026-01-01"', '"2026-01-01T00:00:00"', '"2026-01-01 00:00:00Z"',
        '"2026-02-30T00:00:00Z"', '"2026-01-01T25:00:00Z"', '"9999-12-31T23:59:59Z"', '"1969-12-31T23:59:59Z"',
        '"0001-01-01T00:00:00+14:00"', '"2026-01-01T00:00:00+99:99"', '"\\uff12026-01-01T00:00:00Z"', "1767225600",
    ],
    "flag": [*NEVER, "0", "1", '"true"', '"yes"', "null"],
    "choice": [*NEVER, "5", "true", "null", '""', '"nothing"', '"BONUS"'],
    "id": [*NEVER, "5", "true", "null", '""', '"mem_0"', '"mem_-1"', f'"mem_{10**20}"', '"mem_\\uff11"', '"acc_1"'],
    "price": [*NEVER, "-1", '"1_000"', '"NaN"', '"\\uff11"', '"1e3"', "true", '""', "null", "1e12", "1e-13"],
    "email": [*NEVER, "5", "null", '""', '"nobody"', '"a@b@c"', '"a b@c.example"'],
    "list": [*[value for value in NEVER if value != "[[]]"], "5", "true", "null", '"x"', "[5]", "[null]", "[[[]]]"],
    "properties": [
        *[value for value in NEVER if value != "{}"], "5", "null", "true", '"x"', '{"a": []}', '{"": 1}', '{"a": NaN}',
        '{"a": 1e400}', '{"a\\u0000": 1}', '{"a": "\\ud800"}', '{"a": {"b": {}}}',
    ],
}  # fmt: skip
# An event may leave these out by saying null; an id is taken as it is, blanks too.
BAD["event_id"] = [*NEVER, "5", "true", "null", '""', '"\\n"']
BAD["event_member"] = [value for value in BAD["id"] if value != "null"]
BAD["event_properties"] = [value for value in BAD["properties"] if value != "null"]
GRANT = {"amount": "5", "kind": "bonus"}
ACCOUNT = {"external_id": "new", "name": "New", "billing_email": "n@new.example", "country": "DE"}
HOLD = {"account": "acme", "amount": "5"}
CHARGE = {"id": "c", "account": "acme", "meter": "tokens"}
EVENT = {"id": "e", "account": "acme", "meter": "tokens"}
TRANSFER = {"account": "acme", "from_pool": "main", "to_pool": "team", "amount": "1"}
ENDPOINTS: list[tuple[str, str, dict[str, Any], dict[str, str]]] = [
    ("POST", "/accounts", ACCOUNT, {
        "external_id": "text", "name": "text", "billing_email": "email", "country": "text", "currency": "text",
        "time_zone": "text", "tax_number": "note", "segment_override": "note", "policy": "choice",
        "burst_limit": "amount", "overage_cap": "cap",
    }),
    ("PATCH", "/accounts/acme", {}, {
        "name": "text", "billing_email": "email", "country": "text", "time_zone": "text", "tax_number": "note",
        "segment_override": "note", "external_id": "text",
    }),
    ("POST", "/accounts/acme/pools", {"key": "new", "name": "New"}, {
        "key": "text", "name": "text", "policy": "choice", "burst_limit": "amount", "overage_cap": "cap",
    }),
    ("PATCH", "/accounts/acme/pools/team", {}, {
        "policy": "choice", "burst_limit": "amount", "overage_cap": "cap", "low_balance_below": "cap",
    }),
    ("PATCH", "/accounts/acme/members/{member}", {}, {"spend_limit": "cap"}),
    ("POST", "/accounts/acme/invitations", {"email": "c@example.com", "role": "admin"}, {
        "email": "email", "role": "choice",
    }),
    ("POST", "/transfers", TRANSFER, {
        "account": "text", "from_pool": "text", "to_pool": "text", "amount": "amount", "note": "note",
        "reference": "text",
    }),
    ("POST", "/accounts/acme/grants", GRANT, {
        "amount": "amount", "kind": "choice", "pool": "text", "priority": "whole", "effective_at": "time",
        "expires_at": "time", "cost_basis": "price", "currency": "text", "meter": "text", "note": "note",
        "reference": "text",
    }),
    ("POST", "/grants/{grant}/revoke", {}, {"amount": "amount", "note": "note", "reference": "text"}),
    ("POST", "/postings/{spend}/reverse", {}, {"note": "note"}),
    ("POST", "/holds", HOLD, {
        "account": "text", "amount": "amount", "pool": "text", "meter": "text", "member": "id",
        "expires_in_seconds": "whole", "note": "note", "reference": "text",
    }),
    ("POST", "/holds/{hold}/capture", {"amount": "1"}, {
        "amount": "amount", "final": "flag", "note": "note", "reference": "text",
    }),
    ("POST", "/holds/{hold}/release", {}, {"note": "note"}),
    ("POST", "/holds/{hold}/extend", {"expires_in_seconds": 60}, {"expires_in_seconds": "whole"}),
    ("POST", "/charges", CHARGE, {
        "id": "text", "account": "text", "meter": "text", "quantity": "amount", "properties": "properties",
        "pool": "text", "member": "id", "occurred_at": "time", "note": "note",
    }),
    ("POST", "/charges", {"id": "c", "account": "acme"}, {"credits": "amount"}),
    ("POST", "/events", EVENT, {
        "id": "event_id", "account": "text", "meter": "text", "quantity": "amount", "properties": "event_properties",
        "pool": "text", "member": "event_member", "occurred_at": "time",
    }),
    ("POST", "/events/nothing/reverse", {"account": "acme"}, {"account": "text", "reason": "note"}),
    ("POST", "/checks", {"accounts": ["acme"], "lines": [{"meter": "tokens"}]}, {
        "accounts": "list", "lines": "list", "pool": "text", "member": "id",
    }),
    ("POST", "/estimates", {"account": "acme", "lines": [{"meter": "tokens"}]}, {
        "account": "text", "lines": "list", "occurred_at": "time",
    }),
]  # fmt: skip
FIELDS = [
    (method, path, body, field, kind) for method, path, body, fields in ENDPOINTS for field, kind in fields.items()
]
BODIES = [
    b"", b" ", b"null", b"5", b'"x"', b"[]", b"[1]", b"NaN", b"{", b"{}x", b'{"a": 1, "a": 1}', b"\xff\xfe", b"\x00",
    b'{"\\u0000": 1}', b'{"\\ud800": 1}', b"[" * 3000 + b"]" * 3000, b'{"a":' * 3000 + b"1" + b"}" * 3000,
    b"[" * 100_000,
    b'{"a": "' + b"x" * 10_000_000 + b'"}', b" " * 10_000_000, b'{"no_such_field": 1}', b"\xef\xbb\xbf{}",
    b'{"a": ' + b"9" * 100_000 + b"}",
]  # fmt: skip


@pytest.fixture
def world(acme, platform) -> dict[str, str]:
    """Something of everything, to be left alone; the ids that paths need."""
    pools.open_pool(account=acme, key="team", name="Team", now=NOW)
    make_rate_card({make_meter("tokens"): "0.001"})
    given = give_credits(acme, "100")
    spent = platform.post("/charges", {"id": "s", "account": "acme", "credits": "1"}).json()
    hold = platform.post("/holds", HOLD).json()
    return {
        "grant": f"grt_{given.entries.get().grant_id}",
        "spend": spent["posting"],
        "hold": hold["id"],
        "member": f"mem_{Member.objects.filter(account=acme).latest('pk').pk}",
    }


def left_alone() -> dict[str, Any]:
    """What no bad request may change: all but the events that are kept because they were rejected."""
    state = written()
    del state["RejectedEvent"]
    return state


def assert_refused(api: Api, method: str, path: str, body: bytes) -> None:
    response = api.send(method, path, body)
    shown = body[:80]
    assert 400 <= response.status_code < 500, (shown, response.status_code, response.content[:300])
    assert response["Content-Type"] == "application/problem+json", shown
    assert response.json()["code"], shown


@pytest.mark.parametrize(("method", "path", "body", "field", "kind"), FIELDS)
def test_a_bad_value_is_refused_and_nothing_written(platform, world, method, path, body, field, kind):
    path = path.format(**world)
    before = left_alone()
    for value in BAD[kind]:
        rest = json.dumps({name: given for name, given in body.items() if name != field})[1:-1]
        raw = f'{{"{field}": {value}{"," if rest else ""} {rest}}}'
        assert_refused(platform, method, path, raw.encode())
    assert left_alone() == before


@pytest.mark.parametrize(("method", "path"), sorted({(method, path) for method, path, _, _ in ENDPOINTS}))
def test_a_bad_body_is_refused_and_nothing_written(platform, world, method, path):
    path = path.format(**world)
    before = left_alone()
    takes_nothing = path.endswith(("/release", "/reverse", "/revoke")) or method == "PATCH"
    for body in BODIES:
        if not body and takes_nothing:
            continue  # An empty body is an empty request there.
        if path == "/events" and body == b"[1]":
            continue  # A batch, with a result per event.
        assert_refused(platform, method, path, body)
    assert left_alone() == before


def test_bad_events_do_not_keep_a_good_one_from_counting(platform, world):
    """One after the other, each bad value stands in a batch beside a good event."""
    for number, value in enumerate(["-1", '"1_000"', '"NaN"', "null", "[]", '"1e400"', '"\\uff11"', "true", "1e18"]):
        good = {**EVENT, "id": f"good-{number}"}
        raw = (
            f'[{{"id": "bad-{number}", "account": "acme", "meter": "tokens", "quantity": {value}}}, {json.dumps(good)}]'
        )
        answer = platform.send("POST", "/events", raw.encode()).json()
        assert [result["status"] for result in answer["results"]] == ["rejected", "accepted"], value
