"""What staff do to subscriptions: change plan and seats, pause, resume, cancel, take that back, redeem, release.

Each asks why, once per rendered form, and is in the audit log. What moves money or credits counts against the author's
day (M8). The pages run apart from a transaction of theirs, because a tax engine may have to be asked first.
"""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts import clocks
from billing.admin import asking, trail
from billing.admin.acts import Done
from billing.admin.powers import plans
from billing.admin.rules import Act, FactsAdmin, staff_user
from billing.admin.subscriptions.subscription_forms import ActForm, CancelForm, ChangeForm, CouponForm
from billing.catalog.models import PlanVersion
from billing.invoicing import engines, issuing, tax
from billing.subscriptions import guards
from billing.subscriptions.agreement.terms import NoPrice
from billing.subscriptions.lifecycle import changes, pause_cancel, scheduled_change, subscribing
from billing.subscriptions.models import ScheduledChange, Subscription
from billing.subscriptions.renewal import renewals
from billing.wording.amounts import exact_credits_text, money_text

State = Subscription.State
PERMISSION = "billing.change_subscription"
RUNNING = (State.TRIALING, State.ACTIVE, State.PAST_DUE)
REFUSALS: dict[type[Exception], Any] = {
    guards.NotAllowed: gettext_lazy("The subscription's state does not allow this."),
    guards.RenewalDue: gettext_lazy("It is about to be renewed, or is parked: try again after that."),
    guards.ReferenceConflict: gettext_lazy("This form was sent before, with other values. Open a new one."),
    pause_cancel.NothingScheduled: gettext_lazy("No change waits for the end of the period."),
    changes.NothingToChange: gettext_lazy("It has that plan and those seats already."),
    changes.CurrencyFixed: gettext_lazy("The plan has no price in the subscription's currency."),
    subscribing.PlanNotOffered: gettext_lazy("There is no such published plan."),
    subscribing.SeatsNotOffered: gettext_lazy("The plan is not sold for that many seats."),
    issuing.NoIssuer: gettext_lazy("There is no default issuer."),
    tax.TaxUnavailable: gettext_lazy("The tax cannot be worked out at the moment."),
    NoPrice: gettext_lazy("The plan has no price in the subscription's currency."),
}


