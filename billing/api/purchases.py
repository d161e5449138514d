"""`/accounts/{account}/offers` and `/purchases`: what an account can buy, buying it, and taking a purchase back."""

import uuid
from typing import Any

from django.core.validators import URLValidator
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.models import Account, Scope
from billing.api.base import ApiView, actor, caller, get_account, get_id, get_pool, now_of, read_body, read_query
from billing.api.errors import Problem
from billing.api.fields import Amount, Document, Instant, PublicId, Reference, Strict, Text
from billing.api.idempotency import idempotent, ledger_reference
from billing.api.pagination import PageQuery, newest_first, page_of
from billing.api.payments import PaymentDocument
from billing.api.schema import refusals
from billing.invoicing import engines, issuing
from billing.payments.models import PaymentMethod, Refund
from billing.purchases import checkout, offers, refunds, topups
from billing.purchases.models import Purchase

TAGS = ["Purchases"]
STATES = ("paid", "open", "processing", "requires_action", "unknown", "failed", "void")

# What a purchase's token is made in, from the reference or Idempotency-Key of its request.
_TOKENS = uuid.UUID("6f1d3b7e-52a4-4f0e-9c57-0b8a1f6d2e11")


class OfferQuery(Strict):
    """What to quote."""

    credits = Amount(zero=False, required=False, help_text="Quote this amount in each offer that sells it.")


class OfferTierDocument(Document):
    """The price of one credit from an amount on."""

    from_credits = Amount()
    unit_price = Amount(help_text="Money per credit, for all credits of the purchase.")
    saving_percent = serializers.IntegerField(help_text="Against the first tier, rounded down.")


class CostDocument(Document):
    """What an amount costs this account."""

    credits = Amount()
    unit_price = Amount(help_text="As the tier has it.")
    saving_percent = serializers.IntegerField()
    subtotal = Amount(help_text="Money, before tax.")
    tax_name = serializers.CharField()
    tax_percent = Amount()
    tax_total = Amount()
    tax_note = serializers.CharField(help_text="A sentence that the invoice will carry, e.g. of reverse charge.")
    total = Amount(help_text="What is to be paid.")


class OfferDocument(Document):
    """A pack that this account can buy."""

    pack = serializers.CharField(source="key")
    name = serializers.CharField()
    description = serializers.CharField()
    currency = serializers.CharField()
    min_credits = Amount()
    max_credits = Amount()
    step_credits = Amount(help_text="Amounts go from `min_credits` up in steps of this.")
    validity_days = serializers.IntegerField(allow_null=True, help_text="null: the credits never expire.")
    prices_include_tax = serializers.BooleanField(help_text="Whether tiers' prices are with tax; else tax is added.")
    tiers = OfferTierDocument(many=True)
    quote = serializers.SerializerMethodField(help_text="With `?credits=`: its cost, null if not sold in this offer.")

    @extend_schema_field(CostDocument(allow_null=True))
    def get_quote(self, offer: offers.Offer) -> dict[str, Any] | None:
        """The cost of the amount that the query asks about."""
        credits, account = self.context["credits"], self.context["account"]
        if credits is None:
            return None
        now = timezone.now()
        on = issuing.supply_date(account, now)
        try:
            cost = engines.with_tax(lambda: offers.quote_offer(offer, account=account, credits=credits, on=on), now=now)
        except offers.AmountNotOffered:
            return None
        return CostDocument(cost).data


class OffersDocument(Document):
    """All that is on sale to an account."""

    items = OfferDocument(many=True)


