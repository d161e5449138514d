"""One line for each request, and one id for all that is logged about it.

The line names who asked by their row, never by a secret, and has no query string. Who asked is only written where the
request had found that out: nothing is looked up for it.
"""

import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest, HttpResponse

from billing.tracing import requests
from billing.tracing.redaction import redact

access_log = logging.getLogger("florin.access")


class RequestLog:
    """The outermost middleware: names the request, answers with its name, and logs how it went."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.is_on = settings.FLORIN_ACCESS_LOG

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        request_id = requests.begin(request.META.get("HTTP_X_REQUEST_ID", ""))
        response = self.get_response(request)
        response["X-Request-Id"] = request_id
        if self.is_on:
            level = (
                logging.DEBUG
                if request.path in ("/health", "/health/web") and response.status_code == 200
                else logging.INFO
            )
            if access_log.isEnabledFor(level):
                access_log.log(level, _line(request, response, request_id, time.perf_counter() - started))
        return response


def _line(request: HttpRequest, response: HttpResponse, request_id: str, seconds: float) -> str:
    line: dict[str, Any] = {
        "timestamp": datetime.now(UTC).isoformat(),
        "level": "info",
        "logger": access_log.name,
        "event": "request",
        "request_id": request_id,
        "method": request.method,
        "path": redact(requests.path_of(request)),
        "status": response.status_code,
        "duration_ms": round(seconds * 1000, 1),
    }
    # Only what has been read already: asking the session itself would read it, and fail where that cannot be done.
    session = getattr(getattr(request, "session", None), "_session_cache", {})
    if SESSION_KEY in session:
        line["user"] = int(session[SESSION_KEY])
    # The API's views put the key there that they have let in.
    if (key := getattr(request, "auth", None)) is not None:
        line["key"] = f"fl_{key.prefix}"
    return json.dumps(line)
