"""Staff pages of the catalog room: meters. Packs and rate cards have files of their own."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from billing.admin.rules import KeptAdmin
from billing.catalog.models import Meter


@admin.register(Meter)
class MeterAdmin(KeptAdmin):
    """What is counted. How a meter counts is settled when it is added: usage has been counted that way since."""

    list_display = ("name", "key", "kind", "unit", "unit_cost", "unit_cost_currency", "archived_at")
    list_filter = ("kind", ("archived_at", admin.EmptyFieldListFilter))
    search_fields = ("name", "key")
    ordering = ("name", "pk")
    actions = ("archive", "restore")
    fieldsets = (
        (None, {"fields": ("name", "key", "unit")}),
        (
            "How it counts",
            {"fields": ("kind", "aggregation", "unique_property", "series_property", "gauge_unit_seconds")},
        ),
        ("Our cost", {"fields": ("unit_cost", "unit_cost_currency")}),
        ("State", {"fields": ("created_at", "archived_at")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        settled = ("key", "unit", "kind", "aggregation", "unique_property", "series_property", "gauge_unit_seconds")
        return ("created_at", "archived_at", *(settled if obj else ()))

    @admin.action(description="Archive: refuse new events", permissions=["change"])
    def archive(self, request: HttpRequest, rows: QuerySet[Meter]) -> None:
        self._set_archived(request, rows.filter(archived_at=None), "Archived.")

    @admin.action(description="Restore: take events again", permissions=["change"])
    def restore(self, request: HttpRequest, rows: QuerySet[Meter]) -> None:
        self._set_archived(request, rows.exclude(archived_at=None), "Restored.")

    def _set_archived(self, request: HttpRequest, rows: QuerySet[Meter], note: str) -> None:
        meters = list(rows)
        for meter in meters:
            meter.archived_at = None if meter.archived_at else timezone.now()
            meter.save(update_fields=["archived_at"])
            self.note(request, "restore" if meter.archived_at is None else "archive", meter)
        names = ", ".join(meter.name for meter in meters)
        self.message_user(request, f"{note} {names}" if names else "Nothing to do.", messages.SUCCESS)
