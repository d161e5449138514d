"""Staff pages of the catalog room: meters and packs. Rate cards have a file of their own."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from billing.admin.rules import RoomAdmin
from billing.catalog.models import Meter, Pack, PackTier
from billing.notifications import wording


@admin.register(Meter)
class MeterAdmin(RoomAdmin):
    """What is counted. How a meter counts is settled when it is added: usage has been counted that way since."""

    list_display = ("name", "key", "kind", "unit", "unit_cost", "unit_cost_currency", "archived_at")
    list_filter = ("kind", ("archived_at", admin.EmptyFieldListFilter))
    search_fields = ("name", "key")
    ordering = ("name", "pk")
    actions = ("archive", "restore")
    fieldsets = (
        (None, {"fields": ("name", "key", "unit")}),
        (
            "How it counts",
            {"fields": ("kind", "aggregation", "unique_property", "series_property", "gauge_unit_seconds")},
        ),
        ("Our cost", {"fields": ("unit_cost", "unit_cost_currency")}),
        ("State", {"fields": ("created_at", "archived_at")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        settled = ("key", "unit", "kind", "aggregation", "unique_property", "series_property", "gauge_unit_seconds")
        return ("created_at", "archived_at", *(settled if obj else ()))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Meter, form: forms.ModelForm, change: bool) -> None:
        if not change:
            obj.created_at = timezone.now()
        super().save_model(request, obj, form, change)

    @admin.action(description="Archive: refuse new events", permissions=["change"])
    def archive(self, request: HttpRequest, rows: QuerySet[Meter]) -> None:
        self._set_archived(request, rows.filter(archived_at=None), "Archived.")

    @admin.action(description="Restore: take events again", permissions=["change"])
    def restore(self, request: HttpRequest, rows: QuerySet[Meter]) -> None:
        self._set_archived(request, rows.exclude(archived_at=None), "Restored.")

    def _set_archived(self, request: HttpRequest, rows: QuerySet[Meter], note: str) -> None:
        meters = list(rows)
        for meter in meters:
            meter.archived_at = None if meter.archived_at else timezone.now()
            meter.save(update_fields=["archived_at"])
            self.note(request, "restore" if meter.archived_at is None else "archive", meter)
        names = ", ".join(meter.name for meter in meters)
        self.message_user(request, f"{note} {names}" if names else "Nothing to do.", messages.SUCCESS)


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
    extra = 1
    verbose_name_plural = "volume prices: the tier an amount reaches prices all of it"


@admin.register(Pack)
class PackAdmin(RoomAdmin):
    """Amounts of credits for sale. What has been bought keeps its price, so a pack may change at any time."""

    list_display = ("name", "key", "amounts", "prices", "currency", "validity_days", "segments", "is_active")
    list_filter = ("is_active", "currency")
    search_fields = ("name", "key")
    ordering = ("name", "pk")
    inlines = (TierInline,)
    actions = None
    fieldsets = (
        (None, {"fields": ("name", "key", "description", "is_active")}),
        ("Amounts", {"fields": ("min_credits", "max_credits", "step_credits", "validity_days")}),
        ("For whom", {"fields": ("currency", "target_segments", "created_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Pack]:
        tiers = Prefetch("tiers", queryset=PackTier.objects.order_by("from_credits"))
        return super().get_queryset(request).prefetch_related(tiers)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("created_at", "key", "currency") if obj else ("created_at",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Pack, form: forms.ModelForm, change: bool) -> None:
        if not change:
            obj.created_at = timezone.now()
        super().save_model(request, obj, form, change)

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
