"""The queue of acts that need a second person (M8): look, approve, reject with a note, withdraw one's own."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts import approvals
from billing.accounts.models import Approval
from billing.accounts.text import PlainText
from billing.admin import acts, asking, trail
from billing.admin.powers import POWERS
from billing.admin.powers.money import time_of
from billing.admin.rules import Act, FactsAdmin, staff_user
from billing.admin.trail import apart
from billing.invoicing import engines, tax
from billing.invoicing.models import Invoice
from billing.ledger.models import CreditPool
from billing.payments.models import BankTransfer
from billing.wording import amounts

OWN = gettext_lazy("You asked for it yourself: somebody else must decide.")


class DecideForm(forms.Form):
    """What to tell whoever asked."""

    note = PlainText(
        label=gettext_lazy("Note"),
        required=False,
        max_length=300,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=gettext_lazy("Whoever asked is told it."),
    )


class RejectForm(DecideForm):
    """A rejection says why."""

    note = PlainText(label=gettext_lazy("Why"), max_length=300, widget=forms.TextInput(attrs={"class": "vTextField"}))


@admin.register(Approval)
class ApprovalAdmin(FactsAdmin):
    """What staff did by hand today and before, and what waits for a second person."""

    list_display = ("requested_at", "name", "worth", "account", "requested_by", "reason", "state", "decided_by")
    list_select_related = ("account", "requested_by", "decided_by")
    list_filter = ("state", "act", ("requested_by", admin.RelatedOnlyFieldListFilter))
    search_fields = ("account__name", "account__external_id", "requested_by__email", "reason")
    ordering = ("-requested_at", "-pk")
    fields = (
        "name", "worth", "account", "details", "reason", "requested_by", "requested_at", "state", "decided_by",
        "decided_at", "decision_note", "reference",
    )  # fmt: skip
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        pages = (("approve", self.approve_view), ("reject", self.reject_view), ("withdraw", self.withdraw_view))
        ours = [path(f"<int:pk>/{name}/", view(page), name=f"billing_approval_{name}") for name, page in pages]
        return [*ours, *super().get_urls()]

    def name_of(self, row: Approval) -> str:
        return ", ".join(part for part in (self.name(row), acts.worth_text(row)) if part)

    def list_acts(self, request: HttpRequest, row: Approval) -> list[Act]:
        if row.state != Approval.State.WAITING:
            return []
        if row.requested_by_id == request.user.pk:
            return [Act(_("Withdraw"), self.page_url("withdraw", row))]
        if not request.user.has_perm("billing.decide_approval"):
            return []
        return [Act(_("Approve"), self.page_url("approve", row)), Act(_("Reject"), self.page_url("reject", row))]

    @admin.display(description=gettext_lazy("act"), ordering="act")
    def name(self, approval: Approval) -> str:
        power = POWERS.get(approval.act)
        return str(power.label) if power else approval.act

    @admin.display(description=gettext_lazy("worth"))
    def worth(self, approval: Approval) -> str:
        return acts.worth_text(approval) or "-"

    @admin.display(description=gettext_lazy("details"))
    def details(self, approval: Approval) -> str:
        return "; ".join(f"{name}: {value}" for name, value in facts_of(approval)) or "-"

    @apart
    def approve_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask to confirm the act, and do it. The gateway, if one has to be asked, is asked after the commit."""
        approval = self._waiting(request, pk)
        if approval.requested_by_id == request.user.pk:
            return self._refuse_own(request, approval)
        form = DecideForm(request.POST or None)
        if request.method == "POST" and form.is_valid() and self._approve(request, approval, form):
            self.message_user(request, _("Approved and done."), messages.SUCCESS)
            acts.finish(approval, now=timezone.now())
            return HttpResponseRedirect(self.page_url("change", approval))
        title = _("Approve: %(act)s?")
        return self._page(request, approval, form, title=title, button=_("Approve and do it"))

    def _approve(self, request: HttpRequest, approval: Approval, form: forms.Form) -> bool:
        note, now = form.cleaned_data["note"], timezone.now()

        def do() -> None:
            with transaction.atomic():
                done = acts.approve(approval_id=approval.pk, user=staff_user(request), note=note, now=now)
                self.note(request, "approve", approval, reason=note)
                asking.note(request, done)

        try:
            engines.with_tax(do, now=time_of(approval, now))
        except (acts.CannotBeDone, tax.TaxUnavailable) as error:
            self._refuse(request, approval, form, _("It cannot be done any more: %(why)s") % {"why": error})
        except approvals.AlreadyDecided:
            self._refuse(request, approval, form, _("Somebody else has decided it."))
        return form.is_valid()

    def _refuse(self, request: HttpRequest, approval: Approval, form: forms.Form, why: str) -> None:
        form.add_error(None, why)
        trail.refuse(request, why, row=approval)

    def reject_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Refuse the act, with a reason."""
        approval = self._waiting(request, pk)
        if approval.requested_by_id == request.user.pk:
            return self._refuse_own(request, approval)
        form = RejectForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            note = form.cleaned_data["note"]
            try:
                acts.reject(approval_id=approval.pk, user=staff_user(request), note=note, now=timezone.now())
            except approvals.AlreadyDecided:
                self._refuse(request, approval, form, _("Somebody else has decided it."))
            else:
                self.note(request, "reject", approval, reason=note)
                self.message_user(request, _("Rejected."), messages.SUCCESS)
                return HttpResponseRedirect(self.page_url("changelist"))
        return self._page(request, approval, form, title=_("Reject: %(act)s?"), button=_("Reject"))

    def withdraw_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Take back what one asked for oneself."""
        approval = Approval.objects.select_related("account", "requested_by").filter(pk=pk).first()
        if approval is None or approval.requested_by_id != request.user.pk:
            raise Http404
        self.watch(request, approval)
        if request.method == "POST":
            try:
                acts.withdraw(approval_id=pk, user=staff_user(request), now=timezone.now())
            except approvals.AlreadyDecided:
                trail.settle(request)
                self.message_user(request, _("Somebody else has decided it."), messages.WARNING)
            else:
                self.note(request, "withdraw", approval)
                self.message_user(request, _("Withdrawn."), messages.SUCCESS)
            return HttpResponseRedirect(self.page_url("change", approval))
        return self._page(request, approval, None, title=_("Withdraw: %(act)s?"), button=_("Withdraw"))

    def _refuse_own(self, request: HttpRequest, approval: Approval) -> HttpResponse:
        trail.refuse(request, str(OWN), row=approval)
        self.message_user(request, OWN, messages.WARNING)
        return HttpResponseRedirect(self.page_url("change", approval))

    def _waiting(self, request: HttpRequest, pk: int) -> Approval:
        self.require(request.user.has_perm("billing.decide_approval"))
        approval = Approval.objects.select_related("account", "requested_by").filter(pk=pk).first()
        if approval is None:
            raise Http404
        self.watch(request, approval)
        return approval

    def _page(
        self, request: HttpRequest, approval: Approval, form: forms.Form | None, *, title: str, button: str
    ) -> HttpResponse:
        account = approval.account
        worth, act = acts.worth_text(approval), {"act": self.name_of(approval)}
        limits = asking.limits_text(approval.currency, with_credits=bool(approval.credits))
        facts: list[tuple[str, Any]] = [
            *([(_("Account"), f"{account} ({account.external_id})")] if account else []),
            *([(_("Worth"), worth)] if worth else []),
            *facts_of(approval),
            (_("Reason"), approval.reason),
            (_("Asked for by"), f"{approval.requested_by.get_full_name()}, {approval.requested_at:%Y-%m-%d %H:%M}"),
            *([(_("One person's limit"), _("%(limit)s a day") % {"limit": limits})] if limits else []),
        ]
        return self.render_act(request, approval, title=title % act, button=button, form=form, facts=facts)


