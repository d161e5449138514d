"""The `Idempotency-Key` header on views that move credits."""

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import idempotency
from billing.api.base import ApiView, caller
from billing.api.errors import Problem
from billing.api.fields import write_decimal, write_instant

HEADER = "Idempotency-Key"

_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z", re.ASCII)
# These say nothing about the act itself: the caller may fix the cause and send the same request again.
_NOT_KEPT = frozenset({401, 403, 409, 429})


def idempotent(handler: Callable[..., Response]) -> Callable[..., HttpResponseBase]:
    """Let the handler run once per `Idempotency-Key` of an API key, rotated or not; a repeat gets the first answer.

    Kept: answers below 500, except 401, 403, 409 and 429. A repeat carries `Idempotency-Replayed: true`. Another
    request under the key is a 422, one that comes while the first still runs a 409 with Retry-After.
    """

    @wraps(handler)
    def run(view: ApiView, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        key = request.headers.get(HEADER)
        if key is None:
            return handler(view, request, *args, **kwargs)
        if not _KEY.match(key):
            raise Problem("invalid_idempotency_key")
        begun = idempotency.begin(
            lineage=caller(request).lineage,
            key=key,
            fingerprint=fingerprint(request),
            lease_seconds=settings.FLORIN_IDEMPOTENCY_LEASE_SECONDS,
            now=timezone.now(),
        )
        if isinstance(begun, idempotency.StoredAnswer):
            stored = HttpResponse(begun.body, status=begun.status, content_type=begun.content_type)
            stored["Idempotency-Replayed"] = "true"
            return stored
        try:
            response = handler(view, request, *args, **kwargs)
        except Exception as error:
            response = view.handle_exception(error)
        view.finalize_response(request, response)
        response.render()
        if response.status_code >= 500 or response.status_code in _NOT_KEPT:
            idempotency.abandon(claim=begun)
        else:
            idempotency.finish(
                claim=begun,
                status=response.status_code,
                body=response.rendered_content.decode(),
                content_type=response["Content-Type"],
            )
        return response

    # The schema documents the header by it.
    vars(run)["is_idempotent"] = True
    return run


def fingerprint(request: Request) -> bytes:
    """Digest of what is asked: method, path with query, and body."""
    digest = hashlib.sha256(f"{request.method} {request.get_full_path()}\n".encode())
    digest.update(request._request.body)
    return digest.digest()


def act_fingerprint(kind: str, asked: Mapping[str, Any]) -> bytes:
    """Digest of what an act was asked to do, so that the ledger can tell a repeat from another act."""
    plain = {name: value for name, value in asked.items() if name != "reference"}
    return hashlib.sha256(json.dumps([kind, plain], sort_keys=True, default=_spell).encode()).digest()


def _spell(value: object) -> str:
    if isinstance(value, Decimal):
        return write_decimal(value)
    if isinstance(value, datetime):
        return write_instant(value)
    raise TypeError(type(value).__name__)


def ledger_reference(request: Request, given: str | None) -> str:
    """The reference under which the ledger knows this act, so that even a repeat after a crash happens once.

    The caller's own `reference`, else one made of the Idempotency-Key, else a random one. The prefix keeps callers
    from taking a reference that Florin will need for an act of its own.
    """
    if given:
        return f"api:{given}"
    if key := request.headers.get(HEADER):
        digest = hashlib.sha256(f"{request.path}\n{key}".encode()).hexdigest()
        return f"api-key:{caller(request).lineage.hex}:{digest}"
    return f"api-once:{uuid.uuid4()}"
