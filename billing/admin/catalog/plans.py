"""Staff pages of plans: what recurs, from draft to sale to retirement, and versions side by side.

A version is edited as a draft and then published, which is final: the page of a published version is read-only, and
the way on is a new draft made from it.
"""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.admin.catalog.plan_forms import PriceInline, SoldPriceInline, VersionForm
from billing.admin.catalog.versions import VersionAdmin, is_draft
from billing.admin.rules import Act, FactsInline, KeptAdmin, staff_user
from billing.admin.trail import settle
from billing.catalog import plan_words, plans
from billing.catalog.models import Plan, PlanVersion
from billing.wording.amounts import money_text

# So many stand beside each other on a wide screen.
COMPARED = 6
CHOICES = 60


class VersionInline(FactsInline):
    """The versions of a plan."""

    model = PlanVersion
    fields = ("number", "interval", "interval_count", "included_credits", "published_at", "published_by", "note")
    ordering = ("-number",)
    show_change_link = True


@admin.register(Plan)
class PlanAdmin(KeptAdmin):
    """What recurs, by name. What a plan costs and includes is in its versions."""

    list_display = ("name", "key", "state", "on_sale", "versions_count", "position", "retired_at")
    search_fields = ("name", "key")
    ordering = ("position", "pk")
    inlines = (VersionInline,)
    actions = None
    fields = ("name", "key", "description", "tax_category", "position", "created_at", "retired_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        newest = plans.newest_versions().filter(plan=OuterRef("pk"))
        return super().get_queryset(request).annotate(
            versions_count=Count("versions"), newest_number=Subquery(newest.values("number")[:1])
        )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("key", "created_at", "retired_at") if obj else ("created_at", "retired_at")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("compare/", view(self.compare_view), name="billing_plan_compare"),
            path("<int:pk>/draft/", view(self.draft_view), name="billing_plan_draft"),
            path("<int:pk>/retire/", view(self.retire_view), name="billing_plan_retire"),
            *super().get_urls(),
        ]

    def list_pages(self, request: HttpRequest) -> list[Act]:
        return [Act(_("Side by side"), self.page_url("compare"))] if self.has_view_permission(request) else []

    def list_acts(self, request: HttpRequest, row: Plan) -> list[Act]:
        if not self.has_change_permission(request, row) or row.retired_at:
            return []
        return [Act(_("New draft"), self.page_url("draft", row)), Act(_("Retire"), self.page_url("retire", row))]

    def draft_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Begin a draft: from the version with the highest number, or empty for a new plan."""
        plan = self._get(request, pk)
        if request.method != "POST":
            title = _("New draft of %(plan)s") % {"plan": plan}
            return self.render_act(request, plan, title=title, button=_("Begin the draft"))
        latest = plan.versions.order_by("-number").first()
        now = timezone.now()
        if latest is None:
            draft = plans.draft_version(plan_id=pk, now=now)
        else:
            draft = plans.draft_from(version_id=latest.pk, now=now)
        self.note(request, "draft", draft, facts={"from": str(latest.number) if latest else "nothing"})
        return HttpResponseRedirect(reverse("admin:billing_planversion_change", args=[draft.pk]))

    def retire_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask to confirm, and sell a plan no longer."""
        plan = self._get(request, pk)
        if request.method != "POST":
            return self.render_act(
                request, plan, title=_("Retire %(plan)s?") % {"plan": plan}, button=_("Retire"),
                warning=_("Nobody can subscribe to it any more. Who has it keeps it."),
            )  # fmt: skip
        try:
            plans.retire(plan_id=pk, now=timezone.now())
        except plans.AlreadyRetired:
            settle(request)
            self.message_user(request, _("This plan is retired already."), messages.ERROR)
        else:
            self.note(request, "retire", plan)
            self.message_user(request, _("%(plan)s is retired.") % {"plan": plan}, messages.SUCCESS)
        return HttpResponseRedirect(self.page_url("change", plan))

    def compare_view(self, request: HttpRequest) -> HttpResponse:
        """The versions asked for, or those on sale, side by side with their differences marked."""
        self.require(self.has_view_permission(request))
        asked = [int(pk) for pk in request.GET.getlist("version") if pk.isdecimal() and len(pk) < 19]
        chosen = asked or list(plans.versions_on_sale().values_list("pk", flat=True))
        versions, terms = plan_words.compare(chosen[:COMPARED])
        choices = PlanVersion.objects.select_related("plan").order_by("plan__position", "plan_id", "-number")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Plans side by side"),
            "versions": versions,
            "terms": terms,
            "choices": choices[:CHOICES],
            "media": self.media,
        }
        return TemplateResponse(request, "admin/billing/plan/compare.html", context)

    def _get(self, request: HttpRequest, pk: int) -> Plan:
        self.require(self.has_change_permission(request))
        plan = Plan.objects.filter(pk=pk).first()
        if plan is None:
            raise Http404
        self.watch(request, plan)
        return plan

    @admin.display(description=gettext_lazy("state"))
    def state(self, plan: Plan) -> str:
        if plan.retired_at:
            return _("retired")
        return _("draft") if plan.newest_number is None else _("on sale")  # type: ignore[attr-defined]

    @admin.display(description=gettext_lazy("version on sale"))
    def on_sale(self, plan: Plan) -> str:
        number: int | None = plan.newest_number  # type: ignore[attr-defined]
        return "-" if number is None or plan.retired_at else str(number)

    @admin.display(description=gettext_lazy("versions"), ordering="versions_count")
    def versions_count(self, plan: Plan) -> int:
        return plan.versions_count  # type: ignore[attr-defined]


