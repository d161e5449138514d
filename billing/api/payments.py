"""`/accounts/{account}/payment-methods` and `/payments`: ways to pay, and attempts to collect invoices."""

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.models import Scope
from billing.api.base import ApiView, caller, get_account, get_id, now_of, read_body, read_query
from billing.api.errors import Problem
from billing.api.fields import Amount, Choice, Document, Flag, Instant, PublicId, Strict, Text, Whole
from billing.api.idempotency import idempotent
from billing.api.pagination import PageQuery, newest_first, page_of
from billing.api.schema import refusals
from billing.payments import methods
from billing.payments.models import GatewayName, Payment, PaymentMethod

METHODS = ["Payment methods"]
PAYMENTS = ["Payments"]


class NewCard(Strict):
    """A card to keep."""

    number = Text(max_length=40, write_only=True, help_text="Blanks and hyphens do not matter. Never stored here.")
    exp_month = Whole(min_value=1, max_value=12)
    exp_year = Whole(min_value=2000, max_value=2100, help_text="Four digits.")
    cvc = Text(max_length=4, write_only=True)
    make_default = Flag(default=False, help_text="Charge it when none is named; the first card is the default anyway.")


class PaymentMethodDocument(Document):
    """A way to pay."""

    id = PublicId(ids.PAYMENT_METHOD, source="pk")
    gateway = serializers.ChoiceField(GatewayName.choices)
    brand = serializers.CharField()
    last4 = serializers.CharField()
    exp_month = serializers.IntegerField()
    exp_year = serializers.IntegerField()
    is_default = serializers.BooleanField()
    created_at = Instant()


class MethodsDocument(Document):
    """All ways to pay of an account."""

    items = PaymentMethodDocument(many=True)


class PaymentMethods(ApiView):
    """The ways to pay that an account has."""

    scopes = {"GET": Scope.READ, "POST": Scope.PAYMENTS_WRITE}

    @extend_schema(
        operation_id="list_payment_methods",
        summary="List payment methods",
        tags=METHODS,
        responses={200: MethodsDocument},
    )
    def get(self, request: Request, account: str) -> Response:
        """All of them (20 at most): the default first, then the newest. Scope `read`."""
        read_query(request, Strict)
        rows = methods.list_methods(get_account(request, account).pk)
        return Response({"items": PaymentMethodDocument(rows, many=True).data})

    @extend_schema(
        operation_id="add_payment_method",
        summary="Add a card",
        tags=METHODS,
        request=NewCard,
        responses={
            201: PaymentMethodDocument,
            **refusals("too_many_methods", "no_gateway", "cards_on_page", "gateway_unavailable"),
        },
        examples=[
            OpenApiExample(
                "A test card",
                request_only=True,
                value={"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123"},
            )
        ],
    )
    @idempotent
    def post(self, request: Request, account: str) -> Response:
        """Keep a test card of the sandbox gateway; where cards are typed on the gateway's page, begin a card setup
        instead. Scope `payments:write`."""
        found = get_account(request, account)
        asked = read_body(request, NewCard)
        method = methods.add_card(account_id=found.pk, now=now_of(found), **asked)
        return Response(PaymentMethodDocument(method).data, status=201)


class OnePaymentMethod(ApiView):
    """One way to pay."""

    scopes = {"DELETE": Scope.PAYMENTS_WRITE}
    http_method_names = ["delete"]

    @extend_schema(
        operation_id="remove_payment_method", summary="Remove a payment method", tags=METHODS, responses={204: None}
    )
    def delete(self, request: Request, account: str, method: str) -> Response:
        """Charge it no more; payments under way go on, and no other one becomes the default by itself. Removing it
        again is fine. Scope `payments:write`."""
        found = get_account(request, account)
        methods.remove(account_id=found.pk, method_id=get_id(ids.PAYMENT_METHOD, method), now=now_of(found))
        return Response(status=204)


