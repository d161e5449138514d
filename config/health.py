"""Whether Florin works: database, broker, workers, beat, and how long rows wait. `/health` is for monitoring,
`/health/web` for whoever spreads requests over web processes: it fails only where this process cannot answer them."""

from typing import Any

import structlog
from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from kombu.exceptions import OperationalError

from billing.insights import queues
from config import presence
from config.celery import app

log = structlog.get_logger(__name__)

# Of a broker: one that is stopped still takes connections, and never answers.
PATIENCE_SECONDS = 2
# Who has not said so for that long, is not there.
ABSENT_AFTER_SECONDS = 60
# Jobs look every few seconds, and a queue of retries holds nothing that is due for long.
LATE_AFTER_SECONDS = 900


@require_safe
@never_cache
def health(request: HttpRequest) -> JsonResponse:
    """200 when everything works, else 503; says what does not, and never why (that is logged)."""
    body: dict[str, Any] = {"database": "failing", "workers": "unknown", "beat": "unknown", "queues": "unknown"}
    try:
        body = {"database": "ok", **_background()}
    except Error:
        log.warning("health.database_failing", exc_info=True)
    body["broker"] = "ok" if _broker_answers() else "failing"
    return _answer(body)


@require_safe
@never_cache
def web_health(request: HttpRequest) -> JsonResponse:
    """200 when this process reaches the database, else 503."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return _answer({"database": "ok"})
    except Error:
        log.warning("health.database_failing", exc_info=True)
        return _answer({"database": "failing"})


def _answer(body: dict[str, Any]) -> JsonResponse:
    ok = all(part == "ok" for part in body.values() if isinstance(part, str))
    return JsonResponse({"status": "ok" if ok else "failing", **body}, status=200 if ok else 503)


def _background() -> dict[str, Any]:
    """How workers, beat and queues stand. Raises database errors."""
    names = [queue.name for queue in settings.CELERY_TASK_QUEUES]
    seen = presence.seconds_since([presence.BEAT, *names])
    there = {name: seconds is not None and seconds < ABSENT_AFTER_SECONDS for name, seconds in seen.items()}
    delays = queues.measure_delays(now=timezone.now())
    return {
        "workers": _word(all(there[name] for name in names)),
        "beat": _word(there[presence.BEAT]),
        "queues": _word(max(delays.values()) < LATE_AFTER_SECONDS),
        "seen_seconds_ago": seen,
        "oldest_due_seconds": delays,
        "stuck": queues.count_stuck(),
    }


def _word(ok: bool) -> str:
    return "ok" if ok else "failing"


def _broker_answers() -> bool:
    """Whether the broker knows the queues: a question that it has to answer, not a connection only."""
    patience = {"socket_timeout": PATIENCE_SECONDS, "socket_connect_timeout": PATIENCE_SECONDS}
    if not settings.CELERY_BROKER_TRANSPORT_OPTIONS:
        patience = {"read_timeout": PATIENCE_SECONDS}
    broker = app.connection_for_write(connect_timeout=PATIENCE_SECONDS, transport_options=patience)
    try:
        with broker:
            broker.ensure_connection(max_retries=1, timeout=PATIENCE_SECONDS)
            with broker.channel() as channel:
                for queue in settings.CELERY_TASK_QUEUES:
                    queue(channel).queue_declare()
        return True
    # kombu's own error, then those of the transport in use.
    except (OperationalError, *broker.connection_errors, *broker.channel_errors):
        log.warning("health.broker_failing", exc_info=True)
        return False
