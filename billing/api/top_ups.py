"""`/accounts/{account}/top-up-rules` and `/top-ups`: pools that buy credits by themselves, and what they bought."""

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.models import Scope
from billing.api.base import ApiView, get_account, get_pool, now_of, read_body, read_query
from billing.api.errors import Problem
from billing.api.fields import Amount, Document, Instant, PublicId, Strict, Text, Whole
from billing.api.idempotency import idempotent
from billing.api.pagination import PageQuery, newest_first, page_of
from billing.api.purchases import get_method, get_pack_id
from billing.api.schema import refusals
from billing.purchases import topups
from billing.purchases.models import TopUp, TopUpRule

TAGS = ["Automatic top-up"]


class NewRule(Strict):
    """When to buy, what, and how much of it a month at most."""

    pool = Text(max_length=60, required=False, help_text="Key of a pool; the main pool if left out.")
    threshold = Amount(zero=False, help_text="Buy when fewer credits are available; less than `credits`.")
    pack = Text(max_length=60, help_text="Key of an offer of this account.")
    credits = Amount(zero=False, help_text="How many to buy each time.")
    payment_method = PublicId(
        ids.PAYMENT_METHOD, required=False, allow_null=True, help_text="null: the account's default at the time."
    )
    max_count = Whole(min_value=1, max_value=1000, help_text="Top-ups a calendar month of the account's time zone.")
    max_money = Amount(zero=False, digits=14, decimals=3, help_text="Money a month, tax included.")


class RuleDocument(Document):
    """When a pool buys credits by itself."""

    pool = serializers.CharField(source="pool.key")
    is_active = serializers.BooleanField()
    threshold = Amount()
    pack = serializers.CharField(source="pack.key")
    credits = Amount()
    payment_method = PublicId(ids.PAYMENT_METHOD, source="method_id", allow_null=True)
    max_count = serializers.IntegerField()
    max_money = Amount()
    failures = serializers.IntegerField(help_text="Declines since the last success.")
    waits_until = Instant(allow_null=True, help_text="Until then the card that was declined is not tried again.")
    capped_until = Instant(allow_null=True, help_text="Until then the month's caps leave no room for another.")
    switched_off_at = Instant(allow_null=True, help_text="When it switched itself off.")
    switched_off_reason = serializers.CharField()
    changed_at = Instant()


class RulesDocument(Document):
    """The rules of an account's pools."""

    items = RuleDocument(many=True)


class TopUpRules(ApiView):
    """The rules of an account's pools."""

    scopes = {"GET": Scope.READ, "POST": Scope.PAYMENTS_WRITE}

    @extend_schema(
        operation_id="list_top_up_rules", summary="List top-up rules", tags=TAGS, responses={200: RulesDocument}
    )
    def get(self, request: Request, account: str) -> Response:
        """One rule at most for each pool. Scope `read`."""
        read_query(request, Strict)
        rules = TopUpRule.objects.select_related("pool", "pack").filter(pool__account=get_account(request, account))
        return Response({"items": RuleDocument(rules.order_by("pool_id"), many=True).data})

    @extend_schema(
        operation_id="save_top_up_rule",
        summary="Save a top-up rule",
        tags=TAGS,
        request=NewRule,
        responses={
            200: RuleDocument,
            **refusals(
                "unknown_pool",
                "unknown_payment_method",
                "pack_not_for_sale",
                "amount_not_offered",
                "threshold_too_high",
                "cap_too_low",
                "no_issuer",
                "tax_unavailable",
            ),
        },
        examples=[
            OpenApiExample(
                "Below 1,000 buy 10,000",
                request_only=True,
                value={
                    "threshold": "1000", "pack": "credits", "credits": "10000", "max_count": 3, "max_money": "4000",
                },
            )
        ],
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, account: str) -> Response:
        """Make or replace a pool's rule and switch it on; earlier failures are forgotten. Scope `payments:write`."""
        found = get_account(request, account)
        asked = read_body(request, NewRule)
        method_id = asked.get("payment_method")
        get_method(found, method_id)
        rule = topups.save_rule(
            account=found,
            pool_id=get_pool(found, asked.get("pool")).pk,
            threshold=asked["threshold"],
            pack_id=get_pack_id(found, asked["pack"]),
            credits=asked["credits"],
            method_id=method_id,
            max_count=asked["max_count"],
            max_money=asked["max_money"],
            now=now_of(found),
        )
        return Response(RuleDocument(rule).data)


class SwitchOffTopUp(ApiView):
    """Switching a rule off."""

    scopes = {"POST": Scope.PAYMENTS_WRITE}

    @extend_schema(
        operation_id="switch_off_top_up",
        summary="Switch a top-up rule off",
        tags=TAGS,
        request=None,
        responses={200: RuleDocument},
    )
    @idempotent
    def post(self, request: Request, account: str, pool: str) -> Response:
        """Let the pool buy nothing any more; a top-up under way goes on. Saving the rule switches it on again. Scope
        `payments:write`."""
        found = get_account(request, account)
        read_body(request, Strict)
        own = found.pools.filter(key=pool).first()
        if own is None:
            raise Problem("not_found")
        rule = topups.switch_off(account_id=found.pk, pool_id=own.pk, now=now_of(found))
        return Response(RuleDocument(rule).data)


class TopUpDocument(Document):
    """One automatic purchase."""

    id = PublicId(ids.TOP_UP, source="pk")
    pool = serializers.CharField(source="rule.pool.key")
    state = serializers.ChoiceField(TopUp.State.choices, help_text="`open`: its payment is under way.")
    invoice = PublicId(ids.INVOICE, source="invoice_id")
    total = Amount(source="invoice.total")
    currency = serializers.CharField(source="invoice.currency")
    created_at = Instant()
    finished_at = Instant(allow_null=True)


class TopUps(ApiView):
    """What an account's pools have bought by themselves."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="list_top_ups",
        summary="List top-ups",
        tags=TAGS,
        parameters=[PageQuery],
        responses={200: page_of(TopUpDocument, "TopUp"), **refusals("invalid_cursor")},
    )
    def get(self, request: Request, account: str) -> Response:
        """Top-ups of all the account's pools, newest first. Scope `read`."""
        query = read_query(request, PageQuery)
        rows = TopUp.objects.select_related("rule__pool", "invoice")
        page, next_cursor = newest_first(rows.filter(rule__pool__account=get_account(request, account)), query)
        return Response({"items": TopUpDocument(page, many=True).data, "next_cursor": next_cursor})
