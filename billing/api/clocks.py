"""`/accounts/{account}/test-clock`: an account whose time one moves oneself, to watch months of billing in minutes."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts.models import Account, Scope, TestClock
from billing.api.base import ApiView, get_account, now_of, read_body
from billing.api.fields import Document, Instant, Strict
from billing.api.idempotency import idempotent
from billing.api.schema import refusals
from billing.clock import advancing

TAGS = ["Test clocks"]
# Well within the lease of an idempotency key; a longer way is gone on with by a worker.
ANSWER_WITHIN_SECONDS = 20


class NewTime(Strict):
    """Where the clock begins, and where it is to be moved to."""

    starts_at = Instant(
        required=False,
        help_text="For an account on no clock yet, which then stays on it; the real time if left out.",
    )
    advance_to = Instant(required=False, help_text="Not before the time that the clock shows.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One of them at least."""
        if not attrs:
            raise serializers.ValidationError({"advance_to": "This field is required."}, code="required")
        return attrs


class ClockDocument(Document):
    """How a clock stands."""

    now = serializers.SerializerMethodField(help_text="What time it is for the account.")
    state = serializers.SerializerMethodField(
        help_text="`ready`, `moving` towards `advance_to` (ask again), `stopped` on the way by `problem`, or "
        "`real` for an account that is on no clock."
    )
    advance_to = Instant(source="target_at", allow_null=True)
    problem = serializers.CharField()
    created_at = Instant(allow_null=True)

    @extend_schema_field(Instant())
    def get_now(self, clock: TestClock) -> Any:
        """The account's time."""
        return Instant().to_representation(now_of(clock.account))

    def get_state(self, clock: TestClock) -> str:
        """ready, moving, stopped or real."""
        if clock._state.adding:
            return "real"
        if clock.problem:
            return "stopped"
        return "moving" if clock.target_at is not None else "ready"


class AccountClock(ApiView):
    """The test clock of an account."""

    scopes = {"GET": Scope.READ, "POST": Scope.ACCOUNTS_WRITE}
    platform_only = frozenset({"POST"})

    @extend_schema(
        operation_id="get_test_clock", summary="Read a test clock", tags=TAGS, responses={200: ClockDocument}
    )
    def get(self, request: Request, account: str) -> Response:
        """How the account's clock stands. Scope `read`."""
        return Response(ClockDocument(_get_clock(get_account(request, account))).data)

    @extend_schema(
        operation_id="move_test_clock",
        summary="Put an account on a test clock, or move it",
        tags=TAGS,
        request=NewTime,
        responses={
            200: ClockDocument,
            **refusals(
                "no_sandbox",
                "account_invoiced",
                "test_clock_exists",
                "test_clock_behind",
                "test_clock_moving",
                "test_clock_too_far",
            ),
        },
        examples=[
            OpenApiExample("A month on", request_only=True, value={"advance_to": "2027-02-28T00:00:00Z"}),
            OpenApiExample("From the start of 2027", request_only=True, value={"starts_at": "2027-01-01T00:00:00Z"}),
        ],
    )
    @idempotent
    def post(self, request: Request, account: str) -> Response:
        """Everything that is due for the account up to `advance_to` is done, in order and in its time: renewals,
        payments of the sandbox, dunning, expiry. Nobody is mailed. What has not been done after 20 seconds goes on by
        itself (`state` is `moving`). An account that has been put on a clock stays on it, and everything one does with
        it happens at that time. It is a test account: it has invoice numbers of its own, and is left out of books,
        figures and queues. Scope `accounts:write`, platform keys only.
        """
        found, asked = get_account(request, account), read_body(request, NewTime)
        if found.clock_at is None or "starts_at" in asked:
            now = timezone.now()
            advancing.open_clock(account_id=found.pk, starts_at=asked.get("starts_at", now), now=now)
        if "advance_to" in asked:
            advancing.advance(
                account_id=found.pk,
                to=asked["advance_to"],
                seconds=ANSWER_WITHIN_SECONDS,
                read_clock=timezone.now,
            )
        return Response(ClockDocument(_get_clock(found)).data)


def _get_clock(account: Account) -> TestClock:
    """The account's clock, or one that is not stored for an account in real time."""
    clock = TestClock.objects.select_related("account").filter(account=account).first()
    return clock or TestClock(account=account)
