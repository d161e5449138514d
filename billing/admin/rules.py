"""What the pages of all rooms share.

Promises: a list counts at most COUNTED rows, so that it opens quickly whatever the size of its table; rows of
`FactsAdmin` can be looked at and nothing else, by any address and any POST; what a room refuses comes back as a
message, and nothing has been written; whatever staff do is in the audit log (`trail`), with what was before and after.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.widgets import AdminSplitDateTime, AutocompleteSelect
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import DateTimeField, Field, Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.functional import cached_property
from djmoney.models.fields import CurrencyField

from billing.accounts import audit, clocks, ids
from billing.accounts.fields import validate_country, validate_currency
from billing.accounts.models import User
from billing.admin import test_accounts, trail
from billing.catalog.periods import check_range
from billing.ledger.models import CreditPool
from billing.wording import amounts

COUNTED = 10_000


class BoundedPaginator(Paginator):
    """Pages of the first COUNTED rows; whoever looks for more narrows the list with a filter or a search."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        return rows.order_by()[:COUNTED].count() if isinstance(rows, QuerySet) else len(rows)


@dataclass(frozen=True, slots=True)
class Act:
    """Something staff can do or look at on a page of its own. `on_index`: linked from the first page too."""

    label: str
    url: str
    on_index: bool = False


class MomentWidget(AdminSplitDateTime):
    """Django's two inputs for a date and a time, each with a name for screen readers."""

    def __init__(self, label: str = "") -> None:
        super().__init__()
        for widget, part in zip(self.widgets, ("date", "time"), strict=True):
            widget.attrs["aria-label"] = f"{label}, {part}" if label else part.capitalize()


class PickOne(AutocompleteSelect):
    """Django's select that searches while one types; its own falls over a value that is no number."""

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        return super().optgroups(name, [each for each in value if str(each).isdecimal()], attr)


