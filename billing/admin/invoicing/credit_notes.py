"""Staff pages that credit an invoice: by lines or by an amount, with the money back to the payment or to the balance.

Each asks for a reason, shows what the credit note will say, counts against the author's day, and happens once per
rendered form. Packs are refunded as purchases, with their credits (`undoing`).
"""

from decimal import Decimal
from typing import Any

from django import forms
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts.models import Approval
from billing.accounts.text import PlainText
from billing.admin import acts, asking
from billing.admin.asking import OnceForm
from billing.admin.powers import POWERS
from billing.admin.rules import Act, RoomAdmin
from billing.admin.trail import apart
from billing.invoicing.models import Invoice, InvoiceLine
from billing.payments import credit_notes
from billing.payments.credit_notes import CreditPreview, RefundTo
from billing.wording.amounts import money_text

LINE = "line-"


class CreditForm(OnceForm):
    """How much of an invoice to credit, and where the money goes. Either an amount, or amounts of lines."""

    amount = forms.DecimalField(
        label=gettext_lazy("Amount, tax included"),
        required=False,
        max_digits=18,
        decimal_places=3,
        help_text=gettext_lazy("Spread over all lines. Or leave it empty and fill in lines below."),
    )
    refund_to = forms.ChoiceField(label=gettext_lazy("The money goes"), choices=RefundTo.choices)
    reason = PlainText(
        label=gettext_lazy("Reason"),
        max_length=200,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=gettext_lazy("The customer sees it on the credit note."),
    )

    def __init__(self, invoice: Invoice, lines: list[InvoiceLine], data: Any = None) -> None:
        super().__init__(data)
        if invoice.state != Invoice.State.PAID:
            del self.fields["refund_to"]
        self.line_names = []
        for line in lines:
            left = line.amount - line.amount_credited
            name = f"{LINE}{line.pk}"
            self.fields[name] = forms.DecimalField(
                label=line.description,
                required=False,
                max_digits=18,
                decimal_places=3,
                help_text=_("Before tax, up to %(left)s") % {"left": money_text(left, invoice.currency)},
            )
            self.line_names.append(name)
        self.order_fields(["token", "amount", *self.line_names, "refund_to", "reason"])

    @property
    def lines(self) -> dict[int, Decimal]:
        """Net amounts by the primary keys of the lines that have one."""
        typed = {int(name.removeprefix(LINE)): self.cleaned_data.get(name) for name in self.line_names}
        return {pk: amount for pk, amount in typed.items() if amount}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors and bool(cleaned.get("amount")) == bool(self.lines):
            raise forms.ValidationError(_("Enter either an amount, or amounts of lines."))
        return cleaned


