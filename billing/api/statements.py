"""`/accounts/{account}/statement`: what was invoiced, credited and paid in some days, and what is owed."""

from datetime import timedelta
from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.fields import validate_currency
from billing.accounts.models import Account, Scope
from billing.api.base import ApiView, get_account, now_of, read_query
from billing.api.fields import Amount, Day, Document, Instant, PublicId, Strict, Text, check_range
from billing.api.invoices import TAGS, file_of
from billing.api.schema import refusals
from billing.payments import account_statement
from billing.payments.account_statement import KINDS, MOST_DAYS, MOST_ENTRIES, Statement, TooLong


class StatementQuery(Strict):
    """Which days, in which currency."""

    currency = Text(
        max_length=3, required=False, validators=[validate_currency], help_text="The account's own if left out."
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """`from` is a word of Python, so it cannot be declared above."""
        return {
            "from": Day(help_text="First day, in the account's time zone."),
            "to": Day(
                help_text=f"Day after the last, at most {MOST_DAYS:,} days later; at most {MOST_ENTRIES:,} entries."
            ),
            **super().get_fields(),
        }

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """There must be a day in the range."""
        check_range(attrs, most_days=MOST_DAYS)
        if attrs["from"] == attrs["to"]:
            raise serializers.ValidationError({"to": "Must be after `from`."}, code="range")
        return attrs


class StatementEntryDocument(Document):
    """Something that changed what is owed."""

    at = Instant()
    kind = serializers.ChoiceField(list(KINDS))
    number = serializers.CharField(help_text="The document's, or of the invoice that money was for.")
    invoice = PublicId(ids.INVOICE, source="invoice_id")
    amount = Amount(help_text="Positive: owed by the customer.")
    balance = Amount(help_text="What was owed after it.")


class StatementDocument(Document):
    """Opening + charges + credits = closing. Positive amounts are owed by the customer."""

    account = PublicId(ids.ACCOUNT, source="account.pk")
    currency = serializers.CharField()
    opening = Amount()
    charges = Amount()
    credits = Amount(help_text="Negative.")
    closing = Amount()
    entries = StatementEntryDocument(many=True)


class AccountStatement(ApiView):
    """The statement of an account."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="get_statement",
        summary="Read a statement of account",
        tags=TAGS,
        parameters=[StatementQuery],
        responses={200: StatementDocument},
    )
    def get(self, request: Request, account: str) -> Response:
        """Invoices, credit notes, payments and refunds of some days in their order, with the balance. Scope `read`."""
        return Response(StatementDocument(_read(request, get_account(request, account))).data)


class AccountStatementPdf(ApiView):
    """The statement of an account as a document."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="get_statement_pdf",
        summary="Read a statement of account as a PDF",
        tags=TAGS,
        parameters=[StatementQuery],
        responses={(200, "application/pdf"): OpenApiTypes.BINARY, **refusals("no_issuer")},
    )
    def get(self, request: Request, account: str) -> HttpResponse:
        """The document. Scope `read`."""
        found = _read(request, get_account(request, account))
        name = f"statement-{found.since.isoformat()}-{found.until.isoformat()}-{found.currency}"
        return file_of(account_statement.pdf(found, now=now_of(found.account)), name)


def _read(request: Request, account: Account) -> Statement:
    query = read_query(request, StatementQuery)
    try:
        return account_statement.read(
            account=account,
            currency=query.get("currency", account.currency),
            since=query["from"],
            until=query["to"] - timedelta(days=1),
        )
    except TooLong:
        detail = f"More than {MOST_ENTRIES:,} entries: ask for fewer days."
        raise serializers.ValidationError({"to": detail}, code="range") from None
