"""Staff pages of the subscriptions room: subscriptions with everything that became of them.

What staff do to one is in `subscription_acts`; here rows are looked at.
"""

from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.admin.rules import FactsInline, credits_column, plain_id
from billing.admin.subscriptions.subscription_acts import SubscriptionPages
from billing.admin.subscriptions.subscription_start import StartPages
from billing.subscriptions.models import (
    Allocation,
    CouponRedemption,
    OverageCharge,
    ScheduledChange,
    Subscription,
    SubscriptionChange,
    SubscriptionPeriod,
)
from billing.wording import amounts


class _PartInline(FactsInline):
    """Rows that belong to a subscription, newest first."""

    related: tuple[str, ...] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("subscription", *self.related).order_by("-pk")

    @admin.display(description=gettext_lazy("invoice"))
    def invoice_link(self, row: Any) -> str | SafeString:
        return link("invoice", row.invoice) if row.invoice_id else "-"


class ScheduledInline(_PartInline):
    """The change that waits for the period's end, and those before it."""

    model = ScheduledChange
    related = ("plan_version__plan",)
    verbose_name_plural = gettext_lazy("scheduled changes")
    fields = ("created_at", "to", "seats", "actor", "applied_at", "withdrawn_at")
    readonly_fields = fields

    @admin.display(description=gettext_lazy("to"))
    def to(self, row: ScheduledChange) -> str:
        return version_text(row.plan_version)


class RedemptionInline(_PartInline):
    """The coupons it has or had."""

    model = CouponRedemption
    related = ("coupon",)
    verbose_name_plural = gettext_lazy("coupons")
    fields = ("created_at", "coupon_link", "left", "removed_at")
    readonly_fields = fields

    @admin.display(description=gettext_lazy("coupon"))
    def coupon_link(self, row: CouponRedemption) -> str:
        return f"{row.coupon.code}: {row.coupon.name}"

    @admin.display(description=gettext_lazy("paid periods left"))
    def left(self, row: CouponRedemption) -> str:
        return _("no end") if row.periods_left is None else str(row.periods_left)


class PeriodInline(_PartInline):
    """What each period was billed as."""

    model = SubscriptionPeriod
    related = ("plan_version__plan", "invoice")
    verbose_name_plural = gettext_lazy("periods")
    fields = (
        "number", "starts_at", "ends_at", "plan", "seats", "fee_text", "seats_text", credits_column("overage_credits"),
        "overage_text", "true_up_text", "invoice_link", "closed_at",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description=gettext_lazy("plan"))
    def plan(self, row: SubscriptionPeriod) -> str:
        return version_text(row.plan_version)

    @admin.display(description=gettext_lazy("fee"))
    def fee_text(self, row: SubscriptionPeriod) -> str:
        return amounts.money_text(row.fee, row.subscription.currency)

    @admin.display(description=gettext_lazy("extra seats"))
    def seats_text(self, row: SubscriptionPeriod) -> str:
        return amounts.money_text(row.seats_fee, row.subscription.currency)

    @admin.display(description=gettext_lazy("overage"))
    def overage_text(self, row: SubscriptionPeriod) -> str:
        return amounts.money_text(row.overage_amount, row.subscription.currency)

    @admin.display(description=gettext_lazy("true-up"))
    def true_up_text(self, row: SubscriptionPeriod) -> str:
        return amounts.money_text(row.true_up_amount, row.subscription.currency)


class AllocationInline(_PartInline):
    """The credits it included, granted or still to come."""

    model = Allocation
    related = ("invoice", "posting", "dispute")
    verbose_name_plural = gettext_lazy("allocations")
    fields = (
        "reference", "kind", credits_column("credits"), "starts_at", "ends_at", "invoice_link", "waits_for_payment",
        "held_by", "granted", "cancelled_at",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description=gettext_lazy("held back by"))
    def held_by(self, row: Allocation) -> str | SafeString:
        return link("dispute", row.dispute, str(row.dispute)) if row.dispute else "-"

    @admin.display(description=gettext_lazy("granted"))
    def granted(self, row: Allocation) -> str | SafeString:
        return link("posting", row.posting, f"{row.granted_at:%Y-%m-%d %H:%M}") if row.posting_id else "-"


class OverageInline(_PartInline):
    """Overage credits that stand on invoices."""

    model = OverageCharge
    related = ("grant", "invoice")
    verbose_name_plural = gettext_lazy("overage charges")
    fields = ("created_at", "lot", "number", credits_column("credits"), "amount_text", "invoice_link")
    readonly_fields = fields

    @admin.display(description=gettext_lazy("lot"))
    def lot(self, row: OverageCharge) -> SafeString:
        return link("creditgrant", row.grant, str(row.grant_id))

    @admin.display(description=gettext_lazy("amount"))
    def amount_text(self, row: OverageCharge) -> str:
        return amounts.money_text(row.amount, row.subscription.currency)


