"""`/accounts/{account}/events` and undoing one: usage that has been reported."""

from datetime import datetime, timedelta
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.models import Scope
from billing.api.base import ApiView, actor, get_account, now_of, read_body, read_query
from billing.api.errors import Problem
from billing.api.fields import Amount, Document, EventSource, Instant, PublicId, Strict, Text, check_range
from billing.api.idempotency import idempotent
from billing.api.pagination import PageQuery, cut, page_of, read_cursor
from billing.api.schema import refusals
from billing.metering import reversal, usage

TAGS = ["Events"]
MAX_EVENT_ID = 200
NO_SUCH_EVENT = "The account has no event of this id and source. One that came with a source is named by both."
FOR_EVER = timedelta(days=36_500)


class EventDocument(Document):
    """A stored event."""

    id = serializers.CharField(source="event.event_id")
    source = serializers.CharField(  # type: ignore[assignment]
        source="event.source", help_text="Which system gave the id; empty if it was not stated."
    )
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
    late = serializers.BooleanField(
        source="event.late", help_text="It came after the grace of its period, and counts in the period it came in."
    )
    period_starts_at = Instant(source="event.period_starts_at", help_text="Start of the period that its rate counts.")
    credits = Amount(source="event.credits")
    posting = PublicId(ids.POSTING, source="event.posting_id", allow_null=True)
    reversed_at = Instant(allow_null=True, help_text="When its credits were given back.")


class EventQuery(PageQuery):
    """Filters of the list."""

    meter = Text(required=False, max_length=60)
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
        before = read_cursor(query["cursor"], [datetime, str, str]) if "cursor" in query else None
        rows = usage.list_events(
            account_id=found.pk,
            now=now_of(found),
            limit=query["limit"] + 1,
            before=None if before is None else (before[0], before[1], before[2]),
            window=FOR_EVER,
            meter_key=query.get("meter", ""),
            member_id=query.get("member"),
            occurred_from=query.get("from"),
            occurred_to=query.get("to"),
        )
        page, next_cursor = cut(rows, query["limit"], _position)
        return Response({"items": EventDocument(page, many=True).data, "next_cursor": next_cursor})


def _position(row: usage.ListedEvent) -> list[Any]:
    return [row.event.received_at, row.event.event_id, row.event.source]


class EventUndo(Strict):
    """Which event is undone, and why."""

    account = Text(max_length=100, help_text="Our id or your `external_id`: event ids are unique per account.")
    source = EventSource(  # type: ignore[assignment]
        allow_blank=True, help_text="The event's source, which is part of its identity; leave it out if it had none."
    )
    reason = Text(max_length=200, required=False, allow_blank=True)


class ReversalDocument(Document):
    """That an event's credits were given back."""

    id = serializers.CharField(source="event_id")
    source = serializers.CharField()  # type: ignore[assignment]
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
        """Give an event's credits back to the lots they came from, and take it out of the totals, once.

        The event stays, as a fact. One that came with a `source`, as CloudEvents do, is named by its id and its source.
        Scope `credits:write`, platform keys only.
        """
        asked = read_body(request, EventUndo)
        account = get_account(request, asked["account"])
        if not event_id.isprintable() or len(event_id) > MAX_EVENT_ID:
            raise Problem("not_found")
        try:
            done = reversal.reverse_event(
                account_id=account.pk,
                event_id=event_id,
                source=asked.get("source", ""),
                reason=asked.get("reason", ""),
                actor=actor(request),
                now=now_of(account),
            )
        except reversal.EventNotFound:
            raise Problem("not_found", NO_SUCH_EVENT) from None
        return Response(ReversalDocument(done).data, status=201)
