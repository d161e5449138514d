"""`/subscriptions/{subscription}/...`: changing plan and seats, pausing, cancelling, and taking that back; coupons.

Each act is one domain call; what it leaves to be charged is charged at once, as far as the gateway answers.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.models import Scope
from billing.api.base import ApiView, actor, caller, now_of, read_body
from billing.api.errors import Problem
from billing.api.fields import Amount, Choice, Document, Flag, Instant, PublicId, Reference, Strict, Text, Whole
from billing.api.idempotency import idempotent
from billing.api.schema import refusals
from billing.api.subscription_documents import (
    MOST_SEATS,
    OF_MONEY,
    TAGS,
    PlanRefDocument,
    ScheduledChangeDocument,
    SubscriptionDocument,
    SubscriptionQuoteDocument,
    document_of,
    follow_up,
    get_subscription,
    one_plan,
    priced,
    reference_of,
    rows,
)
from billing.subscriptions.charges import coupons
from billing.subscriptions.lifecycle import changes, pause_cancel
from billing.subscriptions.models import Subscription

WHEN = [("now", "now"), ("period_end", "at the end of the period")]
OF_ANY_ACT = ("subscription_state", "renewal_due", "reference_conflict")

Act = TypeVar("Act", bound=Callable[..., object])


class Change(Strict):
    """What is to be different; what is left out stays."""

    plan = Text(max_length=60, required=False, help_text="`key` of a plan: its edition that is on sale.")
    plan_version = PublicId(ids.PLAN_VERSION, required=False, help_text="Instead of `plan`: the `id` of one edition.")
    seats = Whole(min_value=0, max_value=MOST_SEATS, required=False)
    currency = Text(max_length=3, required=False, help_text="Only to be sure: a subscription keeps its currency.")
    when = Choice(
        WHEN, required=False, help_text="If left out, what is dearer happens now, what is cheaper at the period's end."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Something must be asked for."""
        if not {"plan", "plan_version", "seats"} & attrs.keys():
            raise serializers.ValidationError("Give a plan, seats, or both.", code="required")
        return one_plan(attrs)


class ChangeBody(Change):
    """A change, and what it may cost."""

    expected_total = Amount(required=False, help_text="`total` of the preview: if it costs other than that, refuse.")
    reference = Reference(help_text="Your id of the act: repeating it changes nothing more.")


class ChangePreviewDocument(Document):
    """What a change would do now."""

    when = serializers.ChoiceField(WHEN)
    effective_at = Instant()
    period_ends_at = Instant(help_text="Of the period that runs after the change.")
    plan = PlanRefDocument(source="plan_version")
    seats = serializers.IntegerField()
    currency = serializers.CharField()
    total = Amount(help_text="What is to be paid today, tax included.")
    credit = Amount(help_text="Zero or negative: what is left to go back on later invoices.")
    credited = Amount(
        help_text="Given back by credit notes to earlier invoices, with the tax that was charged, where that is "
        "another now: it pays today's invoice first, then later ones."
    )
    credits_delta = Amount(help_text="Credits more or fewer; at the end of the period, of each grant from then on.")
    due_now = SubscriptionQuoteDocument(source="quote", allow_null=True, help_text="Today's invoice; null: none.")
    renewal = SubscriptionQuoteDocument(
        allow_null=True, help_text="The next whole period in advance; null: nothing is billed in advance."
    )
    after_coupons = SubscriptionQuoteDocument(
        allow_null=True,
        help_text="A whole period once every coupon that ends has ended; null: that is the same as `renewal`.",
    )
    withdraws = ScheduledChangeDocument(
        allow_null=True, help_text="The scheduled change that is withdrawn by this one; null: none waits."
    )


CHANGE_REFUSALS = (
    "plan_not_offered", "seats_not_offered", "currency_fixed", "nothing_to_change", "invoice_unpaid", "credits_used",
    "subscription_state", "renewal_due", *OF_MONEY,
)  # fmt: skip


class PreviewChange(ApiView):
    """What a change would cost."""

    scopes = {"POST": Scope.READ}

    @extend_schema(
        operation_id="preview_subscription_change",
        summary="Preview a change",
        tags=TAGS,
        request=Change,
        responses={200: ChangePreviewDocument, **refusals(*CHANGE_REFUSALS)},
    )
    def post(self, request: Request, subscription: str) -> Response:
        """What a change of plan or seats would do and cost now, to the cent, without effect. Scope `read`."""
        found, asked = get_subscription(request, subscription), read_body(request, Change)
        preview = priced(
            lambda: changes.preview(
                subscription_id=found.pk, by_staff=_is_platform(request), now=now_of(found.account), **_wanted(asked)
            )
        )
        return Response(ChangePreviewDocument(preview).data)


class ChangeSubscription(ApiView):
    """Changing plan or seats."""

    scopes = {"POST": Scope.PAYMENTS_WRITE}

    @extend_schema(
        operation_id="change_subscription",
        summary="Change plan or seats",
        tags=TAGS,
        request=ChangeBody,
        responses={200: SubscriptionDocument, **refusals(*CHANGE_REFUSALS, "total_changed", "reference_conflict")},
        examples=[OpenApiExample("Five seats", request_only=True, value={"seats": 5, "expected_total": "42.00"})],
    )
    @idempotent
    def post(self, request: Request, subscription: str) -> Response:
        """Change the plan, the number of seats, or both: now, billed by the day, or at the end of the period. With a
        key of the account, credits that come wait for the payment; a platform key may also name a plan that is not on
        offer to the account. Scope `payments:write`."""
        found, asked = get_subscription(request, subscription), read_body(request, ChangeBody)
        return _act(
            request,
            found,
            asked,
            changes.change,
            by_staff=_is_platform(request),
            expected_total=asked.get("expected_total"),
            **_wanted(asked),
        )