class DefaultPaymentMethod(ApiView):
    """What is charged when none is named."""

    scopes = {"POST": Scope.PAYMENTS_WRITE}

    @extend_schema(
        operation_id="set_default_payment_method",
        summary="Make a payment method the default",
        tags=METHODS,
        request=None,
        responses={200: PaymentMethodDocument},
    )
    @idempotent
    def post(self, request: Request, account: str, method: str) -> Response:
        """Charge it when none is named. Scope `payments:write`."""
        found = get_account(request, account)
        read_body(request, Strict)
        chosen: PaymentMethod = methods.set_default(
            account_id=found.pk, method_id=get_id(ids.PAYMENT_METHOD, method), now=now_of(found)
        )
        return Response(PaymentMethodDocument(chosen).data)


class PaymentDocument(Document):
    """One attempt to collect an invoice."""

    id = PublicId(ids.PAYMENT, source="pk")
    account = PublicId(ids.ACCOUNT, source="invoice.account_id")
    invoice = PublicId(ids.INVOICE, source="invoice_id")
    method = PublicId(ids.PAYMENT_METHOD, source="method_id", allow_null=True)
    state = serializers.ChoiceField(
        Payment.State.choices,
        help_text="`unknown`: the gateway gave no answer; it is asked until it does, and nothing is charged meanwhile.",
    )
    amount = Amount()
    currency = serializers.CharField()
    amount_refunded = Amount(help_text="What has gone back, or is on its way.")
    amount_disputed = Amount(help_text="What the payer's bank has taken back while a dispute goes on.")
    off_session = serializers.BooleanField(help_text="Charged without the customer being there.")
    from_balance = serializers.SerializerMethodField(help_text="Paid by the invoice balance: nothing was charged.")
    failure_code = serializers.CharField(help_text="Empty unless it failed.")
    failure_message = serializers.CharField()
    action_url = serializers.SerializerMethodField(help_text="Where the customer confirms, in `requires_action`.")
    created_at = Instant()
    finished_at = Instant(allow_null=True)

    def get_from_balance(self, payment: Payment) -> bool:
        """Whether a credit note's money paid."""
        return payment.invoice_credit_id is not None

    @extend_schema_field({"type": "string"})
    def get_action_url(self, payment: Payment) -> str:
        """The address in full."""
        url = payment.action_url
        return f"{settings.FLORIN_PUBLIC_URL}{url}" if url.startswith("/") else url


class PaymentQuery(PageQuery):
    """Filters of the list."""

    state = Choice(Payment.State.choices, required=False)


class AccountPayments(ApiView):
    """The payments of an account."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="list_payments",
        summary="List payments",
        tags=PAYMENTS,
        parameters=[PaymentQuery],
        responses={200: page_of(PaymentDocument, "Payment"), **refusals("invalid_cursor")},
    )
    def get(self, request: Request, account: str) -> Response:
        """Attempts to collect the account's invoices, newest first. Scope `read`."""
        query = read_query(request, PaymentQuery)
        rows = Payment.objects.select_related("invoice").filter(invoice__account=get_account(request, account))
        if "state" in query:
            rows = rows.filter(state=query["state"])
        page, next_cursor = newest_first(rows, query)
        return Response({"items": PaymentDocument(page, many=True).data, "next_cursor": next_cursor})


class OnePayment(ApiView):
    """One payment."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="get_payment", summary="Read a payment", tags=PAYMENTS, responses={200: PaymentDocument}
    )
    def get(self, request: Request, payment: str) -> Response:
        """One attempt to collect an invoice. Scope `read`."""
        rows = Payment.objects.select_related("invoice").filter(pk=get_id(ids.PAYMENT, payment))
        own_id = caller(request).account_id
        if own_id is not None:
            rows = rows.filter(invoice__account_id=own_id)
        if (found := rows.first()) is None:
            raise Problem("not_found")
        return Response(PaymentDocument(found).data)