class RoomAdmin(admin.ModelAdmin):
    """A table of ours. `refusals` are the exceptions of the room's functions, with what to tell staff."""

    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = 50
    actions_on_bottom = False
    refusals: ClassVar[Mapping[type[Exception], str]] = {}
    add_label = ""

    class Media:
        js = ("florin/admin.js",)

    @property
    def urls(self) -> list[URLPattern]:
        """The room's pages, each of them audited, whichever file adds it."""
        patterns = self.get_urls()
        for pattern in patterns:
            pattern.callback = trail.audited(pattern.callback, self, pattern.name or "")
        return patterns

    def formfield_for_dbfield(self, db_field: Field, request: Any, **kwargs: Any) -> Any:
        if isinstance(db_field, DateTimeField):
            kwargs["widget"] = MomentWidget(db_field.verbose_name.capitalize())
            kwargs["form_class"] = forms.SplitDateTimeField
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if isinstance(db_field, CurrencyField) and field is not None:
            field.validators = [*field.validators, validate_currency]
        if db_field.name == "country" and field is not None:
            field.validators = [*field.validators, validate_country]
        return field

    def get_inline_instances(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        # A row that is being added has no facts yet.
        inlines = super().get_inline_instances(request, obj)
        return [inline for inline in inlines if obj is not None or not isinstance(inline, FactsInline)]

    def name_of(self, row: Any) -> str:
        """What the row's page is headed with."""
        return str(row)

    def list_acts(self, request: HttpRequest, row: Any) -> list[Act]:
        """What can be done with the row beyond editing it."""
        return []

    def list_pages(self, request: HttpRequest) -> list[Act]:
        """Pages of the room beside its lists and rows, that this person may see."""
        return []

    def require(self, allowed: bool) -> None:
        """Refuse the page unless `allowed`. Raises PermissionDenied."""
        if not allowed:
            raise PermissionDenied

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except tuple(self.refusals) as refusal:
            trail.settle(request)
            self.message_user(request, self.refusals[type(refusal)], messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = kwargs.get("obj")
        context["asks_why"] = True
        context["acts"] = self.list_acts(request, row) if row is not None else []
        if row is not None:
            context["subtitle"] = self.name_of(row)
        return super().render_change_form(request, context, *args, **kwargs)

    def get_list_filter(self, request: HttpRequest) -> Any:
        found = super().get_list_filter(request)
        return found if test_accounts.road_of(self.model) is None else (*found, test_accounts.Whose)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self._is_readable_year(request):
            return HttpResponseRedirect(self.page_url("changelist"))
        ours = {"add_label": self.add_label, "pages": self.list_pages(request)}
        return super().changelist_view(request, {**ours, **(extra_context or {})})

    def _is_readable_year(self, request: HttpRequest) -> bool:
        """Whether the year that the list is narrowed to is one that Django's links by date can reckon with."""
        year = request.GET.get(f"{self.date_hierarchy}__year", "") if self.date_hierarchy else ""
        try:
            check_range(date(int(year), 1, 1) if year else None, None)
        except ValueError:
            return False
        return True

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        """The row whose public id was typed, or as Django finds them."""
        kind = ids.KINDS.get(str(self.opts.model_name), "")
        if (own := ids.find(kind, search_term.strip())) is not None:
            return queryset.filter(pk=own), False
        return super().get_search_results(request, queryset, search_term)

    # --- The audit log, where Django's own would be ---------------------------------------------------------------
    def snapshot(self, row: Model) -> dict[str, Any]:
        """What the log compares: the row's columns, and those of the rows that its page edits with it."""
        found = audit.snapshot(row)
        for inline in self.inlines:
            if issubclass(inline, FactsInline):
                continue
            name = str(inline.model._meta.verbose_name)
            key = next(f.name for f in inline.model._meta.fields if f.related_model is row._meta.concrete_model)
            for number, part in enumerate(inline.model._default_manager.filter(**{key: row.pk}).order_by("pk"), 1):
                columns = audit.snapshot(part).items()
                found |= {f"{name} {number}: {column}": value for column, value in columns if column != "id"}
        return found

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            self.watch(request, row)
        return row

    def watch(self, request: HttpRequest, row: Model) -> None:
        """Keep how the row is before a page that has been sent changes it. Pages that load it themselves call this."""
        if request.method not in trail.SAFE:
            trail.remember(request, row, self.snapshot(row))

    def note(
        self, request: HttpRequest, act: str, row: Model, *, reason: str = "", facts: Mapping[str, Any] | None = None
    ) -> None:
        """Write to the audit log what the request did to the row: how it was before (nothing is known of a new one),
        how it is, and further `facts`."""
        now = type(row)._default_manager.get(pk=row.pk)
        after = self.snapshot(now) if isinstance(now, self.model) else audit.snapshot(now)
        before = trail.remembered(request, row) or {}
        trail.note(request, act, now, before=before, after={**after, **(facts or {})}, reason=reason)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self.note(request, "add", obj)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        if trail.is_noted(request, obj):
            return
        said = message if isinstance(message, str) else ""
        if not said and trail.remembered(request, obj) == self.snapshot(self.model._default_manager.get(pk=obj.pk)):
            trail.settle(request)
            return
        self.note(request, "change", obj, reason=said)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        for row in queryset:
            before = trail.remembered(request, row) or self.snapshot(row)
            trail.note(request, "delete", row, before=before)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any) -> Any:
        chosen = list(queryset.filter(pk__in=request.POST.getlist(ACTION_CHECKBOX_NAME)[: trail.MAX_ROWS]))
        for row in chosen:
            trail.remember(request, row, self.snapshot(row))
        response = super().response_action(request, queryset, *args, **kwargs)
        for row in chosen:
            now = self.model._default_manager.filter(pk=row.pk).first()
            if now is None or trail.is_noted(request, row) or trail.remembered(request, row) == self.snapshot(now):
                continue
            self.note(request, str(request.POST.get("action")), row)
        return response

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """What staff did to the row: the audit log's list, narrowed."""
        listed = reverse("admin:billing_staffact_changelist")
        query = urlencode({"model__exact": str(self.opts.model_name), "row_id__exact": object_id})
        return HttpResponseRedirect(f"{listed}?{query}")

    def page_url(self, name: str, row: Model | None = None) -> str:
        """The address of the page `name` of this table, of a row if one is given."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}", args=[row.pk] if row else [])

    def render_act(
        self,
        request: HttpRequest,
        row: Model | None,
        *,
        title: str,
        button: str,
        form: forms.Form | None = None,
        facts: Iterable[tuple[str, object]] = (),
        warning: str = "",
        hidden: bool = False,
        back: str = "",
    ) -> HttpResponse:
        """A page that asks for what an act needs, or (`hidden`) asks to confirm it. `back` is where Cancel leads."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": row,
            "title": title,
            "button": button,
            "form": form,
            "media": self.media + (form.media if form else forms.Media()),
            "facts": facts,
            "warning": warning,
            "hidden": hidden,
            "back": back or (self.page_url("change", row) if row else self.page_url("changelist")),
        }
        return TemplateResponse(request, "admin/act.html", context)


