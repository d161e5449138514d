"""How many requests a key may make."""

import time

from django.conf import settings
from django.core.cache import caches
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

WINDOW_SECONDS = 60


class PerKeyThrottle(BaseThrottle):
    """FLORIN_REQUESTS_PER_MINUTE requests per key and clock minute; 0 switches it off.

    Counted in the cache `process`: per web process as it is, over all of them when settings make it a shared one.
    """

    _wait_seconds: float | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Count the request; False when it is one too many."""
        limit = settings.FLORIN_REQUESTS_PER_MINUTE
        if not limit or request.auth is None:
            return True
        cache, now = caches["process"], time.time()
        window = int(now // WINDOW_SECONDS)
        name = f"florin:throttle:{request.auth.pk}:{window}"
        if cache.add(name, 1, timeout=2 * WINDOW_SECONDS):
            return True
        try:
            count = cache.incr(name)
        except ValueError:
            # Evicted between the two calls: the count begins again.
            return True
        self._wait_seconds = (window + 1) * WINDOW_SECONDS - now
        return count <= limit

    def wait(self) -> float | None:
        """Seconds until the next window."""
        return self._wait_seconds
