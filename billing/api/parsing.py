"""Reading JSON bodies strictly: what passes here is a bounded tree of dicts, lists, strings, ints, Decimals and bools.

Refused: bodies above FLORIN_MAX_BODY_BYTES, anything but UTF-8, nesting deeper than 32, repeated keys, NaN and Infinity
tokens, numbers that a double could not hold, NUL characters and unpaired surrogates.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import IO, Any

from django.conf import settings
from rest_framework.parsers import BaseParser

from billing.api.errors import Problem

MAX_DEPTH = 32
MAX_NUMBER_LENGTH = 400
MAX_EXPONENT = 308

# `\u0000` and surrogate escapes. A match may still be harmless (an escaped backslash before it, or a proper pair), so
# it only decides whether the slow look at every string is needed.
_SUSPICIOUS_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class _Refused(ValueError):
    pass


class StrictJSONParser(BaseParser):
    """Parses `application/json`."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the document; raises Problem `malformed_json` or `payload_too_large`."""
        limit = settings.FLORIN_MAX_BODY_BYTES
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise Problem("payload_too_large", max_bytes=limit)
        return parse_json(body)


def parse_json(body: bytes) -> Any:
    """Parse one document, see the module; raises Problem `malformed_json`."""
    try:
        document = _decoder.decode(body.decode("utf-8"))
    except _Refused as error:
        raise Problem("malformed_json", str(error)) from None
    except RecursionError:
        raise Problem("malformed_json", f"The document nests deeper than {MAX_DEPTH}.") from None
    except UnicodeDecodeError:
        raise Problem("malformed_json", "The body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Problem("malformed_json", f"The body is not valid JSON: {error.msg} at {where}.") from None
    # Each level takes at least one bracket, so most bodies need no look.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _too_deep(document):
        raise Problem("malformed_json", f"The document nests deeper than {MAX_DEPTH}.")
    if _SUSPICIOUS_ESCAPE.search(body) and not _is_storable(document):
        raise Problem("malformed_json", "A string has a NUL character or an unpaired surrogate.")
    return document


def refuse_unstorable(body: bytes) -> None:
    """Refuse a document that somebody else parses, a signed webhook say, if the database could not store a string of
    it. Raises Problem `malformed_json`; what is no JSON at all is for the other parser to refuse."""
    if _SUSPICIOUS_ESCAPE.search(body):
        parse_json(body)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused("An object has the same key twice.")
    return found


def _whole(text: str) -> int:
    # Checked before int(), whose time grows with the square of the digits.
    if len(text) > MAX_EXPONENT:
        raise _Refused("A number is beyond the range of a double.")
    return int(text)


def _decimal(text: str) -> Decimal:
    if len(text) > MAX_NUMBER_LENGTH:
        raise _Refused("A number has too many digits.")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise _Refused("A number is beyond the range of a double.") from None
    if number and abs(number.adjusted()) > MAX_EXPONENT:
        raise _Refused("A number is beyond the range of a double.")
    return number if number else Decimal(0)


def _constant(token: str) -> None:
    raise _Refused(f"{token} is not JSON.")


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_whole, parse_float=_decimal, parse_constant=_constant, strict=True
)


def _too_deep(document: Any) -> bool:
    level = [document]
    for _ in range(MAX_DEPTH):
        containers = [value for value in level if isinstance(value, dict | list)]
        if not containers:
            return False
        level = [
            inner
            for container in containers
            for inner in (container.values() if isinstance(container, dict) else container)
        ]
    return any(isinstance(value, dict | list) for value in level)


def _is_storable(document: Any) -> bool:
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if _UNSTORABLE.search(value):
                return False
        elif isinstance(value, dict):
            waiting += value.keys()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return True
