"""`/charges`: spend now, if the credits are there."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.models import Scope
from billing.api.base import ApiView, account_name, actor, now_of_name, read_body
from billing.api.errors import Problem
from billing.api.fields import (
    Amount,
    Document,
    EventSource,
    Instant,
    Properties,
    PublicId,
    Reference,
    Strict,
    Text,
    write_decimal,
)
from billing.api.idempotency import idempotent
from billing.api.schema import refusals
from billing.ledger import refusal_notices
from billing.metering import ingest
from billing.metering.events import InvalidEvent


class NewCharge(Strict):
    """What to charge: usage of a meter, or bare credits."""

    id = Reference(
        max_length=200,
        required=True,
        help_text="Your id of the act, unique per account and source: repeating it charges nothing more.",
    )
    source = EventSource(  # type: ignore[assignment]
        help_text="Which of your systems gave the id; none if left out."
    )
    account = Text(max_length=100, help_text="Our id or your `external_id`.")
    meter = Text(max_length=60, required=False, help_text="Key of a meter; the account's rate card prices it.")
    quantity = Amount(required=False, help_text="Of the meter; 1 if left out.")
    properties = Properties(required=False, help_text="What rates may match, e.g. the model used.")
    credits = Amount(zero=False, required=False, help_text="Instead of a meter: how many credits.")
    pool = Text(max_length=60, required=False, help_text="Key of a pool; the main pool if left out.")
    member = PublicId(ids.MEMBER, required=False, help_text="Whose spend limit it counts against.")
    occurred_at = Instant(required=False, help_text="When it happened; now if left out.")
    note = Text(max_length=200, required=False, allow_blank=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Either usage or credits."""
        if ("meter" in attrs) == ("credits" in attrs):
            raise serializers.ValidationError({"credits": "Give either meter or credits."}, code="either_or")
        if "credits" in attrs and ("quantity" in attrs or "properties" in attrs):
            raise serializers.ValidationError({"credits": "Bare credits have no quantity."}, code="either_or")
        return attrs


class ChargeDocument(Document):
    """A charge that went through."""

    id = serializers.CharField()
    credits = Amount(help_text="What it cost.")
    available = Amount(help_text="What the pool has left.")
    posting = serializers.CharField(allow_null=True, help_text="null when it cost nothing.")
    duplicate = serializers.BooleanField(help_text="true: it had been charged before, this is the first result.")


class Charges(ApiView):
    """Charging."""

    scopes = {"POST": Scope.CHARGES_WRITE}

    @extend_schema(
        operation_id="create_charge",
        summary="Charge",
        tags=["Charges"],
        request=NewCharge,
        responses={
            200: ChargeDocument,
            **refusals(
                "insufficient_credits", "spend_limit", "not_found", "account_parked", "paused", "id_conflict",
                "unknown_meter", "unknown_pool", "unknown_member", "no_rate", "missing_property", "time_ahead",
                "time_too_old", "invalid_properties", "amount_too_large",
            ),
        },
        examples=[
            OpenApiExample(
                "Usage",
                request_only=True,
                value={
                    "id": "request-8271",
                    "account": "org-42",
                    "meter": "tokens",
                    "quantity": "1250",
                    "properties": {"model": "large"},
                },
            ),
            OpenApiExample(
                "Bare credits", request_only=True, value={"id": "job-77", "account": "org-42", "credits": "12.5"}
            ),
        ],
    )  # fmt: skip
    @idempotent
    def post(self, request: Request) -> Response:
        """Price and spend in one step, or refuse with 402 and spend nothing. Scope `charges:write`."""
        asked = read_body(request, NewCharge)
        name = account_name(request, asked["account"])
        now = now_of_name(name)
        occurred_at = asked.get("occurred_at")
        refuse_odd_time(occurred_at, now)
        charge = ingest.ChargeRequest(
            account=name,
            id=asked["id"],
            meter_key=asked.get("meter", ""),
            credits=asked.get("credits"),
            pool_key=asked.get("pool", ""),
            member=ids.encode(ids.MEMBER, asked["member"]) if "member" in asked else "",
            occurred_at=occurred_at,
            actor=actor(request),
            source=asked.get("source", ""),
            note=asked.get("note", ""),
            **{name: asked[name] for name in ("quantity", "properties") if name in asked},
        )
        try:
            with refusal_notices.told(now=now):
                done = ingest.charge(request=charge, now=now)
        except InvalidEvent as fault:
            if fault.code == "unknown_account":
                raise Problem("not_found") from None
            raise
        return Response(
            {
                "id": charge.id,
                "credits": write_decimal(done.credits),
                "available": write_decimal(done.available),
                "posting": ids.encode(ids.POSTING, done.posting_id) if done.posting_id else None,
                "duplicate": done.duplicate,
            }
        )


def refuse_odd_time(occurred_at: datetime | None, now: datetime) -> None:
    """A charge may be stated as late or early as an event, so that it cannot reach for credits of other times."""
    if occurred_at is None:
        return
    if occurred_at > now + timedelta(seconds=settings.FLORIN_EVENT_MAX_AHEAD_SECONDS):
        raise Problem("time_ahead")
    if occurred_at < now - timedelta(days=settings.FLORIN_EVENT_MAX_AGE_DAYS):
        raise Problem("time_too_old")
