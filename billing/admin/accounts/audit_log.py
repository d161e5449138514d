"""The audit log: who of the staff did what, to which row, what was before and after, and why. To look at only."""

import json
from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from billing.accounts.models import StaffAct
from billing.admin.rules import Act, FactsAdmin
from billing.wording import csv_files

CSV_COLUMNS = (
    "acted_at", "user", "act", "model", "row_id", "label", "account", "reason", "before", "after", "request_id",
    "client",
)  # fmt: skip
CSV_ROWS = 100_000


class ModelFilter(admin.SimpleListFilter):
    """What kind of row was acted on, of all that staff have pages for. Asking the log, which only grows, would take
    longer the longer it is."""

    title = _("kind of row")
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        models = (model._meta for model in model_admin.admin_site._registry if model._meta.app_label == "billing")
        return sorted(((meta.model_name or "", str(meta.verbose_name)) for meta in models), key=lambda pair: pair[1])

    def queryset(self, request: HttpRequest, queryset: QuerySet[StaffAct]) -> QuerySet[StaffAct]:
        return queryset.filter(model=self.value()) if self.value() else queryset


@admin.register(StaffAct)
class StaffActAdmin(FactsAdmin):
    """Acts of staff, the latest first."""

    list_display = ("acted_at", "user", "act", "what", "account", "changes", "reason")
    list_display_links = ("acted_at",)
    list_select_related = ("user", "account")
    list_filter = ("act", ModelFilter, ("user", admin.RelatedOnlyFieldListFilter))
    search_fields = ("=row_id", "label", "reason", "user__email", "account__name", "account__external_id", "=client")
    date_hierarchy = "acted_at"
    ordering = ("-acted_at", "-pk")
    fields = ("acted_at", "user", "client", "act", "what", "account", "reason", "request", "difference")
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        export = path("export/", self.admin_site.admin_view(self.export_view), name="billing_staffact_export")
        return [export, *super().get_urls()]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in ("row_id", "request_id", "account") or super().lookup_allowed(lookup, value, request)

    def list_pages(self, request: HttpRequest) -> list[Act]:
        query = request.GET.urlencode()
        return [Act("CSV", self.page_url("export") + (f"?{query}" if query else ""))]

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """The acts that the list shows, at most CSV_ROWS of them, as a file."""
        self.require(self.has_view_permission(request))
        acts = self.get_changelist_instance(request).get_queryset(request).order_by("-acted_at", "-pk")[:CSV_ROWS]
        return csv_files.respond("staff-acts", CSV_COLUMNS, _csv_rows(acts.iterator(chunk_size=1000)))

    @admin.display(description=_("what"))
    def what(self, act: StaffAct) -> SafeString | str:
        name = f"{act.label or act.row_id} ({act.model})" if act.model else act.label
        if not act.row_id:
            return name
        try:
            url = reverse(f"admin:billing_{act.model}_change", args=[act.row_id])
        except NoReverseMatch:
            return name
        return format_html('<a href="{}">{}</a>', url, name)

    @admin.display(description=_("changed"))
    def changes(self, act: StaffAct) -> str:
        names = [name.removesuffix("_id").replace("_", " ") for name in {**act.before, **act.after}]
        return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")

    @admin.display(description=_("request"))
    def request(self, act: StaffAct) -> SafeString | str:
        """The other acts of the same request, by its id."""
        if not act.request_id:
            return "-"
        listed = self.page_url("changelist")
        return format_html('<a href="{}?request_id={}">{}</a>', listed, act.request_id, act.request_id)

    @admin.display(description=_("before and after"))
    def difference(self, act: StaffAct) -> SafeString:
        rows = [(name, _text(act.before, name), _text(act.after, name)) for name in {**act.before, **act.after}]
        return render_to_string("admin/billing/staffact/difference.html", {"rows": rows})


def _text(values: dict[str, Any], name: str) -> str | None:
    """A value for people, empty if it was; None where there was none."""
    if name not in values:
        return None
    value = values[name]
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _csv_rows(acts: Iterator[StaffAct]) -> Iterator[list[object]]:
    for act in acts:
        account = act.account.external_id if act.account else ""
        values = [json.dumps(part, ensure_ascii=False) if part else "" for part in (act.before, act.after)]
        yield [
            act.acted_at, act.user.email, act.act, act.model, act.row_id, act.label, account, act.reason, *values,
            act.request_id, act.client,
        ]  # fmt: skip
