"""Staff pages of the sandbox gateway's memory: what "the other side" knows, to look at only, while it is configured."""

from django.contrib import admin
from django.http import HttpRequest

from billing.admin.rules import FactsAdmin, money_column, plain_id
from billing.payments import gateway
from billing.payments.models import GatewayName, SandboxCard, SandboxCharge, SandboxEvent, SandboxRefund


class SandboxAdmin(FactsAdmin):
    """Not listed unless the sandbox is in use."""

    ordering = ("-id",)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return gateway.is_reachable(GatewayName.SANDBOX) and super().has_module_permission(request)


@admin.register(SandboxCard)
class SandboxCardAdmin(SandboxAdmin):
    """Cards by what they do."""

    list_display = ("reference", "behaviour", "created_at")
    list_filter = ("behaviour",)
    search_fields = ("=reference",)
    fields = readonly_fields = list_display


@admin.register(SandboxCharge)
class SandboxChargeAdmin(SandboxAdmin):
    """Charges, with what will be reported of them and when."""

    list_display = (
        plain_id, "created_at", "idempotency_key", "card_behaviour", money_column("amount"), "state", "settles_at",
        "answers_at",
    )  # fmt: skip
    list_select_related = ("card",)
    list_filter = ("state",)
    search_fields = ("=reference", "=idempotency_key")
    fields = readonly_fields = (
        "idempotency_key", "reference", "card", money_column("amount"), "description", "state", "failure_code",
        money_column("refunded"), "created_at", "settles_at", "answers_at", "action_until", "return_url",
    )  # fmt: skip

    @admin.display(description="card")
    def card_behaviour(self, row: SandboxCharge) -> str:
        return row.card.get_behaviour_display()


@admin.register(SandboxRefund)
class SandboxRefundAdmin(SandboxAdmin):
    """Refunds."""

    list_display = (plain_id, "created_at", "idempotency_key", "charge", "amount", "state", "failure_message")
    list_select_related = ("charge",)
    list_filter = ("state",)
    search_fields = ("=reference", "=idempotency_key", "=charge__reference")
    fields = readonly_fields = (
        "idempotency_key", "reference", "charge", "amount", "state", "failure_message", "created_at", "answers_at",
    )  # fmt: skip


@admin.register(SandboxEvent)
class SandboxEventAdmin(SandboxAdmin):
    """Webhooks, sent and to be sent."""

    list_display = (plain_id, "created_at", "kind", "charge", "due_at", "sends_left", "attempts", "last_error")
    list_select_related = ("charge",)
    list_filter = ("kind",)
    search_fields = ("=event_id", "=charge__reference")
    fields = readonly_fields = (
        "event_id", "kind", "charge", "payload", "created_at", "due_at", "sends_left", "attempts", "last_error",
    )  # fmt: skip
