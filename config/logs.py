"""Logging through structlog: one JSON object a line in production, readable lines in the demo and tests."""

import logging
from collections.abc import MutableMapping
from typing import Any

import structlog
import structlog.tracebacks

from config.redaction import redact_line

# Refusals that are part of normal operation: no credits left, and a concurrent duplicate of a request.
EXPECTED_REFUSALS = (402, 409)


class DemoteExpectedRefusals(logging.Filter):
    """Log answers that are part of the day's work at INFO, so that among warnings the real ones are seen."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lower the record's level; False where that level is not logged."""
        if getattr(record, "status_code", None) in EXPECTED_REFUSALS and record.levelno == logging.WARNING:
            record.levelno, record.levelname = logging.INFO, "INFO"
            return logging.root.isEnabledFor(logging.INFO)
        return True


def describe_request(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the request that Django adds to its records by method and path: its text has the query, which may hold
    a customer's data."""
    request = event.pop("request", None)
    if request is not None and hasattr(request, "path"):
        event.update(method=request.method, path=request.path)
    return event


SHARED_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    describe_request,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


def logging_settings(*, as_json: bool, level: str) -> dict[str, Any]:
    """Django's LOGGING; also points structlog's own loggers at the same handler."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED_PROCESSORS,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    if as_json:
        # Without the frames' locals, which hold passwords, cards and keys.
        traces = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        renderer: list[Any] = [structlog.processors.ExceptionRenderer(traces), structlog.processors.JSONRenderer()]
    else:
        # Plain tracebacks for the same reason, and because drawing the frames takes seconds.
        renderer = [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)]
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": SHARED_PROCESSORS,
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer, redact_line],
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"florin": formatter},
        "filters": {"expected": {"()": DemoteExpectedRefusals}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "florin"}},
        "root": {"handlers": ["stderr"], "level": level},
        # Django would add handlers of its own to these.
        "loggers": {
            **{name: {"handlers": [], "propagate": True} for name in ("django", "django.server", "celery")},
            "django.request": {"filters": ["expected"]},
        },
    }
