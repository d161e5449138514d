"""`/accounts/{account}/pools` and `/transfers`: an account's balances, and moving credits between them."""

from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.models import Scope
from billing.api.base import ApiView, actor, get_account, get_pool, now_of, read_body, read_query
from billing.api.entries import PostingDocument
from billing.api.errors import Problem
from billing.api.fields import Amount, Choice, Document, Instant, PublicId, Reference, Strict, Text
from billing.api.idempotency import act_fingerprint, idempotent, ledger_reference
from billing.api.pagination import PageQuery, newest_first, page_of
from billing.api.schema import refusals
from billing.catalog.models import KEY_VALIDATOR
from billing.ledger import pools, posting
from billing.ledger.models import CreditPool

TAGS = ["Pools"]


class Policy(Strict):
    """What happens when a pool's credits run out."""

    policy = Choice(
        CreditPool.Policy.choices,
        required=False,
        help_text="`block` refuses charges, `burst` allows a bounded overdraft, `overage` meters on.",
    )
    burst_limit = Amount(required=False, help_text="Largest overdraft under `burst`.")
    overage_cap = Amount(required=False, allow_null=True, help_text="Largest overage in a cycle; null: no cap.")


class NewPool(Policy):
    """A team pool to open."""

    key = Text(max_length=60, validators=[KEY_VALIDATOR])
    name = Text(max_length=120)


class PoolChanges(Policy):
    """What can be changed of a pool."""

    low_balance_below = Amount(
        required=False,
        allow_null=True,
        zero=False,
        help_text="Below this many credits the account's people are told, once until it is back; null: never.",
    )


class PoolDocument(Document):
    """A pool; its amounts are in its balance."""

    id = PublicId(ids.POOL, source="pk")
    key = serializers.CharField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(CreditPool.Kind.choices)
    policy = serializers.ChoiceField(CreditPool.Policy.choices)
    burst_limit = Amount()
    overage_cap = Amount(allow_null=True)
    low_balance_below = Amount(allow_null=True)
    created_at = Instant()


class AccountPools(ApiView):
    """The pools of an account."""

    scopes = {"GET": Scope.READ, "POST": Scope.ACCOUNTS_WRITE}
    # A policy decides how much may be spent beyond what was paid, so a customer's own key may not set one.
    platform_only = frozenset({"POST"})

    @extend_schema(
        operation_id="list_pools",
        summary="List pools",
        tags=TAGS,
        parameters=[PageQuery],
        responses={200: page_of(PoolDocument, "Pool"), **refusals("invalid_cursor")},
    )
    def get(self, request: Request, account: str) -> Response:
        """The account's pools, newest first. Scope `read`."""
        query = read_query(request, PageQuery)
        page, next_cursor = newest_first(get_account(request, account).pools.all(), query)
        return Response({"items": PoolDocument(page, many=True).data, "next_cursor": next_cursor})

    @extend_schema(
        operation_id="create_pool",
        summary="Open a team pool",
        tags=TAGS,
        request=NewPool,
        responses={201: PoolDocument, **refusals("pool_key_taken")},
    )
    @idempotent
    def post(self, request: Request, account: str) -> Response:
        """Open a team pool beside the main pool. Scope `accounts:write`, platform keys only."""
        found = get_account(request, account)
        pool = pools.open_pool(account=found, **read_body(request, NewPool), now=now_of(found))
        return Response(PoolDocument(pool).data, status=201)


class OnePool(ApiView):
    """One pool of an account."""

    scopes = {"PATCH": Scope.ACCOUNTS_WRITE}
    platform_only = frozenset({"PATCH"})

    @extend_schema(
        operation_id="update_pool",
        summary="Set a pool's policy and when it is low",
        tags=TAGS,
        request=PoolChanges(partial=True),
        responses={200: PoolDocument},
    )
    def patch(self, request: Request, account: str, pool: str) -> Response:
        """Change what happens when the pool runs out or low. Scope `accounts:write`, platform keys only."""
        owner = get_account(request, account)
        found = owner.pools.filter(key=pool).first()
        if found is None:
            raise Problem("not_found")
        changes = read_body(request, PoolChanges)
        with transaction.atomic():
            changed = pools.set_policy(
                pool_id=found.pk,
                policy=changes.get("policy", found.policy),
                burst_limit=changes.get("burst_limit", found.burst_limit),
                overage_cap=changes.get("overage_cap", found.overage_cap),
            )
            if "low_balance_below" in changes:
                changed = pools.set_low_balance(pool_id=found.pk, below=changes["low_balance_below"], now=now_of(owner))
        return Response(PoolDocument(changed).data)


class NewTransfer(Strict):
    """Credits to move between two pools of one account."""

    account = Text(max_length=100, help_text="Our id or your `external_id`.")
    from_pool = Text(max_length=60, help_text="Key of the pool to take from.")
    to_pool = Text(max_length=60, help_text="Key of the pool to give to.")
    amount = Amount(zero=False)
    note = Text(max_length=200, required=False, allow_blank=True)
    reference = Reference(help_text="Your id of the act: repeating it does nothing more.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The pools must differ."""
        if attrs["from_pool"] == attrs["to_pool"]:
            raise serializers.ValidationError({"to_pool": "Must be another pool."}, code="same_pool")
        return attrs


class Transfers(ApiView):
    """Moving credits."""

    scopes = {"POST": Scope.CREDITS_WRITE}

    @extend_schema(
        operation_id="create_transfer",
        summary="Transfer credits",
        tags=TAGS,
        request=NewTransfer,
        responses={
            201: PostingDocument,
            **refusals(
                "not_found", "unknown_pool", "not_enough_left", "account_parked", "paused", "reference_conflict"
            ),
        },
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Move credits between two pools of an account; each lot keeps its expiry and cost. Answers the outgoing
        posting. Scope `credits:write`."""
        asked = read_body(request, NewTransfer)
        account = get_account(request, asked["account"])
        done = posting.transfer(
            from_pool_id=get_pool(account, asked["from_pool"]).pk,
            to_pool_id=get_pool(account, asked["to_pool"]).pk,
            amount=asked["amount"],
            note=asked.get("note", ""),
            reference=ledger_reference(request, asked.get("reference")),
            fingerprint=act_fingerprint("transfer", asked),
            actor=actor(request),
            now=now_of(account),
        )
        return Response(PostingDocument(done).data, status=201)
