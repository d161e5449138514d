"""Staff pages of the metering room: rejected events to replay or give up, daily totals, imports. Single events have a
page of their own, see `usage_events.py`."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from billing.admin.ledger.corrections import UnusePages
from billing.admin.metering.usage_events import EventsPage
from billing.admin.rules import Act, FactsAdmin, RoomAdmin, credits_column, plain_id
from billing.metering import replay
from billing.metering.models import DailyUsage, ImportRun, RejectedEvent


@admin.register(RejectedEvent)
class RejectedEventAdmin(RoomAdmin):
    """Events that could not be taken. Fix the cause, then replay them; or give them up."""

    list_display = (
        plain_id,
        "received_at",
        "account",
        "event_id",
        "source",
        "code",
        "detail",
        "state",
        "attempts",
        "door",
    )
    list_select_related = ("account",)
    list_filter = ("state", "code", "door")
    search_fields = ("=event_id", "account__name", "account__external_id")
    ordering = ("-id",)
    actions = ("replay", "dismiss")
    fields = (
        "account", "api_key", "event_id", "source", "code", "detail", "body", "door", "state", "attempts",
        "received_at", "closed_at",
    )  # fmt: skip
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    @admin.action(description="Replay: try to take them again", permissions=["change"])
    def replay(self, request: HttpRequest, rows: QuerySet[RejectedEvent]) -> None:
        ids = list(rows.values_list("pk", flat=True))
        done = replay.replay(ids=ids, limit=len(ids), now=timezone.now())
        text = (
            f"{done.tried} tried: {done.accepted} accepted, {done.duplicates} duplicates, "
            f"{done.conflicts} conflicts, {done.rejected} rejected again."
        )
        fine = done.conflicts + done.rejected == 0
        self.message_user(request, text, messages.SUCCESS if fine else messages.WARNING)

    @admin.action(description="Dismiss: give them up", permissions=["change"])
    def dismiss(self, request: HttpRequest, rows: QuerySet[RejectedEvent]) -> None:
        ids = list(rows.values_list("pk", flat=True))
        count = replay.dismiss(ids=ids, now=timezone.now())
        self.message_user(request, f"{count} dismissed.", messages.SUCCESS)


@admin.register(DailyUsage)
class DailyUsageAdmin(UnusePages, FactsAdmin):
    """Totals by account, meter, member and day; and the page of single events."""

    list_display = (
        "day",
        "account",
        "meter",
        "member",
        "events",
        credits_column("quantity"),
        credits_column("credits"),
    )
    list_select_related = ("account", "meter", "member__user", "member__account")
    list_filter = ("meter",)
    search_fields = ("account__name", "account__external_id")
    ordering = ("-day", "account", "pk")
    fields = (
        "account", "meter", "member", "day", "events", credits_column("quantity"), credits_column("credits"), "cost",
    )  # fmt: skip
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        events = path("events/", self.admin_site.admin_view(self.events_view), name="billing_usage_events")
        return [events, *super().get_urls()]

    def list_acts(self, request: HttpRequest, row: DailyUsage) -> list[Act]:
        query = f"?account={row.account_id}&meter={row.meter_id}&since={row.day}&until={row.day}"
        return [Act("Its events", reverse("admin:billing_usage_events") + query)]

    def list_pages(self, request: HttpRequest) -> list[Act]:
        if not request.user.has_perm("billing.view_usageevent"):
            return []
        return [Act("Usage events", reverse("admin:billing_usage_events"), on_index=True)]

    def events_view(self, request: HttpRequest) -> HttpResponse:
        return EventsPage(self).respond(request)


@admin.register(ImportRun)
class ImportRunAdmin(FactsAdmin):
    """How far imports of files have come."""

    list_display = (
        "name", "started_at", "finished_at", "rows_done", "accepted", "duplicates", "conflicts", "rejected",
    )  # fmt: skip
    ordering = ("-id",)
    fields = list_display