class FactsAdmin(RoomAdmin):
    """Rows that are facts: nobody adds, changes or deletes them here."""

    actions: Any = None

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class KeptAdmin(RoomAdmin):
    """Rows that staff add and nobody deletes: what others refer to, or what once held. `created_at` is when."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: forms.ModelForm, change: bool) -> None:
        if not change:
            obj.created_at = timezone.now()
        super().save_model(request, obj, form, change)


class FactsInline(admin.TabularInline):
    """Rows shown on another row's page, to look at only."""

    extra = 0
    can_delete = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The rows with the one whose page it is: many are named after it."""
        parents = [
            field.name
            for field in self.model._meta.concrete_fields
            if field.many_to_one and issubclass(self.parent_model, field.related_model)
        ]
        return super().get_queryset(request).select_related(*parents)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def credits_column(field: str, label: str = "") -> Any:
    """A column that shows a field of credits with thousands separators and no idle zeros.

    A function, typed Any because Django's stubs take names only where Django takes functions too.
    """

    @admin.display(description=label or field.replace("_", " "), ordering=field)
    def column(row: Any) -> str:
        amount: Decimal | None = getattr(row, field)
        return "-" if amount is None else amounts.exact_credits_text(amount)

    column.__name__ = f"credits_{field}"
    return column


def cycle_column(field: str) -> Any:
    """The same of a pool's cycle. A pool's row keeps its last cycle until something is posted in the next: a figure of
    a cycle that is over is not shown as if it were of the current one."""

    @admin.display(description=field.replace("_", " "), ordering=field)
    def column(pool: CreditPool) -> str:
        is_over = pool.cycle_ends_at <= clocks.time_of(pool.account, timezone.now())
        return "-" if is_over else amounts.exact_credits_text(getattr(pool, field))

    column.__name__ = f"credits_{field}"
    return column


def money_column(field: str, label: str = "", *, ordering: str | None = "") -> Any:
    """A column that shows money in the currency of its row, or of the document that its row is a line of.

    `ordering` None: the figure is no column of the table, so it cannot be sorted by.
    """

    @admin.display(description=label or field.replace("_", " "), ordering=field if ordering == "" else ordering)
    def column(row: Any) -> str:
        amount: Decimal | None = getattr(row, field)
        document = next((getattr(row, name) for name in ("invoice", "credit_note") if hasattr(row, name)), row)
        currency = getattr(row, "currency", None) or document.currency
        return "-" if amount is None else amounts.money_text(amount, currency)

    column.__name__ = f"money_{field}"
    return column


@admin.display(description="id", ordering="pk")
def plain_id(row: Any) -> str:
    """A row's public id, as the API and the portal have it, or the plain key where it has none. Lists can be searched
    for either."""
    return ids.of(row)


def staff_user(request: HttpRequest) -> User:
    """The member of staff who acts; admin pages let nobody else through."""
    assert isinstance(request.user, User)  # noqa: S101
    return request.user
