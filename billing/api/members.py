"""`/accounts/{account}/members` and `/invitations`: the people of an account, and what they may spend."""

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.models import Member, Role, Scope
from billing.api.base import ApiView, get_account, get_id, now_of, read_body, read_query
from billing.api.errors import Problem
from billing.api.fields import Amount, Choice, Document, Email, Instant, PublicId, Strict
from billing.api.idempotency import idempotent
from billing.api.pagination import PageQuery, newest_first, page_of
from billing.api.schema import refusals
from billing.ledger import pools
from billing.notifications import invitations

TAGS = ["Members"]


class MemberDocument(Document):
    """A person's place in an account."""

    id = PublicId(ids.MEMBER, source="pk", help_text="Name it as `member` in charges and events.")
    email = serializers.CharField(source="user.email")
    name = serializers.CharField(source="user.name")
    role = serializers.ChoiceField(Role.choices)
    spend_limit = Amount(
        source="limit.amount", default=None, allow_null=True, help_text="Credits per calendar month; null: no limit."
    )
    created_at = Instant()
    removed_at = Instant(allow_null=True)


class Members(ApiView):
    """The members of an account."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="list_members",
        summary="List members",
        tags=TAGS,
        parameters=[PageQuery],
        responses={200: page_of(MemberDocument, "Member"), **refusals("invalid_cursor")},
    )
    def get(self, request: Request, account: str) -> Response:
        """Members, newest first, removed ones too. Scope `read`."""
        query = read_query(request, PageQuery)
        rows = get_account(request, account).members.select_related("user", "limit")
        page, next_cursor = newest_first(rows, query)
        return Response({"items": MemberDocument(page, many=True).data, "next_cursor": next_cursor})


class SpendLimit(Strict):
    """What a member may spend."""

    spend_limit = Amount(allow_null=True, help_text="Credits per calendar month; null lifts the limit.")


class OneMember(ApiView):
    """One member."""

    scopes = {"PATCH": Scope.ACCOUNTS_WRITE}

    @extend_schema(
        operation_id="update_member",
        summary="Set a spend limit",
        tags=TAGS,
        request=SpendLimit,
        responses={200: MemberDocument},
    )
    def patch(self, request: Request, account: str, member: str) -> Response:
        """Limit what a member may spend per month, over all pools. Scope `accounts:write`."""
        owner = get_account(request, account)
        found = owner.members.filter(pk=get_id(ids.MEMBER, member), removed_at=None).first()
        if found is None:
            raise Problem("not_found")
        asked = read_body(request, SpendLimit)
        pools.set_member_limit(member_id=found.pk, amount=asked["spend_limit"], now=now_of(owner))
        fresh = Member.objects.select_related("user", "limit").get(pk=found.pk)
        return Response(MemberDocument(fresh).data)


class NewInvitation(Strict):
    """Whom to invite, as what."""

    email = Email(max_length=254)
    role = Choice(Role.choices, help_text="Owners and admins manage, members spend, viewers look.")


class InvitationDocument(Document):
    """An offer of a place in an account."""

    id = PublicId(ids.INVITATION, source="pk")
    email = serializers.CharField()
    role = serializers.ChoiceField(Role.choices)
    created_at = Instant()
    expires_at = Instant()


class Invitations(ApiView):
    """Inviting people."""

    scopes = {"POST": Scope.ACCOUNTS_WRITE}

    @extend_schema(
        operation_id="create_invitation",
        summary="Invite a person",
        tags=TAGS,
        request=NewInvitation,
        responses={201: InvitationDocument, **refusals("already_member", "too_many_requests")},
    )
    @idempotent
    def post(self, request: Request, account: str) -> Response:
        """Send an e-mail with a link that opens a place in the account, for seven days and in place of an earlier one.
        At most 100 a day for an account and 3 an hour to an address. Scope `accounts:write`."""
        found = get_account(request, account)
        asked = read_body(request, NewInvitation)
        sent = invitations.send(account=found, invited_by=None, now=timezone.now(), **asked)
        return Response(InvitationDocument(sent).data, status=201)
