"""`/accounts/{account}/balance`: what a pool holds."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.models import Scope
from billing.api.base import ApiView, account_name, get_pool_id, now_of_name, read_query, write_document
from billing.api.fields import Amount, Document, Instant, PublicId, Strict, Text
from billing.api.schema import refusals
from billing.ledger import balance, pools


class BalanceQuery(Strict):
    """Which pool, and when."""

    pool = Text(required=False, max_length=60, help_text="Key of a pool; the main pool if left out.")
    at = Instant(required=False, help_text="A past moment: the balance as it was known then. Now if left out.")


class CycleDocument(Document):
    """The pool's cycle: what was there when it began and has come since, and what of it is spent."""

    starts_at = Instant()
    ends_at = Instant(help_text="Exclusive.")
    allocation = Amount()
    spent = Amount()
    percent = Amount(help_text="How much of the allocation is spent.")


class LotDocument(Document):
    """One lot, in the order lots are burned."""

    grant = PublicId(ids.GRANT, source="grant_id")
    kind = serializers.CharField()
    amount = Amount()
    remaining = Amount()
    held = Amount(help_text="Reserved by open holds, part of `remaining`.")
    priority = serializers.IntegerField(help_text="Lower burns first.")
    effective_at = Instant()
    expires_at = Instant(allow_null=True)
    meter = serializers.CharField(source="meter_key", allow_null=True, help_text="Only this meter may use the lot.")


class ExpiryDocument(Document):
    """When credits expire next, and how many."""

    at = Instant()
    credits = Amount()


class BalanceDocument(Document):
    """The balance of one pool."""

    pool = serializers.CharField(source="pool_key")
    available = Amount(help_text="Open lots that are valid, less holds and overdraft.")
    held = Amount()
    overdraft = Amount(help_text="Spent beyond the lots and not yet repaid.")
    cycle = CycleDocument(allow_null=True, help_text="null for a past moment.")
    lots = LotDocument(many=True)
    next_expiry = ExpiryDocument(allow_null=True)


class AccountBalance(ApiView):
    """The balance of one of the account's pools."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="get_balance",
        summary="Read a balance",
        tags=["Balances"],
        parameters=[BalanceQuery],
        responses={200: BalanceDocument, **refusals("unknown_pool")},
    )
    def get(self, request: Request, account: str) -> Response:
        """What is available, held and overdrawn, the cycle, and the lots. Scope `read`."""
        now = now_of_name(account_name(request, account))
        query = read_query(request, BalanceQuery)
        pool_id = get_pool_id(request, account, query.get("pool", pools.MAIN_KEY))
        at = query.get("at")
        if at is not None and at > now:
            raise serializers.ValidationError({"at": "Must not be in the future."}, code="future")
        found = balance.read(pool_id=pool_id, now=now) if at is None else balance.read_at(pool_id=pool_id, at=at)
        return Response(write_document(BalanceDocument, found))
