"""`/accounts/{account}/entries`: what happened to an account's credits, act by act; and undoing a spend."""

from typing import Any

from django.db.models import Prefetch
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.models import Scope
from billing.api.base import ApiView, actor, get_account, get_id, get_pool, now_of_id, read_body, read_query
from billing.api.fields import Amount, Choice, Document, Instant, PublicId, Strict, Text, check_range
from billing.api.idempotency import idempotent
from billing.api.pagination import PageQuery, newest_first, page_of
from billing.api.schema import refusals
from billing.ledger import history, posting
from billing.ledger.models import LedgerEntry, Posting

TAGS = ["Ledger"]


class EntryLine(Document):
    """What an act did to one lot."""

    grant = PublicId(ids.GRANT, source="grant_id")
    kind = serializers.CharField(source="grant.kind", help_text="The lot's kind.")
    flow = serializers.ChoiceField(LedgerEntry.Flow.choices)
    amount = Amount(help_text="Change of the lot's remaining credits, signed.")


class PostingDocument(Document):
    """One act on a pool, with the pool's balance before and after."""

    id = PublicId(ids.POSTING, source="pk")
    pool = PublicId(ids.POOL, source="pool_id")
    version = serializers.IntegerField(help_text="Counts the acts of the pool, without gaps.")
    act = serializers.ChoiceField(Posting.Act.choices)
    reference = serializers.CharField(
        help_text="Why: `api:<your reference>`, or a name of Florin's own. Unique in the pool."
    )
    credits = Amount(help_text="How many credits the act moved.")
    amount = Amount(help_text="Change of the pool's balance, signed.")
    balance_before = Amount()
    balance_after = Amount()
    overdraft_after = Amount()
    posted_at = Instant()
    occurred_at = Instant(help_text="When what it is for happened.")
    meter = serializers.CharField(source="meter.key", default=None, allow_null=True)
    member = PublicId(ids.MEMBER, source="member_id", allow_null=True)
    hold = PublicId(ids.HOLD, source="hold_id", allow_null=True)
    reverses = PublicId(ids.POSTING, source="reverses_id", allow_null=True)
    counterpart = PublicId(ids.POSTING, source="counterpart_id", allow_null=True)
    actor = serializers.CharField()
    note = serializers.CharField()


class Entry(PostingDocument):
    """One act with its lines."""

    lines = EntryLine(source="entries", many=True, help_text="The lots drawn from or filled, in order.")


class EntryQuery(PageQuery):
    """Filters of the list."""

    pool = Text(required=False, max_length=60, help_text="Key of a pool; the main pool if left out.")
    act = Choice(Posting.Act.choices, required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """`from` is a word of Python, so it cannot be declared above."""
        return {
            **super().get_fields(),
            "from": Instant(required=False, help_text="Posted at or after this moment."),
            "to": Instant(required=False, help_text="Posted before this moment."),
        }

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The range must not be upside down."""
        return check_range(attrs)


class AccountEntries(ApiView):
    """The ledger of one pool of an account."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="list_entries",
        summary="List ledger entries",
        tags=TAGS,
        parameters=[EntryQuery],
        responses={200: page_of(Entry, "Entry"), **refusals("invalid_cursor", "unknown_pool")},
    )
    def get(self, request: Request, account: str) -> Response:
        """What happened to a pool's credits, newest first, with the running balance and the lots drawn. Scope
        `read`."""
        query = read_query(request, EntryQuery)
        pool = get_pool(get_account(request, account), query.get("pool"))
        lines = LedgerEntry.objects.select_related("grant").order_by("line")
        rows = pool.postings.select_related("meter").prefetch_related(Prefetch("entries", lines))
        if "act" in query:
            rows = rows.filter(act=query["act"])
        if "from" in query or "to" in query:
            versions = history.versions_within(pool, since=query.get("from"), until=query.get("to"))
            rows = rows.filter(version__gte=versions.start, version__lt=versions.stop)
        page, next_cursor = newest_first(rows, query, key="version")
        return Response({"items": Entry(page, many=True).data, "next_cursor": next_cursor})


class Undo(Strict):
    """Why a spend is undone."""

    note = Text(max_length=200, required=False, allow_blank=True)


class ReversePosting(ApiView):
    """Undoing a spend."""

    scopes = {"POST": Scope.CREDITS_WRITE}
    platform_only = frozenset({"POST"})

    @extend_schema(
        operation_id="reverse_posting",
        summary="Reverse a spend",
        tags=TAGS,
        request=Undo,
        responses={201: PostingDocument, **refusals("already_reversed", "not_reversible")},
    )
    @idempotent
    def post(self, request: Request, posting_id: str) -> Response:
        """Return the credits of a spend to the lots they came from, once. Answers the reversing posting. Scope
        `credits:write`, platform keys only."""
        pk = get_id(ids.POSTING, posting_id)
        asked = read_body(request, Undo)
        account_id = Posting.objects.filter(pk=pk).values_list("pool__account_id", flat=True).first()
        now = now_of_id(account_id)
        done = posting.reverse(posting_id=pk, note=asked.get("note", ""), actor=actor(request), now=now)
        return Response(PostingDocument(done).data, status=201)
