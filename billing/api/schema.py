"""OpenAPI: what every operation has is added here, so that views describe only what is their own."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import Direction, OpenApiParameter, OpenApiResponse, extend_schema_serializer
from rest_framework import serializers

from billing.accounts import ids
from billing.api.fields import Document
from billing.api.problems import KINDS

PROBLEM_MEDIA_TYPE = "application/problem+json"

_IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description=(
        "Makes a repeat safe: the same key and request get the first answer (with `Idempotency-Replayed: true`), "
        "another request under the key gets 422, and while the first still runs a repeat gets 409 with Retry-After."
    ),
)


CONVENTIONS = """
Credits and usage-based billing.

**Keys.** Send `Authorization: Bearer fl_…`. A key is platform-wide (yours) or bound to one account (your customer's),
and has scopes; each operation names the one it needs. What a key may not know of is a 404.

**Values.** Credits, quantities and money are decimal strings (`"12.5"`; JSON numbers are taken too): at most 18 digits
before the point and 6 after. Times are RFC 3339 with an offset. `{account}` is our id (`acc_…`) or your `external_id`.
Unknown fields and query parameters are refused.

**Ids** begin with their kind (`ivc_`, `grt_`) and never change. Those of a kind sort by when they were made, and say
nothing else: keep them as text.

**Errors** are `application/problem+json` (RFC 9457) with a stable `code`, listed at `/api/v1/problems`, and per-field
`errors`. Every answer names its request in `X-Request-Id`; you may send an id of your own.

**Repeats.** `POST`s that change something take an `Idempotency-Key` (1 to 255 visible ASCII characters, per API key).
The same key and request get the first answer for 48 hours; answers of 401, 403, 409, 429 and 5xx are not kept. While
the first request runs, a repeat is a 409 with `Retry-After`; a request that died frees its key after 60 seconds.
Charges and events are also told apart by their `id`, other acts by `reference`: those never run twice, however late.

**Lists** take `limit` (50, at most 500) and `cursor`; `next_cursor` is null on the last page.

**Limits.** Bodies have at most 8 MiB and 10,000 events, JSON nests at most 32 deep, and a key may make 120,000 requests
a minute; beyond that 413, 400 and 429 with `Retry-After`. The operator may have set other limits.
"""


def add_conventions(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Hook of drf-spectacular: describe what holds for every operation."""
    result["info"]["description"] = CONVENTIONS.strip()
    return result


class FieldProblem(Document):
    """What is wrong with one field or query parameter."""

    field = serializers.CharField(help_text="Dotted path, e.g. `tiers.0.price`; empty for the body as a whole.")
    code = serializers.CharField()
    detail = serializers.CharField()


@extend_schema_serializer(component_name="Problem")
class ProblemDocument(Document):
    """An RFC 9457 problem document. Further members depend on `code`."""

    type = serializers.CharField(help_text="Where the code is explained.")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField(help_text="Stable; see /api/v1/problems.")
    instance = serializers.CharField(help_text="This occurrence; the same id as the X-Request-Id header.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """`errors` is a name that serializers use themselves, so it cannot be declared above."""
        return {**super().get_fields(), "errors": FieldProblem(many=True, required=False)}


def refusals(*codes: str) -> dict[tuple[int, str], OpenApiResponse]:
    """Responses for `extend_schema`: the problems an operation may answer with, by status."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(KINDS[code].status, []).append(code)
    return {
        (status, PROBLEM_MEDIA_TYPE): OpenApiResponse(ProblemDocument, _description(status, of_status))
        for status, of_status in by_status.items()
    }


def _description(status: int, codes: Sequence[str]) -> str:
    return f"{HTTPStatus(status).phrase}: " + ", ".join(f"`{code}`" for code in codes)


class FlorinSchema(AutoSchema):
    """Adds the header of idempotent operations and the problems that any operation of its kind may answer with."""

    view: Any

    def get_override_parameters(self) -> list[Any]:
        """The Idempotency-Key header, where it counts."""
        given = list(super().get_override_parameters())
        return [*given, _IDEMPOTENCY_KEY] if self._is_idempotent() else given

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """The operation with its common problems."""
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        responses = operation["responses"]
        for (status, _), problem in refusals(*self._common_codes()).items():
            added = self._get_response_for_code(problem, str(status), [PROBLEM_MEDIA_TYPE])
            known = responses.setdefault(str(status), added)
            if known is not added:
                known["description"] += ", " + added["description"].partition(": ")[2]
        operation["responses"] = dict(sorted(responses.items()))
        return operation

    def _common_codes(self) -> list[str]:
        codes = ["internal_error"]
        if self.view.needs_key:
            codes += ["authentication_required", "invalid_key", "missing_scope", "too_many_requests"]
            if self.method in self.view.platform_only:
                codes.append("platform_key_required")
        if "{" in self.path:
            codes.append("not_found")
        if self.method in ("POST", "PATCH"):
            codes += ["invalid_request", "malformed_json", "payload_too_large", "unsupported_media_type"]
        elif self.get_override_parameters():
            codes.append("invalid_request")
        if self._is_idempotent():
            codes += ["invalid_idempotency_key", "idempotency_key_reused", "request_in_progress"]
        return codes

    def _is_idempotent(self) -> bool:
        return hasattr(getattr(self.view, self.method.lower(), None), "is_idempotent")


class BearerKeyScheme(OpenApiAuthenticationExtension):
    """How `BearerKey` is shown."""

    target_class = "billing.api.authentication.BearerKey"
    name = "key"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """HTTP bearer."""
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A key of Florin, `fl_…`. Each operation says which scope it needs.",
        }


class PublicIdSchema(OpenApiSerializerFieldExtension):
    """How `PublicId` is shown."""

    target_class = "billing.api.fields.PublicId"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        """A string with the prefix of its kind."""
        return {"type": "string", "pattern": f"^{self.target.prefix}_{ids.PATTERN}$"}
