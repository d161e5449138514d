"""`/events`: usage as it happens, one by one or in batches; and what has been reported."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts.models import Scope
from billing.api import ids
from billing.api.base import ApiView, actor, caller, get_account, read_body, read_query
from billing.api.errors import Problem
from billing.api.fields import Amount, Document, Instant, PublicId, Strict, Text, check_range, write_decimal
from billing.api.idempotency import idempotent
from billing.api.pagination import PageQuery, cut, page_of, read_cursor
from billing.api.parsing import StrictJSONParser
from billing.api.schema import refusals
from billing.metering import ingest, reversal, usage

TAGS = ["Events"]
MAX_EVENT_ID = 200
FOR_EVER = timedelta(days=36_500)


class CloudEventParser(StrictJSONParser):
    """One CloudEvent in the structured mode."""

    media_type = "application/cloudevents+json"


class CloudEventBatchParser(StrictJSONParser):
    """CloudEvents in the batched mode."""

    media_type = "application/cloudevents-batch+json"


class EventResultDocument(Document):
    """What became of one event."""

    id = serializers.CharField()
    status = serializers.ChoiceField(["accepted", "duplicate", "conflict", "rejected"])
    credits = Amount(help_text="What it cost; of a duplicate, what the first cost.")
    late = serializers.BooleanField(help_text="It happened in a closed period and is charged to the current one.")
    posting = serializers.CharField(allow_null=True)
    code = serializers.CharField(required=False, help_text="Why it was not taken.")
    detail = serializers.CharField(required=False)
    field = serializers.CharField(required=False)


class BatchDocument(Document):
    """What became of the events, in their order."""

    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    conflicts = serializers.IntegerField()
    rejected = serializers.IntegerField(help_text="Kept, and replayed once the cause is mended.")
    results = EventResultDocument(many=True)
    balances = serializers.DictField(child=Amount(), help_text="Credits available afterwards, by external_id.")


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

        Events are facts: they are stored, rated and posted even when the credits do not suffice, and an id counts once
        per account, for ever. A batch answers 200 with a result per event. A lone event that is rejected answers 422
        with the code of the rejection; it is kept for replay all the same. Scope `usage:write`.
        """
        events, is_lone = read_events(request)
        key = caller(request)
        done = ingest.take_events(
            events=events,
            now=timezone.now(),
            account_id=key.account_id,
            account_name=key.account.external_id if key.account else "",
            api_key_id=key.pk,
            actor=actor(request),
        )
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
        "status": result.status,
        "credits": write_decimal(result.credits),
        "late": result.late,
        "posting": f"pst_{result.posting_id}" if result.posting_id else None,
    }
    if result.code:
        document |= {"code": result.code, "detail": result.detail, "field": result.field}
    return document


class EventDocument(Document):
    """A stored event."""

    id = serializers.CharField(source="event.event_id")
    meter = serializers.CharField(source="event.meter.key")
    pool = serializers.CharField(source="event.pool.key")
    member = PublicId(ids.MEMBER, source="event.member_id", allow_null=True)
    quantity = Amount(source="event.quantity", help_text="As reported.")
    counted = Amount(
        source="event.counted", help_text="What it counts for: 1 for a counting meter, 0 or 1 for a unique one."
    )
    properties = serializers.DictField(source="event.properties")
    occurred_at = Instant(source="event.occurred_at")
    received_at = Instant(source="event.received_at")
    late = serializers.BooleanField(source="event.late")
    credits = Amount(source="event.credits")
    posting = PublicId(ids.POSTING, source="event.posting_id", allow_null=True)
    reversed_at = Instant(allow_null=True, help_text="When its credits were given back.")


class EventQuery(PageQuery):
    """Filters of the list."""

    meter = serializers.CharField(required=False, max_length=60)
    member = PublicId(ids.MEMBER, required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """`from` is a word of Python, so it cannot be declared above."""
        return {
            **super().get_fields(),
            "from": Instant(required=False, help_text="Happened at or after this moment."),
            "to": Instant(required=False, help_text="Happened before this moment."),
        }

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The range must not be upside down."""
        return check_range(attrs)


class AccountEvents(ApiView):
    """The events of an account."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="list_events",
        summary="List events",
        tags=TAGS,
        parameters=[EventQuery],
        responses={200: page_of(EventDocument, "Event"), **refusals("invalid_cursor")},
    )
    def get(self, request: Request, account: str) -> Response:
        """Events of an account in the order they arrived, newest first. Scope `read`."""
        query = read_query(request, EventQuery)
        found = get_account(request, account)
        moment, event_id = read_cursor(query["cursor"], [datetime, str]) if "cursor" in query else (None, "")
        rows = usage.list_events(
            account_id=found.pk,
            now=timezone.now(),
            limit=query["limit"] + 1,
            before=(moment, event_id) if moment else None,
            window=FOR_EVER,
            meter_key=query.get("meter", ""),
            member_id=query.get("member"),
            occurred_from=query.get("from"),
            occurred_to=query.get("to"),
        )
        page, next_cursor = cut(rows, query["limit"], lambda row: [row.event.received_at, row.event.event_id])
        return Response({"items": EventDocument(page, many=True).data, "next_cursor": next_cursor})


class EventUndo(Strict):
    """Which event is undone, and why."""

    account = Text(max_length=100, help_text="Our id or your `external_id`: event ids are unique per account.")
    reason = Text(max_length=200, required=False, allow_blank=True)


class ReversalDocument(Document):
    """That an event's credits were given back."""

    id = serializers.CharField(source="event_id")
    account = PublicId(ids.ACCOUNT, source="account_id")
    credits = Amount(help_text="What was given back.")
    posting = PublicId(ids.POSTING, source="posting_id", allow_null=True, help_text="null when it had cost nothing.")
    reason = serializers.CharField()
    created_at = Instant()


class ReverseEvent(ApiView):
    """Undoing an event."""

    scopes = {"POST": Scope.CREDITS_WRITE}
    platform_only = frozenset({"POST"})

    @extend_schema(
        operation_id="reverse_event",
        summary="Reverse an event",
        tags=TAGS,
        request=EventUndo,
        responses={201: ReversalDocument, **refusals("already_reversed", "reading_settled")},
    )
    @idempotent
    def post(self, request: Request, event_id: str) -> Response:
        """Give an event's credits back to the lots they came from, and take it out of the totals, once. The event
        stays, as a fact. Scope `credits:write`, platform keys only."""
        asked = read_body(request, EventUndo)
        account = get_account(request, asked["account"])
        if not event_id.isprintable() or len(event_id) > MAX_EVENT_ID:
            raise Problem("not_found")
        done = reversal.reverse_event(
            account_id=account.pk,
            event_id=event_id,
            reason=asked.get("reason", ""),
            actor=actor(request),
            now=timezone.now(),
        )
        return Response(ReversalDocument(done).data, status=201)
