"""`/api-keys/me`: the key that asks."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.models import Scope
from billing.api.base import ApiView, caller
from billing.api.fields import Document, Instant, PublicId


class KeyDocument(Document):
    """An API key, without its secret."""

    id = PublicId(ids.API_KEY, source="pk")
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="The secret begins with `fl_<prefix>_`.")
    scopes = serializers.ListField(child=serializers.ChoiceField(Scope.choices))
    account = PublicId(ids.ACCOUNT, source="account_id", allow_null=True, help_text="null: platform-wide.")
    created_at = Instant()
    expires_at = Instant(allow_null=True)


class OwnKey(ApiView):
    """The key of the request."""

    scopes = {"GET": None}

    @extend_schema(operation_id="get_own_key", summary="Read your key", tags=["Keys"], responses={200: KeyDocument})
    def get(self, request: Request) -> Response:
        """Name, scopes and account of the key that asks. Any key may."""
        return Response(KeyDocument(caller(request)).data)