class SubscriptionPages(FactsAdmin):
    """For subscriptions: the pages of acts."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        pages = (
            ("change-plan", self.change_plan_view), ("pause", self.pause_view), ("resume", self.resume_view),
            ("cancel", self.cancel_view), ("reactivate", self.reactivate_view), ("withdraw", self.withdraw_view),
            ("coupon", self.coupon_view), ("release", self.release_view),
        )  # fmt: skip
        ours = [path(f"<int:pk>/{name}/", view(page), name=f"billing_subscription_{name}") for name, page in pages]
        return [*ours, *super().get_urls()]

    def list_acts(self, request: HttpRequest, row: Subscription) -> list[Act]:
        if not request.user.has_perm(PERMISSION) or row.state == State.ENDED:
            return super().list_acts(request, row)
        waits = row.scheduled_changes.filter(applied_at=None, withdrawn_at=None).exists()
        offered = (
            (row.parked_at is not None, "release", _("Release")),
            (row.state in RUNNING, "change-plan", _("Change plan or seats")),
            (row.state in (*RUNNING, State.PAUSED) and waits, "withdraw", _("Withdraw the scheduled change")),
            (row.state in (*RUNNING, State.PAUSED), "coupon", _("Redeem a coupon")),
            (row.state == State.ACTIVE, "pause", _("Pause")),
            (row.state == State.PAUSED, "resume", _("Resume")),
            (row.state == State.CANCELLED, "reactivate", _("Take the cancellation back")),
            (True, "cancel", _("Cancel")),
        )
        return [Act(label, self.page_url(name, row)) for may, name, label in offered if may]

    @trail.apart
    def change_plan_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for plan and seats, show what it costs, and change them."""
        row = self._get(request, pk)
        form = ChangeForm(request.POST or None, initial={"plan": row.plan_version_id, "seats": row.seats})
        published = PlanVersion.objects.filter(published_at__isnull=False, prices__currency=row.currency)
        plan = form.fields["plan"]
        assert isinstance(plan, forms.ModelChoiceField)  # noqa: S101  for the type checker
        plan.queryset = published.select_related("plan").order_by("plan__position", "plan_id", "-number")
        plan.label_from_instance = lambda version: f"{version.plan.name} v{version.number}"  # type: ignore[assignment,method-assign]
        preview = self._preview(form, row)
        facts: list[tuple[str, object]] = [
            (_("Account"), row.account),
            (_("Now"), f"{row.plan_version.plan}, {row.seats}"),
        ]
        warning = ""
        confirming = preview is not None and request.method == "POST" and "_edit" not in request.POST
        if preview is not None:
            facts += _facts_of(preview)
            payload = {
                "subscription_id": row.pk, "plan_version_id": preview.plan_version.pk, "seats": preview.seats,
                "when": str(preview.when),
            }  # fmt: skip
            if "_confirmed" in request.POST:
                return self._ask(request, form, row, "plan_change", payload, said=_("The subscription is changed."))
            warning = asking.warning(request, "plan_change", payload, account_id=row.account_id)
        return self.render_act(
            request, row, title=_("Change plan or seats of %(account)s") % {"account": row.account},
            button=_("Change it") if confirming else _("Go on"), form=form, facts=facts, hidden=confirming,
            warning=warning,
        )  # fmt: skip

    @trail.apart
    def cancel_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask when, and whether to give back what is left; then cancel."""
        row = self._get(request, pk)
        form = CancelForm(request.POST or None)
        facts: list[tuple[str, object]] = [
            (_("Account"), row.account), (_("Plan"), row.plan_version.plan),
            (_("The period ends"), f"{row.period_ends_at:%Y-%m-%d %H:%M}"),
        ]  # fmt: skip
        back = plans.unused(row, now=_now(row))
        if back:
            facts.append((_("Unused days, before tax"), money_text(back, row.currency)))
        facts += _withdrawn(scheduled_change.find(row))
        if request.method == "POST" and form.is_valid():
            typed = form.cleaned_data
            if typed["gives_back"] and back:
                said = _("It has ended, and what is unused is given back.")
                return self._ask(request, form, row, "plan_cancel", {"subscription_id": row.pk}, said=said)
            return self._finish(
                request, row, form, "cancel", _("The subscription is cancelled."),
                lambda named: pause_cancel.cancel(when=typed["when"], reason=typed["reason"], **named),
            )  # fmt: skip
        return self.render_act(
            request, row, title=_("Cancel the subscription of %(account)s?") % {"account": row.account},
            button=_("Cancel the subscription"), form=form, facts=facts,
            warning=_("Ended now it cannot be taken back. What is in arrears is invoiced."),
        )  # fmt: skip

    @trail.apart
    def coupon_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for a code, and redeem it."""
        row, form, said = (
            self._get(request, pk),
            CouponForm(request.POST or None),
            _("It counts from the next invoice on."),
        )
        if request.method == "POST" and form.is_valid():
            payload = {"subscription_id": row.pk, "code": form.cleaned_data["code"]}
            return self._ask(request, form, row, "coupon", payload, said=said)
        facts = [(_("Account"), row.account), (_("Plan"), row.plan_version.plan)]
        return self.render_act(
            request, row, title=_("Redeem a coupon"), button=_("Redeem"), form=form, facts=facts, warning=said
        )

    @trail.apart
    def pause_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask why, and pause it."""
        said = _("It does not renew until it is resumed.")
        return self._simple(request, pk, "pause", _("Pause"), _("Pause"), None, said, lambda n: pause_cancel.pause(**n))

    @trail.apart
    def resume_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask why, and let it go on."""
        said = _("It goes on; after its period has ended, with a new one from today.")
        return self._simple(
            request, pk, "resume", _("Resume"), _("Resume"), None, said, lambda n: pause_cancel.resume(**n)
        )

    @trail.apart
    def reactivate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask why, and take the cancellation back."""
        title = _("Take the cancellation back")
        said = _("It renews again.")
        return self._simple(request, pk, "reactivate", title, title, None, said, lambda n: pause_cancel.reactivate(**n))

    @trail.apart
    def withdraw_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask why, and withdraw what waits for the end of the period."""
        title, said = _("Withdraw the scheduled change"), _("It stays as it is.")
        return self._simple(
            request, pk, "withdraw", title, _("Withdraw"), None, said, lambda n: pause_cancel.withdraw_scheduled(**n)
        )

    @trail.apart
    def release_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask why, and let a parked subscription renew again."""
        said = _("It renews again, from the moment it failed at.")
        return self._simple(
            request, pk, "release", _("Release"), _("Release"), None, said,
            lambda named: renewals.release(subscription_id=pk, actor=named["actor"], now=named["now"]),
        )  # fmt: skip

    def _simple(
        self, request: HttpRequest, pk: int, name: str, title: str, button: str, form: ActForm | None, said: str,
        act: Callable[[dict[str, Any]], object],
    ) -> HttpResponse:  # fmt: skip
        row = self._get(request, pk)
        form = form or ActForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            return self._finish(request, row, form, name, said, act)
        facts: list[tuple[str, object]] = [
            (_("Account"), row.account), (_("Plan"), row.plan_version.plan), (_("State"), row.get_state_display()),
        ]  # fmt: skip
        if row.problem:
            facts.append((_("What went wrong"), row.problem))
        if name == "pause":
            facts += _withdrawn(scheduled_change.find(row))
        return self.render_act(request, row, title=title, button=button, form=form, facts=facts, warning=said)

    def _finish(
        self, request: HttpRequest, row: Subscription, form: ActForm, name: str, said: str,
        act: Callable[[dict[str, Any]], object],
    ) -> HttpResponse:  # fmt: skip
        """Do it together with its row of the audit log, and go back to the subscription, with what was refused."""
        now = _now(row)
        actor = f"user:{staff_user(request).pk}"
        named = {"subscription_id": row.pk, "reference": form.reference, "actor": actor, "now": now}

        def both() -> None:
            with transaction.atomic():
                act(named)
                self.note(request, name, row, reason=form.cleaned_data["reason"])

        try:
            engines.with_tax(both, now=now)
        except tuple(REFUSALS) as refusal:
            trail.refuse(request, f"{name}: {REFUSALS[type(refusal)]}", row=row)
            self.message_user(request, str(REFUSALS[type(refusal)]), messages.ERROR)
        else:
            self.message_user(request, said, messages.SUCCESS)
        return HttpResponseRedirect(self.page_url("change", row))

    def _ask(
        self, request: HttpRequest, form: ActForm, row: Subscription, act: str, payload: dict[str, Any], *, said: str
    ) -> HttpResponse:
        """Ask for what moves money or credits: done within the author's limit, else it waits for a second person."""

        def ask() -> Done | None:
            with transaction.atomic():
                return asking.ask(request, form, act=act, account_id=row.account_id, payload=payload)

        to = self.page_url("change", row)
        try:
            done = engines.with_tax(ask, now=_now(row))
        except tax.TaxUnavailable:
            done = None
            form.add_error(None, _("The tax cannot be worked out at the moment."))
        if done is not None:
            return asking.answer(request, done, said=said, to=to)
        for error in form.non_field_errors():
            self.message_user(request, str(error), messages.ERROR)
        return HttpResponseRedirect(to)

    def _preview(self, form: ChangeForm, row: Subscription) -> changes.ChangePreview | None:
        """What the change would do; None, with the form saying why, when it cannot be."""
        if not form.is_bound or not form.is_valid():
            return None
        typed, now = form.cleaned_data, _now(row)
        try:
            return engines.with_tax(
                lambda: changes.preview(
                    subscription_id=row.pk, plan_version_id=typed["plan"].pk, seats=typed["seats"],
                    when=typed["when"] or None, by_staff=True, now=now,
                ),
                now=now,
            )  # fmt: skip
        except tuple(REFUSALS) as refusal:
            form.add_error(None, str(REFUSALS[type(refusal)]))
        return None

    def _get(self, request: HttpRequest, pk: int) -> Subscription:
        self.require(request.user.has_perm(PERMISSION))
        row = Subscription.objects.select_related("account", "plan_version__plan").filter(pk=pk).first()
        if row is None:
            raise Http404
        self.watch(request, row)
        return row


