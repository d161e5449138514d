"""`/holds`: credits reserved for work whose cost is known only afterwards."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.models import Scope
from billing.api.base import (
    ApiView,
    actor,
    caller,
    find_member_id,
    find_meter_id,
    get_account,
    get_id,
    get_pool,
    now_of,
    read_body,
    read_query,
)
from billing.api.entries import PostingDocument
from billing.api.errors import Problem
from billing.api.fields import (
    Amount,
    Choice,
    Document,
    Flag,
    Instant,
    Properties,
    PublicId,
    Reference,
    Strict,
    Text,
    Whole,
    write_decimal,
)
from billing.api.idempotency import act_fingerprint, idempotent, ledger_reference
from billing.api.pagination import PageQuery, newest_first, page_of
from billing.api.schema import refusals
from billing.ledger import holds, refusal_notices
from billing.ledger.models import Hold, Posting
from billing.metering import holds as metered_holds
from billing.metering.quotes import Asked

TAGS = ["Holds"]


class NewHold(Strict):
    """Credits to reserve, or usage of a meter whose estimated price is."""

    account = Text(max_length=100, help_text="Our id or your `external_id`.")
    amount = Amount(zero=False, required=False, help_text="Credits; with a `quantity` its estimated price if left out.")
    pool = Text(max_length=60, required=False, help_text="Key of a pool; the main pool if left out.")
    meter = Text(max_length=60, required=False, help_text="What for; lots that only this meter may use count too.")
    quantity = Amount(
        required=False, help_text="Of the meter, as far as you can tell now. Captures then record what was really used."
    )
    properties = Properties(required=False, help_text="Of the usage: what rates may match, e.g. the model used.")
    member = PublicId(ids.MEMBER, required=False, help_text="Whose spend limit the captures count against.")
    expires_in_seconds = Whole(
        required=False, min_value=1, max_value=holds.MAX_SECONDS, help_text="An hour if left out; 24 hours at most."
    )
    note = Text(max_length=200, required=False, allow_blank=True)
    reference = Reference(help_text="Your id of the act: repeating it holds nothing more.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """An amount, or a quantity of a meter."""
        if not {"amount", "quantity"} & attrs.keys():
            raise serializers.ValidationError({"amount": "Give an amount, or a meter and a quantity."}, code="required")
        if "quantity" in attrs and "meter" not in attrs:
            raise serializers.ValidationError({"meter": "A quantity is of a meter."}, code="required")
        if "properties" in attrs and "quantity" not in attrs:
            raise serializers.ValidationError({"quantity": "Properties are those of a quantity."}, code="required")
        return attrs


class HoldDocument(Document):
    """A hold."""

    id = PublicId(ids.HOLD, source="pk")
    account = PublicId(ids.ACCOUNT, source="pool.account_id")
    pool = serializers.CharField(source="pool.key")
    state = serializers.ChoiceField(Hold.State.choices)
    amount = Amount(help_text="What was reserved.")
    captured = Amount()
    meter = serializers.CharField(source="meter.key", default=None, allow_null=True)
    quantity = Amount(allow_null=True, help_text="What the work is expected to use; null: the hold is of credits.")
    properties = serializers.SerializerMethodField()
    member = PublicId(ids.MEMBER, source="member_id", allow_null=True)
    reference = serializers.CharField()
    note = serializers.CharField()
    created_at = Instant()
    expires_at = Instant()
    closed_at = Instant(allow_null=True)

    @extend_schema_field(serializers.DictField())
    def get_properties(self, hold: Hold) -> Any:
        """Those of the usage."""
        return json.loads(hold.properties)


class HoldQuery(PageQuery):
    """Filters of the list."""

    account = Text(required=False, max_length=100, help_text="Our id or your `external_id`.")
    state = Choice(Hold.State.choices, required=False)


class Holds(ApiView):
    """Holds of all accounts; a key bound to one sees just that."""

    scopes = {"GET": Scope.READ, "POST": Scope.CHARGES_WRITE}

    @extend_schema(
        operation_id="list_holds",
        summary="List holds",
        tags=TAGS,
        parameters=[HoldQuery],
        responses={200: page_of(HoldDocument, "Hold"), **refusals("invalid_cursor", "not_found")},
    )
    def get(self, request: Request) -> Response:
        """Holds, newest first. Scope `read`."""
        query = read_query(request, HoldQuery)
        rows = Hold.objects.select_related("pool__account", "meter")
        account_id = get_account(request, query["account"]).pk if "account" in query else caller(request).account_id
        if account_id is not None:
            rows = rows.filter(pool__account_id=account_id)
        if "state" in query:
            rows = rows.filter(state=query["state"])
        page, next_cursor = newest_first(rows, query)
        return Response({"items": HoldDocument(page, many=True).data, "next_cursor": next_cursor})

    @extend_schema(
        operation_id="create_hold",
        summary="Hold credits",
        tags=TAGS,
        request=NewHold,
        responses={
            201: HoldDocument,
            **refusals(
                "insufficient_credits",
                "spend_limit",
                "not_found",
                "account_parked",
                "paused",
                "reference_conflict",
                "unknown_pool",
                "unknown_meter",
                "unknown_member",
                "no_rate",
                "missing_property",
                "invalid_properties",
                "amount_too_large",
            ),
        },
        examples=[
            OpenApiExample(
                "Before a long job",
                request_only=True,
                value={"account": "org-42", "amount": "250", "expires_in_seconds": 1800, "reference": "job-7"},
            ),
            OpenApiExample(
                "Usage of a meter",
                request_only=True,
                value={
                    "account": "org-42", "meter": "tokens", "quantity": "5000", "properties": {"model": "large"},
                    "reference": "job-8",
                },
            ),
        ],
    )  # fmt: skip
    @idempotent
    def post(self, request: Request) -> Response:
        """Reserve credits now, to be captured or released later: an `amount`, or what a `quantity` of a meter is
        estimated to cost. Scope `charges:write`."""
        asked = read_body(request, NewHold)
        account = get_account(request, asked["account"])
        given: dict[str, Any] = {
            name: asked[name] for name in ("amount", "expires_in_seconds", "note") if name in asked
        }
        now = now_of(account)
        given |= {
            "pool_id": get_pool(account, asked.get("pool")).pk,
            "member_id": find_member_id(account, asked.get("member")),
            "reference": ledger_reference(request, asked.get("reference")),
            "fingerprint": act_fingerprint("hold", asked),
            "now": now,
        }
        with refusal_notices.told(now=now):
            if "quantity" in asked:
                usage = Asked(asked["meter"], asked["quantity"], asked.get("properties", {}))
                hold = metered_holds.place(account=account, usage=usage, **given)
            else:
                hold = holds.place(meter_id=find_meter_id(asked.get("meter")), **given)
        return Response(HoldDocument(hold).data, status=201)


class OneHold(ApiView):
    """One hold."""

    scopes = {"GET": Scope.READ}

    @extend_schema(operation_id="get_hold", summary="Read a hold", tags=TAGS, responses={200: HoldDocument})
    def get(self, request: Request, hold: str) -> Response:
        """One hold. Scope `read`."""
        return Response(HoldDocument(get_hold(request, hold)).data)


class Capture(Strict):
    """What the work cost, or used."""

    amount = Amount(
        required=False,
        help_text="Credits, up to the hold, and beyond it as far as a charge could go; 0 just closes the hold. Needed "
        "unless the hold has a `quantity`.",
    )
    quantity = Amount(
        required=False, help_text="Of the hold's meter: what was really used, priced now; the hold's if left out."
    )
    properties = Properties(required=False, help_text="Of the usage; the hold's if left out.")
    final = Flag(default=True, help_text="false: the rest stays reserved, and further captures may follow.")
    note = Text(max_length=200, required=False, allow_blank=True)
    reference = Reference(
        help_text="Your id of the act: repeating it captures nothing more. Of usage it is the event's id."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Credits or usage."""
        if "amount" in attrs and {"quantity", "properties"} & attrs.keys():
            raise serializers.ValidationError({"amount": "Give either an amount or a quantity."}, code="either_or")
        return attrs


