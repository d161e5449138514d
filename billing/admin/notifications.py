"""Staff pages of the notifications room: the outbox."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from billing.admin.rules import RoomAdmin, plain_id
from billing.notifications.models import Notification


@admin.register(Notification)
class NotificationAdmin(RoomAdmin):
    """What someone must be told. What was given up can be tried again."""

    list_display = (
        plain_id,
        "created_at",
        "kind",
        "account",
        "email",
        "state",
        "attempts",
        "due_at",
        "sent_at",
        "error",
    )
    list_select_related = ("account",)
    list_filter = ("state", "kind")
    search_fields = ("account__name", "account__external_id", "=email")
    ordering = ("-id",)
    actions = ("retry",)
    fields = (
        "account", "kind", "email", "payload", "state", "created_at", "due_at", "sent_at", "read_at", "attempts",
        "last_error", "dedupe_key",
    )  # fmt: skip
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    @admin.display(description="last error")
    def error(self, row: Notification) -> str:
        return row.last_error[:80]

    @admin.action(description="Try again now", permissions=["change"])
    def retry(self, request: HttpRequest, rows: QuerySet[Notification]) -> None:
        waiting = rows.filter(state__in=(Notification.State.FAILED, Notification.State.PENDING))
        count = waiting.update(state=Notification.State.PENDING, due_at=timezone.now(), attempts=0)
        self.message_user(request, f"{count} will be sent within a minute.", messages.SUCCESS)
