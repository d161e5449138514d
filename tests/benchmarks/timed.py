"""The web application, which says in each answer how long it took: `Server-Timing: app;dur=<milliseconds>`."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from config.wsgi import application as florin


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Florin, timed from the request's arrival in the application to the answer's beginning."""
    arrived = time.perf_counter()

    def start_timed(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        spent = 1000 * (time.perf_counter() - arrived)
        return start_response(status, [*headers, ("Server-Timing", f"app;dur={spent:.3f}")], *rest)

    return florin(environ, start_timed)
