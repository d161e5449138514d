"""Who of the background processes lives: each says so every few seconds, in the cache that all processes share."""

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from celery.beat import Scheduler as StockScheduler
from django.core.cache import caches
from django.db import Error, connection

log = structlog.get_logger(__name__)

SAY_EVERY_SECONDS = 10
KEPT_SECONDS = 86_400
BEAT = "beat"


def say(names: Iterable[str]) -> None:
    """Say that beat, or workers of these queues, live now. A database that is away is logged and borne."""
    try:
        caches["default"].set_many({_key(name): time.time() for name in names}, KEPT_SECONDS)
    except Error:
        log.warning("presence.not_said", exc_info=True)
    finally:
        # The next time is far enough away to connect anew, and a forked child must not inherit the connection.
        if not connection.in_atomic_block:
            connection.close()


def seconds_since(names: Iterable[str]) -> Mapping[str, float | None]:
    """How long ago each was there; None for who has not been for a day."""
    keys = {name: _key(name) for name in names}
    found, now = caches["default"].get_many(keys.values()), time.time()
    return {name: round(now - found[key], 1) if key in found else None for name, key in keys.items()}


def keep_saying(names: list[str]) -> None:
    """Say so from now on, in a thread of this process: it lives as long as the process does."""

    def run() -> None:
        while True:
            say(names)
            time.sleep(SAY_EVERY_SECONDS)

    threading.Thread(target=run, name="presence", daemon=True).start()


class Scheduler(StockScheduler):
    """Beat's scheduler, which says that it lives."""

    _said_at = float("-inf")

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due, at the latest when it is time to say so again."""
        wait = super().tick(*args, **kwargs)
        if time.monotonic() >= self._said_at + SAY_EVERY_SECONDS:
            self._said_at = time.monotonic()
            say([BEAT])
        return min(wait, SAY_EVERY_SECONDS)


def _key(name: str) -> str:
    return f"florin:seen:{name}"
