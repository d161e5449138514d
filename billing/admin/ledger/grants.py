"""Staff pages of the ledger room: lots of credits, granted and revoked through the ledger, with a reason.

Each rendered form carries a token that becomes the posting's reference, so a double click, a reload or a second tab
of the same form posts once.
"""

import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone

from billing.accounts.fields import validate_currency
from billing.accounts.models import Account
from billing.accounts.text import PlainText
from billing.admin import asking
from billing.admin.acts import Done
from billing.admin.asking import SMALLEST, OnceForm
from billing.admin.rules import Act, FactsAdmin, MomentWidget, PickOne, credits_column, plain_id
from billing.catalog.models import Meter
from billing.ledger import pools
from billing.ledger.models import CreditGrant, CreditPool, GrantKind, Posting
from billing.wording import amounts

# What those may grant who may not grant every kind: given, never sold, and not for good.
GIVEN = (GrantKind.GOODWILL, GrantKind.BONUS)
GIVEN_FOR = timedelta(days=365)
ANY_KIND = "billing.grant_any_kind"
# What staff may grant by hand. Rollovers, transfers, overage and overdraft are made by the ledger only.
KINDS = [
    (kind.value, kind.label)
    for kind in (
        GrantKind.GOODWILL,
        GrantKind.ADJUSTMENT,
        GrantKind.BONUS,
        GrantKind.PURCHASE,
        GrantKind.ALLOCATION,
        GrantKind.LOYALTY,
        GrantKind.STREAK,
        GrantKind.REFERRAL,
        GrantKind.MILESTONE,
    )
]


