"""Staff pages of the sandbox gateway's memory: what "the other side" knows, while it is configured. A charge can be
disputed there, and its dispute decided, as a payer and a bank would."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from billing.accounts import clocks
from billing.admin import trail
from billing.admin.rules import Act, FactsAdmin, money_column, plain_id
from billing.payments.gateways import registry, sandbox
from billing.payments.models import GatewayName, Payment
from billing.payments.sandbox_models import SandboxCard, SandboxCharge, SandboxEvent, SandboxRefund
from billing.wording import amounts

# Who may play the other side.
PLAYS = "billing.change_payment"


class SandboxAdmin(FactsAdmin):
    """Not listed unless the sandbox is in use."""

    ordering = ("-id",)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return registry.is_reachable(GatewayName.SANDBOX) and super().has_module_permission(request)


@admin.register(SandboxCard)
class SandboxCardAdmin(SandboxAdmin):
    """Cards by what they do."""

    list_display = ("reference", "behaviour", "created_at")
    list_filter = ("behaviour",)
    search_fields = ("=reference",)
    fields = readonly_fields = list_display


@admin.register(SandboxCharge)
class SandboxChargeAdmin(SandboxAdmin):
    """Charges, with what will be reported of them and when."""

    list_display = (
        plain_id, "created_at", "idempotency_key", "card_behaviour", money_column("amount"), "state", "settles_at",
        "answers_at",
    )  # fmt: skip
    list_select_related = ("card",)
    list_filter = ("state", "dispute_state")
    search_fields = ("=reference", "=idempotency_key")
    fields = readonly_fields = (
        "idempotency_key", "reference", "card", money_column("amount"), "description", "state", "failure_code",
        money_column("refunded"), "dispute_state", money_column("dispute_amount"), "dispute_reference", "created_at",
        "settles_at", "answers_at", "action_until", "return_url",
    )  # fmt: skip

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        pages = (("dispute", self.dispute_view), ("lose", self.lose_view), ("win", self.win_view))
        ours = [path(f"<int:pk>/{name}/", view(page), name=f"billing_sandboxcharge_{name}") for name, page in pages]
        return [*ours, *super().get_urls()]

    def list_acts(self, request: HttpRequest, row: SandboxCharge) -> list[Act]:
        if not request.user.has_perm(PLAYS) or not registry.is_reachable(GatewayName.SANDBOX):
            return []
        names: tuple[tuple[str, Any], ...] = ()
        if row.state == "succeeded" and not row.dispute_state and row.refunded < row.amount:
            names = (("dispute", _("Dispute it as the payer")),)
        elif row.dispute_state == "open":
            names = (("win", _("Decide the dispute for us")), ("lose", _("Decide the dispute for the payer")))
        return [Act(label, self.page_url(name, row)) for name, label in names]

    @trail.apart
    def dispute_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Let the payer dispute the charge."""
        return self._play(
            request, pk, "dispute", _("Dispute this charge as the payer?"), _("Dispute it"),
            _("As with a real dispute, what the money paid for is taken back until it is decided."), sandbox.dispute,
        )  # fmt: skip

    @trail.apart
    def lose_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Let the bank decide for the payer."""
        return self._play(
            request, pk, "lose", _("Decide this dispute for the payer?"), _("The payer wins"),
            _("A credit note and a refund say so; what was taken back is gone."),
            partial(sandbox.decide_dispute, won=False),
        )  # fmt: skip

    @trail.apart
    def win_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Let the bank decide for the seller."""
        return self._play(
            request, pk, "win", _("Decide this dispute for us?"), _("We win"),
            _("The money and what it paid for come back."), partial(sandbox.decide_dispute, won=True),
        )  # fmt: skip

    def _play(
        self, request: HttpRequest, pk: int, act: str, title: str, button: str, warning: str,
        do: Callable[..., SandboxCharge],
    ) -> HttpResponse:  # fmt: skip
        """Ask, then let the other side act; its webhook comes within seconds, as a real one would."""
        self.require(request.user.has_perm(PLAYS) and registry.is_reachable(GatewayName.SANDBOX))
        row = SandboxCharge.objects.filter(pk=pk).first()
        if row is None:
            raise Http404
        if request.method == "POST":
            self.watch(request, row)
            try:
                done = do(row.reference, now=_now(row))
            except sandbox.NotDisputable:
                said = _("The charge does not allow this any more.")
                trail.refuse(request, f"{act}: {said}", row=row)
                self.message_user(request, said, messages.ERROR)
            else:
                self.note(request, act, done)
                self.message_user(request, _("Done. The webhook comes within seconds."), messages.SUCCESS)
            return HttpResponseRedirect(self.page_url("change", row))
        facts: list[tuple[str, object]] = [
            (_("Charge"), row.reference),
            (_("For"), row.description),
            (_("Amount"), amounts.money_text(row.amount, row.currency)),
        ]
        return self.render_act(request, row, title=title, button=button, facts=facts, warning=warning)

    @admin.display(description="card")
    def card_behaviour(self, row: SandboxCharge) -> str:
        return row.card.get_behaviour_display()


def _now(row: SandboxCharge) -> datetime:
    """What time it is for the account that pays."""
    payment = Payment.objects.filter(idempotency_key=row.idempotency_key).select_related("invoice__account").first()
    return timezone.now() if payment is None else clocks.time_of(payment.invoice.account, timezone.now())


@admin.register(SandboxRefund)
class SandboxRefundAdmin(SandboxAdmin):
    """Refunds."""

    list_display = (
        plain_id, "created_at", "idempotency_key", "charge", "money", "state", "failure_message",
    )  # fmt: skip
    list_select_related = ("charge",)
    list_filter = ("state",)
    search_fields = ("=reference", "=idempotency_key", "=charge__reference")
    fields = readonly_fields = (
        "idempotency_key", "reference", "charge", "money", "state", "failure_message", "created_at", "answers_at",
    )  # fmt: skip

    @admin.display(description="amount", ordering="amount")
    def money(self, row: SandboxRefund) -> str:
        return amounts.money_text(row.amount, row.charge.currency)


@admin.register(SandboxEvent)
class SandboxEventAdmin(SandboxAdmin):
    """Webhooks, sent and to be sent."""

    list_display = (plain_id, "created_at", "kind", "charge", "due_at", "sends_left", "attempts", "last_error")
    list_select_related = ("charge",)
    list_filter = ("kind",)
    search_fields = ("=event_id", "=charge__reference")
    fields = readonly_fields = (
        "event_id", "kind", "charge", "payload", "created_at", "due_at", "sends_left", "attempts", "last_error",
    )  # fmt: skip
