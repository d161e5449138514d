"""Takes secrets out of what is written: those in the settings, whatever looks like one, and the rows and values that
an error quotes.

The last step of logging, behind everything that decides what is logged: what a library puts into an error's message
(a connection string, a request, a row) is not ours to decide.
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any
from urllib.parse import quote, unquote, urlsplit

REDACTED = "[redacted]"
# Shorter values would take words out of ordinary text.
SHORTEST_SECRET = 6

# Settings whose value, or whose password when it is an address, must never be seen.
SECRET_SETTINGS = (
    "SECRET_KEY",
    "EMAIL_HOST_PASSWORD",
    "CELERY_BROKER_URL",
    "FLORIN_STRIPE_SECRET_KEY",
    "FLORIN_STRIPE_WEBHOOK_SECRETS",
    "FLORIN_SANDBOX_WEBHOOK_SECRET",
)

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    # Our API keys keep their prefix, by which staff find the key.
    (re.compile(r"\b(fl_[0-9a-f]{12})_[A-Za-z0-9_-]{8,}"), rf"\1_{REDACTED}"),
    # Stripe's keys, and the part of an intent's client secret that opens it.
    (re.compile(r"\b(?:(?:sk|rk)_(?:live|test)_|whsec_)[A-Za-z0-9+/=]{8,}"), REDACTED),
    (re.compile(r"\b((?:pi|seti)_[A-Za-z0-9]+_secret_)[A-Za-z0-9]+"), rf"\1{REDACTED}"),
    (re.compile(r"\b(Bearer|Basic)(\s+)(?=\S*[0-9_=])[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1\2{REDACTED}"),
    # A password in an address: scheme://user:password@host.
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@'\"]*:)[^\s/@'\"]+(@)", re.IGNORECASE), rf"\1{REDACTED}\2"),
    # A named value, as JSON, as Python or as a query has it: a quoted one to its last quote.
    (
        re.compile(
            r"""(\b(?:[a-z_]*password[0-9a-z_]*|passwd|cvc|cvv|security_code|client_secret|[a-z_]*secret_key|api_key"""
            r"""|authorization|sessionid|csrf[a-z]*token|otp|recovery_code)(?:\\?["'])?\s*[:=]\s*)"""
            r"""(?:(\\?["'])(?:(?!\2).)*\2|[^\s"'&,;)}\]\\]+)""",
            re.IGNORECASE,
        ),
        rf"\1\2{REDACTED}\2",
    ),
)
# What PostgreSQL says below an error's first line: the row that failed, or the statement with its values. It ends with
# the message: at the end of the text, or in a traceback where the next error begins.
_QUOTED_ROWS = re.compile(
    r"\n(?:DETAIL|CONTEXT|QUERY|STATEMENT|LINE \d+):.*?(?=\n\nThe above exception|\n\nDuring handling|\Z)", re.DOTALL
)
# A value that an error quotes because it could not be read.
_QUOTED_VALUE = re.compile(
    r"""(\binvalid (?:input syntax|input value|literal|value|byte sequence) for [^:\n]*: """
    r"""|could not convert string to \w+: |out of range: )(?:"[^\n]*"|'[^\n]*')"""
)
_QUERY = re.compile(r"(\bhttps?://[^\s?'\"<>]+\?)[^\s'\"<>]+")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
# As cards begin and as long as they are, typed in groups or not.
_DIGITS = re.compile(r"(?<![\d.])[2-6](?:[ -]?\d){12,18}(?![\d.])")


def redact(text: str, *, secrets: Iterable[str] = ()) -> str:
    """The text without these secrets, card numbers, keys, and values that are named like a secret."""
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    text = _QUERY.sub(rf"\1{REDACTED}", text)
    return _DIGITS.sub(_hide_card, text)


def redact_error(text: str) -> str:
    """An error's text, or a traceback, without the rows and values that it quotes, and without people's addresses."""
    text = _QUOTED_VALUE.sub(rf"\1{REDACTED}", _QUOTED_ROWS.sub("", text))
    return _EMAIL.sub(REDACTED, text)


def describe_error(error: BaseException) -> str:
    """An error as rows keep it for staff: its class and what it says, without secrets or what it quotes."""
    text = _QUOTED_VALUE.sub(rf"\1{REDACTED}", _QUOTED_ROWS.sub("", f"{type(error).__name__}: {error}"))
    return redact(text.replace("\x00", ""), secrets=_installed_secrets())


def redact_line(logger: Any, name: str, line: str) -> str:
    """A structlog processor behind the one that renders: it gets the line as it will be written."""
    return redact(line, secrets=_installed_secrets())


def secrets_of(values: Iterable[object]) -> list[str]:
    """What must not be seen of settings' values: each itself, or the password in it when it is an address; longest
    first, so that none leaves a part of another. Also as it stands in an address, percent-encoded."""
    found: set[str] = set()
    for value in values:
        text = str(value or "")
        if "://" in text:
            text = unquote(urlsplit(text).password or "")
        found.update(part for part in (text, quote(text, safe="")) if len(part) >= SHORTEST_SECRET)
    return sorted(found, key=lambda secret: (-len(secret), secret))


@cache
def _installed_secrets() -> tuple[str, ...]:
    from django.conf import settings

    values: list[object] = []
    for name in SECRET_SETTINGS:
        value = getattr(settings, name, "")
        values += value if isinstance(value, list | tuple) else [value]
    values += [database.get("PASSWORD") for database in (settings.DATABASES["default"], settings.DATABASE_OWNER or {})]
    return tuple(secrets_of(values))


def _hide_card(match: re.Match[str]) -> str:
    """Hide a number whose check digit is a card's (Luhn, ISO/IEC 7812-1 annex B); leave ids and amounts.

    Our ids have 18 digits, which no scheme's cards have in practice, and one in ten of them such a check digit.
    """
    digits = [int(digit) for digit in match[0] if digit.isdigit()]
    if len(digits) == 18 and match[0].isdigit():
        return match[0]
    doubled = [sum(divmod(2 * digit, 10)) if at % 2 else digit for at, digit in enumerate(reversed(digits))]
    return REDACTED if sum(doubled) % 10 == 0 else match[0]
