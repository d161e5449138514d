"""Staff pages of the invoicing room: who invoices, tax rates, and the documents, to look at only.

An issued document never changes what it says; what staff may change here has its effect on later ones.
"""

from datetime import date
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet, prefetch_related_objects
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import content_disposition_header
from django.utils.safestring import SafeString

from billing.accounts import tax_ids
from billing.admin import asking
from billing.admin.guarding import GuardedPages
from billing.admin.invoicing.credit_notes import CreditPages
from billing.admin.invoicing.invoice_acts import InvoicePages, ReasonForm
from billing.admin.ledger.corrections import RefundPages
from billing.admin.rules import Act, FactsAdmin, FactsInline, credits_column, money_column
from billing.invoicing import documents
from billing.invoicing.models import (
    CreditNote,
    CreditNoteLine,
    Invoice,
    InvoiceLine,
    Issuer,
)
from billing.payments.models import Payment
from billing.wording import amounts


@admin.register(Issuer)
class IssuerAdmin(GuardedPages):
    """Who invoices. The first issuer is the default one by itself; numbers are drawn by issuing only. Other bank
    details need a second person."""

    power = "issuer_bank"
    guarded = ("iban", "bic", "bank_name")

    list_display = ("name", "key", "country", "tax_number", "is_default", "last_invoice", "last_credit_note")
    search_fields = ("name", "key", "tax_number")
    ordering = ("-is_default", "name", "pk")
    actions = None
    fieldsets = (
        (None, {"fields": ("name", "key", "is_default")}),
        ("As documents show it", {"fields": ("address", "country", "tax_number", "email", "footer")}),
        (
            "For bank transfers",
            {
                "fields": ("iban", "bic", "bank_name"),
                "description": "Other bank details wait until a second person approves.",
            },
        ),
        ("Tax", {"fields": ("tax_countries",)}),
        ("Terms and books", {"fields": ("payment_terms_days", "base_currency")}),
        ("Numbers", {"fields": ("invoice_prefix", "last_invoice", "credit_note_prefix", "last_credit_note")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("is_default", "last_invoice", "last_credit_note", *(("key",) if obj else ()))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # That of test accounts is a copy of the default one.
        return super().has_change_permission(request, obj) and not (obj is not None and obj.is_test)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        default = path(
            "<int:pk>/default/", self.admin_site.admin_view(self.default_view), name="billing_issuer_default"
        )
        return [default, *super().get_urls()]

    def list_acts(self, request: HttpRequest, row: Issuer) -> list[Act]:
        acts = [Act("Invoices", f"{reverse('admin:billing_invoice_changelist')}?issuer__id__exact={row.pk}")]
        if not row.is_default and not row.is_test and self.has_change_permission(request, row):
            acts.append(Act("Use for new invoices", self.page_url("default", row)))
        return acts

    def save_model(self, request: HttpRequest, obj: Issuer, form: forms.ModelForm, change: bool) -> None:
        obj.tax_number = tax_ids.normalise(obj.country, obj.tax_number)
        if change:
            # Never the numbers, which may have been drawn since the form was opened.
            obj.save(update_fields={*form.changed_data, "tax_number"})
            return
        obj.is_default = not Issuer.objects.filter(is_default=True).exists()
        super().save_model(request, obj, form, change)

    def default_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask, then let this issuer issue what is sold from now on."""
        issuer = Issuer.objects.filter(pk=pk, is_test=False).first()
        if issuer is None:
            raise Http404
        if not self.has_change_permission(request, issuer):
            raise PermissionDenied
        form = ReasonForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            done = asking.ask(request, form, act="issuer_default", account_id=None, payload={"issuer_id": pk})
            if done is not None:
                said = f"{issuer} issues what is sold from now on."
                return asking.answer(request, done, said=said, to=self.page_url("change", issuer))
        current = Issuer.objects.filter(is_default=True).first()
        facts = [("Until now", current or "nobody"), ("From now on", issuer), ("Next number", _next_number(issuer))]
        return self.render_act(
            request, issuer, title="Use for new invoices?", button="Use it", facts=facts, form=form,
            warning="Customers pay to its bank account from then on. A second person must approve this.",
        )  # fmt: skip

    @admin.display(description="last invoice")
    def last_invoice(self, issuer: Issuer) -> str:
        number = issuer.last_invoice_number
        return f"{issuer.invoice_prefix}{number:06d}" if number else "none yet"

    @admin.display(description="last credit note")
    def last_credit_note(self, issuer: Issuer) -> str:
        number = issuer.last_credit_note_number
        return f"{issuer.credit_note_prefix}{number:06d}" if number else "none yet"


def _next_number(issuer: Issuer) -> str:
    return f"{issuer.invoice_prefix}{issuer.last_invoice_number + 1:06d}"


class InvoiceLineInline(FactsInline):
    """The lines, with what has become of them."""

    model = InvoiceLine
    verbose_name_plural = "lines"
    fields = (
        "position", "description", credits_column("quantity"), money_column("amount"), "tax",
        money_column("tax_amount"), "grants", "fulfilled_at", money_column("amount_credited"),
        credits_column("credits_refunded"),
    )  # fmt: skip
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[InvoiceLine]:
        return super().get_queryset(request).select_related("invoice", "pool__account")

    @admin.display
    def tax(self, line: InvoiceLine) -> str:
        if line.tax_treatment == InvoiceLine.Treatment.TAXED:
            return f"{line.tax_name} {amounts.percent_text(line.tax_percent)}"
        return str(line.get_tax_treatment_display())

    @admin.display(description="credits")
    def grants(self, line: InvoiceLine) -> str | SafeString:
        if line.credits is None:
            return "-"
        text = f"{amounts.exact_credits_text(line.credits)} {line.grant_kind} to {line.pool}"
        if line.posting_id is None:
            return text
        return format_html('<a href="{}">{}</a>', reverse("admin:billing_posting_change", args=[line.posting_id]), text)


class PaymentInline(FactsInline):
    """The attempts to collect it."""

    model = Payment
    show_change_link = True
    fields = ("created_at", money_column("amount"), "state", "paid_by", "gateway", "failure_message", "finished_at")
    readonly_fields = fields

    @admin.display(description="method")
    def paid_by(self, payment: Payment) -> str:
        """The card, or that the invoice balance paid."""
        return "invoice balance" if payment.invoice_credit_id is not None else str(payment.method or "-")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Payment]:
        return super().get_queryset(request).select_related("method").order_by("pk")


class CreditNoteInline(FactsInline):
    """What has been taken back of it."""

    model = CreditNote
    show_change_link = True
    fields = ("number", "issued_at", "reason", money_column("total"), "actor")
    readonly_fields = fields


class _DocumentAdmin(FactsAdmin):
    """Rows with a PDF."""

    def get_urls(self) -> list[URLPattern]:
        name = f"billing_{self.opts.model_name}_pdf"
        return [path("<int:pk>/pdf/", self.admin_site.admin_view(self.pdf_view), name=name), *super().get_urls()]

    def pdf_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The document, to keep."""
        row = self.get_queryset(request).filter(pk=pk).first()
        if row is None:
            raise Http404
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        name = content_disposition_header(as_attachment=True, filename=f"{row}.pdf")
        return HttpResponse(self.render_pdf(pk), content_type="application/pdf", headers={"Content-Disposition": name})

    def render_pdf(self, pk: int) -> bytes:
        """The bytes of the document."""
        raise NotImplementedError

    @admin.display(description="number", ordering="number")
    def number_text(self, row: Any) -> SafeString:
        return format_html('<span class="nowrap">{}</span>', row)

    def list_acts(self, request: HttpRequest, row: Any) -> list[Act]:
        return [Act("Download PDF" if row.number else "Look at the PDF", self.page_url("pdf", row))]


@admin.register(Invoice)
class InvoiceAdmin(CreditPages, RefundPages, InvoicePages, _DocumentAdmin):
    """Invoices."""

    list_display = (
        "number_text", "issued_at", "account", "state", money_column("total"), money_column("owed", ordering=None),
        "due_on",
    )  # fmt: skip
    list_select_related = ("account",)
    list_filter = ("state", "currency", ("issuer", admin.RelatedOnlyFieldListFilter), "issued_at")
    search_fields = ("=id", "number", "=reference", "account__name", "account__external_id")
    ordering = ("-id",)
    inlines = (InvoiceLineInline, PaymentInline, CreditNoteInline)
    fieldsets = (
        (None, {"fields": ("number", "account_link", "state", "reference", "issuer", "currency", "content_hash")}),
        (
            "Amounts",
            {
                "fields": (
                    money_column("subtotal"), money_column("tax_total"), money_column("total"),
                    money_column("amount_paid"), money_column("amount_credited"), money_column("amount_refunded"),
                    money_column("owed", ordering=None), "tax_note",
                )
            },
        ),
        (
            "In the currency of the books",
            {"fields": ("base_currency", "base_rate", "base_rate_on", "tax_in_base_text")},
        ),
        ("Times", {"fields": ("created_at", "issued_at", "due_at", "paid_at", "voided_at", "uncollectible_at")}),
        ("Parties as the document names them", {"fields": ("seller_text", "customer_text")}),
    )  # fmt: skip

    def list_acts(self, request: HttpRequest, row: Any) -> list[Act]:
        # Its lines are read once for all acts.
        prefetch_related_objects([row], "lines")
        return [*super().list_acts(request, row), *self.list_refunds(request, row), *self.list_credits(request, row)]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in ("account", "account__id__exact") or super().lookup_allowed(lookup, value, request)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def render_pdf(self, pk: int) -> bytes:
        return documents.invoice_pdf(pk, with_drafts=True)

    @admin.display(description="due", ordering="due_at")
    def due_on(self, invoice: Invoice) -> date | None:
        return invoice.due_at.date() if invoice.due_at else None

    @admin.display(description="tax in it")
    def tax_in_base_text(self, invoice: Invoice) -> str:
        return "-" if invoice.tax_in_base is None else amounts.money_text(invoice.tax_in_base, invoice.base_currency)

    @admin.display(description="account")
    def account_link(self, invoice: Invoice) -> SafeString:
        return _link("account", invoice.account)

    @admin.display(description="seller")
    def seller_text(self, invoice: Invoice) -> str:
        return _party(invoice.seller)

    @admin.display(description="customer")
    def customer_text(self, invoice: Invoice) -> str:
        return _party(invoice.customer)


class CreditNoteLineInline(FactsInline):
    """What is taken back of each line."""

    model = CreditNoteLine
    verbose_name_plural = "lines"
    fields = ("description", credits_column("credits"), money_column("amount"), money_column("tax_amount"))
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[CreditNoteLine]:
        return super().get_queryset(request).select_related("credit_note")


@admin.register(CreditNote)
class CreditNoteAdmin(_DocumentAdmin):
    """Credit notes."""

    list_display = ("number_text", "issued_at", "account", "invoice", money_column("total"), "reason")
    list_select_related = ("invoice__account",)
    list_filter = ("currency", "issued_at")
    search_fields = ("=id", "number", "invoice__number", "invoice__account__name", "invoice__account__external_id")
    ordering = ("-id",)
    inlines = (CreditNoteLineInline,)
    fields = (
        "number", "invoice_link", "reason", money_column("subtotal"), money_column("tax_total"), money_column("total"),
        "currency", "issued_at", "actor", "reference",
    )  # fmt: skip
    readonly_fields = fields

    def render_pdf(self, pk: int) -> bytes:
        return documents.credit_note_pdf(pk)

    @admin.display(ordering="invoice__account__name")
    def account(self, note: CreditNote) -> str:
        return str(note.invoice.account)

    @admin.display(description="invoice")
    def invoice_link(self, note: CreditNote) -> SafeString:
        return _link("invoice", note.invoice)


def _link(table: str, row: Any) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse(f"admin:billing_{table}_change", args=[row.pk]), row)


def _party(party: dict[str, str]) -> str:
    """The party on one line."""
    parts = (party.get(part, "") for part in ("name", "address", "country", "tax_number", "email"))
    return ", ".join(" ".join(part.split()) for part in parts if part)
