"""Staff pages of tax: rates, certificates of exemption, what the register says of tax numbers, calculations."""

from datetime import date, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.admin.rules import Act, FactsAdmin, KeptAdmin, RoomAdmin
from billing.admin.trail import apart, settle
from billing.invoicing import tax_numbers
from billing.invoicing.tax_models import TaxCalculation, TaxExemption, TaxNumberCheck, TaxRate
from billing.wording import amounts


class DatedForm(forms.ModelForm):
    """Something for a while. The table's CHECK may ask PostgreSQL for a range that ends before it begins, so it is said
    here."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        begins, ends = cleaned.get("valid_from", self.instance.valid_from), cleaned.get("valid_to")
        if begins and ends and ends <= begins:
            self.add_error("valid_to", _("It must end after it begins."))
        return cleaned


class TaxRateForm(DatedForm):
    """A tax rate."""

    class Meta:
        model = TaxRate
        fields = ("country", "region", "category", "name", "percent", "valid_from", "valid_to")


@admin.register(TaxRate)
class TaxRateAdmin(RoomAdmin):
    """Tax rates. To change a rate, end it and add the next one: a rate that has been in force keeps what it said.

    One that was added by mistake can be deleted until the day it begins.
    """

    list_display = ("country", "region", "category", "name", "percent_text", "valid_from", "valid_to", "source_on")
    list_filter = ("country", "category", ("source", admin.EmptyFieldListFilter))
    search_fields = ("=country", "=region", "name")
    ordering = ("country", "region", "category", "-valid_from", "pk")
    actions = None
    form = TaxRateForm

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*TaxRateForm.Meta.fields, *(("source", "source_on") if obj else ()))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fixed = ("country", "region", "category", "percent", "valid_from", "source", "source_on")
        return fixed if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing can have been taxed by a rate that has not begun, wherever on earth it is to."""
        begins_later = obj is not None and obj.valid_from > timezone.now().date() + timedelta(days=1)
        return begins_later and super().has_delete_permission(request, obj)

    @admin.display(description="percent", ordering="percent")
    def percent_text(self, rate: TaxRate) -> str:
        return amounts.percent_text(rate.percent)


class TaxExemptionForm(DatedForm):
    """A certificate."""

    class Meta:
        model = TaxExemption
        fields = ("account", "country", "region", "number", "note", "valid_from", "valid_to")


@admin.register(TaxExemption)
class TaxExemptionAdmin(KeptAdmin):
    """Certificates by which accounts need not pay tax. What one says stays; it can be ended or withdrawn."""

    list_display = ("number", "account", "country", "region", "valid_from", "valid_to", "standing")
    list_select_related = ("account",)
    list_filter = ("country", ("withdrawn_at", admin.EmptyFieldListFilter))
    search_fields = ("number", "account__name", "account__external_id")
    autocomplete_fields = ("account",)
    ordering = ("-id",)
    actions = None
    form = TaxExemptionForm

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*TaxExemptionForm.Meta.fields, *(("standing", "created_at", "withdrawn_at") if obj else ()))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        fixed = ("account", "country", "region", "number", "valid_from", "standing", "created_at", "withdrawn_at")
        return fixed if obj.withdrawn_at is None else (*fixed, "note", "valid_to")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.withdraw_view)
        return [path("<int:pk>/withdraw/", view, name="billing_taxexemption_withdraw"), *super().get_urls()]

    def list_acts(self, request: HttpRequest, row: TaxExemption) -> list[Act]:
        if row.withdrawn_at is not None or not self.has_change_permission(request, row):
            return []
        return [Act(_("Withdraw"), self.page_url("withdraw", row))]

    def withdraw_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask, then let a certificate that was wrong count no more."""
        row = TaxExemption.objects.select_related("account").filter(pk=pk).first()
        if row is None:
            raise Http404
        self.require(self.has_change_permission(request, row))
        self.watch(request, row)
        if request.method == "POST":
            if TaxExemption.objects.filter(pk=pk, withdrawn_at=None).update(withdrawn_at=timezone.now()):
                self.note(request, "withdraw", row)
                self.message_user(request, _("The certificate counts no more."), messages.SUCCESS)
            else:
                settle(request)
                self.message_user(request, _("It was withdrawn before."), messages.WARNING)
            return HttpResponseRedirect(self.page_url("change", row))
        return self.render_act(
            request, row, title=_("Withdraw this certificate?"), button=_("Withdraw it"),
            facts=[(_("Account"), row.account), (_("Certificate"), row)],
            warning=_("Invoices from now on bear tax again. Those that are issued stay as they are."),
        )  # fmt: skip

    @admin.display(description=gettext_lazy("standing"))
    def standing(self, row: TaxExemption) -> str:
        if row.withdrawn_at is not None:
            return _("withdrawn")
        today: date = timezone.now().date()
        if row.valid_from > today:
            return _("to come")
        return _("ended") if row.valid_to is not None and row.valid_to <= today else _("in force")


@admin.register(TaxNumberCheck)
class TaxNumberCheckAdmin(FactsAdmin):
    """What the EU's register says of accounts' tax numbers."""

    list_display = ("vat_id", "account", "state", "name", "answered_at", "next_check_at", "problem")
    list_select_related = ("account",)
    list_filter = ("state", "country")
    search_fields = ("=vat_id", "name", "account__name", "account__external_id")
    ordering = ("-id",)
    fields = (
        "account", "country", "tax_number", "vat_id", "state", "name", "address", "reference", "answered_at",
        "problem", "tries", "next_check_at", "created_at",
    )  # fmt: skip
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.ask_view)
        return [path("<int:pk>/ask/", view, name="billing_taxnumbercheck_ask"), *super().get_urls()]

    def list_acts(self, request: HttpRequest, row: TaxNumberCheck) -> list[Act]:
        if not request.user.has_perm("billing.change_taxnumbercheck"):
            return []
        return [Act(_("Ask the register again"), self.page_url("ask", row))]

    @apart
    def ask_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask whether to ask, then ask the register about the number that the account has now."""
        self.require(request.user.has_perm("billing.change_taxnumbercheck"))
        row = TaxNumberCheck.objects.select_related("account").filter(pk=pk).first()
        if row is None:
            raise Http404
        self.watch(request, row)
        if request.method == "POST":
            found = tax_numbers.check(account_id=row.account_id, now=timezone.now())
            if found is None:
                settle(request)
                said = _(
                    "Nothing was asked: no register is configured, or the account's number is none of the EU's now."
                )
                self.message_user(request, said, messages.WARNING)
                return HttpResponseRedirect(self.page_url("change", row))
            self.note(request, "ask", found)
            said = _("%(number)s: %(state)s.") % {"number": found.vat_id, "state": found.get_state_display()}
            self.message_user(request, said, messages.WARNING if found.problem else messages.SUCCESS)
            return HttpResponseRedirect(self.page_url("change", found))
        return self.render_act(
            request, row, title=_("Ask the register again?"), button=_("Ask it"),
            facts=[(_("Account"), row.account), (_("Tax number"), row.account.tax_number)],
        )  # fmt: skip


@admin.register(TaxCalculation)
class TaxCalculationAdmin(FactsAdmin):
    """What a tax service worked out, and about what; kept for two months."""

    list_display = ("__str__", "engine", "created_at")
    list_filter = ("engine",)
    search_fields = ("=reference", "=fingerprint")
    ordering = ("-id",)
    fields = ("engine", "reference", "sale", "lines", "fingerprint", "created_at")
    readonly_fields = fields
