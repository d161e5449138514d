"""Staff pages of pending items: Items for accounts' next invoices."""

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.admin import asking
from billing.admin.invoicing.invoice_acts import ReasonForm
from billing.admin.rules import Act, FactsAdmin, credits_column, money_column, plain_id
from billing.invoicing.models import Invoice, PendingItem
from billing.wording import amounts


@admin.register(PendingItem)
class PendingItemAdmin(FactsAdmin):
    """Items for accounts' next invoices; one that waits can be cancelled."""

    list_display = (
        plain_id, "account", "description", money_column("amount"), "created_at", "invoice", "cancelled_at",
    )  # fmt: skip
    list_select_related = ("account", "invoice_line__invoice")
    list_filter = (("invoice_line", admin.EmptyFieldListFilter), ("cancelled_at", admin.EmptyFieldListFilter))
    search_fields = ("=id", "=reference", "description", "account__name", "account__external_id")
    ordering = ("-id",)
    fields = (
        "account", "description", credits_column("quantity"), money_column("amount"), "category", "recognition",
        "starts_at", "ends_at", "period_reference", "invoice", "reference", "created_at", "actor", "cancelled_at",
    )  # fmt: skip
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.cancel_view)
        return [path("<int:pk>/cancel/", view, name="billing_pendingitem_cancel"), *super().get_urls()]

    def list_acts(self, request: HttpRequest, row: PendingItem) -> list[Act]:
        may = request.user.has_perm("billing.change_pendingitem")
        if not may or row.invoice_line_id is not None or row.cancelled_at is not None:
            return []
        return [Act(_("Cancel"), self.page_url("cancel", row))]

    @admin.display(description=gettext_lazy("invoice"))
    def invoice(self, item: PendingItem) -> str | SafeString:
        return "-" if item.invoice_line is None else _link(item.invoice_line.invoice)

    def cancel_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask, then take the item off the account's next invoice."""
        self.require(request.user.has_perm("billing.change_pendingitem"))
        item = PendingItem.objects.select_related("account").filter(pk=pk).first()
        if item is None:
            raise Http404
        form, payload = ReasonForm(request.POST or None), {"item_id": pk}
        if request.method == "POST" and form.is_valid():
            done = asking.ask(request, form, act="cancel_item", account_id=item.account_id, payload=payload)
            if done is not None:
                return asking.answer(request, done, said=_("It is cancelled."), to=self.page_url("change", item))
        facts = [(_("Account"), item.account), (_("Amount"), amounts.money_text(item.amount, item.currency))]
        return self.render_act(
            request, item, title=_("Cancel this item?"), button=_("Cancel it"), form=form, facts=facts,
            warning=asking.warning(request, "cancel_item", payload, account_id=item.account_id),
        )  # fmt: skip


def _link(invoice: Invoice) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse("admin:billing_invoice_change", args=[invoice.pk]), invoice)