class ActBody(Strict):
    """Which act it is."""

    reference = Reference(help_text="Your id of the act: repeating it does nothing more.")


def documented(operation_id: str, summary: str, *codes: str, body: type[ActBody] = ActBody) -> Callable[[Act], Act]:
    """What the schema says of an act that answers with the subscription; `codes` are why it may be refused beside what
    refuses any act."""
    return extend_schema(
        operation_id=operation_id,
        summary=summary,
        tags=TAGS,
        request=body,
        responses={200: SubscriptionDocument, **refusals(*OF_ANY_ACT, *codes)},
    )


class PauseSubscription(ApiView):
    """Pausing."""

    scopes = {"POST": Scope.PAYMENTS_WRITE}

    @documented("pause_subscription", "Pause a subscription")
    @idempotent
    def post(self, request: Request, subscription: str) -> Response:
        """Let it rest: it does not renew, and what is paid can be used until the period ends. A `scheduled_change` is
        withdrawn. Scope `payments:write`."""
        return _act(request, get_subscription(request, subscription), read_body(request, ActBody), pause_cancel.pause)


class ResumeSubscription(ApiView):
    """Resuming."""

    scopes = {"POST": Scope.PAYMENTS_WRITE}

    @documented("resume_subscription", "Resume a subscription", *OF_MONEY)
    @idempotent
    def post(self, request: Request, subscription: str) -> Response:
        """Let a paused one go on: in its period, or if that is over with a new one from today. Scope
        `payments:write`."""
        return _act(request, get_subscription(request, subscription), read_body(request, ActBody), pause_cancel.resume)


class Cancellation(ActBody):
    """When it is to end, and why."""

    when = Choice(WHEN, default="period_end")
    reason = Text(max_length=200, required=False, allow_blank=True)
    gives_back = Flag(
        default=False, help_text="With `now`: credit and refund the days that are left; platform keys only."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """At the period's end nothing is left to give back."""
        if attrs["gives_back"] and attrs["when"] != "now":
            raise serializers.ValidationError({"gives_back": "Only what ends now has days left."}, code="invalid")
        return attrs


class CancelSubscription(ApiView):
    """Cancelling."""

    scopes = {"POST": Scope.PAYMENTS_WRITE}

    @documented("cancel_subscription", "Cancel a subscription", "platform_key_required", *OF_MONEY, body=Cancellation)
    @idempotent
    def post(self, request: Request, subscription: str) -> Response:
        """End it with its period, until which it can be reactivated, or now: then what is in arrears is invoiced. A
        `scheduled_change` is withdrawn. Scope `payments:write`."""
        found, asked = get_subscription(request, subscription), read_body(request, Cancellation)
        if asked["gives_back"] and not _is_platform(request):
            raise Problem("platform_key_required")
        return _act(
            request,
            found,
            asked,
            pause_cancel.cancel,
            when=asked["when"],
            reason=asked.get("reason", ""),
            gives_back=asked["gives_back"],
        )


class ReactivateSubscription(ApiView):
    """Taking a cancellation back."""

    scopes = {"POST": Scope.PAYMENTS_WRITE}

    @documented("reactivate_subscription", "Take a cancellation back")
    @idempotent
    def post(self, request: Request, subscription: str) -> Response:
        """Let a cancelled one renew again, before its period has ended. Scope `payments:write`."""
        return _act(
            request, get_subscription(request, subscription), read_body(request, ActBody), pause_cancel.reactivate
        )


class WithdrawChange(ApiView):
    """Withdrawing a scheduled change."""

    scopes = {"POST": Scope.PAYMENTS_WRITE}

    @documented("withdraw_subscription_change", "Withdraw a scheduled change", "nothing_scheduled")
    @idempotent
    def post(self, request: Request, subscription: str) -> Response:
        """Withdraw the change that waits for the end of the period. Scope `payments:write`."""
        return _act(
            request,
            get_subscription(request, subscription),
            read_body(request, ActBody),
            pause_cancel.withdraw_scheduled,
        )


class NewRedemption(ActBody):
    """Which coupon."""

    code = Text(max_length=40)


class SubscriptionCoupons(ApiView):
    """Redeeming coupons."""

    scopes = {"POST": Scope.PAYMENTS_WRITE}

    @documented("redeem_coupon", "Redeem a coupon", "coupon_refused", body=NewRedemption)
    @idempotent
    def post(self, request: Request, subscription: str) -> Response:
        """Give a subscription the discounts of a coupon, from its next invoice on. Scope `payments:write`."""
        found, asked = get_subscription(request, subscription), read_body(request, NewRedemption)
        with coupons.guess(account_id=found.account_id, code=asked["code"], now=now_of(found.account)):
            return _act(request, found, asked, pause_cancel.redeem, code=asked["code"])


def _act(
    request: Request, found: Subscription, asked: dict[str, Any], act: Callable[..., object], **more: object
) -> Response:
    """Do an act, let what it billed be collected, and show the subscription as it is then."""
    now = now_of(found.account)
    reference = reference_of(request, found.pk, asked)
    priced(lambda: act(subscription_id=found.pk, reference=reference, actor=actor(request), now=now, **more))
    follow_up(found.account, now)
    return Response(document_of(rows().get(pk=found.pk)))


def _wanted(asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "plan_version_id": asked.get("plan_version"),
        "plan_key": asked.get("plan"),
        "seats": asked.get("seats"),
        "when": asked.get("when"),
        "currency": asked.get("currency"),
    }


def _is_platform(request: Request) -> bool:
    return caller(request).account_id is None
