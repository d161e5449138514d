"""What every view of the API has: one key, one scope per method, strict query parameters.

A view states `scopes`, method to scope; a method that only a platform-wide key may call is in `platform_only`.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, ClassVar, cast

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from rest_framework import serializers
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.accounts import clocks, ids
from billing.accounts.models import Account, ApiKey, Scope
from billing.api.authentication import BearerKey
from billing.api.errors import Problem
from billing.api.parsing import StrictJSONParser
from billing.api.renderers import PlainJSONRenderer
from billing.api.schema import FlorinSchema
from billing.api.throttling import PerKeyThrottle
from billing.catalog.models import Meter
from billing.ledger import pools
from billing.ledger.models import CreditPool
from billing.tracing import requests


class JSONAlways(BaseContentNegotiation):
    """Answers JSON whatever `Accept` says (RFC 9110 allows it); picks the parser by Content-Type."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        """The parser of the media type, parameters aside; a charset other than UTF-8 has none."""
        media_type, _, parameters = request.content_type.partition(";")
        charset = re.search(r"charset\s*=\s*\"?([\w-]+)", parameters, re.IGNORECASE)
        if charset and charset[1].lower() not in {"utf-8", "utf8", "us-ascii"}:
            return None
        return next((parser for parser in parsers if parser.media_type == media_type.strip().lower()), None)

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """The first renderer."""
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


class ApiView(APIView):
    """The base of every view that needs a key."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {}
    platform_only: ClassVar[frozenset[str]] = frozenset()

    authentication_classes = [BearerKey]
    permission_classes = []
    parser_classes = [StrictJSONParser]
    renderer_classes = [PlainJSONRenderer]
    throttle_classes = [PerKeyThrottle]
    content_negotiation_class = JSONAlways
    metadata_class = None
    http_method_names = ["get", "post", "patch", "head"]
    schema = FlorinSchema()

    request_id: str
    needs_key: ClassVar[bool] = True

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Know the request by the name that it was given at the door."""
        super().setup(request, *args, **kwargs)
        self.request_id = requests.current_id()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse in this order: too long, no key, method, scope, throttle."""
        refuse_unreadable_body(request)
        super().initial(request, *args, **kwargs)

    def check_permissions(self, request: Request) -> None:
        """Whether the key may call this method."""
        if not self.needs_key:
            return
        if request.auth is None:
            self.permission_denied(request)
        method = "GET" if request.method == "HEAD" else str(request.method)
        if method not in self.scopes:
            return  # The answer will be 405.
        key, scope = caller(request), self.scopes[method]
        if scope is not None and scope not in key.scopes:
            raise Problem("missing_scope", f"The key lacks the scope {scope}.", required_scope=str(scope))
        if method in self.platform_only and key.account_id is not None:
            raise Problem("platform_key_required")

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Keep answers out of caches."""
        response = super().finalize_response(request, response, *args, **kwargs)
        response.setdefault("Cache-Control", "no-store")
        return response


class PublicView(ApiView):
    """The base of the few views that need no key."""

    authentication_classes = []
    throttle_classes = []
    needs_key = False


def caller(request: Request) -> ApiKey:
    """The key that asks, its account loaded."""
    return cast(ApiKey, request.auth)


def refuse_unreadable_body(request: Request) -> None:
    """Refuse by the headers what need not be read: a body that is too long, or that does not say how long it is."""
    if "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
        raise Problem("length_required")
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isascii() or not length.isdigit():
        raise Problem("length_required")
    limit = settings.FLORIN_MAX_BODY_BYTES
    if len(length) > 18 or int(length) > limit:
        raise Problem("payload_too_large", max_bytes=limit)


def read_query(request: Request, serializer_class: type[serializers.Serializer[Any]]) -> dict[str, Any]:
    """The query parameters as the serializer reads them; raises ValidationError, also for unknown or repeated ones."""
    data = {}
    for name, values in request.query_params.lists():
        if len(values) > 1:
            detail = serializers.ErrorDetail("Give it once.", code="repeated")
            raise serializers.ValidationError({name[:100]: [detail]})
        data[name] = values[0]
    return dict(_reader(serializer_class, False).run_validation(data))


def read_body(
    request: Request, serializer_class: type[serializers.Serializer[Any]], *, partial: bool = False
) -> dict[str, Any]:
    """The body as the serializer reads it; raises ValidationError. `partial`: what is required may be left out."""
    return dict(_reader(serializer_class, partial).run_validation(request.data))


@cache
def _reader(serializer_class: type[serializers.Serializer[Any]], partial: bool) -> serializers.Serializer[Any]:
    # Using a serializer changes nothing in it, and making one for each request would copy all its fields each time.
    return serializer_class(partial=partial)


def write_document(serializer_class: type[serializers.Serializer[Any]], found: object) -> Any:
    """What the serializer makes of an object, for answers that are asked for often."""
    return _reader(serializer_class, False).to_representation(found)


def get_account(request: Request, reference: str) -> Account:
    """The account of a URL or body: our id or the integrator's `external_id`. Raises Problem `not_found`.

    A bound key sees its own account only; that costs no query.
    """
    own = _own_account(request, reference)
    if own is not None:
        return own
    account_id, external_id = _read_reference(reference)
    of = Account.objects.filter
    account = (of(external_id=external_id) if account_id is None else of(pk=account_id)).first()
    if account is None:
        raise Problem("not_found")
    return account


def now_of(account: Account) -> datetime:
    """What time it is for the account: its test clock's, if it is on one."""
    return clocks.time_of(account, timezone.now())


