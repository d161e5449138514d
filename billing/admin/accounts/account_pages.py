"""The staff pages of one account beside its form: everything at a glance, notes, and a look through its eyes."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.views.main import ChangeList
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts import ids, impersonation, notes
from billing.accounts.models import Account
from billing.accounts.text import PlainText
from billing.admin import trail
from billing.admin.accounts import account_summary
from billing.admin.accounts.test_clock import ClockPages
from billing.admin.powers import POWERS
from billing.admin.rules import Act, staff_user
from billing.subscriptions.models import Subscription


class NoteForm(forms.Form):
    """A note about the account."""

    text = PlainText(
        label=gettext_lazy("New note"), max_length=notes.MAX_LENGTH, widget=forms.Textarea(attrs={"rows": 3})
    )


class LookForm(forms.Form):
    """Why somebody looks through a customer's eyes."""

    reason = PlainText(
        label=gettext_lazy("Reason"),
        max_length=200,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=gettext_lazy("For the audit log, for example the number of a support request."),
    )


class AccountList(ChangeList):
    """The list of accounts; its links lead to the page with everything, not to the form."""

    def url_for_result(self, result: Any) -> str:
        return reverse("admin:billing_account_overview", args=[result.pk])


class AccountPages(ClockPages):
    """The pages of an account that are not its form."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return AccountList

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/", view(self.overview_view), name="billing_account_overview"),
            path("<int:pk>/note/", view(self.note_view), name="billing_account_note"),
            path("<int:pk>/clock/", view(self.clock_view), name="billing_account_clock"),
            path("<int:pk>/look/", view(self.look_view), name="billing_account_look"),
            path("look/end/", view(self.end_look_view), name="billing_account_end_look"),
            *super().get_urls(),
        ]

    def list_overview_acts(self, request: HttpRequest, account: Account, *, subscribed: bool) -> list[Act]:
        """What can be done about an account, and where its rows are listed, as far as the person may."""
        may = staff_user(request).has_perm

        def listed(table: str, query: str) -> str:
            return f"{reverse(f'admin:billing_{table}_changelist')}?{query}={account.pk}"

        pages = [
            (
                "billing.add_creditgrant",
                _("Grant credits"),
                f"{reverse('admin:billing_creditgrant_add')}?account={account.pk}",
            ),
            (
                POWERS["subscribe"].permission if not subscribed else "",
                _("Start a subscription"),
                f"{reverse('admin:billing_subscription_start')}?account={account.pk}",
            ),
            ("billing.view_creditgrant", _("Lots"), listed("creditgrant", "pool__account")),
            ("billing.view_posting", _("Postings"), listed("posting", "pool__account")),
            ("billing.view_usageevent", _("Events"), f"{reverse('admin:billing_usage_events')}?account={account.pk}"),
            ("billing.view_taxexemption", _("Tax certificates"), listed("taxexemption", "account")),
            ("billing.view_staffact", _("Acts of staff"), listed("staffact", "account")),
            (impersonation.PERMISSION, _("See what they see"), self.page_url("look", account)),
            ("billing.change_account", _("Test clock"), self.page_url("clock", account)),
            ("billing.change_account", _("Edit"), self.page_url("change", account)),
        ]
        return [Act(label, url) for permission, label, url in pages if permission and may(permission)]

    def overview_view(self, request: HttpRequest, pk: int, form: NoteForm | None = None) -> HttpResponse:
        """Everything about an account on one page."""
        self.require(self.has_view_permission(request))
        before = _moment(request.GET.get("before", ""))
        page = account_summary.read(account_id=pk, user=staff_user(request), before=before, now=timezone.now())
        if page is None:
            raise Http404
        account: Account = page["account"]
        older = page["timeline"][-1].at if len(page["timeline"]) == account_summary.MOMENTS else None
        context = {
            **self.admin_site.each_context(request),
            **page,
            "opts": self.opts,
            "title": account.name,
            "public_id": ids.of(account),
            "acts": self.list_overview_acts(request, account, subscribed=_is_live(page["plan"])),
            "note_form": (form or NoteForm()) if request.user.has_perm("billing.add_accountnote") else None,
            "note_url": self.page_url("note", account),
            "older": f"?before={older.isoformat().replace('+00:00', 'Z')}#timeline" if older else "",
            "usage_url": reverse("admin:billing_dailyusage_changelist") + f"?account={pk}",
        }
        return TemplateResponse(request, "admin/billing/account/overview.html", context)

    def note_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Write a note down."""
        self.require(request.user.has_perm("billing.add_accountnote"))
        account = self._get(pk)
        if request.method != "POST":
            return HttpResponseRedirect(self.page_url("overview", account))
        form = NoteForm(request.POST)
        if not form.is_valid():
            return self.overview_view(request, pk, form)
        note = notes.add(account_id=pk, author=staff_user(request), text=form.cleaned_data["text"], now=timezone.now())
        trail.note(request, "note", note, after={"text": note.text})
        self.message_user(request, _("The note is kept."), messages.SUCCESS)
        return HttpResponseRedirect(self.page_url("overview", account))

    def look_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Open the portal as a viewer of the account, to look only and for a while."""
        self.require(request.user.has_perm(impersonation.PERMISSION))
        account = self._get(pk)
        form = LookForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            begun = impersonation.begin(request.session, account_id=pk, now=timezone.now())
            trail.note(request, "look", account, after={"until": begun.until}, reason=form.cleaned_data["reason"])
            return HttpResponseRedirect(reverse("portal:dashboard", kwargs={"account": ids.encode(ids.ACCOUNT, pk)}))
        return self.render_act(
            request,
            account,
            title=_("See what %(account)s sees") % {"account": account},
            button=_("Open their portal"),
            form=form,
            warning=_("You look as a viewer, for 30 minutes, and can change nothing. It is written down that you did."),
        )

    def end_look_view(self, request: HttpRequest) -> HttpResponse:
        """End the look, and go back to the account."""
        account_id = impersonation.end(request.session) if request.method == "POST" else None
        account = Account.objects.filter(pk=account_id or 0).first()
        if account is None:
            trail.settle(request)
            return HttpResponseRedirect(self.page_url("changelist"))
        trail.note(request, "end look", account)
        return HttpResponseRedirect(self.page_url("overview", account))

    def _get(self, pk: int) -> Account:
        account = Account.objects.filter(pk=pk).first()
        if account is None:
            raise Http404
        return account


def _is_live(plan: dict[str, Any] | None) -> bool:
    return plan is not None and plan["state"] != Subscription.State.ENDED


def _moment(text: str) -> datetime | None:
    """A moment out of an address; what is none is as good as absent."""
    try:
        found = parse_datetime(text)
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None
