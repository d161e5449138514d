"""What staff do with issued invoices: void an open one, write one off, and check that a document says what it
said."""

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts.text import PlainText
from billing.admin import asking
from billing.admin.asking import OnceForm
from billing.admin.invoicing.invoice_drafts import DraftPages, facts_of
from billing.admin.powers import POWERS
from billing.admin.rules import Act
from billing.invoicing import verification
from billing.invoicing.models import Invoice

DECIDES = "billing.change_invoice"


class ReasonForm(OnceForm):
    """Why; once per rendered form."""

    reason = PlainText(
        label=gettext_lazy("Reason"),
        max_length=200,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=gettext_lazy("For the audit log; the customer does not see it."),
    )


class InvoicePages(DraftPages):
    """For invoices: the pages of these acts, beside those of drafts."""

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        pages = [
            path(f"<int:pk>/{name}/", wrap(view), name=f"billing_invoice_{name.replace('-', '_')}")
            for name, view in (
                ("void", self.void_view),
                ("mark-uncollectible", self.mark_uncollectible_view),
                ("check", self.check_view),
            )
        ]
        return [*pages, *super().get_urls()]

    def list_acts(self, request: HttpRequest, row: Invoice) -> list[Act]:
        acts = super().list_acts(request, row)
        if row.state == Invoice.State.DRAFT:
            return acts
        names: list[tuple[str, str]] = []
        may = request.user.has_perm(DECIDES) and row.owed
        if may and row.state == Invoice.State.OPEN:
            names.append(("mark_uncollectible", _("Write off")))
        if may and not row.amount_paid:
            names.append(("void", _("Void")))
        names.append(("check", _("Check the document")))
        return [*acts, *(Act(label, self.page_url(name, row)) for name, label in names)]

    def void_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Take back an invoice of which nothing was paid."""
        return self._decide(
            request, pk, act="void", title=_("Void this invoice?"), button=_("Void"),
            warning=" ".join((
                _("Nobody owes it any more, and it keeps its number."),
                _("Of a plan, what is left of the credits that it was for is taken back within minutes, those still to "
                  "come are not granted, and a change of plan or seats within the period is undone."),
                _("To let the customer keep them, grant credits as goodwill. Nothing else that it was for is taken "
                  "back by this."),
            )),
        )  # fmt: skip

    def mark_uncollectible_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Call an open invoice uncollectible."""
        return self._decide(
            request, pk, act="write_off", title=_("Write this invoice off?"), button=_("Write off"),
            warning=_("The money is not asked for any more. It is still owed, and a payment still settles it."),
        )  # fmt: skip

    def _decide(
        self, request: HttpRequest, pk: int, *, act: str, title: str, button: str, warning: str
    ) -> HttpResponse:
        self.require(request.user.has_perm(POWERS[act].permission))
        invoice = Invoice.objects.select_related("account").exclude(state=Invoice.State.DRAFT).filter(pk=pk).first()
        if invoice is None:
            raise Http404
        form, payload = ReasonForm(request.POST or None), {"invoice_id": pk}
        if request.method == "POST" and form.is_valid():
            done = asking.ask(request, form, act=act, account_id=invoice.account_id, payload=payload)
            if done is not None:
                invoice.refresh_from_db()
                said = _("%(number)s is: %(state)s.")
                said %= {"number": invoice, "state": invoice.get_state_display().lower()}
                return asking.answer(request, done, said=said, to=self.page_url("change", invoice))
        limit = asking.warning(request, act, payload, account_id=invoice.account_id)
        return self.render_act(
            request, invoice, title=title, button=button, form=form, facts=facts_of(invoice),
            warning=f"{warning} {limit}".strip(),
        )  # fmt: skip

    def check_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Say whether the document says what it said when it was issued, and adds up."""
        invoice = Invoice.objects.exclude(state=Invoice.State.DRAFT).filter(pk=pk).first()
        if invoice is None or not self.has_view_permission(request, invoice):
            raise Http404
        found = list(verification.find_in_invoice(invoice))
        facts: list[tuple[str, object]] = [(_("Hash of its content"), invoice.content_hash or _("none was taken"))]
        facts += [(_("Difference"), what) for what in found]
        title = _("The document differs") if found else _("The document says what it said, and adds up")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": invoice,
            "title": title,
            "facts": facts,
            "media": self.media,
            "back": self.page_url("change", invoice),
        }
        return TemplateResponse(request, "admin/billing/invoice/check.html", context)