def _now(row: Subscription) -> Any:
    return clocks.time_of(row.account, timezone.now())


def _facts_of(preview: changes.ChangePreview) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [
        (_("Then"), f"{preview.plan_version.plan}, {preview.seats}"),
        (_("Takes effect"), f"{preview.effective_at:%Y-%m-%d %H:%M}"),
        (_("Invoiced today, tax included"), money_text(preview.total, preview.currency)),
    ]
    if preview.credit:
        facts.append((_("Given back on later invoices"), money_text(abs(preview.credit), preview.currency)))
    if preview.credited:
        facts.append(
            (_("Credited on earlier invoices, at the tax charged"), money_text(preview.credited, preview.currency))
        )
    if preview.renewal is not None:
        facts.append((_("Each period from then on"), money_text(preview.renewal.total, preview.currency)))
    if preview.after_coupons is not None:
        facts.append((_("Once coupons have ended"), money_text(preview.after_coupons.total, preview.currency)))
    if preview.credits_delta:
        facts.append((_("Credits"), exact_credits_text(preview.credits_delta)))
    return [*facts, *_withdrawn(preview.withdraws)]


def _withdrawn(waiting: ScheduledChange | None) -> list[tuple[str, object]]:
    """That the act withdraws what waits for the end of the period."""
    if waiting is None:
        return []
    said = _("the change to %(plan)s, %(seats)d seats, planned for %(at)s") % {
        "plan": waiting.plan_version.plan,
        "seats": waiting.seats,
        "at": f"{waiting.subscription.period_ends_at:%Y-%m-%d %H:%M}",
    }
    return [(_("Withdrawn by this"), said)]