class AccountOffers(ApiView):
    """What an account can buy."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="list_offers",
        summary="List offers",
        tags=TAGS,
        parameters=[OfferQuery],
        responses={200: OffersDocument, **refusals("no_issuer", "tax_unavailable")},
    )
    def get(self, request: Request, account: str) -> Response:
        """Packs on sale in the account's currency, to everyone or to its segment; if asked, with what an amount costs
        it, tax included. Scope `read`."""
        query = read_query(request, OfferQuery)
        found = get_account(request, account)
        context = {"credits": query.get("credits"), "account": found}
        rows = offers.list_offers(account=found)
        return Response({"items": OfferDocument(rows, many=True, context=context).data})


class ReturnUrl(Text):
    """Where a customer comes back to after confirming at the bank."""

    def __init__(self, **options: Any) -> None:
        help_text = "Where the customer comes back to after confirming at the bank."
        super().__init__(
            max_length=500,
            required=False,
            validators=[URLValidator(schemes=["https", "http"])],
            help_text=help_text,
            **options,
        )


class NewPurchase(Strict):
    """What to buy."""

    pack = Text(max_length=60, help_text="Key of an offer of this account.")
    credits = Amount(zero=False)
    pool = Text(max_length=60, required=False, help_text="Key of a pool; the main pool if left out.")
    payment_method = PublicId(ids.PAYMENT_METHOD, required=False, help_text="The account's default if left out.")
    return_url = ReturnUrl()
    reference = Reference(help_text="Your id of the purchase: repeating it buys nothing more.")


class PurchaseDocument(Document):
    """A pack bought."""

    id = PublicId(ids.PURCHASE, source="purchase.pk")
    account = PublicId(ids.ACCOUNT, source="purchase.account_id")
    pack = serializers.CharField(source="purchase.pack.key")
    pool = serializers.CharField(source="purchase.pool.key")
    credits = Amount(source="purchase.credits")
    state = serializers.ChoiceField(
        STATES,
        help_text="`paid`: the credits are there. `failed`, `open`: the invoice can be paid by another attempt. "
        "`requires_action`: send the customer to the payment's `action_url`.",
    )
    invoice = PublicId(ids.INVOICE, source="purchase.invoice_id")
    total = Amount(source="invoice.total", help_text="Money, tax included.")
    currency = serializers.CharField(source="invoice.currency")
    payment = PaymentDocument(allow_null=True, help_text="The last attempt to collect it.")
    created_at = Instant(source="purchase.created_at")


class AccountPurchases(ApiView):
    """The purchases of an account."""

    scopes = {"GET": Scope.READ, "POST": Scope.PAYMENTS_WRITE}

    @extend_schema(
        operation_id="list_purchases",
        summary="List purchases",
        tags=TAGS,
        parameters=[PageQuery],
        responses={200: page_of(PurchaseDocument, "Purchase"), **refusals("invalid_cursor")},
    )
    def get(self, request: Request, account: str) -> Response:
        """The account's purchases, newest first. Scope `read`."""
        query = read_query(request, PageQuery)
        rows = _purchases().filter(account=get_account(request, account))
        page, next_cursor = newest_first(rows, query)
        standings = checkout.list_standings(page)
        return Response({"items": PurchaseDocument(standings, many=True).data, "next_cursor": next_cursor})

    @extend_schema(
        operation_id="create_purchase",
        summary="Buy credits",
        tags=TAGS,
        request=NewPurchase,
        responses={
            201: PurchaseDocument,
            **refusals(
                "unknown_pool",
                "unknown_payment_method",
                "pack_not_for_sale",
                "amount_not_offered",
                "reference_conflict",
                "no_issuer",
                "tax_unavailable",
                "no_gateway",
            ),
        },
        examples=[
            OpenApiExample(
                "10,000 credits by the default card",
                request_only=True,
                value={"pack": "credits", "credits": "10000", "reference": "order-7"},
            )
        ],
    )
    @idempotent
    def post(self, request: Request, account: str) -> Response:
        """Buy credits of a pack and charge a payment method. 201 also when the charge was declined: see `state`, the
        invoice stays open. Scope `payments:write`."""
        found = get_account(request, account)
        asked = read_body(request, NewPurchase)
        reference = ledger_reference(request, asked.get("reference"))
        purchase = checkout.buy(
            token=uuid.uuid5(_TOKENS, f"{found.pk}\n{reference}"),
            account_id=found.pk,
            pack_id=get_pack_id(found, asked["pack"]),
            pool_id=get_pool(found, asked.get("pool")).pk,
            credits=asked["credits"],
            method_id=get_method(found, asked.get("payment_method")).pk,
            buyer_id=None,
            return_url=asked.get("return_url", ""),
            now=now_of(found),
        )
        return Response(_document(purchase.pk), status=201)


