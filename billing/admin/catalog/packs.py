"""Staff pages of the catalog room: packs, from draft to sale to retirement."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Prefetch, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from billing.accounts.text import PlainText
from billing.admin.rules import Act, FactsInline, RoomAdmin, credits_column
from billing.admin.trail import settle
from billing.catalog import packs
from billing.catalog.models import KEY_VALIDATOR
from billing.catalog.pack_models import Pack, PackTier
from billing.purchases.models import TopUpRule
from billing.wording import amounts as wording
from billing.wording import times

SOLD_AMOUNTS = (credits_column("min_credits"), credits_column("max_credits"), credits_column("step_credits"))


class TierFormSet(forms.BaseInlineFormSet):
    """The tiers of a pack: every amount it sells must have a price."""

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        if "DELETE" in form.fields:
            form.fields["DELETE"].widget.attrs["aria-label"] = "Delete"

    def clean(self) -> None:
        super().clean()
        kept = [form.cleaned_data for form in self.forms if form.cleaned_data and not form.cleaned_data.get("DELETE")]
        starts = [tier["from_credits"] for tier in kept if tier.get("from_credits") is not None]
        smallest = self.instance.min_credits
        if any(self.errors) or smallest is None:
            return
        if not starts or min(starts) > smallest:
            raise forms.ValidationError(
                f"The smallest amount, {wording.exact_credits_text(smallest)} credits, has no price: "
                "let the first tier begin there."
            )


class TierForm(forms.ModelForm):
    """A tier; the table's headings name its inputs for the eye, these labels for screen readers."""

    class Meta:
        model = PackTier
        fields = ("from_credits", "unit_price")
        widgets = {
            "from_credits": forms.NumberInput(attrs={"aria-label": "From credits"}),
            "unit_price": forms.NumberInput(attrs={"aria-label": "Unit price"}),
        }


