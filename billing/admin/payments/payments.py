"""Staff pages of the payments room: payments and refunds with what to do about those that did not end well, what
gateways reported, and the ways to pay that accounts have.

What speaks to a gateway runs apart from the pages' transaction, and is in the audit log with how the row stood before.
"""

import uuid
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy
from django.utils.translation import ngettext

from billing.accounts import clocks
from billing.accounts.text import PlainText
from billing.admin import trail
from billing.admin.payments.payment_queue import list_needing_staff
from billing.admin.rules import Act, FactsAdmin, FactsInline, money_column, plain_id
from billing.payments import checking, methods, paying, refunding, webhooks
from billing.payments.gateways import contract
from billing.payments.models import Dispute, GatewayEvent, InvoiceCredit, Payment, PaymentMethod, Refund
from billing.wording import amounts

MAX_ASKED = 50


class QueueAdmin(FactsAdmin):
    """Rows that nobody adds, edits or deletes here, but that who may change them can put on their way again."""

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Whether the person may do more than look."""
        return bool(request.user.has_perm(f"billing.change_{self.opts.model_name}"))


class WorkQueue(admin.SimpleListFilter):
    """The payments that somebody should look at."""

    title = lazy("work queue")
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", _("To look at"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Payment]) -> QuerySet[Payment]:
        if self.value() != "open":
            return queryset
        return queryset.filter(pk__in=list_needing_staff().values("pk"))


class RefundsInline(FactsInline):
    """What of the payment goes back."""

    model = Refund
    fields = ("state", money_column("amount"), "credit_note", "failure_message", "created_at", "finished_at")
    readonly_fields = fields
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("payment", "credit_note")


class RetryForm(forms.Form):
    """Which method to charge this time."""

    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)
    method = forms.ModelChoiceField(queryset=PaymentMethod.objects.none(), label=lazy("Charge"), empty_label=None)
    reason = PlainText(max_length=200, label=lazy("Why"), widget=forms.TextInput(attrs={"class": "vTextField"}))

    def __init__(self, payment: Payment, data: Any = None) -> None:
        super().__init__(data, initial={"token": uuid.uuid4(), "method": payment.method_id})
        kept = PaymentMethod.objects.filter(account_id=payment.invoice.account_id, removed_at=None)
        field = self.fields["method"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101
        field.queryset = kept.order_by("-is_default", "-pk")


@admin.register(Payment)
class PaymentAdmin(QueueAdmin):
    """Attempts to collect invoices. One without an outcome can be asked about; one that failed, tried again."""

    list_display = (
        plain_id, "account", "invoice_link", money_column("amount"), "state", "what_happened", "method", "created_at",
    )  # fmt: skip
    list_select_related = ("invoice__account", "method")
    list_filter = (WorkQueue, "state", "off_session", "gateway")
    search_fields = (
        "=id", "=invoice__number", "=gateway_reference", "=idempotency_key", "invoice__account__name",
        "invoice__account__external_id",
    )  # fmt: skip
    ordering = ("-id",)
    actions = ("ask",)
    inlines = (RefundsInline,)
    fields = (
        "account", "invoice_link", "method", "transfer", "invoice_credit", money_column("amount"),
        money_column("amount_refunded"),
        money_column("amount_disputed"), "state",
        "failure_code", "failure_message", "failure_is_hard", "problem", "off_session", "gateway", "gateway_reference",
        "idempotency_key", "created_at", "submitted_at", "finished_at", "next_check_at", "checks",
    )  # fmt: skip
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(f"<int:pk>/{name}/", self.admin_site.admin_view(view), name=f"billing_payment_{name}")
            for name, view in (("ask", self.ask_view), ("retry", self.retry_view))
        ]
        return [*own, *super().get_urls()]

    def name_of(self, row: Payment) -> str:
        return _("%(amount)s for %(invoice)s") % {
            "amount": amounts.money_text(row.amount, row.currency),
            "invoice": row.invoice,
        }

    def list_pages(self, request: HttpRequest) -> list[Act]:
        return [Act(_("To look at"), f"{self.page_url('changelist')}?queue=open")]

    def list_acts(self, request: HttpRequest, row: Payment) -> list[Act]:
        if not self.has_act_permission(request) or row.state == Payment.State.SUCCEEDED:
            return []
        acts = [Act(_("Ask the gateway now"), self.page_url("ask", row))]
        if row.state == Payment.State.FAILED and row.invoice.owed > 0:
            acts.append(Act(_("Try again"), self.page_url("retry", row)))
        return acts

    @admin.display(description=lazy("account"), ordering="invoice__account__name")
    def account(self, row: Payment) -> str:
        return str(row.invoice.account)

    @admin.display(description=lazy("invoice"), ordering="invoice")
    def invoice_link(self, row: Payment) -> SafeString:
        url = reverse("admin:billing_invoice_change", args=[row.invoice_id])
        return format_html('<a href="{}">{}</a>', url, row.invoice)

    @admin.display(description=lazy("what happened"))
    def what_happened(self, row: Payment) -> str:
        return row.problem or row.failure_message or "-"

    @trail.apart
    @admin.action(description=lazy("Ask the gateway now"), permissions=["act"])
    def ask(self, request: HttpRequest, rows: QuerySet[Payment]) -> None:
        ended = silent = 0
        asked = list(rows.exclude(state=Payment.State.SUCCEEDED).select_related("invoice__account")[:MAX_ASKED])
        for row in asked:
            try:
                ended += checking.check(payment_id=row.pk, now=_now(row)).state not in Payment.LIVE
            except contract.NoGateway:
                silent += 1
        text = ngettext("%(count)d asked about", "%(count)d asked about", len(asked)) % {"count": len(asked)}
        text += ngettext(", %(count)d has an outcome.", ", %(count)d have an outcome.", ended) % {"count": ended}
        self.message_user(request, text, messages.WARNING if silent or ended < len(asked) else messages.SUCCESS)

    @trail.apart
    def ask_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask the gateway how the payment stands, and write it down."""
        payment = self._get(request, pk)
        if request.method == "POST":
            self.watch(request, payment)
            try:
                payment = checking.check(payment_id=pk, now=_now(payment))
            except contract.NoGateway:
                self.message_user(request, _("Its gateway is not configured any more."), messages.ERROR)
            else:
                fine = payment.state not in Payment.LIVE
                text = _("The payment is: %(state)s.") % {"state": payment.get_state_display().lower()}
                self.message_user(request, text, messages.SUCCESS if fine else messages.WARNING)
            self.note(request, "ask", payment)
            return HttpResponseRedirect(self.page_url("change", payment))
        title, button = _("Ask the gateway how this payment stands?"), _("Ask now")
        return self.render_act(request, payment, title=title, button=button, facts=_facts(payment))

    @trail.apart
    def retry_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Try to collect the invoice once more, without the customer; once per rendered form."""
        payment = self._get(request, pk)
        form = RetryForm(payment, request.POST or None)
        if request.method == "POST" and form.is_valid() and (again := self._retry(payment, form)) is not None:
            self.note(request, "retry", again, reason=form.cleaned_data["reason"])
            fine = again.state == Payment.State.SUCCEEDED
            text = _("The new payment is: %(state)s.") % {"state": again.get_state_display().lower()}
            self.message_user(
                request, f"{text} {again.failure_message}", messages.SUCCESS if fine else messages.WARNING
            )
            return HttpResponseRedirect(self.page_url("change", again))
        title, button = _("Try to collect the invoice again"), _("Charge")
        return self.render_act(request, payment, title=title, button=button, form=form, facts=_facts(payment))

    def _retry(self, payment: Payment, form: RetryForm) -> Payment | None:
        refusals: dict[type[Exception], str] = {
            paying.InvoiceNotPayable: _("Nothing is owed on the invoice any more."),
            paying.PaymentUnderWay: _("Another payment of the invoice is under way."),
            methods.MethodNotUsable: _("This method was removed."),
            contract.NoGateway: _("The gateway of this method is not configured any more."),
        }
        try:
            return paying.pay(
                invoice_id=payment.invoice_id,
                method_id=form.cleaned_data["method"].pk,
                key=f"staff:{form.cleaned_data['token']}",
                off_session=True,
                now=_now(payment),
            )
        except tuple(refusals) as refusal:
            form.add_error(None, refusals[type(refusal)])
            return None

    def _get(self, request: HttpRequest, pk: int) -> Payment:
        payment = Payment.objects.select_related("invoice__account", "method").filter(pk=pk).first()
        if payment is None:
            raise Http404
        self.require(self.has_act_permission(request))
        return payment


def _now(payment: Payment) -> datetime:
    """What time it is for the account that pays."""
    return clocks.time_of(payment.invoice.account, timezone.now())


def _facts(payment: Payment) -> list[tuple[str, object]]:
    return [
        (_("Account"), payment.invoice.account),
        (_("Invoice"), payment.invoice),
        (_("Amount"), amounts.money_text(payment.amount, payment.currency)),
        (_("State"), payment.get_state_display()),
        (_("Why it failed"), payment.failure_message or "-"),
    ]


@admin.register(Refund)
class RefundAdmin(QueueAdmin):
    """Money that goes back. One without an outcome is asked about; one that failed can be tried again."""

    list_display = (
        plain_id, "account", money_column("amount"), "state", "failure_message", "payment", "credit_note", "created_at",
    )  # fmt: skip
    list_select_related = ("payment__invoice__account", "credit_note")
    list_filter = ("state", "payment__gateway")
    search_fields = (
        "=id", "=payment__invoice__number", "=gateway_reference", "=idempotency_key", "=credit_note__number",
        "payment__invoice__account__name", "payment__invoice__account__external_id",
    )  # fmt: skip
    ordering = ("-id",)
    actions = ("try_again", "ask", "sent_by_hand")
    fields = (
        "account", "payment", "credit_note", "invoice_credit", money_column("amount"), "state", "failure_message",
        "attempt",
        "gateway_reference", "idempotency_key", "created_at", "finished_at", "next_check_at", "checks",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description=lazy("account"), ordering="payment__invoice__account__name")
    def account(self, row: Refund) -> str:
        return str(row.payment.invoice.account)

    @admin.action(description=lazy("Try failed ones again"), permissions=["act"])
    def try_again(self, request: HttpRequest, rows: QuerySet[Refund]) -> None:
        """Within seconds the beat sends what this opens again."""
        opened = refused = 0
        for row in rows.filter(state=Refund.State.FAILED).select_related("payment__invoice__account")[:MAX_ASKED]:
            try:
                refunding.retry(refund_id=row.pk, now=_now(row.payment))
            except (refunding.TooMuch, refunding.NotFailed):
                refused += 1
            else:
                opened += 1
        text = ngettext("%(count)d is sent again within seconds.", "%(count)d are sent again within seconds.", opened)
        text %= {"count": opened}
        if refused:
            text += " " + _("%(count)d could not be: too little is left of the payment.") % {"count": refused}
        self.message_user(request, text, messages.WARNING if refused or not opened else messages.SUCCESS)

    @trail.apart
    @admin.action(description=lazy("Ask the gateway now"), permissions=["act"])
    def ask(self, request: HttpRequest, rows: QuerySet[Refund]) -> None:
        ended = 0
        unended = rows.exclude(state=Refund.State.SUCCEEDED)
        asked = list(unended.select_related("payment__invoice__account")[:MAX_ASKED])
        for row in asked:
            try:
                ended += refunding.check(refund_id=row.pk, now=_now(row.payment)).state not in refunding.LIVE
            except contract.NoGateway:
                self.message_user(request, _("A gateway is not configured any more."), messages.ERROR)
        text = _("%(asked)d asked about, %(ended)d with an outcome.") % {"asked": len(asked), "ended": ended}
        self.message_user(request, text, messages.SUCCESS if ended == len(asked) else messages.WARNING)

    @admin.action(description=lazy("The money was sent back by transfer"), permissions=["act"])
    def sent_by_hand(self, request: HttpRequest, rows: QuerySet[Refund]) -> None:
        """Record that staff have sent the money: of payments by transfer, and of refunds that failed."""
        done = refused = 0
        for row in rows.select_related("payment__invoice__account")[:MAX_ASKED]:
            try:
                refunding.pay_out(refund_id=row.pk, reference=f"staff:{request.user.pk}", now=_now(row.payment))
            except (refunding.NotFailed, refunding.TooMuch):
                refused += 1
            else:
                done += 1
        text = ngettext("%(count)d has gone back.", "%(count)d have gone back.", done) % {"count": done}
        if refused:
            text += " " + _("%(count)d neither failed nor waits for a transfer.") % {"count": refused}
        self.message_user(request, text, messages.WARNING if refused or not done else messages.SUCCESS)


@admin.register(InvoiceCredit)
class InvoiceCreditAdmin(FactsAdmin):
    """What credit notes have left to pay the next invoices of accounts with."""

    list_display = (
        plain_id, "account", "credit_note", money_column("amount"), money_column("left", ordering=None), "created_at",
    )  # fmt: skip
    list_select_related = ("account", "credit_note")
    list_filter = ("currency",)
    search_fields = ("=id", "=credit_note__number", "account__name", "account__external_id")
    ordering = ("-id",)
    fields = readonly_fields = (
        "account", "credit_note", money_column("amount"), money_column("amount_used"),
        money_column("left", ordering=None), "created_at",
    )  # fmt: skip


class DisputeQueue(admin.SimpleListFilter):
    """Disputes that have not ended."""

    title = lazy("work queue")
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", _("Going on"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Dispute]) -> QuerySet[Dispute]:
        return queryset.filter(closed_at=None) if self.value() == "open" else queryset


@admin.register(Dispute)
class DisputeAdmin(FactsAdmin):
    """Payers who have their bank take money back, and refunds made at the gateway itself. Evidence is sent at the
    gateway; how it ends is told from there."""

    list_display = (
        plain_id, "account", money_column("amount"), "kind", "state", "reason", "respond_by", "payment", "opened_at",
    )  # fmt: skip
    list_select_related = ("payment__invoice__account",)
    list_filter = (DisputeQueue, "kind", "state", "gateway")
    search_fields = (
        "=id", "=gateway_reference", "=payment__invoice__number", "=payment__gateway_reference",
        "payment__invoice__account__name", "payment__invoice__account__external_id",
    )  # fmt: skip
    ordering = ("-id",)
    fields = (
        "account", "payment", money_column("amount"), "kind", "state", "reason", "respond_by", "opened_at",
        "taken_back_at", "closed_at", "refund", "gateway", "gateway_reference",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description=lazy("account"), ordering="payment__invoice__account__name")
    def account(self, row: Dispute) -> str:
        return str(row.payment.invoice.account)


class EventQueue(admin.SimpleListFilter):
    """Events by whether they have been acted upon."""

    title = lazy("processing")
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", _("Not acted upon yet"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[GatewayEvent]) -> QuerySet[GatewayEvent]:
        return queryset.filter(processed_at=None) if self.value() == "open" else queryset


@admin.register(GatewayEvent)
class GatewayEventAdmin(QueueAdmin):
    """What gateways reported. What could not be acted upon is tried again by itself for a day, and by hand here."""

    list_display = (
        plain_id, "received_at", "gateway", "kind", "event_id", "processed_at", "attempts", "next_try_at", "error",
    )  # fmt: skip
    list_filter = (EventQueue, "gateway", "kind")
    search_fields = ("=event_id", "=kind")
    ordering = ("-id",)
    actions = ("try_again", "dismiss")
    fields = (
        "gateway", "event_id", "kind", "payload", "received_at", "processed_at", "attempts", "next_try_at",
        "last_error",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description=lazy("last error"))
    def error(self, row: GatewayEvent) -> str:
        return row.last_error[:80]

    @admin.action(description=lazy("Act upon them now"), permissions=["act"])
    def try_again(self, request: HttpRequest, rows: QuerySet[GatewayEvent]) -> None:
        ids = list(rows.filter(processed_at=None).values_list("pk", flat=True)[:MAX_ASKED])
        done = sum(webhooks.process(event_id=pk, now=timezone.now()) for pk in ids)
        text = _("%(asked)d tried, %(done)d acted upon.") % {"asked": len(ids), "done": done}
        self.message_user(request, text, messages.SUCCESS if done == len(ids) else messages.WARNING)

    @admin.action(description=lazy("Dismiss: nothing is to be done about them"), permissions=["act"])
    def dismiss(self, request: HttpRequest, rows: QuerySet[GatewayEvent]) -> None:
        """Take reports that can never be acted upon out of the queue; they keep their last error."""
        done = webhooks.dismiss(events=rows, now=timezone.now())
        text = ngettext("%(count)d is dismissed.", "%(count)d are dismissed.", done) % {"count": done}
        self.message_user(request, text, messages.SUCCESS if done else messages.WARNING)


@admin.register(PaymentMethod)
class PaymentMethodAdmin(FactsAdmin):
    """The ways to pay that accounts have; the customer adds and removes them."""

    list_display = (
        plain_id, "account", "brand", "last4", "expiry", "is_default", "gateway", "created_at", "removed_at",
    )  # fmt: skip
    list_select_related = ("account",)
    list_filter = ("gateway", "is_default", ("removed_at", admin.EmptyFieldListFilter))
    search_fields = ("=id", "account__name", "account__external_id", "=gateway_reference", "=last4")
    ordering = ("-id",)
    fields = (
        "account", "brand", "last4", "expiry", "is_default", "gateway", "gateway_reference", "created_at", "removed_at",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description=lazy("expires"), ordering="exp_year")
    def expiry(self, row: PaymentMethod) -> str:
        return f"{row.exp_month:02d}/{row.exp_year}"
