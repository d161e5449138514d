"""Whether this process can do its work: reach the database and the broker."""

import structlog
from django.db import Error, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from kombu.exceptions import OperationalError

from config.celery import app

log = structlog.get_logger(__name__)


@require_safe
@never_cache
def health(request: HttpRequest) -> JsonResponse:
    """200 when the database and the broker answer, else 503; says which does not, and never why (that is logged)."""
    parts = {"database": _database_answers(), "broker": _broker_answers()}
    ok = all(parts.values())
    body = {"status": "ok" if ok else "failing", **{name: "ok" if up else "failing" for name, up in parts.items()}}
    return JsonResponse(body, status=200 if ok else 503)


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return True
    except Error:
        log.warning("health.database_failing", exc_info=True)
        return False


def _broker_answers() -> bool:
    broker = app.connection_for_write()
    try:
        with broker:
            broker.ensure_connection(max_retries=1, timeout=2)
        return True
    # kombu's own error, then those of the transport in use.
    except (OperationalError, *broker.connection_errors):
        log.warning("health.broker_failing", exc_info=True)
        return False
