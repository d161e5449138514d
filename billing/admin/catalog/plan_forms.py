"""Forms of the staff pages of plans: a draft's terms and its prices. What publishing refuses is refused here too."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from billing.admin.rules import FactsInline, money_column
from billing.catalog.models import PlanPrice
from billing.catalog.plan_pricing import check_loyalty, overage_tiers
from billing.catalog.plan_words import overage_text
from billing.catalog.pricing import check_tiers


class VersionForm(forms.ModelForm):
    """The terms of a draft."""

    def clean_loyalty_steps(self) -> list[dict[str, object]]:
        steps = self.cleaned_data["loyalty_steps"] or []
        if fault := check_loyalty(steps):
            raise forms.ValidationError(fault)
        # As text, so that a JSON number's binary fraction never becomes a percentage.
        return [{"from_period": int(str(each["from_period"])), "percent": str(each["percent"])} for each in steps]


class PriceForm(forms.ModelForm):
    """What a draft costs in one currency."""

    class Meta:
        model = PlanPrice
        fields = ("currency", "fee", "seat_price", "minimum", "overage_tiers")
        widgets = {"overage_tiers": forms.Textarea(attrs={"rows": 2, "cols": 70})}
        help_texts = {
            "overage_tiers": gettext_lazy(
                'By credits of overage: [{"up_to": "10000", "price": "2"}, {"up_to": null, "price": "1.5"}].'
            )
        }

    def clean_overage_tiers(self) -> list[dict[str, str | None]]:
        try:
            tiers = overage_tiers(self.cleaned_data["overage_tiers"] or [])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        if tiers and (fault := check_tiers(tiers)):
            raise forms.ValidationError(fault)
        return [
            {"up_to": None if tier.up_to is None else f"{tier.up_to:f}", "price": f"{tier.price:f}"} for tier in tiers
        ]


class PriceInline(admin.StackedInline):
    """What a draft costs, by currency."""

    model = PlanPrice
    form = PriceForm
    extra = 0
    min_num = 1
    fields = (("currency", "fee", "seat_price", "minimum"), "overage_tiers")
    verbose_name_plural = gettext_lazy("prices per period")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_add_permission(request, obj) or super().has_change_permission(request, obj)


class SoldPriceInline(FactsInline):
    """The prices of a published version, to look at."""

    model = PlanPrice
    fields = ("currency", money_column("fee"), money_column("seat_price"), money_column("minimum"), "overage")
    readonly_fields = fields
    verbose_name_plural = gettext_lazy("prices per period")

    @admin.display(description=gettext_lazy("overage"))
    def overage(self, price: PlanPrice) -> str:
        return overage_text(price.version, price) if price.overage_tiers else "-"