class TierInline(admin.TabularInline):
    """The price per credit, by the amount bought at once."""

    model = PackTier
    form = TierForm
    formset = TierFormSet
    extra = 0
    min_num = 1
    verbose_name_plural = "volume prices: the tier an amount reaches prices all of it"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_draft(obj) and super().has_add_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_draft(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_draft(obj) and super().has_delete_permission(request, obj)


class SoldTierInline(FactsInline):
    """The prices of a pack that is or was on sale, to look at."""

    model = PackTier
    fields = (credits_column("from_credits"), credits_column("unit_price"))
    readonly_fields = fields
    verbose_name_plural = TierInline.verbose_name_plural


def _tax_words(pack: Pack) -> str:
    return gettext("tax included") if pack.prices_include_tax else gettext("before tax")


def _is_draft(pack: Pack | None) -> bool:
    return pack is None or pack.state == "draft"


class CopyForm(forms.Form):
    """What a new draft is known by."""

    key = PlainText(label=_("Key"), max_length=60, validators=[KEY_VALIDATOR], help_text=_("Of the new pack."))


class Standing(admin.SimpleListFilter):
    """Packs by how far they have come."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("draft", _("draft")), ("sale", _("on sale")), ("retired", _("retired"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Pack]) -> QuerySet[Pack]:
        match self.value():
            case "draft":
                return queryset.filter(is_active=False, retired_at=None)
            case "sale":
                return queryset.filter(is_active=True)
            case "retired":
                return queryset.filter(retired_at__isnull=False)
        return queryset


@admin.register(Pack)
class PackAdmin(RoomAdmin):
    """Amounts of credits for sale: drafts, packs on sale, retired ones. Going on sale fixes amounts and prices; name,
    words and buyers may change."""

    list_display = ("name", "key", "state", "amounts", "prices", "currency", "validity_days", "segments")
    list_filter = (Standing, "currency")
    search_fields = ("name", "key")
    ordering = ("name", "pk")
    inlines = (TierInline,)
    actions = None

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return self.inlines if _is_draft(obj) else (SoldTierInline,)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        amounts = ("min_credits", "max_credits", "step_credits") if _is_draft(obj) else SOLD_AMOUNTS
        return (
            (None, {"fields": ("name", "key", "description", "state")}),
            ("Amounts", {"fields": (*amounts, "validity_days", "prices_include_tax")}),
            ("For whom", {"fields": ("currency", "target_segments", "created_at", "retired_at")}),
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Pack]:
        tiers = Prefetch("tiers", queryset=PackTier.objects.order_by("from_credits"))
        return super().get_queryset(request).prefetch_related(tiers)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[Any, ...]:
        fixed = ("state", "created_at", "retired_at", *(("key", "currency") if obj else ()))
        return fixed if _is_draft(obj) else (*fixed, *SOLD_AMOUNTS, "validity_days", "prices_include_tax")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        pages = (("publish", self.publish_view), ("retire", self.retire_view), ("draft", self.draft_view))
        return [
            *(path(f"<int:pk>/{name}/", view(page), name=f"billing_pack_{name}") for name, page in pages),
            *super().get_urls(),
        ]

    def list_acts(self, request: HttpRequest, row: Pack) -> list[Act]:
        if not self.has_change_permission(request, row):
            return []
        draft = Act(gettext("New draft from this"), self.page_url("draft", row))
        match row.state:
            case "draft":
                return [Act(gettext("Put on sale"), self.page_url("publish", row)), draft]
            case "on sale":
                return [Act(gettext("Retire"), self.page_url("retire", row)), draft]
        return [draft]

    def save_model(self, request: HttpRequest, obj: Pack, form: forms.ModelForm, change: bool) -> None:
        if not change:
            obj.created_at, obj.is_active = timezone.now(), False
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: Pack, post_url_continue: str | None = None) -> HttpResponse:
        """Leave the person at the draft, for putting it on sale is the next step."""
        self.message_user(request, gettext("%(pack)s is saved as a draft.") % {"pack": obj}, messages.SUCCESS)
        return HttpResponseRedirect(self.page_url("change", obj))

    def publish_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask to confirm, and put a draft on sale."""
        pack = self._get(request, pk)
        if request.method == "POST":
            try:
                packs.publish(pack_id=pk)
            except packs.NotPublishable as fault:
                self._refuse(request, str(fault))
            except packs.NotADraft:
                self._refuse(request, gettext("This pack is no draft any more."))
            else:
                self.note(request, "publish", pack)
                self.message_user(request, gettext("%(pack)s is on sale.") % {"pack": pack}, messages.SUCCESS)
            return HttpResponseRedirect(self.page_url("change", pack))
        return self.render_act(
            request, pack, title=gettext("Put %(pack)s on sale?") % {"pack": pack}, button=gettext("Put on sale"),
            facts=self._facts(pack),
            warning=gettext("Amounts and prices cannot be changed afterwards; a new draft can be made from it."),
        )  # fmt: skip

    def retire_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask to confirm, and sell a pack no longer."""
        pack = self._get(request, pk)
        if request.method == "POST":
            try:
                packs.retire(pack_id=pk, now=timezone.now())
            except packs.NotOnSale:
                self._refuse(request, gettext("This pack is not on sale."))
            else:
                self.note(request, "retire", pack)
                self.message_user(request, gettext("%(pack)s is retired.") % {"pack": pack}, messages.SUCCESS)
            return HttpResponseRedirect(self.page_url("change", pack))
        rules = TopUpRule.objects.filter(pack=pack, is_active=True).count()
        facts = [*self._facts(pack), (gettext("Top-up rules that buy it"), rules)]
        return self.render_act(
            request, pack, title=gettext("Retire %(pack)s?") % {"pack": pack}, button=gettext("Retire for good"),
            facts=facts, warning=gettext("Nobody can buy it any more, and top-up rules that name it stop buying."),
        )  # fmt: skip

    def draft_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Begin a draft with what this pack says, under a key of its own."""
        pack = self._get(request, pk)
        form = CopyForm(request.POST or None, initial={"key": f"{pack.key}-2"})
        if request.method == "POST" and form.is_valid():
            try:
                draft = packs.draft_from(pack_id=pk, key=form.cleaned_data["key"], now=timezone.now())
            except packs.KeyTaken:
                form.add_error("key", gettext("Another pack has this key."))
            else:
                self.note(request, "draft", draft, facts={"from": pack.key})
                return HttpResponseRedirect(self.page_url("change", draft))
        title = gettext("New draft from %(pack)s") % {"pack": pack}
        return self.render_act(request, pack, title=title, button=gettext("Begin the draft"), form=form)

    def _get(self, request: HttpRequest, pk: int) -> Pack:
        self.require(self.has_change_permission(request))
        pack = Pack.objects.prefetch_related("tiers").filter(pk=pk).first()
        if pack is None:
            raise Http404
        self.watch(request, pack)
        return pack

    def _refuse(self, request: HttpRequest, why: str) -> None:
        settle(request)
        self.message_user(request, why, messages.ERROR)

    def _facts(self, pack: Pack) -> list[tuple[str, object]]:
        return [
            (gettext("Credits"), self.amounts(pack)),
            (gettext("Price per credit"), f"{self.prices(pack)} ({pack.currency}, {_tax_words(pack)})"),
            (gettext("Valid for"), times.validity_text(pack.validity_days)),
            (gettext("For"), self.segments(pack)),
        ]

    @admin.display(description=_("state"))
    def state(self, pack: Pack) -> str:
        return pack.state if pack.pk else gettext("draft: put it on sale once it is saved")

    @admin.display(description="credits")
    def amounts(self, pack: Pack) -> str:
        return f"{wording.exact_credits_text(pack.min_credits)} to {wording.exact_credits_text(pack.max_credits)}"

    @admin.display(description="price per credit")
    def prices(self, pack: Pack) -> str:
        return ", ".join(
            f"{wording.exact_credits_text(tier.unit_price)} from {wording.exact_credits_text(tier.from_credits)}"
            for tier in pack.tiers.all()
        )

    @admin.display(description="for")
    def segments(self, pack: Pack) -> str:
        return ", ".join(pack.target_segments) or "everyone"