def facts_of(approval: Approval) -> list[tuple[str, str]]:
    """What the act takes, as far as it says something, and which row it changes."""
    power = POWERS.get(approval.act)
    try:
        subject = power.subject(approval.payload) if power else None
    except ObjectDoesNotExist:
        subject = None
    about = [] if subject is None else [(str(subject._meta.verbose_name).capitalize(), str(subject))]
    return [*about, *_facts_in(approval.payload, subject)]


def _facts_in(values: Mapping[str, Any], subject: Model | None) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        label = name.removesuffix("_id").replace("_", " ").capitalize()
        if value in (None, "", "0", 0) or name in ("amount", "model", "row_id"):
            continue
        if name.endswith("_id") and subject is not None and subject.pk == value:
            continue
        if isinstance(value, Mapping):
            found += _facts_in(value, subject)
        elif name == "matches":
            found += [_match_fact(each) for each in value]
        elif name == "pool_id":
            found.append((_("Pool"), str(CreditPool.objects.filter(pk=value).first() or value)))
        elif name == "change":
            found.append((_("Change"), f"{'+' if value[0] != '-' else amounts.MINUS}{value.lstrip('-')}"))
        elif isinstance(value, list):
            many = {} if subject is None else {each.name: each.related_model for each in subject._meta.many_to_many}
            rows = many[name]._default_manager.filter(pk__in=value) if name in many else value
            found.append((label, ", ".join(map(str, rows)) or _("none")))
        else:
            found.append((label, str(value)))
    return found


def _match_fact(asked: Mapping[str, Any]) -> tuple[str, str]:
    """Whose transfer pays whose invoice."""
    transfer = BankTransfer.objects.filter(pk=asked["transfer_id"]).first()
    invoice = Invoice.objects.select_related("account").filter(pk=asked["invoice_id"]).first()
    if transfer is None or invoice is None:
        return _("Transfer"), _("It is gone.")
    facts = {
        "amount": amounts.money_text(transfer.amount, transfer.currency), "payer": transfer.payer or "-",
        "day": f"{transfer.received_on:%Y-%m-%d}", "reference": transfer.reference, "invoice": invoice,
        "account": invoice.account,
    }  # fmt: skip
    text = _("%(amount)s from %(payer)s on %(day)s (%(reference)s) for %(invoice)s of %(account)s")
    return _("Transfer"), text % facts
