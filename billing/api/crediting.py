"""`/invoices/{invoice}/credit`: credit notes with their money; and the invoice balance of accounts."""

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts.models import Scope
from billing.api.base import ApiView, actor, get_account, now_of, read_body, read_query
from billing.api.errors import Problem
from billing.api.fields import Amount, Choice, Document, Reference, Strict, Text, Whole
from billing.api.idempotency import idempotent, ledger_reference
from billing.api.invoices import TAGS, CreditNoteDocument, get_invoice
from billing.api.schema import refusals
from billing.catalog import pricing
from billing.invoicing.models import CreditNote, Invoice
from billing.payments import credit_notes, invoice_credits
from billing.payments.models import Refund

MOST_LINES = 500


class LineToCredit(Strict):
    """What to credit of a line."""

    line = Whole(min_value=1, max_value=32767, help_text="Its number on the invoice.")
    amount = Amount(zero=False, help_text="Before tax; the tax goes with it.")


class NewCreditNote(Strict):
    """What to credit, and where the money goes."""

    amount = Amount(zero=False, required=False, help_text="Tax included, spread over all lines.")
    lines = LineToCredit(
        many=True, required=False, allow_empty=False, help_text="Instead of `amount`. Neither: all that is left."
    )
    refund_to = Choice(
        credit_notes.RefundTo.choices,
        required=False,
        help_text="Of a paid invoice: `payment` gives the money back to the card or bank account that paid, `balance` "
        "keeps it to pay the account's next invoices.",
    )
    reason = Text(max_length=200, help_text="The customer sees it on the credit note.")
    reference = Reference(help_text="Your id of the act: repeating it credits nothing more.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """It must be said in one way."""
        lines = attrs.get("lines", [])
        if lines and "amount" in attrs:
            raise serializers.ValidationError({"amount": "Give an amount, or lines."}, code="invalid")
        if len(lines) > MOST_LINES or len({each["line"] for each in lines}) < len(lines):
            raise serializers.ValidationError({"lines": "Give each line once."}, code="invalid")
        return attrs


class IssuedCreditNoteDocument(CreditNoteDocument):
    """A credit note, and where its money goes."""

    refund_to = serializers.SerializerMethodField(help_text="Empty: the invoice had not been paid.")
    refund_state = serializers.SerializerMethodField(help_text="How the refund stands; null: there is none.")

    def get_refund_to(self, note: CreditNote) -> str:
        """Where it went."""
        if hasattr(note, "refund"):
            return credit_notes.RefundTo.PAYMENT.value
        return credit_notes.RefundTo.BALANCE.value if hasattr(note, "invoice_credit") else ""

    def get_refund_state(self, note: CreditNote) -> str | None:
        """As `Refund` has it."""
        refund: Refund | None = getattr(note, "refund", None)
        return None if refund is None else refund.state


class CreditInvoice(ApiView):
    """Crediting an invoice."""

    scopes = {"POST": Scope.PAYMENTS_WRITE}
    platform_only = frozenset({"POST"})

    @extend_schema(
        operation_id="credit_invoice",
        summary="Credit an invoice",
        tags=TAGS,
        request=NewCreditNote,
        responses={
            201: IssuedCreditNoteDocument,
            **refusals(
                "not_creditable", "credit_too_high", "wrong_refund_to", "not_refundable", "payment_under_way",
                "reference_conflict",
            ),
        },
        examples=[
            OpenApiExample(
                "Half of the first line, to the balance",
                request_only=True,
                value={
                    "lines": [{"line": 1, "amount": "25.00"}], "refund_to": "balance", "reason": "Outage in March",
                    "reference": "ticket-7",
                },
            )
        ],
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, invoice: str) -> Response:
        """Issue a credit note over lines or an amount of an invoice that is no pack, and give its money back. Of an
        invoice that is not paid, less is owed. Credits that it has granted stay. Scope `payments:write`, platform keys
        only."""
        found = get_invoice(request, invoice)
        asked = read_body(request, NewCreditNote)
        note = credit_notes.credit(
            invoice_id=found.pk,
            amount=_in_units(found, "amount", asked.get("amount")),
            lines=_lines_of(found, asked.get("lines", [])),
            refund_to=asked.get("refund_to", ""),
            reason=asked["reason"],
            reference=ledger_reference(request, asked.get("reference")),
            actor=actor(request),
            now=now_of(found.account),
        )
        issued = CreditNote.objects.select_related("refund", "invoice_credit").get(pk=note.pk)
        return Response(IssuedCreditNoteDocument(issued).data, status=201)


class CurrencyBalanceDocument(Document):
    """What pays the next invoices of a currency."""

    currency = serializers.CharField()
    amount = Amount()


class InvoiceBalanceDocument(Document):
    """What credit notes have left for an account's next invoices."""

    items = CurrencyBalanceDocument(many=True)


class InvoiceBalance(ApiView):
    """The invoice balance of an account."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="get_invoice_balance",
        summary="Read the invoice balance",
        tags=TAGS,
        responses={200: InvoiceBalanceDocument},
    )
    def get(self, request: Request, account: str) -> Response:
        """Money of credit notes that pays the account's next invoices, by currency; empty where there is none. Scope
        `read`."""
        read_query(request, Strict)
        left = invoice_credits.balances(get_account(request, account).pk)
        items = [{"currency": currency, "amount": amount} for currency, amount in left.items()]
        return Response({"items": CurrencyBalanceDocument(items, many=True).data})


def _lines_of(invoice: Invoice, asked: list[dict[str, Any]]) -> dict[int, Decimal]:
    """The asked amounts by the primary keys of the lines. Raises Problem `invalid` for what is no such line."""
    known = {line.position: line for line in invoice.lines.all()}
    found = {}
    for each in asked:
        line = known.get(each["line"])
        if line is None or line.amount <= 0 or not credit_notes.may_credit(line):
            raise _invalid("lines", f"The invoice has no line {each['line']} that can be credited.")
        found[line.pk] = _in_units(invoice, "lines", each["amount"])
    return found


def _in_units(invoice: Invoice, field: str, amount: Any) -> Any:
    """The amount, if its currency has so many decimals. Raises Problem `invalid`."""
    if amount is not None and amount != pricing.round_money(amount, invoice.currency):
        raise _invalid(field, f"{invoice.currency} has fewer decimals.")
    return amount


def _invalid(field: str, detail: str) -> Problem:
    return Problem("invalid_request", errors=[(field, "invalid", detail)])
