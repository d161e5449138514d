"""`/accounts/{account}/subscriptions` and `/subscriptions`: subscribing, what there is, what was done, what is next.

What subscribing leaves to be charged is charged at once, as far as the gateway answers.
"""

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts.models import Account, Scope
from billing.api import ids
from billing.api.base import ApiView, actor, caller, get_account, get_id, now_of, read_body, read_query
from billing.api.errors import Problem
from billing.api.fields import Amount, Choice, Document, Instant, PublicId, Reference, Strict, Text, Whole
from billing.api.idempotency import idempotent, ledger_reference
from billing.api.pagination import PageQuery, newest_first, page_of
from billing.api.purchases import get_method
from billing.api.schema import refusals
from billing.invoicing import engines
from billing.payments import collecting
from billing.subscriptions import coupons, standing, subscribing, upcoming
from billing.subscriptions.models import ScheduledChange, Subscription, SubscriptionChange

TAGS = ["Subscriptions"]
OF_MONEY = ("no_issuer", "tax_unavailable")
MOST_SEATS = 1_000_000
# How much of what follows from an act is seen to before the answer; a worker sees to the rest.
SOON = 5

# What an act's reference is made in, from its subscription or account and the caller's reference or Idempotency-Key.
_REFERENCES = uuid.UUID("b8f7a3de-5b1c-4d8e-9a51-0c9b7d1f3e64")


class QuoteLineDocument(Document):
    """A line as the invoice will have it: net amount, tax apart."""

    description = serializers.CharField(source="draft.description")
    quantity = Amount(source="draft.quantity")
    unit_price = Amount()
    amount = Amount(help_text="Money, before tax; negative for what goes back.")
    tax_name = serializers.CharField()
    tax_percent = Amount()
    tax_amount = Amount()
    starts_at = Instant(source="draft.starts_at", allow_null=True, help_text="What it is for begins.")
    ends_at = Instant(source="draft.ends_at", allow_null=True)


class SubscriptionQuoteDocument(Document):
    """An invoice before it is issued."""

    subtotal = Amount(help_text="Money, before tax.")
    tax_total = Amount()
    total = Amount(help_text="What is to be paid.")
    tax_note = serializers.CharField()
    lines = QuoteLineDocument(many=True)


class PlanRefDocument(Document):
    """Which plan, in which edition."""

    plan = serializers.CharField(source="plan.key")
    name = serializers.CharField(source="plan.name")
    plan_version = serializers.IntegerField(source="pk", help_text="As `/plans` has it in `id`.")
    interval = serializers.CharField()
    interval_count = serializers.IntegerField()


class ScheduledChangeDocument(Document):
    """A change that waits for the end of the period."""

    plan = PlanRefDocument(source="plan_version")
    seats = serializers.IntegerField()
    effective_at = Instant(source="subscription.period_ends_at")


class CouponDocument(Document):
    """A coupon that the subscription has."""

    code = serializers.CharField(source="coupon.code")
    name = serializers.CharField(source="coupon.name")
    percent = Amount(source="coupon.percent", allow_null=True)
    amount = Amount(source="coupon.amount", allow_null=True, help_text="Money of the subscription's currency.")
    periods_left = serializers.IntegerField(allow_null=True, help_text="Paid periods; null: for ever.")


class SubscriptionDocument(Document):
    """That an account has a plan, period after period."""

    id = PublicId(ids.SUBSCRIPTION, source="pk")
    account = PublicId(ids.ACCOUNT, source="account_id")
    state = serializers.ChoiceField(
        Subscription.State.choices,
        help_text="`incomplete`: its first invoice waits for payment, and so do its credits. `cancelled`: runs until "
        "`period_ends_at`. `paused`: does not renew.",
    )
    plan = PlanRefDocument(source="plan_version")
    currency = serializers.CharField()
    seats = serializers.IntegerField()
    collection = serializers.ChoiceField(Subscription.Collection.choices)
    payment_method = PublicId(
        ids.PAYMENT_METHOD, source="method_id", allow_null=True, help_text="null: the account's default at the time."
    )
    period_number = serializers.IntegerField(help_text="0 is the trial.")
    period_starts_at = Instant()
    period_ends_at = Instant()
    next_due_at = Instant(allow_null=True, help_text="When its period or month of credits ends; null: nothing comes.")
    started_at = Instant()
    trial_ends_at = Instant(allow_null=True)
    past_due_at = Instant(allow_null=True, help_text="Since when an invoice of it is overdue.")
    paused_at = Instant(allow_null=True)
    cancelled_at = Instant(allow_null=True)
    cancel_reason = serializers.CharField()
    ended_at = Instant(allow_null=True)
    scheduled_change = ScheduledChangeDocument(source="waiting", allow_null=True)
    coupons = CouponDocument(many=True, source="coupons_left")
    invoice = PublicId(ids.INVOICE, source="last_invoice_id", allow_null=True, help_text="The last one of it.")


