"""`/health` says ok only when all of Florin works, and what does not."""

import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from kombu import Connection

from billing.notifications import outbox
from billing.notifications.models import NotificationDelivery
from config import health, presence
from config.celery import app

QUEUES = ["billing", "metering", "notifications"]


@pytest.fixture(autouse=True)
def _there(db: None) -> None:
    """Beat and workers of all queues have just said that they live."""
    presence.say([presence.BEAT, *QUEUES])


def ask(client: Client, path: str = "/health") -> tuple[int, dict[str, Any]]:
    answer = client.get(path)
    return answer.status_code, answer.json()


def test_it_is_ok_when_servers_workers_and_beat_are_there_and_nothing_waits(client: Client) -> None:
    status, body = ask(client)
    parts = {name: said for name, said in body.items() if isinstance(said, str)}
    assert status == 200
    assert parts == dict.fromkeys(["status", "database", "broker", "workers", "beat", "queues"], "ok")
    assert set(body["seen_seconds_ago"]) == {"beat", *QUEUES}
    assert set(body["oldest_due_seconds"].values()) == set(body["stuck"].values()) == {0}


@pytest.mark.parametrize(("gone", "part"), [("beat", "beat"), ("metering", "workers")])
def test_it_fails_when_beat_or_the_workers_of_a_queue_have_not_been_seen(
    client: Client, gone: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, later = time.time, time.time() + health.ABSENT_AFTER_SECONDS + 1
    monkeypatch.setattr(presence.time, "time", lambda: later)
    presence.say({"beat", *QUEUES} - {gone})
    status, body = ask(client)
    assert status == 503
    assert [name for name in ("database", "broker", "workers", "beat", "queues") if body[name] != "ok"] == [part]
    assert real() < later
    assert body["seen_seconds_ago"][gone] > health.ABSENT_AFTER_SECONDS


def test_it_fails_when_a_row_has_waited_long_and_counts_what_is_stuck(client: Client) -> None:
    early = timezone.now() - timedelta(seconds=health.LATE_AFTER_SECONDS + 60)
    outbox.write(kind="receipt", dedupe_key="k", account_id=None, payload={}, email="a@example.com", now=early)
    notification = outbox.Notification.objects.get()
    NotificationDelivery.objects.create(
        notification=notification, address="a@example.com", state="failed", created_at=early, due_at=early
    )
    status, body = ask(client)
    assert (status, body["queues"], body["workers"]) == (503, "failing", "ok")
    assert body["oldest_due_seconds"]["notifications"] > health.LATE_AFTER_SECONDS
    assert (body["oldest_due_seconds"]["mails"], body["stuck"]["mails_given_up"]) == (0, 1)


@pytest.fixture
def frozen() -> Iterator[int]:
    """The port of a server that takes connections and never answers, as a stopped broker does."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_it_fails_within_seconds_when_the_broker_takes_connections_and_never_answers(
    client: Client, frozen: int, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 900}
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(
        app, "connection_for_write", lambda **given: Connection(f"redis://127.0.0.1:{frozen}/0", **given)
    )
    begun = time.monotonic()
    status, body = ask(client)
    assert (status, body["broker"], body["database"]) == (503, "failing", "ok")
    assert time.monotonic() - begun < 10


def test_web_processes_stay_in_service_while_workers_are_away(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.time() + health.ABSENT_AFTER_SECONDS + 1
    monkeypatch.setattr(presence.time, "time", lambda: later)
    assert ask(client)[0] == 503
    assert ask(client, "/health/web") == (200, {"status": "ok", "database": "ok"})


def test_beat_says_that_it_lives_while_it_ticks() -> None:
    presence.caches["default"].clear()
    scheduler = presence.Scheduler(app=app, lazy=True)
    scheduler.data.clear()
    assert scheduler.tick() <= presence.SAY_EVERY_SECONDS
    assert presence.seconds_since(["beat"])["beat"] is not None
