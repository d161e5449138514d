"""`/accounts`: customers."""

from typing import Any

from django.db.models import Q
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import details, ids
from billing.accounts.fields import validate_country, validate_currency, validate_external_id, validate_time_zone
from billing.accounts.models import Account, Scope
from billing.api.base import ApiView, caller, get_account, read_body, read_query
from billing.api.fields import Amount, Choice, Document, Email, Instant, PublicId, Strict, Text, check_range
from billing.api.idempotency import idempotent
from billing.api.pagination import PageQuery, newest_first, page_of
from billing.api.schema import refusals
from billing.invoicing import tax_numbers
from billing.ledger import pools
from billing.ledger.models import CreditPool

TAGS = ["Accounts"]


class Details(Strict):
    """What of an account can be changed later."""

    name = Text(max_length=200)
    billing_email = Email(max_length=254, help_text="Where invoices and balance alerts go.")
    country = Text(max_length=2, validators=[validate_country], help_text="ISO 3166-1, two letters.")
    region = Text(
        max_length=10,
        required=False,
        allow_blank=True,
        help_text="ISO 3166-2 without the country, for example CA. Where tax depends on it.",
    )
    postal_code = Text(
        max_length=16, required=False, allow_blank=True, help_text="Where tax depends on it, as in the United States."
    )
    address = Text(
        lines=True,
        max_length=500,
        required=False,
        allow_blank=True,
        help_text="As invoices show it, without the country.",
    )
    tax_number = Text(
        max_length=32, required=False, allow_blank=True, help_text="In the EU: the VAT number with its prefix."
    )
    segment_override = Text(
        max_length=40, required=False, allow_blank=True, help_text="Wins over the computed segment."
    )


class NewAccount(Details):
    """An account to open, with its main pool."""

    external_id = Text(
        max_length=100, validators=[validate_external_id], help_text="Your own id for it; it never changes."
    )
    currency = Text(max_length=3, required=False, validators=[validate_currency], help_text="ISO 4217; never changes.")
    time_zone = Text(
        max_length=64,
        required=False,
        validators=[validate_time_zone],
        help_text="IANA name; never changes, for periods are counted in it.",
    )
    policy = Choice(CreditPool.Policy.choices, required=False, help_text="What happens when the main pool runs out.")
    burst_limit = Amount(required=False, help_text="Largest overdraft under the policy `burst`.")
    overage_cap = Amount(required=False, allow_null=True, help_text="Largest overage in a cycle; null: no cap.")


class ExemptionDocument(Document):
    """A certificate by which an account need not pay tax."""

    number = serializers.CharField()
    country = serializers.CharField()
    region = serializers.CharField(help_text="Empty: the whole country.")
    valid_from = serializers.DateField()
    valid_to = serializers.DateField(allow_null=True, help_text="Exclusive; null: until it is withdrawn.")


class AccountDocument(Document):
    """A customer organisation."""

    id = PublicId(ids.ACCOUNT, source="pk")
    external_id = serializers.CharField()
    name = serializers.CharField()
    billing_email = serializers.CharField()
    country = serializers.CharField()
    currency = serializers.CharField()
    time_zone = serializers.CharField()
    region = serializers.CharField()
    postal_code = serializers.CharField()
    address = serializers.CharField()
    tax_number = serializers.CharField()
    tax_number_state = serializers.SerializerMethodField(
        help_text="`malformed`: not of the form that its country has; `unchecked`, `unknown`: no answer of the EU's "
        "register yet; `valid`, `invalid`: its answer. A number that is `invalid` or `malformed` shows no business."
    )
    tax_exemptions = serializers.SerializerMethodField(help_text="Certificates that were not withdrawn.")
    segment_override = serializers.CharField()
    is_test = serializers.BooleanField(
        help_text="Whether it is on a test clock: it has invoice numbers of its own, and is left out of all books."
    )
    created_at = Instant()
    parked_at = Instant(
        allow_null=True, help_text="Since when charges, holds and transfers are refused, for examination."
    )
    paused_at = Instant(
        allow_null=True,
        help_text="Since when charges, holds and transfers are refused, as its subscription is paused or unpaid.",
    )

    @extend_schema_field(serializers.ChoiceField([standing.value for standing in tax_numbers.Standing]))
    def get_tax_number_state(self, account: Account) -> str:
        """What is known of the number."""
        return tax_numbers.standing(account).value

    @extend_schema_field(ExemptionDocument(many=True))
    def get_tax_exemptions(self, account: Account) -> Any:
        """The certificates, oldest first."""
        rows = [row for row in account.tax_exemptions.all() if row.withdrawn_at is None]
        return ExemptionDocument(sorted(rows, key=lambda row: row.pk), many=True).data


