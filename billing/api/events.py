"""`/events`: usage as it happens, one by one or in batches."""

from django.conf import settings
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.models import Scope
from billing.api.base import ApiView, actor, caller
from billing.api.errors import Problem
from billing.api.fields import Amount, Document, write_decimal
from billing.api.idempotency import idempotent
from billing.api.parsing import StrictJSONParser
from billing.api.schema import refusals
from billing.metering import ingest

TAGS = ["Events"]


class CloudEventParser(StrictJSONParser):
    """One CloudEvent in the structured mode."""

    media_type = "application/cloudevents+json"


class CloudEventBatchParser(StrictJSONParser):
    """CloudEvents in the batched mode."""

    media_type = "application/cloudevents-batch+json"


class EventResultDocument(Document):
    """What became of one event."""

    id = serializers.CharField()
    source = serializers.CharField(  # type: ignore[assignment]
        help_text="Which system gave the id; empty if it was not stated."
    )
    status = serializers.ChoiceField(["accepted", "duplicate", "conflict", "rejected"])
    credits = Amount(help_text="What it cost; of a duplicate, what the first cost.")
    late = serializers.BooleanField(help_text="It came after the grace of its period, and counts in the current one.")
    posting = serializers.CharField(allow_null=True)
    code = serializers.CharField(required=False, help_text="Why it was not taken.")
    detail = serializers.CharField(required=False)
    field = serializers.CharField(required=False)


class BatchDocument(Document):
    """What became of the events, in their order."""

    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    conflicts = serializers.IntegerField()
    rejected = serializers.IntegerField(help_text="Kept, and replayed once the cause is fixed.")
    results = EventResultDocument(many=True)
    balances = serializers.DictField(
        child=Amount(),
        help_text="Credits available in the account's main pool afterwards, by the id that the events named it by.",
    )


_FLAT_EVENT = {
    "id": "evt-1",
    "account": "org-42",
    "meter": "tokens",
    "quantity": 1250,
    "properties": {"model": "large"},
    "occurred_at": "2026-03-01T12:00:00Z",
}
_CLOUD_EVENT = {
    "specversion": "1.0",
    "id": "evt-1",
    "source": "/gateway",
    "type": "tokens",
    "subject": "org-42",
    "time": "2026-03-01T12:00:00Z",
    "data": {"quantity": 1250, "properties": {"model": "large"}},
}


class Events(ApiView):
    """Reporting usage."""

    scopes = {"POST": Scope.USAGE_WRITE}
    parser_classes = [StrictJSONParser, CloudEventParser, CloudEventBatchParser]

    @extend_schema(
        operation_id="report_events",
        summary="Report usage",
        tags=TAGS,
        request={
            "application/json": OpenApiTypes.ANY,
            "application/cloudevents+json": OpenApiTypes.OBJECT,
            "application/cloudevents-batch+json": {"type": "array", "items": {"type": "object"}},
        },
        responses={
            200: BatchDocument,
            **refusals(
                "id_conflict", "invalid_event", "unknown_field", "missing_field", "invalid_field", "invalid_quantity",
                "invalid_properties", "missing_property", "invalid_time", "time_ahead", "time_too_old",
                "unknown_account", "unknown_meter", "unknown_pool", "unknown_member", "no_rate", "amount_too_large",
            ),
        },
        examples=[
            OpenApiExample("One event", request_only=True, value=_FLAT_EVENT),
            OpenApiExample("A batch", request_only=True, value=[_FLAT_EVENT]),
            OpenApiExample(
                "A CloudEvent", request_only=True, value=_CLOUD_EVENT, media_type="application/cloudevents+json"
            ),
        ],
    )  # fmt: skip
    @idempotent
    def post(self, request: Request) -> Response:
        """Report one event (an object) or up to 10,000 (a list), in the flat form or as CloudEvents 1.0.

        Events are facts: they are stored, rated and posted even when the credits do not suffice. An id counts once per
        account and `source`, permanently: two systems may use the same ids if each names its own source, as CloudEvents
        must and the flat form may. A batch answers 200 with a result per event. A lone event that is rejected answers
        422 with the code of the rejection; it is kept for replay all the same. Scope `usage:write`.
        """
        events, is_lone = read_events(request)
        key = caller(request)
        done = ingest.take_events_in_their_time(
            events=events, now=timezone.now(), account_id=key.account_id, api_key_id=key.pk, actor=actor(request),
            account_name=key.account.external_id if key.account else "",
        )  # fmt: skip
        if is_lone:
            refuse_lone(done.results[0])
        return Response(
            {
                "accepted": done.accepted,
                "duplicates": done.duplicates,
                "conflicts": done.conflicts,
                "rejected": done.rejected,
                "results": [result_document(result) for result in done.results],
                "balances": {name: write_decimal(available) for name, available in done.balances.items()},
            }
        )


def read_events(request: Request) -> tuple[list[object], bool]:
    """The events of a body, and whether it is a lone one. Raises ValidationError or Problem `payload_too_large`."""
    body = request.data
    if isinstance(body, dict) and body:
        if isinstance(body.get("async"), bool):
            # Every answer means stored, rated and posted, so there is nothing to choose.
            del body["async"]
        return [body], True
    if not isinstance(body, list) or not body:
        raise serializers.ValidationError("Send one event as an object, or a list of events.", code="invalid")
    if len(body) > settings.FLORIN_MAX_BATCH:
        raise Problem("payload_too_large", max_events=settings.FLORIN_MAX_BATCH)
    return body, False


def refuse_lone(result: ingest.EventResult) -> None:
    """Raise the problem of an event that was not taken."""
    if result.status == "conflict":
        raise Problem("id_conflict")
    if result.status == "rejected":
        raise Problem(result.code, result.detail, errors=[(result.field, result.code, result.detail)])


def result_document(result: ingest.EventResult) -> dict[str, object]:
    """A result as JSON, written by hand: batches have thousands."""
    document: dict[str, object] = {
        "id": result.id,
        "source": result.source,
        "status": result.status,
        "credits": write_decimal(result.credits),
        "late": result.late,
        "posting": ids.encode(ids.POSTING, result.posting_id) if result.posting_id else None,
    }
    if result.code:
        document |= {"code": result.code, "detail": result.detail, "field": result.field}
    return document
