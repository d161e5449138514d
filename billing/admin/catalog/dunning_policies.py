"""Staff pages of dunning policies: what happens, and when, if a recurring invoice is not paid."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.admin.rules import KeptAdmin
from billing.catalog.models import DunningPolicy

DAYS = ("retry_days", "reminder_days")


class PolicyForm(forms.ModelForm):
    """A policy: days after the first failure, rising and before the last."""

    class Meta:
        model = DunningPolicy
        fields = ("key", "name", "retry_days", "reminder_days", "final_days", "final_act", "downgrade_to", "is_default")
        help_texts = {
            "retry_days": gettext_lazy("Days after the first failure, with commas: 1, 3, 7."),
            "reminder_days": gettext_lazy("Days after the first failure, with commas: 1, 7, 14."),
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        final = cleaned.get("final_days")
        for name in DAYS:
            cleaned[name] = days = sorted(set(cleaned.get(name) or []))
            if final is not None and days and days[-1] > final:
                self.add_error(name, _("No day may lie after the final one."))
        others = DunningPolicy.objects.filter(is_default=True).exclude(pk=self.instance.pk)
        if cleaned.get("is_default") and others.exists():
            self.add_error("is_default", _("Another policy is the default: take that away from it first."))
        return cleaned


@admin.register(DunningPolicy)
class DunningPolicyAdmin(KeptAdmin):
    """Policies of dunning. What is being collected already goes on by the days that it began with."""

    form = PolicyForm
    list_display = ("name", "key", "retries", "reminders", "final_days", "final_act", "downgrade_to", "is_default")
    list_select_related = ("downgrade_to",)
    search_fields = ("name", "key")
    ordering = ("name", "pk")
    actions = None
    fields = (
        "name", "key", "retry_days", "reminder_days", ("final_days", "final_act"), "downgrade_to", "is_default",
        "created_at",
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("key", "created_at") if obj else ("created_at",)

    @admin.display(description=gettext_lazy("tries again on days"))
    def retries(self, policy: DunningPolicy) -> str:
        return ", ".join(map(str, policy.retry_days)) or "-"

    @admin.display(description=gettext_lazy("reminds on days"))
    def reminders(self, policy: DunningPolicy) -> str:
        return ", ".join(map(str, policy.reminder_days)) or "-"
