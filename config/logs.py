"""Logging through structlog, to stderr: one JSON object a line in production, readable lines in the demo and tests."""

import logging
from collections.abc import MutableMapping
from typing import Any

import structlog
import structlog.tracebacks

from billing.tracing.redaction import redact_error, redact_line
from billing.tracing.requests import path_of

# Refusals that are part of normal operation: no credits left, and a concurrent duplicate of a request.
EXPECTED_REFUSALS = (402, 409)
# That a job was sent, received and done: every few seconds, whether there was anything to do or not. What a job did,
# it says itself.
ROUTINE_LOGGERS = ("celery.beat", "celery.worker.strategy", "celery.app.trace")


class DemoteExpectedRefusals(logging.Filter):
    """Log answers that are part of the day's work at INFO, so that among warnings the real ones are seen."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lower the record's level; False where that level is not logged."""
        if getattr(record, "status_code", None) in EXPECTED_REFUSALS and record.levelno == logging.WARNING:
            return _demote(record, logging.INFO)
        return True


class DemoteRoutine(logging.Filter):
    """Log at DEBUG what a logger says at INFO."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lower the record's level; False where that level is not logged."""
        return record.levelno != logging.INFO or _demote(record, logging.DEBUG)


def _demote(record: logging.LogRecord, level: int) -> bool:
    record.levelno, record.levelname = level, logging.getLevelName(level)
    return logging.root.isEnabledFor(level)


def describe_request(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the request that Django adds to its records by method and path: its text has the query, which may hold
    a customer's data, and some paths let in whoever knows them."""
    request = event.pop("request", None)
    if request is not None and hasattr(request, "path"):
        path = path_of(request)
        event.update(method=request.method, path=path)
        if path != request.path:
            written = request.path.encode("unicode_escape").decode("ascii")
            event["event"] = str(event["event"]).replace(written, path).replace(request.path, path)
    return event


def redact_errors(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take what errors quote out of a traceback, and out of all that is said beside the event's name."""
    for key, value in event.items():
        if key != "event":
            event[key] = _redact_errors_in(value)
    return event


def _redact_errors_in(value: Any) -> Any:
    match value:
        case str():
            return redact_error(value)
        case dict():
            return {key: inner if key == "frames" else _redact_errors_in(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_redact_errors_in(inner) for inner in value]
        case None | bool() | int() | float():
            return value
    return redact_error(str(value))


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
        traces = structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        )
        renderer: Any = structlog.processors.JSONRenderer()
    else:
        # Plain tracebacks for the same reason, and because drawing the frames takes seconds.
        traces = structlog.processors.ExceptionRenderer()
        renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": SHARED_PROCESSORS,
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            traces,
            redact_errors,
            renderer,
            redact_line,
        ],
    }
    # Django, Celery and Granian would add handlers of their own to these.
    ours = ("django", "django.server", "celery", "_granian")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"florin": formatter, "bare": {"format": "%(message)s"}},
        "filters": {"expected": {"()": DemoteExpectedRefusals}, "routine": {"()": DemoteRoutine}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "florin"},
            # Finished lines, once for each request: they need no dressing.
            "access": {"class": "logging.StreamHandler", "formatter": "bare"},
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            **{name: {"handlers": [], "propagate": True} for name in ours},
            **{name: {"filters": ["routine"]} for name in ROUTINE_LOGGERS},
            "django.request": {"filters": ["expected"]},
            "florin.access": {"handlers": ["access"], "propagate": False},
        },
    }