class NewSubscription(Strict):
    """What to subscribe to."""

    plan = Text(max_length=60, required=False, help_text="`key` of a plan that is on sale to the account.")
    plan_version = Whole(
        min_value=1, max_value=ids.MAX_PK, required=False, help_text="Instead of `plan`: its `id`, as `/plans` has it."
    )
    seats = Whole(min_value=0, max_value=MOST_SEATS, default=0, help_text="At least those that the plan includes.")
    currency = Text(max_length=3, required=False, help_text="The account's if left out.")
    coupon = Text(max_length=40, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """It must be said which plan, in one way."""
        if not {"plan", "plan_version"} & attrs.keys():
            raise serializers.ValidationError({"plan": "Give a plan, or a plan_version."}, code="required")
        return one_plan(attrs)


class SubscribeBody(NewSubscription):
    """What to subscribe to, and how it is paid."""

    collection = Choice(
        Subscription.Collection.choices,
        default=Subscription.Collection.AUTOMATIC,
        help_text="`manual`: by bank transfer, on invoice; platform keys only.",
    )
    payment_method = PublicId(ids.PAYMENT_METHOD, required=False, help_text="The account's default if left out.")
    reference = Reference(help_text="Your id of the act: repeating it subscribes no second time.")


class SubscribePreviewDocument(Document):
    """What subscribing would do now."""

    plan = PlanRefDocument(source="terms.version")
    seats = serializers.IntegerField()
    currency = serializers.CharField(source="terms.currency")
    starts_at = Instant()
    ends_at = Instant()
    trial_ends_at = Instant(allow_null=True)
    credits = Amount(help_text="Of the first grant.")
    due_now = SubscriptionQuoteDocument(source="quote", allow_null=True, help_text="null: nothing is to be paid now.")
    price = SubscriptionQuoteDocument(allow_null=True, help_text="The first paid period; null: it is free.")


class AccountSubscriptions(ApiView):
    """The subscriptions of an account."""

    scopes = {"GET": Scope.READ, "POST": Scope.PAYMENTS_WRITE}

    @extend_schema(
        operation_id="list_subscriptions",
        summary="List subscriptions",
        tags=TAGS,
        parameters=[PageQuery],
        responses={200: page_of(SubscriptionDocument, "Subscription"), **refusals("invalid_cursor")},
    )
    def get(self, request: Request, account: str) -> Response:
        """The account's subscriptions, newest first: at most one that has not ended. Scope `read`."""
        query = read_query(request, PageQuery)
        page, next_cursor = newest_first(rows().filter(account=get_account(request, account)), query)
        items = [document_of(row) for row in page]
        return Response({"items": items, "next_cursor": next_cursor})

    @extend_schema(
        operation_id="create_subscription",
        summary="Subscribe",
        tags=TAGS,
        request=SubscribeBody,
        responses={
            201: SubscriptionDocument,
            **refusals(
                "already_subscribed", "plan_not_offered", "seats_not_offered", "coupon_refused",
                "unknown_payment_method", "platform_key_required", "reference_conflict", *OF_MONEY,
            ),
        },
        examples=[
            OpenApiExample(
                "Three seats by the default card",
                request_only=True,
                value={"plan": "team", "seats": 3, "reference": "signup-42"},
            )
        ],
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, account: str) -> Response:
        """Subscribe an account to a plan. 201 also while the first payment has not come: see `state`, and pay `invoice`
        if it stays open. Scope `payments:write`."""
        found, asked = get_account(request, account), read_body(request, SubscribeBody)
        if asked["collection"] == Subscription.Collection.MANUAL and caller(request).account_id is not None:
            raise Problem("platform_key_required")
        method_id = get_method(found, asked["payment_method"]).pk if "payment_method" in asked else None
        now = now_of(found)
        subscription = priced(
            lambda: subscribing.subscribe(
                account_id=found.pk,
                plan_version_id=asked.get("plan_version"),
                plan_key=asked.get("plan"),
                seats=asked["seats"],
                currency=asked.get("currency"),
                coupon_code=asked.get("coupon", ""),
                method_id=method_id,
                collection=asked["collection"],
                reference=reference_of(request, found.pk, asked),
                actor=actor(request),
                now=now,
            )
        )
        follow_up(found, now)
        return Response(document_of(rows().get(pk=subscription.pk)), status=201)


class PreviewSubscription(ApiView):
    """What subscribing would cost."""

    scopes = {"POST": Scope.READ}

    @extend_schema(
        operation_id="preview_subscription",
        summary="Preview subscribing",
        tags=TAGS,
        request=NewSubscription,
        responses={
            200: SubscribePreviewDocument,
            **refusals("plan_not_offered", "seats_not_offered", "coupon_refused", *OF_MONEY),
        },
    )
    def post(self, request: Request, account: str) -> Response:
        """What subscribing would do and cost now, without effect. Scope `read`."""
        found, asked = get_account(request, account), read_body(request, NewSubscription)
        preview = priced(
            lambda: subscribing.preview(
                account_id=found.pk,
                plan_version_id=asked.get("plan_version"),
                plan_key=asked.get("plan"),
                seats=asked["seats"],
                currency=asked.get("currency"),
                coupon_code=asked.get("coupon", ""),
                now=now_of(found),
            )
        )
        return Response(SubscribePreviewDocument(preview).data)


class OneSubscription(ApiView):
    """One subscription."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="get_subscription", summary="Read a subscription", tags=TAGS, responses={200: SubscriptionDocument}
    )
    def get(self, request: Request, subscription: str) -> Response:
        """One subscription. Scope `read`."""
        return Response(document_of(get_subscription(request, subscription)))


class NextInvoiceDocument(Document):
    """What will be billed next, as things stand."""

    at = Instant()
    plan = PlanRefDocument(source="plan_version")
    seats = serializers.IntegerField()
    starts_at = Instant(allow_null=True, help_text="Of the period billed in advance; null: only arrears are.")
    ends_at = Instant(allow_null=True)
    quote = SubscriptionQuoteDocument()


class NextInvoiceAnswer(Document):
    """The next invoice, if there will be one."""

    next_invoice = NextInvoiceDocument(allow_null=True)


class NextInvoice(ApiView):
    """The next invoice of a subscription."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="get_next_invoice",
        summary="Foretell the next invoice",
        tags=TAGS,
        responses={200: NextInvoiceAnswer, **refusals(*OF_MONEY)},
    )
    def get(self, request: Request, subscription: str) -> Response:
        """What will be billed next: fee, seats, overage so far, coupons and pending items; null where nothing will.
        Scope `read`."""
        found = get_subscription(request, subscription)
        told = priced(lambda: upcoming.find_next_invoice(subscription_id=found.pk, now=now_of(found.account)))
        return Response({"next_invoice": None if told is None else NextInvoiceDocument(told).data})


