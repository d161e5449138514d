"""Answers that are worth it go out compressed: pages, and of the API's and of exports those that are long. For the few
hundred bytes of a charge it would cost more than it saves.

The length of a compressed page tells an eavesdropper whether what they put into it is like a secret beside it (BREACH).
Django masks the form's token anew in each answer and blurs the length with random bytes; pages that show a key or a
code of a second factor are not compressed. Answers of the API have no secrets that others could put something beside.
"""

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware

PAGES = frozenset({"text/html"})
LONG_ONES = frozenset(
    {"application/json", "application/problem+json", "application/vnd.oai.openapi+json", "text/csv", "application/xml"}
)
LONG_BYTES = 4096
# What the names of pages that show a secret begin with: the portal's, the admin's, the second factor's.
SECRET_PAGES = ("api_key", "billing_apikey", "mfa_")


class Compression(GZipMiddleware):
    """Django's, for pages, and for long answers of kinds that compress well."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> Any:
        """The answer, compressed where that is worth it and the client can read it."""
        match = getattr(request, "resolver_match", None)
        if match is not None and (match.url_name or "").startswith(SECRET_PAGES):
            return response
        kind = response.get("Content-Type", "").partition(";")[0].strip().lower()
        is_long = response.streaming or len(getattr(response, "content", b"")) >= LONG_BYTES
        if kind in PAGES or (kind in LONG_ONES and is_long):
            return super().process_response(request, response)
        return response