class ChangeInline(_PartInline):
    """What was done to it."""

    model = SubscriptionChange
    related = ("from_version__plan", "to_version__plan", "invoice")
    verbose_name_plural = gettext_lazy("history")
    fields = ("at", "act", "what", "invoice_link", "actor", "reference")
    readonly_fields = fields

    @admin.display(description=gettext_lazy("what"))
    def what(self, row: SubscriptionChange) -> str:
        parts = []
        if row.to_version and row.from_version and row.from_version_id != row.to_version_id:
            parts.append(f"{version_text(row.from_version)} → {version_text(row.to_version)}")
        elif row.to_version:
            parts.append(version_text(row.to_version))
        if row.from_seats is not None and row.to_seats is not None and row.from_seats != row.to_seats:
            parts.append(_("%(old)s → %(new)s seats") % {"old": row.from_seats, "new": row.to_seats})
        if reason := row.details.get("reason"):
            parts.append(str(reason))
        if dispute := row.details.get("dispute"):
            credits = {
                name: amounts.exact_credits_text(Decimal(row.details.get(name, "0"))) for name in ("taken", "held")
            }
            text = _("dispute %(dispute)s: %(taken)s credits that were granted, %(held)s still to come")
            parts.append(text % {"dispute": dispute, **credits})
        return ", ".join(parts) or "-"


@admin.register(Subscription)
class SubscriptionAdmin(StartPages, SubscriptionPages):
    """Who has which plan, how it stands and what comes next."""

    list_display = (
        plain_id, "account", "plan", "state", "seats", "currency", "collection", "period_ends_at", "next_due_at",
        "problem",
    )  # fmt: skip
    list_select_related = ("account", "plan_version__plan")
    list_filter = (
        "state", ("parked_at", admin.EmptyFieldListFilter), "plan_version__plan", "collection", "currency",
        "period_ends_at",
    )  # fmt: skip
    search_fields = ("=id", "=reference", "account__name", "account__external_id", "plan_version__plan__name")
    ordering = ("-id",)
    inlines = (ScheduledInline, RedemptionInline, PeriodInline, AllocationInline, OverageInline, ChangeInline)
    fieldsets = (
        (None, {"fields": ("account_link", "plan", "state", "seats", "currency")}),
        (gettext_lazy("Payment"), {"fields": ("collection", "method", "payment_terms_days")}),
        (
            gettext_lazy("Periods"),
            {"fields": ("period", "next_due_at", "anchor", "started_at", "trial_ends_at")},
        ),
        (
            gettext_lazy("How it stands"),
            {
                "fields": (
                    "past_due_at", "paused_at", "cancelled_at", "cancel_reason", "ended_at", "parked_at", "problem",
                )
            },
        ),
        (gettext_lazy("Made"), {"fields": ("reference", "created_at")}),
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _name, options in self.fieldsets for field in options["fields"]]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in ("account", "account__id__exact") or super().lookup_allowed(lookup, value, request)

    def name_of(self, row: Subscription) -> str:
        return _("%(plan)s of %(account)s") % {"plan": row.plan_version.plan, "account": row.account}

    @admin.display(description=gettext_lazy("account"))
    def account_link(self, row: Subscription) -> SafeString:
        at_a_glance = reverse("admin:billing_account_overview", args=[row.account_id])
        return format_html('<a href="{}">{}</a>', at_a_glance, row.account)

    @admin.display(description=gettext_lazy("plan"), ordering="plan_version__plan__name")
    def plan(self, row: Subscription) -> str:
        return version_text(row.plan_version)

    @admin.display(description=gettext_lazy("period"))
    def period(self, row: Subscription) -> str:
        if row.period_number == 0:
            return _("trial, %(starts)s to %(ends)s") % _dates(row)
        return _("number %(number)s, %(starts)s to %(ends)s") % {"number": row.period_number, **_dates(row)}

    @admin.display(description=gettext_lazy("counted from"))
    def anchor(self, row: Subscription) -> str:
        facts = {"day": f"{row.anchor_on:%Y-%m-%d}", "number": row.anchor_number, "zone": row.account.time_zone}
        return _("%(day)s in %(zone)s, where period %(number)s begins") % facts


def version_text(version: Any) -> str:
    """A plan's version by its plan's name: `Team v2`."""
    return f"{version.plan.name} v{version.number}"


def link(table: str, row: Any, text: str = "") -> SafeString:
    """A row's own page."""
    return format_html('<a href="{}">{}</a>', reverse(f"admin:billing_{table}_change", args=[row.pk]), text or row)


def _dates(row: Subscription) -> dict[str, str]:
    return {"starts": f"{row.period_starts_at:%Y-%m-%d %H:%M}", "ends": f"{row.period_ends_at:%Y-%m-%d %H:%M}"}