class HistoryDocument(Document):
    """One act on a subscription."""

    what = serializers.ChoiceField(SubscriptionChange.Act.choices, source="act")
    at = Instant()
    from_plan = PlanRefDocument(source="from_version", allow_null=True)
    to_plan = PlanRefDocument(source="to_version", allow_null=True)
    from_seats = serializers.IntegerField(allow_null=True)
    to_seats = serializers.IntegerField(allow_null=True)
    invoice = PublicId(ids.INVOICE, source="invoice_id", allow_null=True)


class SubscriptionHistory(ApiView):
    """What was done to a subscription."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="list_subscription_history",
        summary="List what was done to a subscription",
        tags=TAGS,
        parameters=[PageQuery],
        responses={200: page_of(HistoryDocument, "History"), **refusals("invalid_cursor")},
    )
    def get(self, request: Request, subscription: str) -> Response:
        """Its renewals, changes, pauses and so on, newest first. Scope `read`."""
        query = read_query(request, PageQuery)
        rows = get_subscription(request, subscription).changes.select_related("from_version__plan", "to_version__plan")
        page, next_cursor = newest_first(rows, query)
        return Response({"items": HistoryDocument(page, many=True).data, "next_cursor": next_cursor})


def one_plan(attrs: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, unless it names a plan in two ways."""
    if {"plan", "plan_version"} <= attrs.keys():
        raise serializers.ValidationError({"plan": "Give a plan or a plan_version, not both."}, code="invalid")
    return attrs


def rows() -> QuerySet[Subscription]:
    """All subscriptions, with what a document shows of other tables."""
    return Subscription.objects.select_related("account", "plan_version__plan")


def get_subscription(request: Request, text: str) -> Subscription:
    """The subscription of an id in a URL, if this key may know of it. Raises Problem `not_found`."""
    found = rows().filter(pk=get_id(ids.SUBSCRIPTION, text))
    own_id = caller(request).account_id
    if own_id is not None:
        found = found.filter(account_id=own_id)
    if (subscription := found.first()) is None:
        raise Problem("not_found")
    return subscription


def document_of(subscription: Subscription) -> dict[str, Any]:
    """A subscription as it is shown."""
    waiting = ScheduledChange.objects.filter(subscription=subscription, applied_at=None, withdrawn_at=None)
    billed = subscription.changes.exclude(invoice=None).order_by("-pk").values_list("invoice_id", flat=True)
    more = {
        "waiting": waiting.select_related("plan_version__plan", "subscription").first(),
        "coupons_left": coupons.active(subscription),
        "last_invoice_id": billed.first(),
    }
    for name, value in more.items():
        setattr(subscription, name, value)
    return SubscriptionDocument(subscription).data


def priced(act: Callable[[], Any]) -> Any:
    """Do what quotes or bills, once the tax engine has been asked. That happens in real time, whatever a clock says."""
    return engines.with_tax(act, now=timezone.now())


def follow_up(account: Account, now: datetime) -> None:
    """Let what an act billed be collected, and the subscription follow what becomes of it."""
    collecting.run_due(now=now, limit=SOON, account_id=account.pk)
    standing.follow_up(now=now, limit=SOON, account_id=account.pk)


def reference_of(request: Request, pk: int, asked: dict[str, Any]) -> str:
    """How the room knows an act on the subscription, or for the account, of this primary key."""
    return str(uuid.uuid5(_REFERENCES, f"{pk}\n{ledger_reference(request, asked.get('reference'))}"))
