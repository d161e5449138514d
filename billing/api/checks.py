"""`/checks` and `/estimates`: asking before doing. Neither has any effect."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import clocks, ids
from billing.accounts.models import Scope
from billing.api.base import ApiView, account_name, caller, now_of_name, read_body
from billing.api.charges import refuse_odd_time
from billing.api.errors import Problem
from billing.api.fields import Amount, Document, Instant, Properties, PublicId, Strict, Text, write_decimal
from billing.api.schema import refusals
from billing.metering import checks, estimates
from billing.metering.events import InvalidEvent
from billing.metering.quotes import Asked

TAGS = ["Charges"]
MAX_ACCOUNTS = MAX_LINES = 100


class Line(Strict):
    """Usage of a meter."""

    meter = Text(max_length=60)
    quantity = Amount(required=False, help_text="1 if left out.")
    properties = Properties(required=False, help_text="What rates may match.")


class CheckedLine(Line):
    """Usage of a meter, or bare credits."""

    meter = Text(max_length=60, required=False)
    credits = Amount(zero=False, required=False, help_text="Instead of a meter.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Either usage or credits."""
        if ("meter" in attrs) == ("credits" in attrs):
            raise serializers.ValidationError({"credits": "Give either meter or credits."}, code="either_or")
        return attrs


class NewCheck(Strict):
    """Who asks for what. Each line is judged by itself, for each account."""

    accounts = serializers.ListField(
        child=Text(max_length=100),
        min_length=1,
        max_length=MAX_ACCOUNTS,
        required=False,
        help_text="Our ids or your `external_id`s; a key bound to an account may leave them out.",
    )
    lines = serializers.ListField(child=CheckedLine(), min_length=1, max_length=MAX_LINES)
    pool = Text(max_length=60, required=False, help_text="Key of a pool; the main pools if left out.")
    member = PublicId(ids.MEMBER, required=False, help_text="Whose spend limit counts.")


class VerdictDocument(Document):
    """Whether one line would go through for one account."""

    account = serializers.CharField(help_text="As asked.")
    line = serializers.IntegerField(help_text="Counted from 0.")
    allowed = serializers.BooleanField()
    reason = serializers.CharField(
        allow_null=True, help_text="`insufficient_credits`, `spend_limit`, `paused`, `unknown_meter` and so on."
    )
    detail = serializers.CharField()
    available = Amount(allow_null=True, help_text="Credits on lots; the pool's policy may allow more.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """`required` is a name that fields use themselves, so it cannot be declared above."""
        return {**super().get_fields(), "required": Amount(allow_null=True, help_text="Credits.")}


class VerdictsDocument(Document):
    """Verdicts, account by account."""

    results = VerdictDocument(many=True)


class Checks(ApiView):
    """Would it go through?"""

    scopes = {"POST": Scope.READ}

    @extend_schema(
        operation_id="check_charges",
        summary="Check charges",
        tags=TAGS,
        request=NewCheck,
        responses={200: VerdictsDocument, **refusals("not_found", "invalid_properties")},
        examples=[
            OpenApiExample(
                "Before a request",
                request_only=True,
                value={"accounts": ["org-42"], "lines": [{"meter": "tokens", "quantity": "2000"}]},
            )
        ],
    )
    def post(self, request: Request) -> Response:
        """Whether charges would go through, for up to 100 accounts x 100 lines. Nothing is reserved: a charge may
        still be refused. An unknown account is a verdict, not an error. Scope `read`."""
        asked = read_body(request, NewCheck)
        own = caller(request).account
        accounts = [account_name(request, name) for name in asked.get("accounts", ())]
        if not accounts and own is None:
            raise serializers.ValidationError({"accounts": "This field is required."}, code="required")
        names, verdicts = accounts or [own.external_id if own else ""], []
        # Accounts on test clocks are asked about each in its own time.
        times = clocks.times_of_names(names)
        for now, some in _by_time(names, times):
            verdicts += checks.check(
                accounts=some,
                lines=[Asked(**line) for line in asked["lines"]],
                pool=asked.get("pool", ""),
                member=ids.encode(ids.MEMBER, asked["member"]) if "member" in asked else "",
                now=now,
            )
        return Response({"results": [verdict_document(verdict) for verdict in verdicts]})


def _by_time(names: list[str], times: Mapping[str, datetime]) -> Iterator[tuple[datetime, list[str]]]:
    """The names in their order, in runs of the same time."""
    real = timezone.now()
    for now, run in groupby(names, key=lambda name: times.get(name, real)):
        yield now, list(run)


def verdict_document(verdict: checks.Verdict) -> dict[str, object]:
    """A verdict as JSON, written by hand: there may be 10,000."""
    return {
        "account": verdict.account,
        "line": verdict.line,
        "allowed": verdict.allowed,
        "reason": verdict.reason or None,
        "detail": verdict.detail,
        "required": None if verdict.required is None else write_decimal(verdict.required),
        "available": None if verdict.available is None else write_decimal(verdict.available),
    }


class NewEstimate(Strict):
    """Usage to price."""

    account = Text(max_length=100, help_text="Our id or your `external_id`.")
    lines = serializers.ListField(child=Line(), min_length=1, max_length=MAX_LINES)
    occurred_at = Instant(required=False, help_text="When it would happen; now if left out.")


class LineEstimateDocument(Document):
    """What one line would cost after the lines before it."""

    meter = serializers.CharField()
    quantity = Amount()
    credits = Amount()


class EstimateDocument(Document):
    """What the lines would cost together."""

    credits = Amount()
    available = Amount(help_text="What the main pool has now.")
    lines = LineEstimateDocument(many=True)


class Estimates(ApiView):
    """What would it cost?"""

    scopes = {"POST": Scope.READ}

    @extend_schema(
        operation_id="estimate_usage",
        summary="Estimate usage",
        tags=TAGS,
        request=NewEstimate,
        responses={
            200: EstimateDocument,
            **refusals(
                "not_found", "unknown_meter", "no_rate", "invalid_properties", "time_ahead", "time_too_old",
                "amount_too_large",
            ),
        },
        examples=[
            OpenApiExample(
                "A month's worth",
                request_only=True,
                value={"account": "org-42", "lines": [{"meter": "tokens", "quantity": "5000000"}]},
            )
        ],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Price quantities for an account, on top of what its period has used already. Scope `read`."""
        asked = read_body(request, NewEstimate)
        name = account_name(request, asked["account"])
        now = now_of_name(name)
        occurred_at = asked.get("occurred_at")
        refuse_odd_time(occurred_at, now)
        try:
            estimate = estimates.estimate(
                account=name,
                lines=[Asked(**line) for line in asked["lines"]],
                occurred_at=occurred_at,
                now=now,
            )
        except InvalidEvent as fault:
            if fault.code == "unknown_account":
                raise Problem("not_found") from None
            raise
        return Response(EstimateDocument(estimate).data)
