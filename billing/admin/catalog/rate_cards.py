"""Staff pages of the catalog room: rate cards, their versions, and who has which.

A version is edited as a draft and then published, which is final: the page of a published version is read-only, and
the way on is a new draft made from it.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from billing.admin.catalog.rate_previews import PreviewPages
from billing.admin.catalog.versions import is_draft
from billing.admin.rules import Act, FactsInline, KeptAdmin, MomentWidget, RoomAdmin, staff_user
from billing.catalog import rate_cards
from billing.catalog.models import Rate, RateCard, RateCardAssignment, RateCardVersion
from billing.catalog.pricing import Tier, check_tiers
from billing.wording import amounts


class RateForm(forms.ModelForm):
    """A rate of a draft. Matches and tiers are JSON; what publishing would refuse is refused here already."""

    class Meta:
        model = Rate
        fields = ("meter", "match", "model", "price", "unit_size", "tiers", "minimum", "rounding", "decimals")
        widgets = {
            "match": forms.Textarea(attrs={"rows": 2, "cols": 22}),
            "tiers": forms.Textarea(attrs={"rows": 2, "cols": 34}),
        }

    def clean_match(self) -> dict[str, object]:
        match = self.cleaned_data["match"] or {}
        plain = (str, int, bool)
        if not isinstance(match, dict) or not all(isinstance(value, plain) for value in match.values()):
            raise forms.ValidationError('Write property values as JSON, for example {"model": "gpt-4"}.')
        return match

    def clean_tiers(self) -> list[dict[str, str | None]]:
        raw = self.cleaned_data["tiers"] or []
        try:
            tiers = [_tier(entry) for entry in raw]
        except (TypeError, KeyError, ValueError, InvalidOperation):
            raise forms.ValidationError(
                'Write tiers as JSON: [{"up_to": "1000", "price": "2"}, {"up_to": null, "price": "1"}].'
            ) from None
        if tiers and (fault := check_tiers(tiers)):
            raise forms.ValidationError(fault)
        # As text, so that a JSON number's binary fraction never becomes a price.
        return [
            {"up_to": None if tier.up_to is None else f"{tier.up_to:f}", "price": f"{tier.price:f}"} for tier in tiers
        ]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        graduated = cleaned.get("model") == Rate.Model.GRADUATED
        if graduated and not cleaned.get("tiers") and "tiers" not in self.errors:
            self.add_error("tiers", "A graduated rate needs at least one tier.")
        return cleaned


def _tier(entry: Mapping[str, object]) -> Tier:
    up_to = entry["up_to"]
    tier = Tier(None if up_to is None else Decimal(str(up_to)), Decimal(str(entry["price"])))
    if tier.up_to is not None and not tier.up_to.is_finite():
        raise ValueError(up_to)
    return tier


class RateInline(admin.StackedInline):
    """The rates of a version, editable while it is a draft."""

    model = Rate
    form = RateForm
    extra = 0
    fields = (("meter", "match"), ("model", "price", "unit_size"), "tiers", ("minimum", "rounding", "decimals"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Rate]:
        return super().get_queryset(request).select_related("meter").order_by("meter__name", "pk")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_draft(obj) and super().has_add_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_draft(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_draft(obj) and super().has_delete_permission(request, obj)


class VersionInline(FactsInline):
    """The versions of a card."""

    model = RateCardVersion
    fields = ("number", "counts_by", "effective_at", "published_at", "published_by", "note")
    ordering = ("-number",)
    show_change_link = True


@admin.register(RateCard)
class RateCardAdmin(KeptAdmin):
    """Price lists for usage. What a card says is in its versions."""

    list_display = ("name", "key", "is_default", "versions_count", "created_at")
    search_fields = ("name", "key")
    ordering = ("name", "pk")
    inlines = (VersionInline,)
    actions = None
    fields = ("name", "key", "is_default", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[RateCard]:
        return super().get_queryset(request).annotate(versions_count=Count("versions"))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("key", "created_at") if obj else ("created_at",)

    def get_urls(self) -> list[URLPattern]:
        draft = path("<int:pk>/draft/", self.admin_site.admin_view(self.draft_view), name="billing_ratecard_draft")
        return [draft, *super().get_urls()]

    def list_acts(self, request: HttpRequest, row: RateCard) -> list[Act]:
        return [Act("New draft", self.page_url("draft", row))]

    @admin.display(description="versions", ordering="versions_count")
    def versions_count(self, card: RateCard) -> int:
        return card.versions_count  # type: ignore[attr-defined]

    def draft_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Begin a draft: from the version with the highest number, or empty for a new card."""
        card = self.get_object(request, str(pk))
        if card is None or not self.has_change_permission(request, card):
            raise Http404
        if request.method != "POST":
            return self.render_act(request, card, title=f"New draft of {card.name}", button="Begin the draft")
        latest = card.versions.order_by("-number").first()
        now = timezone.now()
        if latest is None:
            draft = rate_cards.draft_version(rate_card_id=card.pk, now=now)
        else:
            draft = rate_cards.draft_from(version_id=latest.pk, now=now)
        self.note(request, "draft", draft, facts={"from": str(latest.number) if latest else "nothing"})
        return HttpResponseRedirect(reverse("admin:billing_ratecardversion_change", args=[draft.pk]))


