"""Invoices that staff write before they are issued: drafts to write, edit, issue or throw away."""

import uuid
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts import clocks
from billing.accounts.fields import validate_currency
from billing.accounts.models import Account
from billing.accounts.text import PlainText
from billing.admin import acts, asking, trail
from billing.admin.acts import Done
from billing.admin.asking import OnceForm
from billing.admin.rules import Act, PickOne, RoomAdmin
from billing.catalog import periods, pricing
from billing.invoicing import drafting, engines, issuing, tax
from billing.invoicing.lines import LineDraft
from billing.invoicing.models import Invoice, InvoiceLine
from billing.ledger.models import CreditPool
from billing.wording import amounts

WRITES = "billing.add_invoice"
MAX_LINES = 100
MOST_SERVICE_DAYS = 3_660
# Why a draft cannot be written or issued; the messages say so in words.
_REFUSALS = (issuing.NoIssuer, issuing.ReferenceTaken, drafting.NotDraft, tax.TaxUnavailable, ValueError)


class HeadForm(forms.Form):
    """Whom a draft is for, in which currency, and until when it is to be paid."""

    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)
    account = forms.ModelChoiceField(
        label=gettext_lazy("Account"),
        queryset=Account.objects.all(),
        widget=PickOne(CreditPool._meta.get_field("account"), admin.site),
    )
    currency = PlainText(
        label=gettext_lazy("Currency"),
        required=False,
        max_length=3,
        validators=[validate_currency],
        help_text=gettext_lazy("Empty: the account's."),
    )
    due_on = forms.DateField(
        label=gettext_lazy("To be paid until"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text=gettext_lazy("Empty: by the issuer's terms, from its issue on."),
    )

    def __init__(self, data: Any = None, *, draft: Invoice | None = None) -> None:
        zone = draft.account.time_zone if draft is not None else ""
        initial: dict[str, Any] = {}
        if draft is not None:
            due_on = None if draft.due_at is None else periods.day_of(draft.due_at, zone)
            initial = {"account": draft.account_id, "currency": draft.currency, "due_on": due_on}
        super().__init__(data, initial=initial)
        if draft is not None:
            del self.fields["account"]


class LineForm(forms.Form):
    """A line of a draft; one without a description is left out."""

    description = PlainText(
        label=gettext_lazy("Description"), max_length=200, widget=forms.TextInput(attrs={"size": 26})
    )
    quantity = forms.DecimalField(
        label=gettext_lazy("Quantity"), initial=1, max_digits=18, decimal_places=6, max_value=10**9,
        min_value=-(10**9), widget=forms.TextInput(attrs={"size": 4, "inputmode": "decimal"}),
    )  # fmt: skip
    unit_price = forms.DecimalField(
        label=gettext_lazy("Unit price, net"), max_digits=24, decimal_places=12, min_value=0, max_value=10**9,
        widget=forms.TextInput(attrs={"size": 8, "inputmode": "decimal"}),
    )  # fmt: skip
    category = PlainText(
        label=gettext_lazy("Tax category"),
        max_length=20,
        initial="standard",
        widget=forms.TextInput(attrs={"size": 8}),
    )
    starts_on = forms.DateField(
        label=gettext_lazy("For service from"), required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    ends_on = forms.DateField(
        label=gettext_lazy("until (that day too)"), required=False, widget=forms.DateInput(attrs={"type": "date"})
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget.attrs["aria-label"] = field.label

    def clean_quantity(self) -> Decimal:
        quantity: Decimal = self.cleaned_data["quantity"]
        if not quantity:
            raise forms.ValidationError(_("A line needs a quantity; a negative one takes away."))
        return quantity

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        starts_on, ends_on = cleaned.get("starts_on"), cleaned.get("ends_on")
        try:
            periods.check_range(starts_on, ends_on, most_days=MOST_SERVICE_DAYS)
        except periods.RangeRefused as refusal:
            far = _("This day is too far away, or the time longer than ten years.")
            self.add_error("ends_on", far if refusal.reason != "order" else _("This day is before the first."))
        if (starts_on is None) != (ends_on is None):
            self.add_error("ends_on", _("Give both days of the service, or none."))
        return cleaned


_Lines = forms.formset_factory(LineForm, extra=3, max_num=MAX_LINES, validate_max=True)


class DraftPages(RoomAdmin):
    """For invoices: the pages of drafts."""

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        pages = [path("draft/", wrap(self.draft_view), name="billing_invoice_draft")]
        for name, view in (("edit", self.edit_view), ("issue", self.issue_view), ("discard", self.discard_view)):
            pages.append(path(f"<int:pk>/{name}/", wrap(view), name=f"billing_invoice_{name}"))
        return [*pages, *super().get_urls()]

    def list_pages(self, request: HttpRequest) -> list[Act]:
        own = [Act(_("Write a draft"), self.page_url("draft"))] if request.user.has_perm(WRITES) else []
        return [*own, *super().list_pages(request)]

    def list_acts(self, request: HttpRequest, row: Invoice) -> list[Act]:
        acts = super().list_acts(request, row)
        if row.state != Invoice.State.DRAFT or not request.user.has_perm(WRITES):
            return acts
        names = (("issue", _("Issue")), ("edit", _("Edit")), ("discard", _("Throw away")))
        return [*acts, *(Act(label, self.page_url(name, row)) for name, label in names)]

    @trail.apart
    def draft_view(self, request: HttpRequest) -> HttpResponse:
        """Write a draft; the same rendered form writes one."""
        self.require(request.user.has_perm(WRITES))
        return self._write(request, None)

    @trail.apart
    def edit_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Let a draft say something else."""
        return self._write(request, self._get_draft(request, pk))

    def _write(self, request: HttpRequest, draft: Invoice | None) -> HttpResponse:
        data = request.POST or None
        head = HeadForm(data, draft=draft)
        rows = [] if draft is None else [_row(line, draft.account.time_zone) for line in draft.lines.all()]
        lines = _Lines(data, initial=rows, prefix="lines")
        if request.method == "POST" and head.is_valid() and lines.is_valid():
            written = self._save(request, head, lines, draft)
            if written is not None:
                self.message_user(request, _("This is what it will say. It has no number yet."), messages.SUCCESS)
                return HttpResponseRedirect(self.page_url("change", written))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": draft,
            "title": _("Edit a draft") if draft is not None else _("Write a draft"),
            "head": head,
            "lines": lines,
            "media": self.media + head.media,
            "back": self.page_url("change", draft) if draft is not None else self.page_url("changelist"),
        }
        return TemplateResponse(request, "admin/billing/invoice/draft.html", context)

    def _save(self, request: HttpRequest, head: HeadForm, lines: Any, draft: Invoice | None) -> Invoice | None:
        """Write what the forms say; None when no invoice can say it, and then the form says why."""
        asked = head.cleaned_data
        account = draft.account if draft is not None else asked["account"]
        now = clocks.time_of(account, timezone.now())
        currency = asked["currency"] or account.currency
        given: dict[str, Any] = {
            "currency": currency,
            "lines": [_line(form.cleaned_data, account, currency) for form in lines if form.cleaned_data],
            "due_at": _first_moment(asked["due_on"], account),
            "now": now,
        }

        def write() -> Invoice:
            with transaction.atomic():
                if draft is not None:
                    written = drafting.edit(invoice_id=draft.pk, **given)
                else:
                    written = drafting.draft(account_id=account.pk, reference=f"draft:{asked['token']}", **given)
                self.note(request, "edit" if draft is not None else "draft", written)
                return written

        try:
            return engines.with_tax(write, now=now)
        except _REFUSALS as refusal:
            head.add_error(None, _("No invoice can say this: %(why)s.") % {"why": str(refusal).rstrip(".")})
            return None

    @trail.apart
    def issue_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask, then issue a draft with the parties and the tax of now."""
        draft = self._get_draft(request, pk)
        form, payload = OnceForm(request.POST or None, initial={"token": uuid.uuid4()}), {"invoice_id": pk}
        form.fields["reason"].help_text = _("For the audit log; the customer does not see it.")
        if request.method == "POST" and form.is_valid():
            done = self._issue(request, draft, form, payload)
            if done is not None:
                said = _("%(number)s is issued.") % {"number": done.row or draft}
                if not asking.waits(done):
                    acts.finish(done.approval, now=timezone.now())
                    draft.refresh_from_db()
                    if draft.amount_paid:
                        paid = amounts.money_text(draft.amount_paid, draft.currency)
                        said += " " + _("The invoice balance paid %(amount)s of it.") % {"amount": paid}
                return asking.answer(request, done, said=said, to=self.page_url("change", draft))
        title, button = _("Issue this invoice?"), _("Issue")
        warning = _("It gets a number and never changes any more; tax and addresses are those of this moment.")
        limit = asking.warning(request, "issue", payload, account_id=draft.account_id)
        return self.render_act(
            request, draft, title=title, button=button, form=form, facts=facts_of(draft),
            warning=f"{warning} {limit}".strip(),
        )  # fmt: skip

    def _issue(self, request: HttpRequest, draft: Invoice, form: OnceForm, payload: dict[str, int]) -> Done | None:
        def ask() -> Done | None:
            with transaction.atomic():
                return asking.ask(request, form, act="issue", account_id=draft.account_id, payload=payload)

        try:
            return engines.with_tax(ask, now=clocks.time_of(draft.account, timezone.now()))
        except tax.TaxUnavailable:
            form.add_error(None, _("The tax cannot be worked out at the moment."))
            return None

    def discard_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask, then throw a draft away."""
        draft = self._get_draft(request, pk)
        if request.method == "POST":
            self.log_deletions(request, Invoice.objects.filter(pk=pk))
            drafting.discard(invoice_id=pk)
            self.message_user(request, _("The draft is gone."), messages.SUCCESS)
            return HttpResponseRedirect(self.page_url("changelist"))
        return self.render_act(
            request, draft, title=_("Throw this draft away?"), button=_("Throw away"), facts=facts_of(draft)
        )

    def _get_draft(self, request: HttpRequest, pk: int) -> Invoice:
        self.require(request.user.has_perm(WRITES))
        draft = Invoice.objects.select_related("account").filter(pk=pk, state=Invoice.State.DRAFT).first()
        if draft is None:
            raise Http404
        self.watch(request, draft)
        return draft


def _row(line: InvoiceLine, zone: str) -> dict[str, Any]:
    """A line as the form shows it."""
    ends_on = None if line.ends_at is None else periods.day_of(line.ends_at, zone) - timedelta(days=1)
    return {
        "description": line.description,
        "quantity": line.quantity.normalize(),
        "unit_price": f"{line.unit_price.normalize():f}",
        "category": line.category,
        "starts_on": None if line.starts_at is None else periods.day_of(line.starts_at, zone),
        "ends_on": ends_on,
    }


def _line(asked: dict[str, Any], account: Account, currency: str) -> LineDraft:
    ends_on: date | None = asked["ends_on"]
    return LineDraft(
        description=asked["description"],
        quantity=asked["quantity"],
        unit_price=asked["unit_price"],
        amount=pricing.line_amount(asked["quantity"], asked["unit_price"], currency),
        category=asked["category"],
        recognition=InvoiceLine.Recognition.PERIOD if ends_on else InvoiceLine.Recognition.AT_ONCE,
        starts_at=_first_moment(asked["starts_on"], account),
        ends_at=_first_moment(ends_on + timedelta(days=1) if ends_on else None, account),
    )


def _first_moment(on: date | None, account: Account) -> datetime | None:
    return None if on is None else periods.first_moment(on, account.time_zone)


def facts_of(invoice: Invoice) -> list[tuple[str, object]]:
    """What a page that asks about an invoice says of it."""
    return [
        (_("Account"), invoice.account),
        (_("Invoice"), invoice),
        (_("What for"), invoice.reference),
        (_("Total"), amounts.money_text(invoice.total, invoice.currency)),
        (_("Still owed"), amounts.money_text(invoice.owed, invoice.currency)),
        (_("State"), invoice.get_state_display()),
    ]