class CreditPages(RoomAdmin):
    """For invoices: write a credit note."""

    def get_urls(self) -> list[URLPattern]:
        page = path("<int:pk>/credit/", self.admin_site.admin_view(self.credit_view), name="billing_invoice_credit")
        return [page, *super().get_urls()]

    def list_credits(self, request: HttpRequest, invoice: Invoice) -> list[Act]:
        """The page, for those who may, while something can be credited."""
        if not request.user.has_perm(POWERS["credit"].permission) or not credit_notes.left_of(invoice):
            return []
        return [Act(_("Credit or refund"), self.page_url("credit", invoice))]

    @apart
    def credit_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask what to credit and why, show what the credit note will say, and issue it. The gateway is asked after the
        commit."""
        self.require(request.user.has_perm(POWERS["credit"].permission))
        invoice = Invoice.objects.select_related("account").prefetch_related("lines").filter(pk=pk).first()
        if invoice is None or invoice.state == Invoice.State.DRAFT:
            raise Http404
        lines = [line for line in invoice.lines.all() if line.amount > 0 and credit_notes.may_credit(line)]
        form = CreditForm(invoice, lines, request.POST or None)
        plan = None
        if request.method == "POST" and form.is_valid():
            # A form that is sent again has left less to credit by itself.
            is_known = Approval.objects.filter(reference=form.reference).exists()
            plan = None if is_known else self._plan_credit(form, invoice)
            if (is_known or plan is not None) and "_confirmed" in request.POST:
                done = self._ask_credit(request, form, invoice)
                if done is not None:
                    return done
        left = credit_notes.left_of(invoice)
        confirming = plan is not None and "_edit" not in request.POST and form.is_valid()
        return self.render_act(
            request,
            invoice,
            title=_("Issue this credit note?") if confirming else _("Credit %(number)s") % {"number": invoice},
            button=_button(plan, form) if confirming and plan else _("Preview"),
            form=form,
            facts=_facts(invoice, left) + (_facts_of(plan, form) if confirming and plan else []),
            warning=_warning(request, invoice, plan, form) if confirming else "",
            hidden=confirming,
        )

    def _plan_credit(self, form: CreditForm, invoice: Invoice) -> CreditPreview | None:
        """What the credit note would say; None, with the form saying why, when there can be none."""
        typed = form.cleaned_data
        try:
            return credit_notes.preview(
                invoice_id=invoice.pk, amount=typed["amount"] or None, lines=form.lines or None,
                refund_to=typed.get("refund_to", ""),
            )  # fmt: skip
        except (credit_notes.TooMuch, credit_notes.MoneyNotThere) as refusal:
            texts = {
                credit_notes.TooMuch: _("At most %(left)s can be credited."),
                credit_notes.MoneyNotThere: _(
                    "Only %(left)s can go there: the rest was paid otherwise, has gone back or is disputed."
                ),
            }
            left = money_text(refusal.left, invoice.currency)
            form.add_error(None, texts[type(refusal)] % {"left": left})
        except tuple(acts.CREDIT_REFUSALS) as refusal:
            form.add_error(None, str(acts.CREDIT_REFUSALS[type(refusal)]))
        except ValueError:
            form.add_error(None, _("Amounts are positive, with the decimals of the currency."))
        return None

    def _ask_credit(self, request: HttpRequest, form: CreditForm, invoice: Invoice) -> HttpResponse | None:
        with transaction.atomic():
            done = asking.ask(
                request, form, act="credit", account_id=invoice.account_id, payload=_payload(invoice, form)
            )
        if done is None:
            return None
        if not asking.waits(done):
            acts.finish(done.approval, now=timezone.now())
        return asking.answer(request, done, said=_("The credit note is issued."), to=self.page_url("change", invoice))


def _payload(invoice: Invoice, form: CreditForm) -> dict[str, Any]:
    typed = form.cleaned_data
    return {
        "invoice_id": invoice.pk,
        "amount": str(typed["amount"]) if typed["amount"] else None,
        "lines": {str(pk): str(amount) for pk, amount in form.lines.items()} or None,
        "refund_to": typed.get("refund_to", ""),
    }


def _facts(invoice: Invoice, left: Decimal) -> list[tuple[str, object]]:
    """How the invoice stands."""
    facts: list[tuple[str, object]] = [
        (_("Account"), invoice.account),
        (_("Invoice"), invoice),
        (_("State"), invoice.get_state_display()),
        (_("Total"), money_text(invoice.total, invoice.currency)),
        (_("Credited so far"), money_text(invoice.amount_credited, invoice.currency)),
        (_("Can be credited, tax included"), money_text(left, invoice.currency)),
    ]
    if invoice.state == Invoice.State.PAID and (money := credit_notes.money_left(invoice)) < left:
        text = _("%(money)s: the rest was paid otherwise, has gone back or is disputed")
        facts.append((_("Money that can go back"), text % {"money": money_text(money, invoice.currency)}))
    return facts


def _facts_of(plan: CreditPreview, form: CreditForm) -> list[tuple[str, object]]:
    """What the credit note will say."""
    said: list[tuple[str, object]] = [
        (
            part.line.description,
            _("%(net)s and %(tax)s tax")
            % {"net": money_text(part.amount, plan.currency), "tax": money_text(part.tax, plan.currency)},
        )
        for part in plan.parts
    ]
    said.append((_("Credit note, tax included"), money_text(plan.total, plan.currency)))
    if refund_to := form.cleaned_data.get("refund_to"):
        said.append((_("The money goes"), RefundTo(refund_to).label))
    return [*said, (_("Reason"), form.cleaned_data["reason"])]


def _button(plan: CreditPreview, form: CreditForm) -> str:
    total = {"total": money_text(plan.total, plan.currency)}
    match form.cleaned_data.get("refund_to"):
        case RefundTo.PAYMENT:
            return _("Refund %(total)s") % total
        case RefundTo.BALANCE:
            return _("Credit %(total)s to the balance") % total
    return _("Credit %(total)s") % total


def _warning(request: HttpRequest, invoice: Invoice, plan: CreditPreview | None, form: CreditForm) -> str:
    """What to know before it is done."""
    if plan is None:
        return ""
    said = [_("A credit note cannot be changed or withdrawn.")]
    if invoice.state != Invoice.State.PAID and plan.total == invoice.owed:
        said.append(_("Nothing is owed on the invoice then."))
    if invoice.lines.filter(period_reference__gt="").exists():
        said.append(
            _("The plan goes on, and the credits it has granted stay. To take them back, revoke them or end the plan.")
        )
    if over := asking.warning(request, "credit", _payload(invoice, form), account_id=invoice.account_id):
        said.append(over)
    return " ".join(said)