class PublishForm(forms.Form):
    """When a version begins to price usage."""

    effective_at = forms.SplitDateTimeField(
        label="In force from",
        widget=MomentWidget("In force from"),
        required=False,
        help_text="UTC. Leave empty to start immediately. Only a card's first version may start in the past.",
    )


@admin.register(RateCardVersion)
class RateCardVersionAdmin(PreviewPages):
    """Editions of rate cards: drafts to edit and publish, published ones to look at."""

    draft_from = staticmethod(rate_cards.draft_from)
    list_display = ("rate_card", "number", "state", "effective_at", "published_by", "note")
    list_select_related = ("rate_card", "published_by")
    list_filter = ("rate_card", ("published_at", admin.EmptyFieldListFilter))
    ordering = ("rate_card", "-number")
    inlines = (RateInline,)
    actions = None
    fields = (
        "rate_card", "number", "state", "counts_by", "note", "effective_at", "published_at", "published_by",
        "created_at",
    )  # fmt: skip
    readonly_fields = (
        "rate_card", "number", "state", "effective_at", "published_at", "published_by", "created_at",
    )  # fmt: skip

    def name_of(self, row: RateCardVersion) -> str:
        return f"{row.rate_card}, version {row.number}"

    @admin.display
    def state(self, version: RateCardVersion) -> str:
        if version.effective_at is None:
            return "draft"
        return "published" if version.effective_at <= timezone.now() else "published, not yet in force"

    def list_acts(self, request: HttpRequest, row: RateCardVersion) -> list[Act]:
        preview = Act("What would last month have cost?", self.page_url("preview", row))
        if not self.may_draft(request):
            return [preview]
        draft = Act("New draft from this", self.page_url("draft", row))
        return [Act("Publish", self.page_url("publish", row)), preview, draft] if is_draft(row) else [preview, draft]

    def publish_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Confirm when the version takes effect, and publish it."""
        version = self.get_version(request, pk)
        if version.is_published:
            self.message_user(request, "This version is published already.", messages.WARNING)
            return HttpResponseRedirect(self.page_url("change", version))
        form = PublishForm(request.POST or None)
        if request.method == "POST" and form.is_valid() and self._publish(request, version, form):
            self.note(request, "publish", version)
            self.message_user(request, f"Version {version.number} is published.", messages.SUCCESS)
            return HttpResponseRedirect(self.page_url("change", version))
        return self.render_act(
            request,
            version,
            title=f"Publish {version.rate_card.name}, version {version.number}",
            button="Publish for good",
            form=form,
            facts=[
                ("Counts by", version.get_counts_by_display()),
                *((rate.meter.name, rate_in_words(rate)) for rate in version.rates.select_related("meter")),
            ],
            warning="A published version cannot be changed any more. Please look at its rates once again.",
        )

    def _publish(self, request: HttpRequest, version: RateCardVersion, form: PublishForm) -> bool:
        now = timezone.now()
        try:
            rate_cards.publish(
                version_id=version.pk,
                effective_at=form.cleaned_data["effective_at"] or now,
                published_by=staff_user(request),
                now=now,
            )
        except rate_cards.NotPublishable as fault:
            form.add_error(None, str(fault))
        except rate_cards.AlreadyPublished:
            form.add_error(None, "Somebody has published it meanwhile.")
        return form.is_valid()

    def get_version(self, request: HttpRequest, pk: int) -> RateCardVersion:
        version = RateCardVersion.objects.select_related("rate_card").filter(pk=pk).first()
        if version is None or not self.may_draft(request):
            raise Http404
        self.watch(request, version)
        return version


def rate_in_words(rate: Rate) -> str:
    """What a rate charges, in one line."""
    unit = amounts.exact_credits_text(rate.unit_size)
    if rate.model == Rate.Model.GRADUATED:
        words = "; ".join(
            f"{tier['price']} up to {tier['up_to']}" if tier["up_to"] is not None else f"{tier['price']} beyond"
            for tier in rate.tiers
        )
        words = f"{words}, per {unit} {rate.meter.unit}"
    else:
        begun = " begun" if rate.model == Rate.Model.PER_PACKAGE else ""
        words = f"{amounts.exact_credits_text(rate.price)} per {unit} {rate.meter.unit}{begun}"
    if rate.minimum:
        words += f", at least {amounts.exact_credits_text(rate.minimum)} a period"
    if rate.match:
        words += " where " + ", ".join(f"{name} is {value}" for name, value in sorted(rate.match.items()))
    return f"{words} (credits, {rate.get_rounding_display()} to {rate.decimals} decimals)"


@admin.register(RateCardAssignment)
class RateCardAssignmentAdmin(RoomAdmin):
    """Which account has which card, and why. What has begun is ended by a date, not deleted."""

    list_display = ("account", "rate_card", "kind", "starts_at", "ends_at")
    list_select_related = ("account", "rate_card")
    list_filter = ("kind", "rate_card")
    search_fields = ("account__name", "account__external_id")
    autocomplete_fields = ("account",)
    ordering = ("-pk",)
    actions = None

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("account", "rate_card", "kind", "starts_at") if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: RateCardAssignment, form: forms.ModelForm, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
        else:
            obj.pk = rate_cards.assign(**form.cleaned_data).pk