@admin.register(PlanVersion)
class PlanVersionAdmin(VersionAdmin):
    """Editions of plans: drafts to edit and publish, published ones to look at."""

    form = VersionForm
    draft_from = staticmethod(plans.draft_from)
    list_display = ("plan", "number", "state", "period", "prices", "included", "published_at", "published_by", "note")
    list_select_related = ("plan", "published_by")
    list_filter = (("published_at", admin.EmptyFieldListFilter), "plan", "interval")
    search_fields = ("plan__name", "plan__key", "note")
    ordering = ("plan__position", "plan", "-number")
    inlines = (PriceInline,)
    actions = ("compare",)
    readonly_fields = ("plan", "number", "state", "created_at", "published_at", "published_by")
    fieldsets = (
        (None, {"fields": ("plan", "number", "state", "note", "published_at", "published_by", "created_at")}),
        (
            gettext_lazy("Period and trial"),
            {"fields": (("interval", "interval_count"), ("trial_days", "trial_credits"))},
        ),
        (
            gettext_lazy("Credits"),
            {
                "fields": (
                    ("included_credits", "grants_monthly"),
                    ("rollover", "rollover_percent", "rollover_amount"),
                    ("rollover_periods", "rollover_cap"),
                    "loyalty_steps",
                )
            },
        ),
        (
            gettext_lazy("When credits run out"),
            {"fields": ("policy", "burst_limit", ("overage_model", "overage_unit"), "overage_cap")},
        ),
        (gettext_lazy("Seats"), {"fields": (("seats_included", "seats_max"), "credits_per_seat")}),
        (
            gettext_lazy("Otherwise"),
            {"fields": ("rate_card", "target_segments", "dunning_policy", "prices_include_tax")},
        ),
    )

    def name_of(self, row: PlanVersion) -> str:
        return _("%(plan)s, version %(number)s") % {"plan": row.plan, "number": row.number}

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return self.inlines if is_draft(obj) else (SoldPriceInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[PlanVersion]:
        return super().get_queryset(request).prefetch_related("prices")

    def list_acts(self, request: HttpRequest, row: PlanVersion) -> list[Act]:
        newest = plans.newest_versions().filter(plan_id=row.plan_id).exclude(pk=row.pk).first()
        acts = [Act(_("Beside what is on sale"), compare_url([newest.pk, row.pk]))] if newest else []
        if not self.may_draft(request):
            return acts
        acts.append(Act(_("New draft from this"), self.page_url("draft", row)))
        return [Act(_("Publish"), self.page_url("publish", row)), *acts] if is_draft(row) else acts

    @admin.action(description=gettext_lazy("Compare side by side"), permissions=["view"])
    def compare(self, request: HttpRequest, rows: QuerySet[PlanVersion]) -> HttpResponse:
        settle(request)
        return HttpResponseRedirect(compare_url(list(rows.values_list("pk", flat=True)[:COMPARED])))

    def publish_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show what the version says and what changes by it, and publish it."""
        version = self.get_version(request, pk)
        if version.is_published:
            self.message_user(request, _("This version is published already."), messages.WARNING)
            return HttpResponseRedirect(self.page_url("change", version))
        if request.method == "POST":
            try:
                plans.publish(version_id=pk, published_by=staff_user(request), now=timezone.now())
            except plans.NotPublishable as fault:
                settle(request)
                self.message_user(request, str(fault), messages.ERROR)
            except plans.AlreadyPublished:
                settle(request)
                self.message_user(request, _("Somebody has published it meanwhile."), messages.ERROR)
            else:
                self.note(request, "publish", version)
                said = _("Version %(number)s is on sale.") % {"number": version.number}
                self.message_user(request, said, messages.SUCCESS)
            return HttpResponseRedirect(self.page_url("change", version))
        return self.render_act(
            request, version, title=_("Publish %(version)s?") % {"version": self.name_of(version)},
            button=_("Publish for good"), facts=list(plan_words.list_terms(version).items()),
            warning=_("A published version cannot be changed any more. Who has an older version keeps it."),
        )  # fmt: skip

    def get_version(self, request: HttpRequest, pk: int) -> PlanVersion:
        rows = PlanVersion.objects.select_related("plan", "rate_card", "dunning_policy")
        version = rows.prefetch_related("prices").filter(pk=pk).first()
        self.require(self.may_draft(request))
        if version is None:
            raise Http404
        self.watch(request, version)
        return version

    @admin.display(description=gettext_lazy("state"))
    def state(self, version: PlanVersion) -> str:
        return _("published") if version.is_published else _("draft")

    @admin.display(description=gettext_lazy("period"))
    def period(self, version: PlanVersion) -> str:
        return plan_words.period_text(version)

    @admin.display(description=gettext_lazy("fees"))
    def prices(self, version: PlanVersion) -> str:
        return ", ".join(money_text(price.fee, price.currency) for price in version.prices.all()) or "-"

    @admin.display(description=gettext_lazy("credits included"))
    def included(self, version: PlanVersion) -> str:
        return plan_words.included_text(version)


def compare_url(version_ids: list[int]) -> str:
    """Where versions stand side by side."""
    return f"{reverse('admin:billing_plan_compare')}?{urlencode([('version', pk) for pk in version_ids])}"
