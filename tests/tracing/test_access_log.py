"""One line for each request, and one id for what is logged about it, in the web and in the workers."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from structlog.contextvars import clear_contextvars, get_contextvars

from billing import tasks
from billing.accounts.models import Scope
from billing.tracing import requests
from config.celery import REQUEST_ID_HEADER, app, forget_task, name_task
from tests.factories import make_account, make_key, make_user

pytestmark = pytest.mark.django_db


class Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(record.getMessage()))


@pytest.fixture
def access(settings: Any) -> Iterator[Kept]:
    settings.FLORIN_ACCESS_LOG = True
    kept, log = Kept(), logging.getLogger("florin.access")
    log.addHandler(kept)
    yield kept
    log.removeHandler(kept)


def test_a_request_is_one_line_that_says_who_asked_for_what_and_how_it_went(access: Kept) -> None:
    key, secret = make_key(make_account("acme"), scopes=list(Scope))
    user = make_user()
    client = Client()
    client.get("/api/v1/accounts/acme/balance?at=", headers={"Authorization": f"Bearer {secret}"})
    client.force_login(user)
    client.get("/security")
    Client().get(f"/invitations/{secret}")
    said = [(line["method"], line["path"], line["status"], line.get("key"), line.get("user")) for line in access.lines]
    assert said == [
        ("GET", "/api/v1/accounts/acme/balance", 400, f"fl_{key.prefix}", None),
        ("GET", "/security", 200, None, user.pk),
        ("GET", "/invitations/[redacted]", 404, None, None),
    ]
    assert all(line["duration_ms"] >= 0 and line["request_id"] for line in access.lines)


def test_a_task_knows_the_request_that_asked_for_it_and_forgets_it_afterwards() -> None:
    sent: dict[str, Any] = {}
    requests.begin("trace-7")
    with app.connection_for_write() as connection, connection.channel() as channel:
        while channel.basic_get("notifications", no_ack=True):
            pass  # Other tests' messages, which nobody has taken.
        tasks.deliver_notifications.apply_async(connection=connection)
        message = channel.basic_get("notifications", no_ack=True)
    sent.update(message.headers)
    clear_contextvars()
    task = app.tasks[sent["task"]]
    task.push_request(**sent)
    name_task(task_id=sent["id"], task=task)
    named = get_contextvars()
    task.pop_request()
    forget_task()
    assert sent[REQUEST_ID_HEADER] == "trace-7"
    assert named == {"request_id": "trace-7", "task": "deliver_notifications", "task_id": sent["id"]}
    assert get_contextvars() == {}


def test_a_job_that_found_nothing_to_do_is_logged_for_debugging_only(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, str]] = []
    for level in ("debug", "info"):
        monkeypatch.setattr(tasks.log, level, lambda event, level=level, **_: said.append((level, event)))
    tasks.expire_holds()
    tasks._report("holds.expired", count=3)
    assert said == [("debug", "holds.expired"), ("info", "holds.expired")]