class AccountQuery(PageQuery):
    """Filters of the list."""

    external_id = Text(required=False, max_length=100)
    search = Text(required=False, max_length=100, help_text="Part of name, e-mail or external_id.")
    country = serializers.RegexField(r"^[A-Z]{2}\Z", required=False)
    created_from = Instant(required=False)
    created_to = Instant(required=False, help_text="Exclusive.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The range must not be upside down."""
        return check_range(attrs, first="created_from", end="created_to")


class Accounts(ApiView):
    """All accounts; a key bound to one sees just that."""

    scopes = {"GET": Scope.READ, "POST": Scope.ACCOUNTS_WRITE}
    platform_only = frozenset({"POST"})

    @extend_schema(
        operation_id="list_accounts",
        summary="List accounts",
        tags=TAGS,
        parameters=[AccountQuery],
        responses={200: page_of(AccountDocument, "Account"), **refusals("invalid_cursor")},
    )
    def get(self, request: Request) -> Response:
        """Accounts, newest first. Scope `read`."""
        query = read_query(request, AccountQuery)
        rows = Account.objects.prefetch_related("tax_number_checks", "tax_exemptions")
        own_id = caller(request).account_id
        if own_id is not None:
            rows = rows.filter(pk=own_id)
        if text := query.get("search"):
            rows = rows.filter(
                Q(name__icontains=text) | Q(billing_email__icontains=text) | Q(external_id__icontains=text)
            )
        for name, lookup in FILTERS.items():
            if name in query:
                rows = rows.filter(**{lookup: query[name]})
        page, next_cursor = newest_first(rows, query)
        return Response({"items": AccountDocument(page, many=True).data, "next_cursor": next_cursor})

    @extend_schema(
        operation_id="create_account",
        summary="Open an account",
        tags=TAGS,
        request=NewAccount,
        responses={201: AccountDocument, **refusals("external_id_taken")},
        examples=[
            OpenApiExample(
                "A customer",
                request_only=True,
                value={
                    "external_id": "org-42",
                    "name": "Acme GmbH",
                    "billing_email": "billing@acme.example",
                    "country": "DE",
                    "currency": "EUR",
                    "time_zone": "Europe/Berlin",
                },
            )
        ],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Open an account with its main pool (key `main`). Scope `accounts:write`, platform keys only."""
        account = pools.open_account(**read_body(request, NewAccount), now=timezone.now())
        return Response(AccountDocument(account).data, status=201)


FILTERS = {
    "external_id": "external_id",
    "country": "country",
    "created_from": "created_at__gte",
    "created_to": "created_at__lt",
}


class OneAccount(ApiView):
    """One account."""

    scopes = {"GET": Scope.READ, "PATCH": Scope.ACCOUNTS_WRITE}
    platform_only = frozenset({"PATCH"})

    @extend_schema(operation_id="get_account", summary="Read an account", tags=TAGS, responses={200: AccountDocument})
    def get(self, request: Request, account: str) -> Response:
        """One account by our id or by your `external_id`. Scope `read`."""
        return Response(AccountDocument(get_account(request, account)).data)

    @extend_schema(
        operation_id="update_account",
        summary="Change an account",
        tags=TAGS,
        request=Details(partial=True),
        responses={200: AccountDocument},
    )
    def patch(self, request: Request, account: str) -> Response:
        """Change some details. Scope `accounts:write`, platform keys only."""
        found = get_account(request, account)
        changes = read_body(request, Details, partial=True)
        changed = details.change(account_id=found.pk, changes=changes)
        return Response(AccountDocument(changed).data)
