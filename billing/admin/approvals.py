"""The queue of acts that need a second person (M8): look, approve, reject with a note, withdraw one's own."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts import approvals
from billing.accounts.models import Approval
from billing.admin import acts, asking
from billing.admin.rules import Act, FactsAdmin, staff_user
from billing.admin.trail import apart
from billing.ledger.models import CreditPool
from billing.notifications import wording

NAMES = {
    "grant": gettext_lazy("Grant credits"),
    "revoke": gettext_lazy("Revoke credits"),
    "adjust": gettext_lazy("Adjust a balance"),
    "reverse": gettext_lazy("Reverse a posting"),
    "unuse": gettext_lazy("Reverse a usage event"),
    "refund": gettext_lazy("Refund a purchase"),
    "credit": gettext_lazy("Credit an invoice"),
    "plan_change": gettext_lazy("Change a plan and give unused days back"),
    "plan_cancel": gettext_lazy("End a subscription and give unused days back"),
}


class DecideForm(forms.Form):
    """What to tell whoever asked."""

    note = forms.CharField(
        label=gettext_lazy("Note"),
        required=False,
        max_length=300,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=gettext_lazy("Whoever asked is told it."),
    )


class RejectForm(DecideForm):
    """A rejection says why."""

    note = forms.CharField(
        label=gettext_lazy("Why"), max_length=300, widget=forms.TextInput(attrs={"class": "vTextField"})
    )


@admin.register(Approval)
class ApprovalAdmin(FactsAdmin):
    """What staff did by hand today and before, and what waits for a second person."""

    list_display = ("requested_at", "name", "amount_text", "account", "requested_by", "reason", "state", "decided_by")
    list_select_related = ("account", "requested_by", "decided_by")
    list_filter = ("state", "act", ("requested_by", admin.RelatedOnlyFieldListFilter))
    search_fields = ("account__name", "account__external_id", "requested_by__email", "reason")
    ordering = ("-requested_at", "-pk")
    fields = (
        "name", "amount_text", "account", "details", "reason", "requested_by", "requested_at", "state", "decided_by",
        "decided_at", "decision_note", "reference",
    )  # fmt: skip
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        pages = (("approve", self.approve_view), ("reject", self.reject_view), ("withdraw", self.withdraw_view))
        ours = [path(f"<int:pk>/{name}/", view(page), name=f"billing_approval_{name}") for name, page in pages]
        return [*ours, *super().get_urls()]

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
        return str(NAMES.get(approval.act, approval.act))

    @admin.display(description=gettext_lazy("amount"), ordering="amount")
    def amount_text(self, approval: Approval) -> str:
        return acts.amount_text(approval)

    @admin.display(description=gettext_lazy("details"))
    def details(self, approval: Approval) -> str:
        return "; ".join(f"{name}: {value}" for name, value in facts_of(approval)) or "-"

    @apart
    def approve_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask to confirm the act, and do it. The gateway, if one has to be asked, is asked after the commit."""
        approval = self._waiting(request, pk)
        form = DecideForm(request.POST or None)
        if request.method == "POST" and form.is_valid() and self._approve(request, approval, form):
            self.message_user(request, _("Approved and done."), messages.SUCCESS)
            if approval.act in ("refund", "credit"):
                acts.send_refund(approval, now=timezone.now())
            return HttpResponseRedirect(self.page_url("change", approval))
        title = _("Approve: %(name)s, %(amount)s?")
        return self._page(request, approval, form, title=title, button=_("Approve and do it"))

    def _approve(self, request: HttpRequest, approval: Approval, form: forms.Form) -> bool:
        note, now = form.cleaned_data["note"], timezone.now()
        try:
            with transaction.atomic():
                acts.approve(approval_id=approval.pk, user=staff_user(request), note=note, now=now)
                self.note(request, "approve", approval, reason=note)
        except acts.CannotBeDone as error:
            form.add_error(None, _("It cannot be done any more: %(why)s") % {"why": error})
        except approvals.AlreadyDecided:
            form.add_error(None, _("Somebody has decided it meanwhile."))
        except approvals.SamePerson:
            form.add_error(None, _("You asked for it yourself: somebody else must decide."))
        return form.is_valid()

    def reject_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Refuse the act, with a reason."""
        approval = self._waiting(request, pk)
        form = RejectForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            note = form.cleaned_data["note"]
            try:
                acts.reject(approval_id=approval.pk, user=staff_user(request), note=note, now=timezone.now())
            except approvals.AlreadyDecided:
                form.add_error(None, _("Somebody has decided it meanwhile."))
            except approvals.SamePerson:
                form.add_error(None, _("You asked for it yourself: somebody else must decide."))
            else:
                self.note(request, "reject", approval, reason=note)
                self.message_user(request, _("Rejected."), messages.SUCCESS)
                return HttpResponseRedirect(self.page_url("changelist"))
        return self._page(request, approval, form, title=_("Reject: %(name)s, %(amount)s?"), button=_("Reject"))

    def withdraw_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Take back what one asked for oneself."""
        approval = Approval.objects.select_related("account", "requested_by").filter(pk=pk).first()
        if approval is None or approval.requested_by_id != request.user.pk:
            raise Http404
        self.watch(request, approval)
        if request.method == "POST":
            try:
                approvals.withdraw(approval_id=pk, user=staff_user(request), now=timezone.now())
            except approvals.AlreadyDecided:
                self.message_user(request, _("Somebody has decided it meanwhile."), messages.WARNING)
            else:
                self.note(request, "withdraw", approval)
                self.message_user(request, _("Withdrawn."), messages.SUCCESS)
            return HttpResponseRedirect(self.page_url("change", approval))
        return self._page(request, approval, None, title=_("Withdraw: %(name)s, %(amount)s?"), button=_("Withdraw"))

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
        names = {"name": self.name(approval), "amount": acts.amount_text(approval)}
        facts: list[tuple[str, Any]] = [
            (_("Account"), f"{approval.account} ({approval.account.external_id})"),
            (_("Amount"), acts.amount_text(approval)),
            *facts_of(approval),
            (_("Reason"), approval.reason),
            (_("Asked for by"), f"{approval.requested_by.get_full_name()}, {approval.requested_at:%Y-%m-%d %H:%M}"),
            (_("One person's limit"), _("%(limit)s a day") % {"limit": asking.limit_text(approval.currency)}),
        ]
        return self.render_act(request, approval, title=title % names, button=button, form=form, facts=facts)


def facts_of(approval: Approval) -> list[tuple[str, str]]:
    """What the act takes, as far as it says something; one query for the pool's name."""
    found = []
    for name, value in approval.payload.items():
        if value in (None, "", "0") or name == "amount":
            continue
        if name == "pool_id":
            found.append((_("Pool"), str(CreditPool.objects.filter(pk=value).first() or value)))
        elif name == "change":
            found.append((_("Change"), f"{'+' if value[0] != '-' else wording.MINUS}{value.lstrip('-')}"))
        else:
            found.append((name.removesuffix("_id").replace("_", " ").capitalize(), str(value)))
    return found
