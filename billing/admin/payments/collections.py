"""Staff pages of collections: which invoices are collected by themselves, how far dunning has gone with each, what
comes next, and what to do about it by hand.

What speaks to a gateway runs apart from the pages' transaction, and is in the audit log with how the row stood before.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import formats, timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from billing.accounts import clocks
from billing.accounts.text import PlainText
from billing.admin import asking, trail
from billing.admin.asking import OnceForm
from billing.admin.rules import Act, FactsAdmin, plain_id
from billing.catalog.models import DunningPolicy
from billing.payments import by_hand, paying
from billing.payments.dunning import schedule
from billing.payments.gateways import contract
from billing.payments.models import Collection, Payment
from billing.wording import amounts

LIVE = (Collection.State.OPEN, Collection.State.OVERDUE)


class Standing(admin.SimpleListFilter):
    """Collections by what they wait for."""

    title = lazy("standing")
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("dunned", lazy("overdue, is tried again")),
            ("stuck", lazy("overdue, waits for another card")),
            ("fault", lazy("with a fault of ours")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Collection]) -> QuerySet[Collection]:
        overdue = queryset.filter(state=Collection.State.OVERDUE)
        match self.value():
            case "dunned":
                return overdue.filter(retries_stopped=False)
            case "stuck":
                return overdue.filter(retries_stopped=True)
            case "fault":
                return queryset.exclude(last_error="")
        return queryset


class WhyForm(OnceForm):
    """Why it is done; once per rendered form."""

    reason = PlainText(max_length=200, label=lazy("Why"), widget=forms.TextInput(attrs={"class": "vTextField"}))


@admin.register(Collection)
class CollectionAdmin(FactsAdmin):
    """Collections. One that is not over can be tried at once, stopped, or given up."""

    list_display = (
        plain_id, "account", "invoice_link", "owed", "state", "overdue_at", "tries", "reminders_sent", "next_at",
        "fault",
    )  # fmt: skip
    list_select_related = ("invoice__account",)
    list_filter = ("state", Standing, "is_automatic")
    search_fields = ("=id", "=invoice__number", "invoice__account__name", "invoice__account__external_id", "=purpose")
    ordering = ("-id",)
    fields = (
        "account_link", "invoice_link", "owed", "purpose", "state", "is_automatic", "method", "overdue_at", "tries",
        "retries_stopped", "reminders_sent", "next_at", "timetable", "payments", "fault", "created_at", "closed_at",
    )  # fmt: skip
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(f"<int:pk>/{name}/", self.admin_site.admin_view(view), name=f"billing_collection_{name}")
            for name, view in (
                ("retry", self.retry_view),
                ("stop", self.stop_view),
                ("mark-uncollectible", self.mark_uncollectible_view),
            )
        ]
        return [*own, *super().get_urls()]

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Whether the person may do more than look."""
        return bool(request.user.has_perm("billing.change_collection"))

    def name_of(self, row: Collection) -> str:
        return f"{row.invoice}, {row.invoice.account}"

    def list_pages(self, request: HttpRequest) -> list[Act]:
        return [Act(_("Overdue"), f"{self.page_url('changelist')}?state__exact=overdue")]

    def list_acts(self, request: HttpRequest, row: Collection) -> list[Act]:
        if not self.has_act_permission(request) or row.state not in LIVE:
            return []
        return [
            Act(_("Try again now"), self.page_url("retry", row)),
            Act(_("Stop collecting"), self.page_url("stop", row)),
            Act(_("Write off"), self.page_url("mark-uncollectible", row)),
        ]

    @admin.display(description=lazy("account"), ordering="invoice__account__name")
    def account(self, row: Collection) -> str:
        return str(row.invoice.account)

    @admin.display(description=lazy("account"))
    def account_link(self, row: Collection) -> SafeString:
        return _link("account", row.invoice.account)

    @admin.display(description=lazy("invoice"), ordering="invoice")
    def invoice_link(self, row: Collection) -> SafeString:
        return _link("invoice", row.invoice)

    @admin.display(description=lazy("owed"))
    def owed(self, row: Collection) -> str:
        return amounts.money_text(row.invoice.owed, row.invoice.currency)

    @admin.display(description=lazy("fault"))
    def fault(self, row: Collection) -> str:
        return row.last_error or "-"

    @admin.display(description=lazy("payments"))
    def payments(self, row: Collection) -> SafeString | str:
        """What has been tried, oldest first."""
        tried = Payment.objects.filter(invoice=row.invoice_id).order_by("pk")
        rows = ((_moment(each.created_at), _link("payment", each), each.failure_message) for each in tried)
        return format_html_join("", "<p>{}: {} {}</p>", rows) or "-"

    @admin.display(description=lazy("timetable"))
    def timetable(self, row: Collection) -> SafeString:
        """What the policy asks for and when; in days before it is overdue."""
        policy, act = row.policy, DunningPolicy.FinalAct(row.policy["final_act"]).label
        if row.overdue_at is None:
            days = {
                _("Tried again after days"): ", ".join(map(str, policy["retry_days"])) or "-",
                _("Reminded after days"): ", ".join(map(str, policy["reminder_days"])) or "-",
                _("After days %(days)s") % {"days": policy["final_days"]}: act,
            }
            return format_html_join("", "<p>{}: {}</p>", days.items())
        plan = schedule(policy, overdue_at=row.overdue_at, time_zone=row.invoice.account.time_zone)
        moments = [
            *((at, _("try again")) for at in plan.retries if row.is_automatic),
            *((at, _("reminder")) for at in plan.reminders),
        ]
        acts = [*sorted(moments, key=lambda each: each[0]), (plan.final_at, act)]
        return format_html_join("", "<p>{}: {}</p>", ((_moment(at), what) for at, what in acts))

    @trail.apart
    def retry_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Charge the method now; it uses up no try of the policy."""

        def act(form: WhyForm, now: datetime) -> str:
            payment = by_hand.retry_now(collection_id=pk, key=str(form.cleaned_data["token"]), now=now)
            text = _("The payment is: %(state)s.") % {"state": payment.get_state_display().lower()}
            return f"{text} {payment.failure_message}".strip()

        return self._act(request, pk, "retry", _("Charge the payment method now"), _("Charge"), act)

    def stop_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Charge and remind no more; the invoice stays owed."""

        def act(form: WhyForm, now: datetime) -> str:
            by_hand.stop(collection_id=pk, now=now)
            return _("Nothing is charged or asked for any more. The invoice stays owed.")

        return self._act(request, pk, "stop", _("Stop collecting this invoice"), _("Stop"), act)

    def mark_uncollectible_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Call the invoice uncollectible."""
        row = self._get(request, pk)
        form, payload = WhyForm(request.POST or None), {"invoice_id": row.invoice_id}
        account_id = row.invoice.account_id
        if request.method == "POST" and form.is_valid():
            done = asking.ask(request, form, act="write_off", account_id=account_id, payload=payload)
            if done is not None:
                said = _("The invoice is uncollectible now. Money that still comes for it is taken.")
                return asking.answer(request, done, said=said, to=self.page_url("change", row))
        return self.render_act(
            request, row, title=_("Write this invoice off as uncollectible"), button=_("Write off"), form=form,
            facts=_facts(row), warning=asking.warning(request, "write_off", payload, account_id=account_id),
        )  # fmt: skip

    def _act(
        self, request: HttpRequest, pk: int, name: str, title: str, button: str, act: Callable[[WhyForm, datetime], str]
    ) -> HttpResponse:
        row = self._get(request, pk)
        form = WhyForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            self.watch(request, row)
            try:
                text = act(form, clocks.time_of(row.invoice.account, timezone.now()))
            except tuple(_REFUSALS) as refusal:
                form.add_error(None, _REFUSALS[type(refusal)])
                trail.refuse(request, f"{name}: {_REFUSALS[type(refusal)]}", row=row)
            else:
                self.note(request, name, row, reason=form.cleaned_data["reason"])
                self.message_user(request, text, messages.SUCCESS)
                return HttpResponseRedirect(self.page_url("change", row))
        return self.render_act(request, row, title=title, button=button, form=form, facts=_facts(row))

    def _get(self, request: HttpRequest, pk: int) -> Collection:
        row = Collection.objects.select_related("invoice__account", "method").filter(pk=pk).first()
        if row is None:
            raise Http404
        self.require(self.has_act_permission(request))
        return row


_REFUSALS: dict[type[Exception], Any] = {
    by_hand.CollectionClosed: lazy("It is over: the invoice is paid, void or written off, or its days have passed."),
    by_hand.NothingToCharge: lazy("The account has no payment method to charge."),
    paying.PaymentUnderWay: lazy("Another payment of the invoice is under way."),
    paying.KeyTaken: lazy("This form was sent before. Open a new one to do it once more."),
    contract.NoGateway: lazy("The gateway of this method is not configured any more."),
}


def _facts(row: Collection) -> list[tuple[str, object]]:
    return [
        (_("Account"), row.invoice.account),
        (_("Invoice"), row.invoice),
        (_("Owed"), amounts.money_text(row.invoice.owed, row.invoice.currency)),
        (_("State"), row.get_state_display()),
        (_("Payment method"), row.method or _("the account's default")),
    ]


def _moment(at: Any) -> str:
    return formats.date_format(timezone.localtime(at), "DATETIME_FORMAT")


def _link(table: str, row: Any) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse(f"admin:billing_{table}_change", args=[row.pk]), row)
