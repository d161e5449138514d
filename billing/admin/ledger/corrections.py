"""Staff pages that put things right: adjust a pool, reverse a posting or a usage event, refund a purchase.

Mixins for the tables whose rows they are about. Each asks for a reason, counts against the author's day (M8), and
happens once per rendered form.
"""

from decimal import Decimal
from typing import Any

from django import forms
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts import clocks
from billing.admin import acts, asking
from billing.admin.asking import SMALLEST, OnceForm
from billing.admin.powers import POWERS
from billing.admin.rules import Act, RoomAdmin
from billing.admin.trail import apart
from billing.invoicing.models import InvoiceLine
from billing.ledger.models import CreditPool, Posting
from billing.ledger.posting import NotEnoughLeft
from billing.metering.models import EventReversal, UsageEvent
from billing.purchases import refunds
from billing.wording.amounts import exact_credits_text, money_text


class AdjustForm(OnceForm):
    """How a pool's balance is to change."""

    change = forms.DecimalField(
        label=gettext_lazy("Credits"),
        max_digits=24,
        decimal_places=6,
        help_text=gettext_lazy(
            "100 adds a hundred, -100 takes them away: given ones first, then those that end soonest."
        ),
    )
    field_order = ("token", "change", "reason")

    def clean_change(self) -> Decimal:
        change: Decimal = self.cleaned_data["change"]
        if not change:
            raise forms.ValidationError(_("This changes nothing."))
        return change


class RefundForm(OnceForm):
    """How much of a purchase is to be taken back."""

    credits = forms.DecimalField(
        label=gettext_lazy("Credits to take back"),
        required=False,
        max_digits=24,
        decimal_places=6,
        min_value=SMALLEST,
        help_text=gettext_lazy("Empty: all that can be."),
    )
    field_order = ("token", "credits", "reason")


class AdjustPages(RoomAdmin):
    """For pools: put the balance right."""

    def get_urls(self) -> list[URLPattern]:
        adjust = path(
            "<int:pk>/adjust/", self.admin_site.admin_view(self.adjust_view), name="billing_creditpool_adjust"
        )
        return [adjust, *super().get_urls()]

    def adjust_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Add credits to a pool, or take some away."""
        self.require(request.user.has_perm(POWERS["adjust"].permission))
        pool = CreditPool.objects.select_related("account").filter(pk=pk).first()
        if pool is None:
            raise Http404
        form = AdjustForm(request.POST or None)
        confirming, change = False, Decimal(0)
        if request.method == "POST" and form.is_valid() and "_edit" not in request.POST:
            change, confirming = form.cleaned_data["change"], True
            if "_confirmed" in request.POST:
                done = asking.ask(
                    request, form, act="adjust", account_id=pool.account_id, payload=_adjustment(pool, change)
                )
                if done is not None:
                    said = _("The balance is adjusted.")
                    return asking.answer(request, done, said=said, to=self.page_url("change", pool))
                confirming = False
        facts = [
            (_("Account"), pool.account),
            (_("Pool"), pool),
            (_("Balance"), exact_credits_text(pool.balance)),
            (_("Held for work under way"), exact_credits_text(pool.held)),
        ]
        if confirming:
            facts.append((_("Balance afterwards"), exact_credits_text(pool.balance + change)))
            facts.append((_("Reason"), form.cleaned_data["reason"]))
        return self.render_act(
            request,
            pool,
            title=_("Adjust this balance?") if confirming else _("Adjust the balance of %(pool)s") % {"pool": pool},
            button=_("Adjust by %(change)s") % {"change": exact_credits_text(change)} if confirming else _("Go on"),
            form=form,
            facts=facts,
            warning=asking.warning(request, "adjust", _adjustment(pool, change), account_id=pool.account_id)
            if confirming
            else "",
            hidden=confirming,
        )


def _adjustment(pool: CreditPool, change: Decimal) -> dict[str, Any]:
    return {"pool_id": pool.pk, "change": str(change)}


class ReversePages(RoomAdmin):
    """For postings: give back what a spend took."""

    def get_urls(self) -> list[URLPattern]:
        reverse_ = path(
            "<int:pk>/reverse/", self.admin_site.admin_view(self.reverse_view), name="billing_posting_reverse"
        )
        return [reverse_, *super().get_urls()]

    def list_acts(self, request: HttpRequest, row: Posting) -> list[Act]:
        if row.act != Posting.Act.SPEND or not request.user.has_perm(POWERS["reverse"].permission):
            return super().list_acts(request, row)
        return [Act(_("Reverse"), self.page_url("reverse", row)), *super().list_acts(request, row)]

    def reverse_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask why, and give back what is left to give back of a spend."""
        self.require(request.user.has_perm(POWERS["reverse"].permission))
        row = Posting.objects.defer("fingerprint").select_related("pool__account").filter(pk=pk).first()
        if row is None:
            raise Http404
        form, payload = OnceForm(request.POST or None), {"posting_id": row.pk}
        if request.method == "POST" and form.is_valid():
            done = asking.ask(request, form, act="reverse", account_id=row.pool.account_id, payload=payload)
            if done is not None:
                said = _("The credits are back in the lots they came from.")
                return asking.answer(request, done, said=said, to=self.page_url("change", row))
        facts = [
            (_("Account"), row.pool.account),
            (_("Pool"), row.pool),
            (_("Spent"), exact_credits_text(row.credits)),
            (_("Posted"), f"{row.posted_at:%Y-%m-%d %H:%M}"),
            (_("Reference"), row.reference),
        ]
        return self.render_act(
            request,
            row,
            title=_("Reverse this spend?"),
            button=_("Give %(credits)s credits back") % {"credits": exact_credits_text(row.credits)},
            form=form,
            facts=facts,
            warning=asking.warning(request, "reverse", payload, account_id=row.pool.account_id),
        )


