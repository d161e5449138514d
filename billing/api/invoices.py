"""`/invoices`: what an account owes and has paid, its documents, and paying what is open."""

import uuid
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.fields import validate_currency
from billing.accounts.models import Scope
from billing.api.base import ApiView, caller, get_account, get_id, now_of, read_body, read_query
from billing.api.errors import Problem
from billing.api.fields import Amount, Choice, Day, Document, Instant, PublicId, Reference, Strict, Text, check_range
from billing.api.idempotency import idempotent, ledger_reference
from billing.api.pagination import PageQuery, newest_first, page_of
from billing.api.payments import PaymentDocument
from billing.api.purchases import ReturnUrl, get_method
from billing.api.schema import refusals
from billing.invoicing import documents, einvoice
from billing.invoicing.models import CreditNote, Invoice, InvoiceLine
from billing.payments import paying

TAGS = ["Invoices"]

# A draft is nobody's business yet.
STATES = [choice for choice in Invoice.State.choices if choice[0] != Invoice.State.DRAFT]
# What a payment's key is made in, from the reference or Idempotency-Key of its request.
_KEYS = uuid.UUID("0c8e0ad9-3f0b-4b8c-8f0e-54b7a2d7f6c3")


class InvoiceLineDocument(Document):
    """A line: net amount, tax apart."""

    line = serializers.IntegerField(source="position", help_text="Its number on the invoice, from 1.")
    description = serializers.CharField()
    quantity = Amount()
    unit_price = Amount()
    amount = Amount(help_text="Money, before tax.")
    includes_tax = serializers.BooleanField(help_text="The price was agreed with tax: `amount` + `tax_amount`.")
    tax_name = serializers.CharField()
    tax_percent = Amount()
    tax_amount = Amount()
    tax_treatment = serializers.ChoiceField(InvoiceLine.Treatment.choices)
    credits = Amount(allow_null=True, help_text="Granted when the invoice is paid.")
    credits_refunded = Amount()
    amount_credited = Amount(help_text="Taken back by credit notes, before tax.")
    starts_at = Instant(allow_null=True, help_text="When the service it is for begins.")
    ends_at = Instant(allow_null=True)
    period = serializers.CharField(
        source="period_reference", help_text="Lines of one subscription period share it; empty: of none."
    )


class CreditNoteDocument(Document):
    """Takes back a part of an invoice."""

    id = PublicId(ids.CREDIT_NOTE, source="pk")
    number = serializers.CharField()
    reason = serializers.CharField()
    subtotal = Amount()
    tax_total = Amount()
    total = Amount()
    currency = serializers.CharField()
    issued_at = Instant()


class InvoiceDocument(Document):
    """An issued invoice. Money is of its currency."""

    id = PublicId(ids.INVOICE, source="pk")
    account = PublicId(ids.ACCOUNT, source="account_id")
    number = serializers.CharField()
    state = serializers.ChoiceField(STATES)
    currency = serializers.CharField()
    subtotal = Amount()
    tax_total = Amount()
    total = Amount()
    amount_paid = Amount()
    amount_credited = Amount(help_text="Taken back by credit notes.")
    amount_refunded = Amount(help_text="Given back, of what was paid.")
    owed = Amount(help_text="Still to be paid.")
    tax_note = serializers.CharField()
    base_currency = serializers.CharField(help_text="Of the issuer's books, where it is another one; else empty.")
    base_rate = Amount(allow_null=True, help_text="What one unit of `currency` was worth in it.")
    base_rate_on = Day(allow_null=True)
    tax_in_base = Amount(allow_null=True)
    reference = serializers.CharField(help_text="What it is for, e.g. `purchase:…`, `renewal:…`.")
    content_hash = serializers.CharField(help_text="Proves what the document said when it was issued.")
    issued_at = Instant()
    due_at = Instant(allow_null=True)
    paid_at = Instant(allow_null=True)
    voided_at = Instant(allow_null=True)
    uncollectible_at = Instant(allow_null=True, help_text="Since when it is held for uncollectible.")
    lines = InvoiceLineDocument(many=True, source="lines.all")
    credit_notes = CreditNoteDocument(many=True, source="credit_notes.all")


_FILTERS = {
    "state": "state",
    "currency": "currency",
    "number": "number",
    "reference": "reference",
    "from": "issued_at__gte",
    "to": "issued_at__lt",
}


