import io
import time
from decimal import Decimal

import pytest

from billing.api.errors import Problem
from billing.api.fields import read_decimal, write_decimal
from billing.api.parsing import StrictJSONParser, parse_json

READ = {
    b'{"a": [1, -2.50, 1e2, true, null, "x"]}': {"a": [1, Decimal("-2.50"), Decimal("1E+2"), True, None, "x"]},
    b' "\\ud83d\\ude00" ': "\N{GRINNING FACE}",
    b'"\\\\u0000"': "\\u0000",
    '"ü"'.encode(): "ü",
    b"-0.0": Decimal(0),
}
REFUSED = [
    b"", b" ", b"\x00", b"{", b"{}x", b"{} {}", b"{'a': 1}", b"[1,]", b"01", b"+1", b".5", b"NaN", b"[Infinity]",
    b'{"a": -Infinity}', b'{"a": 1, "a": 1}', b'{"x": {"a": 1, "\\u0061": 2}}', b'"\\u0000"', b'{"\\u0000": 1}',
    b'"\\ud800"', b'{"\\ud800": 1}', b'["\\udfff\\ud800"]', b'"\x00"', b'"\n"', b'"\xff"', b'"\xed\xa0\x80"',
    '"x"'.encode("utf-16"), b"\xef\xbb\xbf{}", b"1e400", b"-1e400", b"1e-400", b"1e99999999999999999999", b"1" * 400,
    b"0." + b"1" * 400, b'{"a": ' + b"9" * 100_000 + b"}", b"[" * 33 + b"]" * 33, b'{"a":' * 33 + b"1" + b"}" * 33,
    b"[" * 3000 + b"]" * 3000, b'{"a":' * 3000 + b"1" + b"}" * 3000, b"[" * 3000, b'{"a":' * 3000, b"[" * 1_000_000,
]  # fmt: skip
DECIMALS = [
    ("0", "0"), ("-0", "0"), ("12.50", "12.5"), ("000", "0"), (7, "7"), (Decimal("0.000001"), "0.000001"),
    (Decimal("1E+3"), "1000"), (Decimal("1.0000000"), "1"),
    ("999999999999999998.999999", "999999999999999998.999999"),
]  # fmt: skip
NO_DECIMALS = [
    "", " 1", "1 ", "+1", "--1", "1.", ".1", "1e3", "1E3", "1_000", "1,000", "\uff11", "\u0661", "NaN", "Infinity",
    "0x10", "1\n", "1.0000000", "1" * 19, 10**18, 10**18 - 1, Decimal("1E+400"), Decimal("1E-7"), Decimal("NaN"),
    Decimal("Infinity"), Decimal("1." + "0" * 40 + "1"), True, None, [], {}, 1.5, b"1",
]  # fmt: skip


def code_of(body: bytes) -> str:
    """The code with which a document is refused; empty if it is read."""
    try:
        parse_json(body)
    except Problem as problem:
        return problem.code
    return ""


def test_what_json_allows_is_read_exactly():
    assert {body: parse_json(body) for body in READ} == READ
    assert code_of(b"[" * 32 + b"]" * 32) == ""


def test_what_cannot_be_trusted_is_refused():
    assert [body[:80] for body in REFUSED if code_of(body) != "malformed_json"] == []


@pytest.mark.parametrize("body", [b"1" * 100_000, b"-" + b"9" * 5_000_000, b"1." + b"0" * 5_000_000, b'"' * 5_000_000])
def test_huge_tokens_do_not_take_long(body):
    began = time.monotonic()
    with pytest.raises(Problem):
        parse_json(body)
    assert time.monotonic() - began < 1


def test_a_decimal_is_read_exactly():
    assert [(data, write_decimal(read_decimal(data))) for data, _ in DECIMALS] == DECIMALS


def test_what_is_no_plain_decimal_is_not_read():
    assert [data for data in NO_DECIMALS if read_decimal(data) is not None] == []


def test_a_stream_is_read_no_further_than_the_limit(settings):
    settings.FLORIN_MAX_BODY_BYTES = 10
    stream = io.BytesIO(b"[" + b" " * 100 + b"]")
    with pytest.raises(Problem) as refusal:
        StrictJSONParser().parse(stream)
    assert refusal.value.code == "payload_too_large"
    assert stream.tell() == 11