class UnusePages(RoomAdmin):
    """For usage: give back what one event cost."""

    def get_urls(self) -> list[URLPattern]:
        unuse = path(
            "events/<int:account>/<path:event>/reverse/",
            self.admin_site.admin_view(self.unuse_view),
            name="billing_usage_event_reverse",
        )
        return [unuse, *super().get_urls()]

    def unuse_view(self, request: HttpRequest, account: int, event: str) -> HttpResponse:
        """Ask why, and give back what a usage event cost; it stays as a fact."""
        self.require(request.user.has_perm(POWERS["unuse"].permission))
        row = (
            UsageEvent.objects.select_related("meter", "pool__account")
            .filter(account_id=account, event_id=event, source=request.GET.get("source", ""))
            .first()
        )
        if row is None:
            raise Http404
        form = OnceForm(request.POST or None)
        payload = {"account_id": account, "event_id": event, "source": row.source}
        back = f"{reverse('admin:billing_usage_events')}?account={account}"
        if request.method == "POST" and form.is_valid():
            done = asking.ask(request, form, act="unuse", account_id=account, payload=payload)
            if done is not None:
                given = EventReversal.objects.filter(pk=row.pk).first()
                credits = exact_credits_text(given.credits if given else row.credits)
                return asking.answer(
                    request, done, said=_("%(credits)s credits are back.") % {"credits": credits}, to=back
                )
        facts = [
            (_("Account"), row.pool.account),
            (_("Event"), row.event_id),
            *([(_("Source"), row.source)] if row.source else []),
            (_("Used"), f"{exact_credits_text(row.quantity)} {row.meter.unit} ({row.meter})"),
            (_("Cost"), exact_credits_text(row.credits)),
            (_("Happened"), f"{row.occurred_at:%Y-%m-%d %H:%M}"),
        ]
        return self.render_act(
            request, None, title=_("Reverse this event?"), button=_("Give its credits back"), form=form, facts=facts,
            warning=asking.warning(request, "unuse", payload, account_id=account), back=back,
        )  # fmt: skip