class GrantForm(OnceForm):
    """Credits to grant."""

    account = forms.ModelChoiceField(
        queryset=Account.objects.all(),
        widget=PickOne(CreditPool._meta.get_field("account"), admin.site),
    )
    pool = PlainText(
        label="Pool's key", initial=pools.MAIN_KEY, max_length=60, help_text="main, or the key of a team pool."
    )
    kind = forms.ChoiceField(choices=KINDS)
    amount = forms.DecimalField(label="Credits", max_digits=24, decimal_places=6, min_value=SMALLEST)
    priority = forms.IntegerField(
        initial=50, min_value=-32_768, max_value=32_767, help_text="Lower is used first; 50 is usual."
    )
    effective_at = forms.SplitDateTimeField(
        label="Valid from", required=False, widget=MomentWidget("Valid from"), help_text="Empty: now."
    )
    expires_at = forms.SplitDateTimeField(
        label="Expires", required=False, widget=MomentWidget("Expires"), help_text="Empty: never."
    )
    meter = forms.ModelChoiceField(
        queryset=Meter.objects.filter(archived_at=None).order_by("name"), required=False, empty_label="any usage"
    )
    cost_basis = forms.DecimalField(
        label="Money paid per credit",
        initial=0,
        max_digits=24,
        decimal_places=12,
        min_value=0,
        help_text="Zero for credits that were given, not sold.",
    )
    currency = PlainText(
        required=False, max_length=3, validators=[validate_currency], help_text="Empty: the account's."
    )

    field_order = (
        "token", "account", "pool", "kind", "amount", "reason", "expires_at", "effective_at", "meter", "cost_basis",
        "currency", "priority",
    )  # fmt: skip

    def __init__(self, *args: Any, may_grant_any: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.may_grant_any = may_grant_any
        self.fields["expires_at"].initial = lambda: timezone.now() + GIVEN_FOR
        if may_grant_any:
            return
        kind = self.fields["kind"]
        assert isinstance(kind, forms.ChoiceField)  # noqa: S101  for the type checker
        kind.choices = [(each.value, each.label) for each in GIVEN]
        self.fields["expires_at"].help_text = "Empty: in one year."
        for name in ("cost_basis", "currency"):
            del self.fields[name]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if "account" in cleaned and "pool" in cleaned:
            pool = CreditPool.objects.select_related("account").filter(account=cleaned["account"], key=cleaned["pool"])
            cleaned["pool"] = pool.first()
            if cleaned["pool"] is None:
                self.add_error("pool", "The account has no pool of this key.")
        begins = cleaned.get("effective_at") or timezone.now()
        if not self.may_grant_any:
            cleaned |= {"cost_basis": Decimal(0), "currency": ""}
            if "expires_at" in cleaned:
                cleaned["expires_at"] = cleaned["expires_at"] or begins + GIVEN_FOR
        expires_at = cleaned.get("expires_at")
        if expires_at and expires_at <= begins:
            self.add_error("expires_at", "Credits must expire after they become valid.")
        return cleaned

    def payload(self) -> dict[str, object]:
        """The grant as JSON; its amount and reason stand beside it."""
        asked = self.cleaned_data
        effective_at, expires_at = asked["effective_at"], asked["expires_at"]
        return {
            "pool_id": asked["pool"].pk,
            "amount": str(asked["amount"]),
            "kind": asked["kind"],
            "priority": asked["priority"],
            "effective_at": effective_at.isoformat() if effective_at else None,
            "expires_at": expires_at.isoformat() if expires_at else None,
            "cost_basis": str(asked["cost_basis"]),
            "currency": asked["currency"],
            "meter_id": asked["meter"].pk if asked["meter"] else None,
        }


class RevokeForm(OnceForm):
    """Credits to take back."""

    amount = forms.DecimalField(
        label="Credits",
        required=False,
        max_digits=24,
        decimal_places=6,
        min_value=SMALLEST,
        help_text="Empty: all that is left and not held.",
    )

    field_order = ("token", "amount", "reason")


@admin.register(CreditGrant)
class CreditGrantAdmin(FactsAdmin):
    """Lots. They change by acts on the ledger only."""

    list_display = (
        plain_id, "account", "pool", "kind", credits_column("amount"), credits_column("remaining"),
        credits_column("held"),
        "is_open", "effective_at", "expires_at", "meter", "note",
    )  # fmt: skip
    list_select_related = ("pool__account", "meter")
    list_filter = ("kind", "is_open")
    search_fields = ("=id", "pool__account__name", "pool__account__external_id")
    ordering = ("-id",)
    add_label = "Grant credits"
    fields = (
        "account", "pool", "kind", credits_column("amount"), credits_column("remaining"), credits_column("held"),
        credits_column("spent"), credits_column("reversed"), credits_column("expired"), credits_column("revoked"),
        credits_column("transferred"), "is_open", "priority", "effective_at", "expires_at", "meter", "cost_basis",
        "currency", "rollovers", "source_id", "note", "created_at",
    )  # fmt: skip
    readonly_fields = fields

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in ("pool", "pool__account") or super().lookup_allowed(lookup, value, request)

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return bool(request.user.has_perm("billing.add_creditgrant"))

    def get_urls(self) -> list[URLPattern]:
        revoke = path(
            "<int:pk>/revoke/", self.admin_site.admin_view(self.revoke_view), name="billing_creditgrant_revoke"
        )
        return [revoke, *super().get_urls()]

    def list_acts(self, request: HttpRequest, row: CreditGrant) -> list[Act]:
        if not self.has_add_permission(request) or row.remaining <= row.held:
            return []
        return [Act("Revoke", self.page_url("revoke", row))]

    @admin.display(ordering="pool__account__name")
    def account(self, lot: CreditGrant) -> str:
        return str(lot.pool.account)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Ask what to grant, ask to confirm it, grant it."""
        if not self.has_add_permission(request):
            raise Http404
        may_grant_any = request.user.has_perm(ANY_KIND)
        form = GrantForm(
            request.POST or None, initial={"token": uuid.uuid4(), **_asked_pool(request)}, may_grant_any=may_grant_any
        )
        if not may_grant_any and _asks_for_more(request):
            raise PermissionDenied
        if request.method != "POST" or not form.is_valid() or "_edit" in request.POST:
            return self.render_act(request, None, title="Grant credits", button="Go on", form=form)
        asked = form.cleaned_data
        if "_confirmed" in request.POST and (done := self._ask(request, form)) is not None:
            said = f"{amounts.exact_credits_text(asked['amount'])} credits granted to {asked['pool'].account}."
            made = Posting.objects.filter(pool=asked["pool"], reference=form.reference).first()
            lot = made.entries.select_related("grant").order_by("line")[0].grant if made else None
            return asking.answer(request, done, said=said, to=self.page_url("change" if lot else "changelist", lot))
        if form.errors:
            return self.render_act(request, None, title="Grant credits", button="Go on", form=form)
        return self.render_act(
            request,
            None,
            title="Grant these credits?",
            button=f"Grant {amounts.exact_credits_text(asked['amount'])} credits",
            form=form,
            facts=_facts(form),
            warning=asking.warning(request, "grant", form.payload(), account_id=asked["account"].pk),
            hidden=True,
        )

    def _ask(self, request: HttpRequest, form: GrantForm) -> Done | None:
        account_id = form.cleaned_data["pool"].account_id
        return asking.ask(request, form, act="grant", account_id=account_id, payload=form.payload())

    def revoke_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Take back what is left of a lot, or part of it."""
        lot = CreditGrant.objects.select_related("pool__account").filter(pk=pk).first()
        if lot is None or not self.has_add_permission(request):
            raise Http404
        form = RevokeForm(request.POST or None, initial={"token": uuid.uuid4()})
        if request.method == "POST" and form.is_valid():
            done = self._ask_to_revoke(request, lot, form)
            if done is not None:
                taken = amounts.exact_credits_text(done.approval.credits)
                said = f"{taken} credits taken back from {lot.pool.account}."
                return asking.answer(request, done, said=said, to=self.page_url("change", lot))
        facts = [
            ("Account", lot.pool.account),
            ("Pool", lot.pool),
            ("Left", amounts.exact_credits_text(lot.remaining)),
            ("Held for work under way", amounts.exact_credits_text(lot.held)),
        ]
        return self.render_act(request, lot, title=f"Revoke {lot}", button="Take back", form=form, facts=facts)

    def _ask_to_revoke(self, request: HttpRequest, lot: CreditGrant, form: RevokeForm) -> Done | None:
        amount = form.cleaned_data["amount"]
        payload = {"grant_id": lot.pk, "amount": None if amount is None else str(amount)}
        return asking.ask(request, form, act="revoke", account_id=lot.pool.account_id, payload=payload)


def _asks_for_more(request: HttpRequest) -> bool:
    """Whether what was sent is more than credits given away: a form that does not offer it was made up."""
    kind, cost = request.POST.get("kind", ""), request.POST.get("cost_basis", "")
    return (kind in GrantKind.values and kind not in GIVEN) or cost.strip(" 0.,") != ""


def _asked_pool(request: HttpRequest) -> dict[str, object]:
    """What an address such as `?account=1` or `?pool=3` fills in."""
    number = request.GET.get("pool", "")
    pool = CreditPool.objects.filter(pk=number).first() if number.isdecimal() else None
    if pool is not None:
        return {"account": pool.account_id, "pool": pool.key}
    number = request.GET.get("account", "")
    return {"account": number} if number.isdecimal() else {}


def _facts(form: GrantForm) -> list[tuple[str, object]]:
    """What the form would grant, to be confirmed."""
    asked = form.cleaned_data
    pool: CreditPool = asked["pool"]
    paid = f"{asked['cost_basis']:f} {asked['currency'] or pool.account.currency} per credit"
    return [
        ("Account", f"{pool.account} ({pool.account.external_id})"),
        ("Pool", pool),
        ("Credits", amounts.exact_credits_text(asked["amount"])),
        ("Kind", GrantKind(asked["kind"]).label),
        ("Valid from", asked["effective_at"] or "now"),
        ("Expires", asked["expires_at"] or "never"),
        ("For", asked["meter"] or "any usage"),
        ("Money paid", paid if asked["cost_basis"] else "none"),
        ("Reason", asked["reason"]),
    ]
