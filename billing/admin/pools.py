"""Staff pages of the ledger room: credit pools. Figures are the ledger's; staff set what happens when they run out."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from billing.admin.powers import POWERS
from billing.admin.rules import Act, credits_column
from billing.admin.undoing import AdjustPages
from billing.ledger import balance, pools
from billing.ledger.models import CreditPool
from billing.notifications import wording

FIGURES = (
    credits_column("balance"),
    credits_column("held"),
    credits_column("held_uncovered"),
    credits_column("overdraft"),
    credits_column("cycle_allocation"),
    credits_column("cycle_spent"),
    credits_column("cycle_overage"),
)


class PoolForm(forms.ModelForm):
    """A pool's policy. The table's CHECK names columns that are not in the form, so the bounds are said here too."""

    burst_limit = forms.DecimalField(
        max_digits=24, decimal_places=6, min_value=0, initial=0, help_text="Largest overdraft under the burst policy."
    )
    overage_cap = forms.DecimalField(
        max_digits=24, decimal_places=6, min_value=0, required=False,
        help_text="Largest overage in a cycle; empty: no cap.",
    )  # fmt: skip

    class Meta:
        model = CreditPool
        fields = ("account", "key", "name", "policy", "burst_limit", "overage_cap")


@admin.register(CreditPool)
class CreditPoolAdmin(AdjustPages):
    """Balances. Adding one opens a team pool; an account's main pool comes with the account."""

    list_display = ("account", "key", "name", "policy", *FIGURES[:2], *FIGURES[3:6], "last_posted_at")
    list_select_related = ("account",)
    list_filter = ("kind", "policy")
    search_fields = ("account__name", "account__external_id", "name")
    autocomplete_fields = ("account",)
    ordering = ("account", "kind", "pk")
    actions = None
    form = PoolForm
    refusals = {pools.PoolKeyTaken: "The account has a pool of this key already."}

    def name_of(self, row: CreditPool) -> str:
        return f"{row} of {row.account}"

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        policy = ("When credits run out", {"fields": ("policy", "burst_limit", "overage_cap")})
        if obj is None:
            return ((None, {"fields": ("account", "key", "name")}), policy)
        return (
            (None, {"fields": ("account", "key", "name", "available")}),
            policy,
            ("Figures", {"fields": FIGURES}),
            ("Cycle", {"fields": ("cycle_number", "cycle_starts_at", "cycle_ends_at", "last_posted_at", "version")}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        cycle = ("cycle_number", "cycle_starts_at", "cycle_ends_at", "last_posted_at", "version")
        return ("account", "key", "name", "available", *FIGURES, *cycle) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def list_acts(self, request: HttpRequest, row: CreditPool) -> list[Act]:
        may_adjust = request.user.has_perm(POWERS["adjust"].permission)
        adjust = [Act("Adjust", self.page_url("adjust", row))] if may_adjust else []
        return [
            *adjust,
            Act("Grant credits", f"{reverse('admin:billing_creditgrant_add')}?pool={row.pk}"),
            Act("Lots", f"{reverse('admin:billing_creditgrant_changelist')}?pool={row.pk}"),
            Act("Postings", f"{reverse('admin:billing_posting_changelist')}?pool={row.pk}"),
        ]

    def save_model(self, request: HttpRequest, obj: CreditPool, form: forms.ModelForm, change: bool) -> None:
        if change:
            pools.set_policy(
                pool_id=obj.pk, policy=obj.policy, burst_limit=obj.burst_limit, overage_cap=obj.overage_cap
            )
        else:
            obj.pk = pools.open_pool(**form.cleaned_data, now=timezone.now()).pk

    @admin.display(description="available now")
    def available(self, pool: CreditPool) -> str:
        return f"{wording.exact_credits_text(balance.read(pool_id=pool.pk, now=timezone.now()).available)} credits"