class OnePurchase(ApiView):
    """One purchase."""

    scopes = {"GET": Scope.READ}

    @extend_schema(operation_id="get_purchase", summary="Read a purchase", tags=TAGS, responses={200: PurchaseDocument})
    def get(self, request: Request, purchase: str) -> Response:
        """One purchase and how its payment stands. Scope `read`."""
        return Response(_document(_get_purchase(request, purchase).pk))


class NewRefund(Strict):
    """What to take back."""

    credits = Amount(zero=False, required=False, help_text="All that is left, neither held nor ended, if left out.")
    reason = Text(max_length=200, help_text="The customer sees it.")
    reference = Reference(help_text="Your id of the act: repeating it takes nothing more.")


class RefundDocument(Document):
    """Credits taken back, and money that goes back for them."""

    credit_note = serializers.CharField(source="number")
    invoice = PublicId(ids.INVOICE, source="invoice_id")
    credits = Amount(source="lines.first.credits")
    total = Amount(help_text="Money, tax included.")
    currency = serializers.CharField()
    reason = serializers.CharField()
    state = serializers.ChoiceField(Refund.State.choices, source="refund.state", help_text="How the money stands.")
    created_at = Instant(source="issued_at")


class RefundPurchase(ApiView):
    """Taking a purchase back."""

    scopes = {"POST": Scope.PAYMENTS_WRITE}
    platform_only = frozenset({"POST"})

    @extend_schema(
        operation_id="refund_purchase",
        summary="Refund a purchase",
        tags=TAGS,
        request=NewRefund,
        responses={
            201: RefundDocument,
            **refusals("not_enough_left", "nothing_to_refund", "not_refundable", "reference_conflict"),
        },
    )
    @idempotent
    def post(self, request: Request, purchase: str) -> Response:
        """Take back credits that a purchase has left, and give back what they have cost: a credit note, and a refund
        to the card. Scope `payments:write`, platform keys only."""
        found = _get_purchase(request, purchase)
        asked = read_body(request, NewRefund)
        line = found.invoice.lines.get()
        note = refunds.refund(
            line_id=line.pk,
            credits=asked.get("credits"),
            reason=asked["reason"],
            actor=actor(request),
            reference=ledger_reference(request, asked.get("reference")),
            now=now_of(found.invoice.account),
        )
        return Response(RefundDocument(note).data, status=201)


def get_pack_id(account: Account, key: str) -> int:
    """The primary key of an offer of the account. Raises Problem `pack_not_for_sale`."""
    for offer in offers.list_offers(account=account):
        if offer.key == key:
            return offer.pack_id
    raise Problem("pack_not_for_sale")


def get_method(account: Account, pk: int | None) -> PaymentMethod:
    """A payment method of the account, its default one for None. Raises Problem `unknown_payment_method`."""
    method = topups.find_method(account.pk, pk)
    if method is None:
        raise Problem("unknown_payment_method")
    return method


def _purchases() -> QuerySet[Purchase]:
    return Purchase.objects.select_related("invoice", "pack", "pool")


def _get_purchase(request: Request, text: str) -> Purchase:
    rows = _purchases().filter(pk=get_id(ids.PURCHASE, text))
    own_id = caller(request).account_id
    if own_id is not None:
        rows = rows.filter(account_id=own_id)
    if (found := rows.first()) is None:
        raise Problem("not_found")
    return found


def _document(pk: int) -> dict[str, Any]:
    return PurchaseDocument(checkout.standing_of(_purchases().get(pk=pk))).data