class InvoiceQuery(PageQuery):
    """Filters of the list."""

    state = Choice(STATES, required=False)
    currency = Text(max_length=3, required=False, validators=[validate_currency], help_text="ISO 4217.")
    number = Text(max_length=40, required=False, help_text="Exactly this number.")
    reference = Text(max_length=120, required=False, help_text="Exactly this reference.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """`from` is a word of Python, so it cannot be declared above."""
        return {
            **super().get_fields(),
            "from": Instant(required=False, help_text="Issued at or after this moment."),
            "to": Instant(required=False, help_text="Issued before this moment."),
        }

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The range must not be upside down."""
        return check_range(attrs)


class AccountInvoices(ApiView):
    """The invoices of an account."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="list_invoices",
        summary="List invoices",
        tags=TAGS,
        parameters=[InvoiceQuery],
        responses={200: page_of(InvoiceDocument, "Invoice"), **refusals("invalid_cursor")},
    )
    def get(self, request: Request, account: str) -> Response:
        """The account's issued invoices with their lines, newest first. Scope `read`."""
        query = read_query(request, InvoiceQuery)
        rows = _issued().filter(account=get_account(request, account))
        for name, column in _FILTERS.items():
            if name in query:
                rows = rows.filter(**{column: query[name]})
        page, next_cursor = newest_first(rows, query)
        return Response({"items": InvoiceDocument(page, many=True).data, "next_cursor": next_cursor})


class OneInvoice(ApiView):
    """One invoice."""

    scopes = {"GET": Scope.READ}

    @extend_schema(operation_id="get_invoice", summary="Read an invoice", tags=TAGS, responses={200: InvoiceDocument})
    def get(self, request: Request, invoice: str) -> Response:
        """One invoice. Scope `read`."""
        return Response(InvoiceDocument(get_invoice(request, invoice)).data)


class InvoicePdf(ApiView):
    """An invoice as a document."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="get_invoice_pdf",
        summary="Read an invoice as a PDF",
        tags=TAGS,
        responses={(200, "application/pdf"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, invoice: str) -> HttpResponse:
        """The document, with how the invoice stands now. Scope `read`."""
        found = get_invoice(request, invoice)
        return file_of(documents.invoice_pdf(found.pk), str(found.number))


class InvoiceXml(ApiView):
    """An invoice for machines."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="get_invoice_xml",
        summary="Read an invoice as an e-invoice",
        tags=TAGS,
        responses={(200, "application/xml"): OpenApiTypes.BINARY, **refusals("no_e_invoice")},
    )
    def get(self, request: Request, invoice: str) -> HttpResponse:
        """EN 16931 in its CII form (Factur-X), as the PDF carries it. Scope `read`."""
        found = get_invoice(request, invoice)
        return file_of(einvoice.invoice_xml(found, list(found.lines.all())), str(found.number), "xml")


class CreditNotePdf(ApiView):
    """A credit note as a document."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="get_credit_note_pdf",
        summary="Read a credit note as a PDF",
        tags=TAGS,
        responses={(200, "application/pdf"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, credit_note: str) -> HttpResponse:
        """The document. Scope `read`."""
        note = _get_credit_note(request, credit_note)
        return file_of(documents.credit_note_pdf(note.pk), note.number)


class CreditNoteXml(ApiView):
    """A credit note for machines."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="get_credit_note_xml",
        summary="Read a credit note as an e-invoice",
        tags=TAGS,
        responses={(200, "application/xml"): OpenApiTypes.BINARY, **refusals("no_e_invoice")},
    )
    def get(self, request: Request, credit_note: str) -> HttpResponse:
        """EN 16931 in its CII form (Factur-X), as the PDF carries it. Scope `read`."""
        note = _get_credit_note(request, credit_note)
        return file_of(einvoice.credit_note_xml(note), note.number, "xml")


class NewPayment(Strict):
    """How to pay."""

    payment_method = PublicId(ids.PAYMENT_METHOD, required=False, help_text="The account's default if left out.")
    return_url = ReturnUrl()
    reference = Reference(help_text="Your id of the attempt: repeating it charges nothing more.")


class PayInvoice(ApiView):
    """Paying what is open."""

    scopes = {"POST": Scope.PAYMENTS_WRITE}

    @extend_schema(
        operation_id="pay_invoice",
        summary="Pay an invoice",
        tags=TAGS,
        request=NewPayment,
        responses={
            201: PaymentDocument,
            **refusals("unknown_payment_method", "invoice_not_payable", "payment_under_way", "no_gateway"),
        },
    )
    @idempotent
    def post(self, request: Request, invoice: str) -> Response:
        """Charge all that is owed on an invoice to a payment method. 201 also when the charge was declined: see
        `state`. While another attempt is under way none can begin. Scope `payments:write`."""
        found = get_invoice(request, invoice)
        asked = read_body(request, NewPayment)
        reference = ledger_reference(request, asked.get("reference"))
        payment = paying.pay(
            invoice_id=found.pk,
            method_id=get_method(found.account, asked.get("payment_method")).pk,
            key=f"pay:{uuid.uuid5(_KEYS, f'{found.pk}{reference}')}",
            off_session=False,
            return_url=asked.get("return_url", ""),
            now=now_of(found.account),
        )
        return Response(PaymentDocument(payment).data, status=201)


def _issued() -> QuerySet[Invoice]:
    return Invoice.objects.filter(issued_at__isnull=False).prefetch_related("lines", "credit_notes")


def _get_credit_note(request: Request, text: str) -> CreditNote:
    rows = CreditNote.objects.select_related("invoice").filter(pk=get_id(ids.CREDIT_NOTE, text))
    own_id = caller(request).account_id
    if own_id is not None:
        rows = rows.filter(invoice__account_id=own_id)
    if (note := rows.first()) is None:
        raise Problem("not_found")
    return note


def get_invoice(request: Request, text: str) -> Invoice:
    """The issued invoice of a URL, as far as the key may see it. Raises Problem `not_found`."""
    rows = _issued().select_related("account").filter(pk=get_id(ids.INVOICE, text))
    own_id = caller(request).account_id
    if own_id is not None:
        rows = rows.filter(account_id=own_id)
    if (found := rows.first()) is None:
        raise Problem("not_found")
    return found


def file_of(content: bytes, name: str, kind: str = "pdf") -> HttpResponse:
    """A document as the answer."""
    # An issuer's prefix may have any signs; a header may not.
    plain = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_.") else "_" for sign in name)
    headers = {"Content-Disposition": f'inline; filename="{plain}.{kind}"'}
    return HttpResponse(content, content_type=f"application/{kind}", headers=headers)
