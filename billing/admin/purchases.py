"""Staff pages of the purchases room, to look at only: packs bought, top-up rules, and what they have bought.

Rules are their customers' own, and purchases are changed by refunding them.
"""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as lazy

from billing.admin.rules import Act, FactsAdmin, FactsInline, credits_column, plain_id
from billing.invoicing.models import Invoice
from billing.purchases.models import Purchase, TopUp, TopUpRule
from billing.wording import amounts


@admin.register(Purchase)
class PurchaseAdmin(FactsAdmin):
    """Packs bought by people and programs."""

    list_display = (
        plain_id, "created_at", "account", "pack", credits_column("credits"), "total", "state", "invoice", "buyer",
    )  # fmt: skip
    list_select_related = ("account", "pack", "invoice", "buyer")
    list_filter = (("invoice__state", admin.ChoicesFieldListFilter), "pack__key", "created_at")
    search_fields = ("=id", "=token", "account__name", "account__external_id", "invoice__number", "buyer__email")
    ordering = ("-id",)
    fields = (
        "account_link", "pack_link", "pool_link", credits_column("credits"), "total", "state", "invoice_link", "buyer",
        "token", "created_at",
    )  # fmt: skip
    readonly_fields = fields

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in ("account", "account__id__exact") or super().lookup_allowed(lookup, value, request)

    def name_of(self, row: Purchase) -> str:
        return f"{amounts.exact_credits_text(row.credits)} credits for {row.account}"

    @admin.display(ordering="invoice__total")
    def total(self, purchase: Purchase) -> str:
        return _money(purchase.invoice)

    @admin.display(ordering="invoice__state")
    def state(self, purchase: Purchase) -> str:
        return str(purchase.invoice.get_state_display())

    @admin.display(description=lazy("account"))
    def account_link(self, purchase: Purchase) -> SafeString:
        return _link("account", purchase.account)

    @admin.display(description=lazy("pack"))
    def pack_link(self, purchase: Purchase) -> SafeString:
        return _link("pack", purchase.pack)

    @admin.display(description=lazy("pool"))
    def pool_link(self, purchase: Purchase) -> SafeString:
        return _link("creditpool", purchase.pool)

    @admin.display(description=lazy("invoice"))
    def invoice_link(self, purchase: Purchase) -> SafeString:
        return _link("invoice", purchase.invoice)


class TopUpInline(FactsInline):
    """What the rule has bought."""

    model = TopUp
    show_change_link = True
    fields = ("created_at", "state", "month", "total", "invoice", "finished_at")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[TopUp]:
        return super().get_queryset(request).select_related("invoice").order_by("-pk")

    @admin.display
    def total(self, top_up: TopUp) -> str:
        return _money(top_up.invoice)


class Standing(admin.SimpleListFilter):
    """How a rule stands."""

    title = lazy("standing")
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("on", lazy("on")),
            ("failing", lazy("on, last try failed")),
            ("gave_up", lazy("switched itself off")),
            ("off", lazy("switched off")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[TopUpRule]) -> QuerySet[TopUpRule]:
        match self.value():
            case "on":
                return queryset.filter(is_active=True)
            case "failing":
                return queryset.filter(is_active=True, failures__gt=0)
            case "gave_up":
                return queryset.filter(is_active=False, switched_off_at__isnull=False)
            case "off":
                return queryset.filter(is_active=False, switched_off_at=None)
        return queryset


@admin.register(TopUpRule)
class TopUpRuleAdmin(FactsAdmin):
    """When pools buy credits by themselves. Customers set their rules in the portal."""

    list_display = (
        plain_id, "account", "pool", "is_active", credits_column("threshold"), credits_column("credits"), "pack",
        "failures", "waits_until", "capped_until", "switched_off_reason",
    )  # fmt: skip
    list_select_related = ("pool__account", "pack")
    list_filter = (Standing, "pack__key")
    search_fields = ("=id", "pool__account__name", "pool__account__external_id", "pool__name")
    ordering = ("-id",)
    inlines = (TopUpInline,)
    fields = (
        "account_link", "pool_link", "is_active", credits_column("threshold"), credits_column("credits"), "pack",
        "method", "max_count", "money_cap", "failures", "waits_until", "failed_method", "capped_until",
        "switched_off_at", "switched_off_reason", "changed_at",
    )  # fmt: skip
    readonly_fields = fields

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in ("pool", "pool__account") or super().lookup_allowed(lookup, value, request)

    def name_of(self, row: TopUpRule) -> str:
        return f"{row.pool} of {row.pool.account}"

    def list_acts(self, request: HttpRequest, row: TopUpRule) -> list[Act]:
        return [Act("Top-ups", f"{reverse('admin:billing_topup_changelist')}?rule={row.pk}")]

    @admin.display(ordering="pool__account__name")
    def account(self, rule: TopUpRule) -> str:
        return str(rule.pool.account)

    @admin.display(description=lazy("account"))
    def account_link(self, rule: TopUpRule) -> SafeString:
        return _link("account", rule.pool.account)

    @admin.display(description=lazy("pool"))
    def pool_link(self, rule: TopUpRule) -> SafeString:
        return _link("creditpool", rule.pool)

    @admin.display(description=lazy("money a month at most"))
    def money_cap(self, rule: TopUpRule) -> str:
        return amounts.money_text(rule.max_money, rule.pack.currency)


@admin.register(TopUp)
class TopUpAdmin(FactsAdmin):
    """Automatic purchases."""

    list_display = (plain_id, "created_at", "account", "pool", "state", "total", "invoice", "month", "finished_at")
    list_select_related = ("rule__pool__account", "invoice")
    list_filter = ("state", "created_at")
    search_fields = ("=id", "rule__pool__account__name", "rule__pool__account__external_id", "invoice__number")
    ordering = ("-id",)
    fields = ("rule_link", "state", "total", "invoice_link", "month", "created_at", "finished_at")
    readonly_fields = fields

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in ("rule", "rule__pool__account") or super().lookup_allowed(lookup, value, request)

    def name_of(self, row: TopUp) -> str:
        return f"{row.rule.pool} of {row.rule.pool.account}, {row.invoice}"

    @admin.display(ordering="rule__pool__account__name")
    def account(self, top_up: TopUp) -> str:
        return str(top_up.rule.pool.account)

    @admin.display(ordering="rule__pool__name")
    def pool(self, top_up: TopUp) -> str:
        return top_up.rule.pool.name

    @admin.display(ordering="invoice__total")
    def total(self, top_up: TopUp) -> str:
        return _money(top_up.invoice)

    @admin.display(description=lazy("rule"))
    def rule_link(self, top_up: TopUp) -> SafeString:
        return _link("topuprule", top_up.rule)

    @admin.display(description=lazy("invoice"))
    def invoice_link(self, top_up: TopUp) -> SafeString:
        return _link("invoice", top_up.invoice)


def _money(invoice: Invoice) -> str:
    return amounts.money_text(invoice.total, invoice.currency)


def _link(table: str, row: Any) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse(f"admin:billing_{table}_change", args=[row.pk]), row)
