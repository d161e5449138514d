"""The Celery app, and THE list of what runs when. Settings that begin with CELERY_ are in config/settings.py.

Queues: `billing` (the default), `metering`, `notifications`; which task goes where: CELERY_TASK_ROUTES.
What is due lives in rows: a beat entry only says "look now", so a missed or doubled tick does no harm.
"""

import logging.config
import os
from typing import Any

from celery import Celery
from celery.schedules import crontab
from celery.signals import (
    beat_init,
    before_task_publish,
    setup_logging,
    task_postrun,
    task_prerun,
    worker_init,
    worker_process_init,
    worker_ready,
)
from structlog.contextvars import bind_contextvars, clear_contextvars

from billing.tracing import requests
from config.embedded import ValkeyServer

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

REQUEST_ID_HEADER = "florin_request_id"

BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "deliver-notifications": {"task": "billing.tasks.deliver_notifications", "schedule": 15.0},
    "expire-holds": {"task": "billing.tasks.expire_holds", "schedule": 30.0},
    "expire-lots": {"task": "billing.tasks.expire_lots", "schedule": 60.0},
    "announce-expiring": {"task": "billing.tasks.announce_expiring", "schedule": crontab(minute=11)},
    # The bank publishes at about 16:00 of its zone.
    "import-exchange-rates": {
        "task": "billing.tasks.import_exchange_rates",
        "schedule": crontab(hour="16,20", minute=17),
    },
    "check-tax-numbers": {"task": "billing.tasks.check_tax_numbers", "schedule": 60.0},
    "purge-tax-calculations": {
        "task": "billing.tasks.purge_tax_calculations",
        "schedule": crontab(hour=2, minute=53),
    },
    "seal-ledger": {"task": "billing.tasks.seal_ledger", "schedule": 60.0},
    "accrue-gauges": {"task": "billing.tasks.accrue_gauges", "schedule": 300.0},
    "check-payments": {"task": "billing.tasks.check_payments", "schedule": 5.0},
    "send-sandbox-webhooks": {"task": "billing.tasks.send_sandbox_webhooks", "schedule": 5.0},
    "collect-invoices": {"task": "billing.tasks.collect_invoices", "schedule": 5.0},
    "move-test-clocks": {"task": "billing.tasks.move_test_clocks", "schedule": 5.0},
    "void-abandoned-purchases": {"task": "billing.tasks.void_abandoned_purchases", "schedule": 60.0},
    "run-top-ups": {"task": "billing.tasks.run_top_ups", "schedule": 5.0},
    "process-gateway-events": {"task": "billing.tasks.process_gateway_events", "schedule": 30.0},
    "renew-subscriptions": {"task": "billing.tasks.renew_subscriptions", "schedule": 15.0},
    "follow-up-subscriptions": {"task": "billing.tasks.follow_up_subscriptions", "schedule": 5.0},
    "remind-trials": {"task": "billing.tasks.remind_trials", "schedule": crontab(minute=37)},
    "purge-idempotency-keys": {"task": "billing.tasks.purge_idempotency_keys", "schedule": crontab(minute=23)},
    "purge-sessions": {"task": "billing.tasks.purge_sessions", "schedule": crontab(hour=2, minute=41)},
    "verify-ledger": {"task": "billing.tasks.verify_ledger", "schedule": crontab(hour=3, minute=17)},
    "export-ledger-head": {"task": "billing.tasks.export_ledger_head", "schedule": crontab(hour=4, minute=7)},
}


class Florin(Celery):
    """Celery, which starts the embedded broker before it first connects; with CELERY_BROKER_URL set, plain Celery."""

    _embedded: ValkeyServer | None = None

    def connection_for_write(self, *args: Any, **kwargs: Any) -> Any:
        """A connection for sending tasks."""
        self._ensure_broker()
        return super().connection_for_write(*args, **kwargs)

    def connection_for_read(self, *args: Any, **kwargs: Any) -> Any:
        """A connection for receiving tasks."""
        self._ensure_broker()
        return super().connection_for_read(*args, **kwargs)

    def _ensure_broker(self) -> None:
        from django.conf import settings

        if settings.EMBEDDED_BROKER:
            self._embedded = self._embedded or ValkeyServer("demo")
            self._embedded.ensure()


app = Florin("florin")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["billing"])


@setup_logging.connect
def use_our_logging(**_: object) -> None:
    """Keep Celery from installing its own log handlers: workers log as the web does."""
    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)


@before_task_publish.connect
def send_request_id(headers: dict[str, Any], **_: object) -> None:
    """Send the id of the request that asks for a task along with it."""
    if request_id := requests.current_id():
        headers[REQUEST_ID_HEADER] = request_id


@task_prerun.connect
def name_task(task_id: str, task: Any, **_: object) -> None:
    """Let all that a worker logs while it runs a task name it, and the request that asked for it, if one did."""
    clear_contextvars()
    bind_contextvars(task=task.name.rpartition(".")[2], task_id=task_id)
    if request_id := getattr(task.request, REQUEST_ID_HEADER, None):
        bind_contextvars(request_id=request_id)


@task_postrun.connect
def forget_task(**_: object) -> None:
    """What is logged between tasks is about none."""
    clear_contextvars()


@worker_init.connect
@beat_init.connect
def refuse_unsafe_start(**_: object) -> None:
    """Worker and beat refuse to start as the web does. SystemExit, because Celery swallows other exceptions here."""
    from billing.checks import UnsafeDeployment, refuse_unsafe_deployment

    try:
        refuse_unsafe_deployment()
    except UnsafeDeployment as error:
        raise SystemExit(str(error)) from error


@worker_ready.connect
def show_presence(**_: object) -> None:
    """Let /health see which queues have workers."""
    from config import presence

    presence.keep_saying(list(app.amqp.queues.consume_from))


@worker_process_init.connect
def die_with_worker(**_: object) -> None:
    """A pool process of the demo ends with its worker, even when that one is killed."""
    from config.processes import end_with_parent

    end_with_parent()
