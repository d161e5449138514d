"""`/accounts/{account}/contract-terms`: what was agreed with an account instead of a plan's terms."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import clocks, ids
from billing.accounts.fields import validate_currency
from billing.accounts.models import Scope
from billing.api.base import ApiView, actor, get_account, read_body, read_query
from billing.api.catalog import PlanTierDocument
from billing.api.fields import Amount, Document, Instant, PublicId, Strict, Text, Whole
from billing.api.idempotency import idempotent
from billing.api.pagination import PageQuery, newest_first, page_of
from billing.api.schema import refusals
from billing.catalog.models import Plan
from billing.subscriptions.agreement import contracts

TAGS = ["Subscriptions"]


class ContractTermsDocument(Document):
    """Agreed terms of one plan, whatever its version; null leaves the plan's. Money is of `currency`, before tax, or
    with tax included where the plan's own prices include it."""

    id = PublicId(ids.CONTRACT_TERMS, source="pk")
    plan = serializers.CharField(source="plan.key")
    currency = serializers.CharField()
    starts_at = Instant(help_text="For periods that begin from then on.")
    ends_at = Instant(allow_null=True)
    fee = Amount(allow_null=True)
    seat_price = Amount(allow_null=True)
    minimum = Amount(allow_null=True)
    included_credits = Amount(allow_null=True)
    seats_included = serializers.IntegerField(allow_null=True)
    overage_tiers = PlanTierDocument(many=True, allow_null=True)
    discount_percent = Amount(allow_null=True, help_text="Off fee and seats.")
    note = serializers.CharField()
    created_at = Instant()


class NewTier(Strict):
    """One tier of an overage price."""

    up_to = Amount(zero=False, allow_null=True, help_text="Credits of overage in a period; null: no end.")
    price = Amount(digits=12, decimals=12, help_text="Money per `overage_unit` credits of the plan.")


class NewContractTerms(Strict):
    """What is agreed; what is left out stays the plan's."""

    plan = Text(max_length=60, help_text="Key of the plan that they are for. Other plans cost the list price.")
    currency = Text(
        max_length=3,
        validators=[validate_currency],
        required=False,
        help_text="Of the subscriptions that they are for; the account's if left out.",
    )
    starts_at = Instant(required=False, help_text="Now if left out, or if it has passed.")
    ends_at = Instant(required=False)
    fee = Amount(digits=14, decimals=3, required=False)
    seat_price = Amount(digits=14, decimals=3, required=False)
    minimum = Amount(digits=14, decimals=3, required=False)
    included_credits = Amount(required=False)
    seats_included = Whole(min_value=0, max_value=1_000_000, required=False)
    overage_tiers = NewTier(many=True, required=False)
    discount_percent = Amount(digits=3, decimals=3, required=False)
    note = Text(max_length=200, required=False, allow_blank=True)


class AccountContractTerms(ApiView):
    """The contract terms of an account."""

    scopes = {"GET": Scope.READ, "POST": Scope.ACCOUNTS_WRITE}
    platform_only = frozenset({"POST"})

    @extend_schema(
        operation_id="list_contract_terms",
        summary="List contract terms",
        tags=TAGS,
        parameters=[PageQuery],
        responses={200: page_of(ContractTermsDocument, "ContractTerms"), **refusals("invalid_cursor")},
    )
    def get(self, request: Request, account: str) -> Response:
        """All terms ever agreed with the account, newest first. Scope `read`."""
        query = read_query(request, PageQuery)
        rows = contracts.list_terms(get_account(request, account).pk).select_related("plan").order_by()
        page, next_cursor = newest_first(rows, query)
        return Response({"items": ContractTermsDocument(page, many=True).data, "next_cursor": next_cursor})

    @extend_schema(
        operation_id="create_contract_terms",
        summary="Agree contract terms",
        tags=TAGS,
        request=NewContractTerms,
        responses={201: ContractTermsDocument, **refusals("terms_overlap")},
    )
    @idempotent
    def post(self, request: Request, account: str) -> Response:
        """Agree terms of a plan for periods that begin in their time; the period that runs keeps its own. Terms of that
        plan without an end that began before give way. Scope `accounts:write`, platform keys only."""
        found, asked = get_account(request, account), read_body(request, NewContractTerms)
        now = clocks.time_of(found, timezone.now())
        plan = Plan.objects.filter(key=asked.pop("plan")).first()
        if plan is None:
            raise contracts.TermsInvalid("plan", "There is no such plan.")
        terms = contracts.agree(
            account_id=found.pk,
            starts_at=asked.pop("starts_at", now),
            ends_at=asked.pop("ends_at", None),
            note=asked.pop("note", ""),
            agreed=contracts.Agreed(plan.pk, asked.pop("currency", found.currency), **_plain(asked)),
            actor=actor(request),
            now=now,
        )
        return Response(ContractTermsDocument(terms).data, status=201)


def _plain(asked: dict[str, Any]) -> dict[str, Any]:
    """Tiers as the database keeps them: decimal strings."""
    if "overage_tiers" in asked:
        asked["overage_tiers"] = [
            {"up_to": None if tier["up_to"] is None else f"{tier['up_to']:f}", "price": f"{tier['price']:f}"}
            for tier in asked["overage_tiers"]
        ]
    return asked