class CapturedDocument(Document):
    """The hold, and the spend."""

    hold = HoldDocument()
    posting = PostingDocument(allow_null=True, help_text="null when it cost nothing.")
    event = serializers.CharField(allow_null=True, help_text="Id of the usage event; null when credits were captured.")
    credits = Amount(help_text="What was spent.")


class CaptureHold(ApiView):
    """Spending what was held."""

    scopes = {"POST": Scope.CHARGES_WRITE}

    @extend_schema(
        operation_id="capture_hold",
        summary="Capture a hold",
        tags=TAGS,
        request=Capture,
        responses={
            200: CapturedDocument,
            **refusals(
                "insufficient_credits", "spend_limit", "hold_closed", "account_parked", "paused", "id_conflict",
                "unknown_meter", "no_rate", "missing_property", "invalid_properties", "amount_too_large",
            ),
        },
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, hold: str) -> Response:
        """Spend credits of a hold, from the lots that were good when it was placed. For a hold with a `quantity` that
        is the price of what was really used, which is recorded as a usage event. Scope `charges:write`."""
        found, asked = get_hold(request, hold), read_body(request, Capture)
        is_usage = bool({"quantity", "properties"} & asked.keys()) or found.quantity is not None
        now = now_of(found.pool.account)
        with refusal_notices.told(now=now):
            if is_usage and "amount" not in asked:
                return _capture_usage(request, found, asked, now=now)
            return _capture_credits(request, found, asked, now=now)