def now_of_name(reference: str) -> datetime:
    """The same for an account by either of its names, which need not exist. No query where there are no clocks."""
    return clocks.times_of_names([reference]).get(reference) or timezone.now()


def now_of_id(account_id: int | None) -> datetime:
    """The same for an account by its primary key."""
    return now_of_name(ids.encode(ids.ACCOUNT, account_id)) if account_id is not None else timezone.now()


def account_name(request: Request, reference: str) -> str:
    """The name by which usage may mean the account of a body, without a query. Raises Problem `not_found` when a bound
    key names another account than its own."""
    _own_account(request, reference)
    return reference


def _own_account(request: Request, reference: str) -> Account | None:
    """A bound key's account, None for a key of the platform. Raises Problem `not_found` when it names another."""
    own = caller(request).account
    if own is not None and reference not in (ids.encode(ids.ACCOUNT, own.pk), own.external_id):
        raise Problem("not_found")
    return own


def _read_reference(reference: str) -> tuple[int | None, str]:
    """Our id in a reference to an account, or None and the integrator's. Raises Problem `not_found` for neither."""
    if reference.startswith(f"{ids.ACCOUNT}_"):
        return get_id(ids.ACCOUNT, reference), ""
    if len(reference) > 100:
        raise Problem("not_found")
    return None, reference


def get_pool(account: Account, key: str | None) -> CreditPool:
    """The pool a body or query names, the main one for None. Raises Problem `unknown_pool`."""
    pool = account.pools.filter(key=key or pools.MAIN_KEY).first()
    if pool is None:
        raise Problem("unknown_pool")
    return pool


def get_pool_id(request: Request, reference: str, key: str) -> int:
    """The primary key of a pool of the account of a URL, in one query. Raises Problem `not_found`, `unknown_pool`."""
    own = _own_account(request, reference)
    account_id, external_id = (own.pk, "") if own is not None else _read_reference(reference)
    try:
        pool_id = pools.find_pool_id(key=key, account_id=account_id, external_id=external_id)
    except Account.DoesNotExist:
        raise Problem("not_found") from None
    if pool_id is None:
        raise Problem("unknown_pool")
    return pool_id


def find_meter_id(key: str | None) -> int | None:
    """The primary key of the meter a body names, if it names one. Raises Problem `unknown_meter`."""
    if key is None:
        return None
    pk = Meter.objects.filter(key=key).values_list("pk", flat=True).first()
    if pk is None:
        raise Problem("unknown_meter")
    return pk


def find_member_id(account: Account, member_id: int | None) -> int | None:
    """The same primary key, if it is a member of the account. Raises Problem `unknown_member`."""
    if member_id is not None and not account.members.filter(pk=member_id, removed_at=None).exists():
        raise Problem("unknown_member")
    return member_id


def get_id(prefix: str, text: str) -> int:
    """The primary key in an id of a URL. Raises Problem `not_found`."""
    try:
        return ids.decode(prefix, text)
    except ids.InvalidId:
        raise Problem("not_found") from None


def actor(request: Request) -> str:
    """Who acts, as the ledger writes it down."""
    return f"key:{caller(request).pk}"
