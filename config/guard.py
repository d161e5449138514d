"""Refuse requests that no door could handle, before any of them reads the request.

PostgreSQL stores no NUL and file systems know none, so a NUL anywhere would be a fault wherever it is first used. The
web server joins a header that comes several times with commas; of those that must occur once no single value is right.
JSON bodies are left to the parser of the API, which knows escapes (`billing.api.parsing`).
"""

from collections.abc import Callable, Iterator

from django.core.exceptions import BadRequest
from django.http import HttpRequest, UnreadablePostError
from django.http.response import HttpResponseBase

from billing.api.errors import API_ROOT, handler400

# As the environment of a request names them, and as people do. Other headers may hold commas, or nothing reads them.
ONCE = {"HTTP_AUTHORIZATION": "Authorization", "HTTP_IDEMPOTENCY_KEY": "Idempotency-Key"}
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
WRITES = ("POST", "PUT", "PATCH")


class Guard:
    """The middleware: answers with 400, as a problem document under /api/ and as a page elsewhere."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        fault = _find_fault(request)
        if not fault:
            return self.get_response(request)
        return handler400(request, BadRequest(fault))


def _find_fault(request: HttpRequest) -> str:
    """What is wrong with the request; empty when nothing is."""
    is_api = request.path_info.startswith(API_ROOT)
    for name, header in ONCE.items():
        if is_api and "," in request.META.get(name, ""):
            return f"The header {header} must occur once, and without a comma."
    query = request.META.get("QUERY_STRING", "")
    if "\0" in request.path_info or "%00" in query or "\0" in query:
        return "The address has a NUL character."
    if "\0" in "".join(request.COOKIES.values()):
        return "A cookie has a NUL character."
    is_form = not is_api and request.method in WRITES and request.content_type in FORMS
    if is_form and any("\0" in text for text in _typed(request)):
        return "A field has a NUL character."
    return ""


def _typed(request: HttpRequest) -> Iterator[str]:
    """The names and values of the fields of a form. Files are not looked at: they may hold anything."""
    try:
        fields = request.POST
    except UnreadablePostError:
        # The client has gone; whoever reads on is told the same.
        return
    for name, values in fields.lists():
        yield name
        yield from (value for value in values if isinstance(value, str))
