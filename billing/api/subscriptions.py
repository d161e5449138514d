"""`/accounts/{account}/subscriptions` and `/subscriptions`: subscribing, what there is, what was done, what is next.

What subscribing leaves to be charged is charged at once, as far as the gateway answers.
"""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.models import Scope
from billing.api.base import ApiView, actor, caller, get_account, now_of, read_body, read_query
from billing.api.errors import Problem
from billing.api.fields import Amount, Choice, Document, Instant, PublicId, Reference, Strict, Text, Whole
from billing.api.idempotency import idempotent
from billing.api.pagination import PageQuery, newest_first, page_of
from billing.api.purchases import get_method
from billing.api.schema import refusals
from billing.api.subscription_documents import (
    MOST_SEATS,
    MOST_TERMS_DAYS,
    OF_MONEY,
    TAGS,
    PlanRefDocument,
    SubscriptionDocument,
    SubscriptionQuoteDocument,
    document_of,
    documents_of,
    follow_up,
    get_subscription,
    one_plan,
    priced,
    reference_of,
    rows,
)
from billing.subscriptions.charges import coupons
from billing.subscriptions.lifecycle import subscribing
from billing.subscriptions.models import Subscription, SubscriptionChange
from billing.subscriptions.renewal import next_invoice


class NewSubscription(Strict):
    """What to subscribe to."""

    plan = Text(max_length=60, required=False, help_text="`key` of a plan that is on sale to the account.")
    plan_version = PublicId(
        ids.PLAN_VERSION, required=False, help_text="Instead of `plan`: its `id`, as `/plans` has it."
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
    payment_terms_days = Whole(
        min_value=0,
        max_value=MOST_TERMS_DAYS,
        required=False,
        help_text="With `manual`: days to pay each invoice. The issuer's if left out.",
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
    price = SubscriptionQuoteDocument(
        allow_null=True, help_text="The first paid period in advance; null: nothing is billed in advance."
    )
    after_coupons = SubscriptionQuoteDocument(
        allow_null=True, help_text="A period once the coupon has ended; null: the same as `price`."
    )


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
        items = documents_of(page)
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
        coupon = asked.get("coupon", "")
        with coupons.guess(account_id=found.pk, code=coupon, now=now):
            subscription = priced(
                lambda: subscribing.subscribe(
                    account_id=found.pk,
                    plan_version_id=asked.get("plan_version"),
                    plan_key=asked.get("plan"),
                    seats=asked["seats"],
                    currency=asked.get("currency"),
                    coupon_code=coupon,
                    method_id=method_id,
                    collection=asked["collection"],
                    payment_terms_days=asked.get("payment_terms_days"),
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
            **refusals("already_subscribed", "plan_not_offered", "seats_not_offered", "coupon_refused", *OF_MONEY),
        },
    )
    def post(self, request: Request, account: str) -> Response:
        """What subscribing would do and cost now, without effect. Scope `read`."""
        found, asked = get_account(request, account), read_body(request, NewSubscription)
        coupon, now = asked.get("coupon", ""), now_of(found)
        with coupons.guess(account_id=found.pk, code=coupon, now=now):
            preview = priced(
                lambda: subscribing.preview(
                    account_id=found.pk,
                    plan_version_id=asked.get("plan_version"),
                    plan_key=asked.get("plan"),
                    seats=asked["seats"],
                    currency=asked.get("currency"),
                    coupon_code=coupon,
                    now=now,
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
    from_balance = Amount(help_text="What the account's invoice balance pays of it.")
    due = Amount(help_text="What is left to be paid, tax included.")


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
        told = priced(lambda: next_invoice.find_next_invoice(subscription_id=found.pk, now=now_of(found.account)))
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
