"""The id of the request that is being served, or on whose behalf a worker acts. It is kept where structlog keeps what
every line of a thread says, so whoever logs need not pass it on."""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from django.http import HttpRequest
from structlog.contextvars import bind_contextvars, get_contextvars, unbind_contextvars

from billing.tracing.redaction import REDACTED

MAX_LENGTH = 64
# Parts of addresses that let in whoever knows them: links of mails, mostly.
SECRET_PARTS = frozenset({"token", "key", "uidb36", "uidb64", "reference"})
# In an address that leads nowhere: a part that is neither a word nor a number.
_OPAQUE = re.compile(r"(?=[^/]*\d)(?=[^/]*[A-Za-z])[^/]{8,}")
_USABLE = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_LENGTH}}}\Z", re.ASCII)


def begin(given: str) -> str:
    """Name the request that this thread serves from now on: by the id that its sender gave it, or a new one where that
    is missing or unfit to be written into a log."""
    request_id = given if _USABLE.match(given) else uuid.uuid4().hex
    bind_contextvars(request_id=request_id)
    return request_id


def current_id() -> str:
    """The id of the request that this thread serves; empty when it serves none."""
    return str(get_contextvars().get("request_id", ""))


def path_of(request: HttpRequest) -> str:
    """The request's path without the secrets in it."""
    match = getattr(request, "resolver_match", None)
    path = request.path
    if match is None:
        return _OPAQUE.sub(REDACTED, path)
    for name, value in match.captured_kwargs.items():
        if name in SECRET_PARTS and isinstance(value, str):
            path = path.replace(value, REDACTED)
    return path


@contextmanager
def on_behalf_of(request_id: str) -> Iterator[None]:
    """Act on what that request left to be done, or on no request's behalf when the id is empty."""
    before = get_contextvars().get("request_id")
    _name(request_id)
    try:
        yield
    finally:
        _name(before)


def _name(request_id: str | None) -> None:
    if request_id:
        bind_contextvars(request_id=request_id)
    else:
        unbind_contextvars("request_id")
