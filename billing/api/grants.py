"""`/accounts/{account}/grants`: lots of credits, giving and taking back."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.fields import validate_currency
from billing.accounts.models import Scope
from billing.api.base import (
    ApiView,
    actor,
    find_meter_id,
    get_account,
    get_id,
    get_pool,
    now_of,
    now_of_id,
    read_body,
    read_query,
)
from billing.api.entries import PostingDocument
from billing.api.fields import Amount, Choice, Document, Instant, PublicId, Reference, Strict, Text, Whole
from billing.api.idempotency import act_fingerprint, idempotent, ledger_reference
from billing.api.pagination import PageQuery, newest_first, page_of
from billing.api.schema import refusals
from billing.ledger import posting
from billing.ledger.models import CreditGrant, GrantKind

TAGS = ["Grants"]

# These kinds are made by acts of the ledger itself.
DERIVED = frozenset({"overage", "overdraft", "transfer", "rollover"})
GRANTABLE = [choice for choice in GrantKind.choices if choice[0] not in DERIVED]


class NewGrant(Strict):
    """Credits to give."""

    amount = Amount(zero=False)
    kind = Choice(GRANTABLE, help_text="Why they are given.")
    pool = Text(max_length=60, required=False, help_text="Key of a pool; the main pool if left out.")
    priority = Whole(required=False, min_value=-1000, max_value=1000, help_text="Lower burns first; 50 if left out.")
    effective_at = Instant(required=False, help_text="From when they may be spent; now if left out.")
    expires_at = Instant(required=False, allow_null=True, help_text="Until when (exclusive); null: no end.")
    cost_basis = Amount(
        digits=12, decimals=12, required=False, help_text="Money paid per credit; 0 (promotional) if left out."
    )
    currency = Text(
        max_length=3,
        required=False,
        validators=[validate_currency],
        help_text="Of the cost; by default the account's.",
    )
    meter = Text(max_length=60, required=False, help_text="Only this meter may use them.")
    note = Text(max_length=200, required=False, allow_blank=True)
    reference = Reference(help_text="Your id of the act: repeating it gives nothing more.")


class GrantDocument(Document):
    """A lot of credits; granted = spent - reversed + expired + revoked + transferred + remaining."""

    id = PublicId(ids.GRANT, source="pk")
    pool = serializers.CharField(source="pool.key")
    kind = serializers.ChoiceField(GrantKind.choices)
    amount = Amount()
    remaining = Amount()
    held = Amount(help_text="Reserved by open holds, part of `remaining`.")
    spent = Amount()
    reversed = Amount()
    expired = Amount()
    revoked = Amount()
    transferred = Amount()
    is_open = serializers.BooleanField()
    priority = serializers.IntegerField()
    effective_at = Instant()
    expires_at = Instant(allow_null=True)
    cost_basis = Amount()
    currency = serializers.CharField()
    meter = serializers.CharField(source="meter.key", default=None, allow_null=True)
    note = serializers.CharField()
    created_at = Instant()


class GrantQuery(PageQuery):
    """Filters of the list."""

    pool = Text(required=False, max_length=60, help_text="Key of a pool; all pools if left out.")
    kind = Choice(GrantKind.choices, required=False)
    state = Choice([("open", "open"), ("closed", "closed")], required=False)


class AccountGrants(ApiView):
    """The lots of an account."""

    scopes = {"GET": Scope.READ, "POST": Scope.CREDITS_WRITE}
    platform_only = frozenset({"POST"})

    @extend_schema(
        operation_id="list_grants",
        summary="List grants",
        tags=TAGS,
        parameters=[GrantQuery],
        responses={200: page_of(GrantDocument, "Grant"), **refusals("invalid_cursor", "unknown_pool")},
    )
    def get(self, request: Request, account: str) -> Response:
        """The account's lots, newest first. Scope `read`."""
        query = read_query(request, GrantQuery)
        found = get_account(request, account)
        own = [get_pool(found, query["pool"])] if "pool" in query else list(found.pools.all())
        rows = CreditGrant.objects.filter(pool__in=own).select_related("pool", "meter")
        if "kind" in query:
            rows = rows.filter(kind=query["kind"])
        if "state" in query:
            rows = rows.filter(is_open=query["state"] == "open")
        page, next_cursor = newest_first(rows, query)
        return Response({"items": GrantDocument(page, many=True).data, "next_cursor": next_cursor})

    @extend_schema(
        operation_id="create_grant",
        summary="Grant credits",
        tags=TAGS,
        request=NewGrant,
        responses={
            201: GrantDocument,
            **refusals("unknown_pool", "unknown_meter", "reference_conflict", "amount_too_large"),
        },
        examples=[
            OpenApiExample(
                "Welcome credits",
                request_only=True,
                value={
                    "amount": "1000",
                    "kind": "bonus",
                    "expires_at": "2027-01-01T00:00:00Z",
                    "reference": "welcome-org-42",
                },
            )
        ],
    )
    @idempotent
    def post(self, request: Request, account: str) -> Response:
        """Give credits; what is owed as overdraft is repaid from them. Scope `credits:write`, platform keys only."""
        found = get_account(request, account)
        now = now_of(found)
        asked = read_body(request, NewGrant)
        refuse_empty_validity(asked, now)
        given = {
            name: asked[name]
            for name in ("amount", "kind", "priority", "effective_at", "expires_at", "cost_basis", "currency", "note")
            if name in asked
        }
        done = posting.grant(
            pool_id=get_pool(found, asked.get("pool")).pk,
            meter_id=find_meter_id(asked.get("meter")),
            reference=ledger_reference(request, asked.get("reference")),
            fingerprint=act_fingerprint("grant", asked),
            actor=actor(request),
            now=now,
            **given,
        )
        lot = CreditGrant.objects.select_related("pool", "meter").get(entries__posting=done, entries__flow="grant")
        return Response(GrantDocument(lot).data, status=201)


def refuse_empty_validity(asked: dict[str, Any], now: datetime) -> None:
    """Raise ValidationError when credits would end before they begin."""
    ends = asked.get("expires_at")
    if ends is not None and ends <= asked.get("effective_at", now):
        raise serializers.ValidationError({"expires_at": "Must be after effective_at, or now."}, code="range")


class Revocation(Strict):
    """What to take back."""

    amount = Amount(zero=False, required=False, help_text="All that is free if left out.")
    note = Text(max_length=200, required=False, allow_blank=True)
    reference = Reference(help_text="Your id of the act: repeating it takes nothing more.")


class RevokeGrant(ApiView):
    """Taking back what a lot has left."""

    scopes = {"POST": Scope.CREDITS_WRITE}
    platform_only = frozenset({"POST"})

    @extend_schema(
        operation_id="revoke_grant",
        summary="Revoke a grant",
        tags=TAGS,
        request=Revocation,
        responses={201: PostingDocument, **refusals("not_enough_left")},
    )
    @idempotent
    def post(self, request: Request, grant: str) -> Response:
        """Take back credits that are neither spent nor held. Scope `credits:write`, platform keys only."""
        pk = get_id(ids.GRANT, grant)
        asked = read_body(request, Revocation)
        account_id = CreditGrant.objects.filter(pk=pk).values_list("pool__account_id", flat=True).first()
        done = posting.revoke(
            grant_id=pk,
            amount=asked.get("amount"),
            note=asked.get("note", ""),
            reference=ledger_reference(request, asked.get("reference")),
            actor=actor(request),
            now=now_of_id(account_id),
        )
        return Response(PostingDocument(done).data, status=201)
