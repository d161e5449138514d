"""What last month would have cost by a rate card's version: a page and a file, before the version is published."""

from collections.abc import Iterator

from django import forms
from django.contrib import admin
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts.models import Account
from billing.admin.catalog.versions import VersionAdmin
from billing.admin.rules import PickOne
from billing.catalog.models import RateCardAssignment, RateCardVersion
from billing.metering import rerating
from billing.wording import csv_files

SHOWN = 200
CSV_COLUMNS = (
    "account",
    "account_name",
    "meter",
    "events",
    "quantity",
    "charged",
    "draft",
    "change",
    "unpriced_quantity",
)


class PreviewForm(forms.Form):
    """Whose usage to look at."""

    account = forms.ModelChoiceField(
        label=gettext_lazy("Account"),
        queryset=Account.objects.all(),
        required=False,
        widget=PickOne(RateCardAssignment._meta.get_field("account"), admin.site, attrs={"data-placeholder": "All"}),
    )


class PreviewPages(VersionAdmin):
    """For versions of rate cards: what would last month have cost."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/preview/", view(self.preview_view), name="billing_ratecardversion_preview"),
            *super().get_urls(),
        ]

    def preview_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Last calendar month as charged and as the version would have charged it, by account and meter."""
        self.require(self.has_view_permission(request) and request.user.has_perm("billing.view_dailyusage"))
        version = RateCardVersion.objects.select_related("rate_card").filter(pk=pk).first()
        if version is None:
            raise Http404
        form = PreviewForm(request.GET or None)
        account = form.cleaned_data["account"] if form.is_bound and form.is_valid() else None
        found, fault = None, ""
        if not form.is_bound or form.is_valid():
            try:
                found = rerating.compare(version_id=pk, account_id=account.pk if account else None, now=timezone.now())
            except rerating.TooMuch:
                fault = _("There is more usage than can be looked at at once: choose an account.")
        if found is not None and "csv" in request.GET:
            return csv_files.respond(f"preview-{version.rate_card.key}-{version.number}", CSV_COLUMNS, _rows(found))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": version,
            "title": _("%(card)s, version %(number)s: last month again")
            % {"card": version.rate_card, "number": version.number},
            "form": form,
            "media": self.media + form.media,
            "found": found,
            "lines": found.lines[:SHOWN] if found else [],
            "fault": fault,
            "back": self.page_url("change", version),
            "csv": f"?csv=1&account={account.pk if account else ''}",
            "publish": "" if version.is_published else reverse("admin:billing_ratecardversion_publish", args=[pk]),
        }
        return TemplateResponse(request, "admin/billing/ratecardversion/preview.html", context)


def _rows(found: rerating.Comparison) -> Iterator[list[object]]:
    ids = {line.account_id for line in found.lines}
    external = dict(Account.objects.filter(pk__in=ids).values_list("pk", "external_id"))
    for line in found.lines:
        yield [
            external[line.account_id], line.account_name, line.meter_name, line.events, line.quantity, line.old,
            line.new, line.change, line.unpriced,
        ]  # fmt: skip
