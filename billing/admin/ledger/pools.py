"""Staff pages of the ledger room: credit pools. Figures are the ledger's; staff set what happens when they run out."""

import uuid
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from billing.admin import asking, trail
from billing.admin.ledger.corrections import AdjustPages
from billing.admin.powers import POWERS
from billing.admin.rules import Act, credits_column, cycle_column
from billing.ledger import balance, pools
from billing.ledger.models import CreditPool
from billing.wording import amounts

POLICY = ("policy", "burst_limit", "overage_cap")
FIGURES = (
    credits_column("balance"),
    credits_column("held"),
    credits_column("held_uncovered"),
    credits_column("overdraft"),
    cycle_column("cycle_allocation"),
    cycle_column("cycle_spent"),
    cycle_column("cycle_overage"),
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
        """Open a pool, or change its policy; what lets it be overdrawn further counts against the author's day."""
        wanted = {name: form.cleaned_data[name] for name in POLICY}
        if not change:
            named = {name: value for name, value in form.cleaned_data.items() if name not in POLICY}
            obj.pk = pools.open_pool(**named, now=timezone.now()).pk
            if wanted["policy"] == CreditPool.Policy.BLOCK:
                return
        payload = {
            "pool_id": obj.pk, "policy": wanted["policy"], "burst_limit": str(wanted["burst_limit"]),
            "overage_cap": None if wanted["overage_cap"] is None else str(wanted["overage_cap"]),
        }  # fmt: skip
        if change and not set(form.changed_data) & set(POLICY):
            return
        request.florin_asked = asking.ask_quietly(  # type: ignore[attr-defined]
            request, act="pool_policy", account_id=obj.account_id, payload=payload,
            reference=f"policy:{uuid.uuid4()}", reason="Asked for on the pool's own page.",
        )  # fmt: skip

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """What was done, `save_model` has noted."""
        trail.settle(request)

    def response_add(self, request: HttpRequest, obj: CreditPool, post_url_continue: Any = None) -> HttpResponse:
        return self._answer(request, obj) or super().response_add(request, obj, post_url_continue)

    def response_change(self, request: HttpRequest, obj: CreditPool) -> HttpResponse:
        return self._answer(request, obj) or super().response_change(request, obj)

    def _answer(self, request: HttpRequest, obj: CreditPool) -> HttpResponse | None:
        done = getattr(request, "florin_asked", None)
        said = f"The policy of {obj} of {obj.account} was changed."
        return None if done is None else asking.answer(request, done, said=said, to=self.page_url("change", obj))

    @admin.display(description="available now")
    def available(self, pool: CreditPool) -> str:
        return f"{amounts.exact_credits_text(balance.read(pool_id=pool.pk, now=timezone.now()).available)} credits"
