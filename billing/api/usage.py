"""`/accounts/{account}/usage`: totals of what was used."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.models import Scope
from billing.api.base import ApiView, get_account, read_query
from billing.api.fields import Amount, Day, Document, PublicId, Strict, Text, check_range
from billing.metering import usage

MAX_DAYS = 1100
GROUPINGS = frozenset({"day", "meter", "member"})


class UsageQuery(Strict):
    """Which days, and how to group."""

    group_by = Text(
        default="day,meter", allow_blank=True, max_length=40, help_text="Any of day, meter, member, with commas."
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """`from` is a word of Python, so it cannot be declared above."""
        return {
            "from": Day(help_text="First day, in the account's time zone."),
            "to": Day(help_text=f"Day after the last; at most {MAX_DAYS} days later."),
            **super().get_fields(),
        }

    def validate_group_by(self, value: str) -> set[str]:
        """The names, each known."""
        names = set(value.split(",")) if value else set()
        if names - GROUPINGS:
            raise serializers.ValidationError("Use day, meter and member, with commas.", code="invalid_choice")
        return names

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The range must not be upside down, nor endless."""
        return check_range(attrs, most_days=MAX_DAYS)


class UsageDocument(Document):
    """Totals of one group; what it is not grouped by is null."""

    day = Day(allow_null=True)
    meter = serializers.CharField(source="meter_key", allow_null=True)
    member = PublicId(ids.MEMBER, source="member_id", allow_null=True, help_text="null also for usage by no member.")
    quantity = Amount(allow_null=True, help_text="null unless grouped by meter: units of different meters do not add.")
    credits = Amount(help_text="Net of reversals.")
    events = serializers.IntegerField()


class UsagesDocument(Document):
    """Totals."""

    items = UsageDocument(many=True)


class AccountUsage(ApiView):
    """Totals of what an account has used."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="get_usage",
        summary="Read usage",
        tags=["Events"],
        parameters=[UsageQuery],
        responses={200: UsagesDocument},
    )
    def get(self, request: Request, account: str) -> Response:
        """Totals by day, meter and member, by when usage happened. Scope `read`."""
        query = read_query(request, UsageQuery)
        found = get_account(request, account)
        rows = usage.list_usage(
            account_id=found.pk, from_on=query["from"], to_on=query["to"], group_by=query["group_by"]
        )
        return Response({"items": UsageDocument(rows, many=True).data})
