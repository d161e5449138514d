"""Staff pages of the notifications room: what was said, and the mails as a work queue."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import ngettext

from billing.admin.rules import FactsInline, RoomAdmin, plain_id
from billing.notifications import delivery
from billing.notifications.models import Notification, NotificationDelivery


class Deliveries(FactsInline):
    """To whom a notification went."""

    model = NotificationDelivery
    fields = ("address", "channel", "state", "attempts", "due_at", "sent_at", "last_error")
    readonly_fields = fields


class OutboxAdmin(RoomAdmin):
    """Rows of the outbox: nobody adds, edits or deletes them; what did not get through can be tried again."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Notification)
class NotificationAdmin(OutboxAdmin):
    """What someone must be told. Where there was nobody to tell, one can look again."""

    list_display = (plain_id, "created_at", "kind", "account", "email", "state", "expanded_at")
    list_select_related = ("account",)
    list_filter = ("state", "kind")
    search_fields = ("account__name", "account__external_id", "=email")
    ordering = ("-id",)
    actions = ("look_again", "dismiss")
    inlines = (Deliveries,)
    fields = ("account", "kind", "email", "payload", "state", "created_at", "expanded_at", "dedupe_key")
    readonly_fields = fields

    @admin.action(description="Look again for somebody to tell", permissions=["change"])
    def look_again(self, request: HttpRequest, rows: QuerySet[Notification]) -> None:
        count = delivery.expand_again(notifications=rows)
        text = ngettext(
            "%(count)d is looked at again within a minute.", "%(count)d are looked at again within a minute.", count
        )
        self.message_user(request, text % {"count": count}, messages.SUCCESS)

    @admin.action(description="Dismiss: nobody needs to be notified", permissions=["change"])
    def dismiss(self, request: HttpRequest, rows: QuerySet[Notification]) -> None:
        """Take what reaches nobody out of the queue."""
        count = delivery.settle(notifications=rows)
        text = ngettext("%(count)d is dismissed.", "%(count)d are dismissed.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)


@admin.register(NotificationDelivery)
class NotificationDeliveryAdmin(OutboxAdmin):
    """One mail to one address. What was given up can be tried again."""

    list_display = (
        plain_id, "state", "kind", "account", "address", "attempts", "error", "due_at", "sent_at",
    )  # fmt: skip
    list_select_related = ("notification__account",)
    list_filter = ("state", "notification__kind")
    search_fields = ("=address", "notification__account__name", "notification__account__external_id")
    ordering = ("-id",)
    actions = ("retry", "dismiss")
    fields = (
        "notification", "channel", "address", "user", "state", "created_at", "due_at", "attempts", "sent_at",
        "last_error",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description="kind", ordering="notification__kind")
    def kind(self, row: NotificationDelivery) -> str:
        return row.notification.kind

    @admin.display(description="account", ordering="notification__account")
    def account(self, row: NotificationDelivery) -> str:
        return str(row.notification.account or "-")

    @admin.display(description="last error")
    def error(self, row: NotificationDelivery) -> str:
        return row.last_error[:80]

    @admin.action(description="Try again now", permissions=["change"])
    def retry(self, request: HttpRequest, rows: QuerySet[NotificationDelivery]) -> None:
        count = delivery.retry(deliveries=rows, now=timezone.now())
        text = ngettext("%(count)d will be sent within a minute.", "%(count)d will be sent within a minute.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)

    @admin.action(description="Dismiss: do not send them", permissions=["change"])
    def dismiss(self, request: HttpRequest, rows: QuerySet[NotificationDelivery]) -> None:
        """Take mails that were given up out of the queue."""
        count = delivery.give_up(deliveries=rows)
        text = ngettext("%(count)d is dismissed.", "%(count)d are dismissed.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)
