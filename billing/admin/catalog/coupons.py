"""Staff pages of coupons. Who has redeemed one was promised its terms: they are settled by the first redemption."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from billing.accounts.fields import validate_currency
from billing.admin.rules import KeptAdmin
from billing.catalog.models import Coupon
from billing.catalog.pricing import round_money
from billing.wording.amounts import money_text, percent_text

TERMS = ("code", "percent", "amount", "currency", "duration_periods")


class CouponForm(forms.ModelForm):
    """What a coupon takes off, for how long and for whom."""

    def clean_code(self) -> str:
        # As people type it; the column's rule is about capitals.
        return str(self.cleaned_data["code"]).upper()

    def clean_currency(self) -> str:
        currency = str(self.cleaned_data["currency"]).upper()
        if currency:
            validate_currency(currency)
        return currency

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        amount, currency = cleaned.get("amount"), cleaned.get("currency")
        if amount and currency and amount != round_money(amount, currency):
            self.add_error("amount", _("That has more decimals than the currency."))
        most = cleaned.get("max_redemptions")
        if most is not None and most < self.instance.times_redeemed:
            self.add_error("max_redemptions", _("It has been redeemed more often already."))
        starts, ends = cleaned.get("valid_from"), cleaned.get("valid_to")
        if starts and ends and ends <= starts:
            self.add_error("valid_to", _("It must end after it begins."))
        return cleaned


@admin.register(Coupon)
class CouponAdmin(KeptAdmin):
    """Discounts on what a subscription pays in advance. One that is not active can be redeemed by nobody."""

    form = CouponForm
    list_display = ("code", "name", "is_active", "discount", "duration", "redeemed", "valid_from", "valid_to")
    list_filter = ("is_active",)
    search_fields = ("code", "name")
    ordering = ("-pk",)
    autocomplete_fields = ("plans",)
    actions = None
    fieldsets = (
        (None, {"fields": ("code", "name", "is_active")}),
        (gettext_lazy("What it takes off"), {"fields": ("percent", ("amount", "currency"), "duration_periods")}),
        (gettext_lazy("Who and when"), {"fields": ("plans", "max_redemptions", "valid_from", "valid_to")}),
        (None, {"fields": ("redeemed", "created_at")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fixed = ("redeemed", "created_at")
        return (*TERMS, *fixed) if obj is not None and obj.times_redeemed else fixed

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        if request.method == "POST" and object_id.isdecimal():
            # So that nobody redeems it between what is read here and what is written; saving is one transaction.
            Coupon.objects.select_for_update(no_key=True).filter(pk=int(object_id)).first()
        return super().get_object(request, object_id, from_field)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Coupon]:
        return super().get_queryset(request).prefetch_related("plans")

    @admin.display(description=gettext_lazy("discount"))
    def discount(self, coupon: Coupon) -> str:
        if coupon.amount is not None:
            return money_text(coupon.amount, coupon.currency)
        return percent_text(coupon.percent) if coupon.percent is not None else "-"

    @admin.display(description=gettext_lazy("for"))
    def duration(self, coupon: Coupon) -> str:
        count = coupon.duration_periods
        if count is None:
            return _("ever")
        return ngettext("%(count)s period", "%(count)s periods", count) % {"count": count}

    @admin.display(description=gettext_lazy("redeemed"), ordering="times_redeemed")
    def redeemed(self, coupon: Coupon) -> str:
        if coupon.max_redemptions is None:
            return str(coupon.times_redeemed)
        return _("%(count)s of %(most)s") % {"count": coupon.times_redeemed, "most": coupon.max_redemptions}
