"""Test accounts in lists of the admin: left out of what waits for staff, and told apart everywhere.

A list shows the rows of all accounts, the names of test accounts marked, until it is narrowed to customers or to test
accounts; whatever counts customers leads to its list narrowed so.
"""

from typing import Any

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as lazy

from billing.accounts.models import Account

PARAMETER = "accounts"
CUSTOMERS = f"{PARAMETER}=customers"
# From a row to its account, where it has no field of that name.
_ROADS = {
    "collection": "invoice__account", "creditgrant": "pool__account", "dispute": "payment__invoice__account",
    "hold": "pool__account", "notificationdelivery": "notification__account", "payment": "invoice__account",
    "posting": "pool__account", "refund": "payment__invoice__account", "topup": "rule__pool__account",
    "topuprule": "pool__account",
}  # fmt: skip


def road_of(model: type[Model]) -> str | None:
    """How a row of a table leads to its account: the lookup of the account's columns, `` for an account itself; None
    where it leads to none."""
    name = str(model._meta.model_name)
    if model is Account:
        return ""
    own = next((field for field in model._meta.fields if field.name == "account"), None)
    if own is not None and own.related_model is Account:
        return "account__"
    return f"{_ROADS[name]}__" if name in _ROADS else None


def without(rows: QuerySet[Any]) -> QuerySet[Any]:
    """The rows but for those of test accounts."""
    road = road_of(rows.model)
    return rows if road is None else rows.filter(**{f"{road}clock_at": None})


class Whose(SimpleListFilter):
    """Rows of customers, or of test accounts."""

    title = lazy("accounts")
    parameter_name = PARAMETER

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, Any]]:
        return [("customers", lazy("Customers")), ("tests", lazy("Test accounts"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "customers":
            return without(queryset)
        if self.value() == "tests":
            return queryset.filter(~Q(**{f"{road_of(queryset.model)}clock_at": None}))
        return queryset
