"""`/accounts/{account}/card-setups`: adding a card on the gateway's own page."""

import uuid

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.models import Scope
from billing.api.base import ApiView, get_account, get_id, read_body
from billing.api.errors import Problem
from billing.api.fields import Document, Flag, Instant, PublicId, Strict
from billing.api.idempotency import idempotent
from billing.api.payments import METHODS
from billing.api.purchases import ReturnUrl
from billing.api.schema import refusals
from billing.payments import setups
from billing.payments.models import CardSetup


class NewCardSetup(Strict):
    """Where the customer comes back to."""

    return_url = ReturnUrl()
    make_default = Flag(default=False, help_text="Charge it when none is named; the first card is the default anyway.")


class CardSetupDocument(Document):
    """A page of the gateway's where the customer types a card, and what became of it."""

    id = PublicId(ids.CARD_SETUP, source="pk")
    state = serializers.ChoiceField(
        CardSetup.State.choices, help_text="`done`: the card is kept; `expired`: nobody finished it."
    )
    url = serializers.CharField(help_text="Send the customer there.")
    payment_method = PublicId(ids.PAYMENT_METHOD, source="method_id", allow_null=True)
    created_at = Instant()
    finished_at = Instant(allow_null=True)


class CardSetups(ApiView):
    """Pages where cards are typed."""

    scopes = {"POST": Scope.PAYMENTS_WRITE}
    http_method_names = ["post"]

    @extend_schema(
        operation_id="begin_card_setup",
        summary="Let the customer type a card on the gateway's page",
        tags=METHODS,
        request=NewCardSetup,
        responses={
            201: CardSetupDocument,
            **refusals("too_many_methods", "no_gateway", "no_card_page", "gateway_unavailable"),
        },
    )
    @idempotent
    def post(self, request: Request, account: str) -> Response:
        """For gateways that take cards on a page of their own, as Stripe does. The card is added when the customer has
        finished there, whether they come back or not. Scope `payments:write`."""
        found = get_account(request, account)
        asked = read_body(request, NewCardSetup)
        back = asked.get("return_url") or settings.FLORIN_PUBLIC_URL
        setup = setups.begin(
            account_id=found.pk,
            key=f"api:{uuid.uuid4()}",
            return_url=back,
            cancel_url=back,
            make_default=asked["make_default"],
            now=timezone.now(),
        )
        return Response(CardSetupDocument(setup).data, status=201)


class OneCardSetup(ApiView):
    """One such page."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="get_card_setup",
        summary="Read a card's setup",
        tags=METHODS,
        responses={200: CardSetupDocument, **refusals("no_gateway", "gateway_unavailable")},
    )
    def get(self, request: Request, account: str, setup: str) -> Response:
        """What became of it; while it is open the gateway is asked. Scope `read`."""
        found = get_account(request, account)
        row = CardSetup.objects.filter(account=found, pk=get_id(ids.CARD_SETUP, setup)).first()
        if row is None:
            raise Problem("not_found")
        return Response(CardSetupDocument(setups.finish(setup_id=row.pk, now=timezone.now())).data)