class RefundPages(RoomAdmin):
    """For invoices: take back a pack, at most what its lot still has free (L13)."""

    def get_urls(self) -> list[URLPattern]:
        refund = path(
            "<int:pk>/refund/<int:line>/", self.admin_site.admin_view(self.refund_view), name="billing_invoice_refund"
        )
        return [refund, *super().get_urls()]

    def list_refunds(self, request: HttpRequest, invoice: Any) -> list[Act]:
        """The lines that granted credits, to be refunded by those who may."""
        if invoice.state != "paid" or not request.user.has_perm(POWERS["refund"].permission):
            return []
        return [
            Act(
                _("Refund %(what)s") % {"what": line.description},
                reverse("admin:billing_invoice_refund", args=[invoice.pk, line.pk]),
            )
            for line in invoice.lines.all()
            if line.posting_id is not None
        ]

    @apart
    def refund_view(self, request: HttpRequest, pk: int, line: int) -> HttpResponse:
        """Ask how much and why, show what goes back, and take it back. The gateway is asked after the commit."""
        self.require(request.user.has_perm(POWERS["refund"].permission))
        row = InvoiceLine.objects.select_related("invoice__account", "pool").filter(pk=line, invoice_id=pk).first()
        if row is None:
            raise Http404
        form = RefundForm(request.POST or None)
        plan = self._plan(form, row)
        if plan is not None and "_confirmed" in request.POST and form.is_valid():
            with transaction.atomic():
                done = asking.ask(
                    request, form, act="refund", account_id=row.invoice.account_id, payload=_refund(row, form)
                )
            if done is not None:
                if not asking.waits(done):
                    acts.finish(done.approval, now=timezone.now())
                said = _("The refund is on its way.")
                return asking.answer(request, done, said=said, to=self.page_url("change", row.invoice))
        confirming = plan is not None and request.method == "POST" and "_edit" not in request.POST and form.is_valid()
        facts: list[tuple[str, object]] = [
            (_("Account"), row.invoice.account), (_("Invoice"), row.invoice), (_("Bought"), row.description),
        ]  # fmt: skip
        if plan is not None:
            facts += [
                (_("Can be taken back"), exact_credits_text(plan.refundable)),
                (_("Credits taken back"), exact_credits_text(plan.credits)),
                (_("Money given back"), money_text(plan.total, plan.currency)),
            ]
        # What is wrong with the number that was typed stands beside it.
        warning = "" if form.errors else _("Nothing of this can be refunded.")
        if plan is not None:
            payload = _refund(row, form) if confirming else {"line_id": row.pk, "credits": None}
            warning = asking.warning(request, "refund", payload, account_id=row.invoice.account_id)
        return self.render_act(
            request,
            row.invoice,
            title=_("Refund this?") if confirming else _("Refund %(what)s") % {"what": row.description},
            button=_("Give %(money)s back") % {"money": money_text(plan.total, plan.currency)}
            if confirming and plan
            else _("Go on"),
            form=form,
            facts=facts,
            warning=warning,
            hidden=confirming,
        )

    def _plan(self, form: RefundForm, row: InvoiceLine) -> refunds.RefundPreview | None:
        """What would go back; None, with the form saying why, when that is not possible."""
        credits = form.cleaned_data.get("credits") if form.is_bound and form.is_valid() else None
        try:
            now = clocks.time_of(row.invoice.account, timezone.now())
            return refunds.preview(line_id=row.pk, now=now, credits=credits)
        except NotEnoughLeft as error:
            form.add_error(
                "credits", _("At most what is left and not held can be taken back: %s") % exact_credits_text(error.free)
            )
        except (refunds.NotRefundable, refunds.NothingToRefund, refunds.NoPaymentToRefund) as refusal:
            if form.is_bound:
                form.add_error(None, str(acts.REFUSALS[type(refusal)]))
        return None


def _refund(row: InvoiceLine, form: RefundForm) -> dict[str, Any]:
    credits = form.cleaned_data["credits"]
    return {"line_id": row.pk, "credits": None if credits is None else str(credits)}
