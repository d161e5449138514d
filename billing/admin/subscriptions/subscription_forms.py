"""What pages ask for an act on a subscription."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts.text import PlainText
from billing.admin.asking import OnceForm
from billing.catalog.models import PlanVersion


class ActForm(OnceForm):
    """Why it is done."""

    reason = PlainText(
        label=gettext_lazy("Reason"), max_length=200, widget=forms.TextInput(attrs={"class": "vTextField"})
    )


class ChangeForm(ActForm):
    """Which plan, how many seats, from when."""

    plan = forms.ModelChoiceField(queryset=PlanVersion.objects.none(), label=gettext_lazy("Plan"), empty_label=None)
    seats = forms.IntegerField(label=gettext_lazy("Seats"), min_value=0, max_value=1_000_000)
    when = forms.ChoiceField(
        label=gettext_lazy("When"),
        required=False,
        choices=[
            ("", gettext_lazy("dearer now, cheaper at the end of the period")),
            ("now", gettext_lazy("now")),
            ("period_end", gettext_lazy("at the end of the period")),
        ],
    )
    field_order = ("token", "plan", "seats", "when", "reason")


class CancelForm(ActForm):
    """When it ends, and whether the days that are left are given back."""

    when = forms.ChoiceField(
        label=gettext_lazy("When"),
        choices=[("period_end", gettext_lazy("at the end of the period")), ("now", gettext_lazy("now"))],
    )
    gives_back = forms.BooleanField(
        label=gettext_lazy("Give the unused days back"),
        required=False,
        help_text=gettext_lazy("Only for now: they are credited and refunded, and their credits taken back."),
    )
    field_order = ("token", "when", "gives_back", "reason")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("gives_back") and cleaned.get("when") != "now":
            self.add_error("gives_back", _("What runs to its end is not given back."))
        return cleaned


class CouponForm(ActForm):
    """Which coupon."""

    code = PlainText(label=gettext_lazy("Code"), max_length=40)
    field_order = ("token", "code", "reason")
