"""What the integrator decides about invoices that nobody has paid: void, or held for uncollectible."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts.models import Scope
from billing.api.base import ApiView, now_of, read_body
from billing.api.fields import Strict
from billing.api.idempotency import idempotent
from billing.api.invoices import TAGS, InvoiceDocument, get_invoice
from billing.api.schema import refusals
from billing.invoicing import settling
from billing.payments import voiding


class VoidInvoice(ApiView):
    """Taking an invoice back."""

    scopes = {"POST": Scope.PAYMENTS_WRITE}
    platform_only = frozenset({"POST"})

    @extend_schema(
        operation_id="void_invoice",
        summary="Void an invoice",
        tags=TAGS,
        request=None,
        responses={200: InvoiceDocument, **refusals("invoice_not_voidable", "payment_under_way")},
    )
    @idempotent
    def post(self, request: Request, invoice: str) -> Response:
        """Nobody owes it any more, and it keeps its number; again it changes nothing. What is left of the credits that
        an invoice of a subscription was for is taken back within minutes, those to come are not granted, and a change
        within the period is undone. Scope `payments:write`, platform keys only."""
        found = get_invoice(request, invoice)
        read_body(request, Strict)
        voiding.void(invoice_id=found.pk, now=now_of(found.account))
        return Response(InvoiceDocument(get_invoice(request, invoice)).data)


class MarkUncollectible(ApiView):
    """Mark an invoice as uncollectible."""

    scopes = {"POST": Scope.PAYMENTS_WRITE}
    platform_only = frozenset({"POST"})

    @extend_schema(
        operation_id="mark_invoice_uncollectible",
        summary="Mark an invoice as uncollectible",
        tags=TAGS,
        request=None,
        responses={200: InvoiceDocument, **refusals("invoice_not_payable")},
    )
    @idempotent
    def post(self, request: Request, invoice: str) -> Response:
        """Stop collecting the invoice. It is still owed, and a payment still settles it. Repeating it changes
        nothing. Scope `payments:write`, platform keys only."""
        found = get_invoice(request, invoice)
        read_body(request, Strict)
        settling.mark_uncollectible(invoice_id=found.pk, now=now_of(found.account))
        return Response(InvoiceDocument(get_invoice(request, invoice)).data)