def _capture_credits(request: Request, hold: Hold, asked: dict[str, Any], *, now: datetime) -> Response:
    if "amount" not in asked:
        raise serializers.ValidationError({"amount": "This field is required."}, code="required")
    if hold.quantity is not None and asked["amount"]:
        text = "The hold is for usage: give the quantity that was used."
        raise serializers.ValidationError({"amount": text}, code="either_or")
    # Without a name of its own, the one final capture of a hold is safe to repeat.
    named = "reference" in asked or not asked["final"]
    captured, posting = holds.capture(
        hold_id=hold.pk,
        amount=asked["amount"],
        final=asked["final"],
        note=asked.get("note", ""),
        reference=ledger_reference(request, asked.get("reference")) if named else None,
        actor=actor(request),
        now=now,
    )
    return _captured(captured, posting, event=None, credits=asked["amount"])


def _capture_usage(request: Request, hold: Hold, asked: dict[str, Any], *, now: datetime) -> Response:
    if hold.meter is None:
        text = "The hold is for no meter: give an amount of credits."
        raise serializers.ValidationError({"quantity": text}, code="either_or")
    own_id = ids.encode(ids.HOLD, hold.pk) if asked["final"] else ledger_reference(request, None)
    done = metered_holds.capture(
        hold_id=hold.pk,
        quantity=asked.get("quantity"),
        properties=asked.get("properties"),
        event_id=asked.get("reference", own_id),
        final=asked["final"],
        note=asked.get("note", ""),
        actor=actor(request),
        now=now,
    )
    return _captured(done.hold, done.posting, event=done.event_id, credits=done.credits)


def _captured(hold: Hold, posting: Posting | None, *, event: str | None, credits: Decimal) -> Response:
    told = PostingDocument(posting).data if posting else None
    return Response(
        {"hold": HoldDocument(hold).data, "posting": told, "event": event, "credits": write_decimal(credits)}
    )


class ReleaseHold(ApiView):
    """Giving back what is held."""

    scopes = {"POST": Scope.CHARGES_WRITE}

    @extend_schema(
        operation_id="release_hold",
        summary="Release a hold",
        tags=TAGS,
        request=None,
        responses={200: HoldDocument, **refusals("hold_closed")},
    )
    @idempotent
    def post(self, request: Request, hold: str) -> Response:
        """Give back all that is still reserved. Scope `charges:write`."""
        found = get_hold(request, hold)
        read_body(request, Strict)
        return Response(HoldDocument(holds.release(hold_id=found.pk, now=now_of(found.pool.account))).data)


class Extension(Strict):
    """How long the hold shall last."""

    expires_in_seconds = Whole(min_value=1, max_value=holds.MAX_SECONDS, help_text="From now; 24 hours at most.")


class ExtendHold(ApiView):
    """Letting a hold last."""

    scopes = {"POST": Scope.CHARGES_WRITE}

    @extend_schema(
        operation_id="extend_hold",
        summary="Extend a hold",
        tags=TAGS,
        request=Extension,
        responses={200: HoldDocument, **refusals("hold_closed")},
    )
    @idempotent
    def post(self, request: Request, hold: str) -> Response:
        """Let an open hold last longer, or less long. Scope `charges:write`."""
        found = get_hold(request, hold)
        asked = read_body(request, Extension)
        return Response(HoldDocument(holds.extend(hold_id=found.pk, now=now_of(found.pool.account), **asked)).data)


def get_hold(request: Request, reference: str) -> Hold:
    """The hold of a URL, if the key may know of it. Raises Problem `not_found`."""
    found = Hold.objects.select_related("pool__account", "meter").filter(pk=get_id(ids.HOLD, reference))
    own_id = caller(request).account_id
    if own_id is not None:
        found = found.filter(pool__account_id=own_id)
    hold = found.first()
    if hold is None:
        raise Problem("not_found")
    return hold
