"""Staff pages of contract terms: what was agreed with one account instead of a plan's terms.

Terms are agreed and ended, never changed: what a period was billed by stays as it was.
"""

import uuid
from typing import Any

from django import forms
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts import clocks
from billing.accounts.models import Account
from billing.accounts.text import PlainText
from billing.admin import asking
from billing.admin.acts import Done
from billing.admin.asking import OnceForm
from billing.admin.powers import POWERS, plans
from billing.admin.rules import Act, FactsAdmin, MomentWidget, PickOne, plain_id
from billing.admin.subscriptions.subscriptions import link
from billing.catalog.models import Plan
from billing.subscriptions.agreement import contracts
from billing.subscriptions.agreement.contracts import Agreed, TermsInvalid
from billing.subscriptions.models import ContractTerms, Subscription
from billing.wording import amounts

MAY_AGREE = POWERS["agree_terms"].permission
AS_THE_PLANS = gettext_lazy("Before tax, or with tax included where the plan's own prices include it.")
MONEY: dict[str, Any] = {"max_digits": 18, "decimal_places": 3, "required": False, "min_value": 0}


class OptionalJson(forms.JSONField):
    """JSON, or nothing at all, for which JSON's own word would be `null`."""

    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else super().prepare_value(value)


class AgreeForm(OnceForm):
    """What is agreed. What is left empty stays the plan's."""

    account = forms.ModelChoiceField(queryset=Account.objects.all(), label=gettext_lazy("Account"))
    plan = forms.ModelChoiceField(
        queryset=Plan.objects.order_by("position", "pk"), label=gettext_lazy("Plan"),
        help_text=gettext_lazy("Agreed for this plan only, whatever its version. Other plans cost the list price."),
    )  # fmt: skip
    currency = PlainText(
        label=gettext_lazy("Currency"), max_length=3, required=False,
        help_text=gettext_lazy("Empty: the account's own."),
    )  # fmt: skip
    starts_at = forms.SplitDateTimeField(
        label=gettext_lazy("For periods that begin from"), widget=MomentWidget("From"), initial=timezone.now
    )
    ends_at = forms.SplitDateTimeField(
        label=gettext_lazy("Until, without it"), widget=MomentWidget("Until"), required=False
    )
    fee = forms.DecimalField(label=gettext_lazy("Fee of a period"), help_text=AS_THE_PLANS, **MONEY)
    seat_price = forms.DecimalField(label=gettext_lazy("Price of an extra seat"), help_text=AS_THE_PLANS, **MONEY)
    minimum = forms.DecimalField(label=gettext_lazy("Minimum per period"), help_text=AS_THE_PLANS, **MONEY)
    included_credits = forms.DecimalField(
        label=gettext_lazy("Credits included"), max_digits=24, decimal_places=6, required=False, min_value=0
    )
    seats_included = forms.IntegerField(label=gettext_lazy("Seats included"), required=False, min_value=0)
    discount_percent = forms.DecimalField(
        label=gettext_lazy("Discount in percent"), max_digits=6, decimal_places=3, required=False, min_value=0,
        max_value=100,
    )  # fmt: skip
    overage_tiers = OptionalJson(
        label=gettext_lazy("Overage prices"), required=False,
        help_text='[{"up_to": "10000", "price": "2"}, {"up_to": null, "price": "1.5"}]',
    )  # fmt: skip
    reason = PlainText(
        label=gettext_lazy("Note"), max_length=200, widget=forms.TextInput(attrs={"class": "vTextField"})
    )
    field_order = (
        "token", "account", "plan", "currency", "starts_at", "ends_at", "fee", "seat_price", "minimum",
        "included_credits", "seats_included", "discount_percent", "overage_tiers", "reason",
    )  # fmt: skip

    def agreed(self) -> Agreed:
        """The terms of a valid form; the account's own currency where none is given."""
        typed = self.cleaned_data
        currency = typed["currency"].upper() or typed["account"].currency
        names = (
            "fee",
            "seat_price",
            "minimum",
            "included_credits",
            "seats_included",
            "overage_tiers",
            "discount_percent",
        )
        return Agreed(typed["plan"].pk, currency, **{name: typed[name] for name in names})


class EndForm(OnceForm):
    """From when on they apply no longer."""

    at = forms.SplitDateTimeField(
        label=gettext_lazy("For periods that begin from"), widget=MomentWidget("From"), initial=timezone.now
    )
    reason = PlainText(
        label=gettext_lazy("Reason"), max_length=200, widget=forms.TextInput(attrs={"class": "vTextField"})
    )
    field_order = ("token", "at", "reason")


@admin.register(ContractTerms)
class ContractTermsAdmin(FactsAdmin):
    """Terms agreed with single accounts."""

    list_display = (plain_id, "account", "plan", "currency", "what", "starts_at", "ends_at", "note")
    list_select_related = ("account", "plan")
    list_filter = ("plan", "currency", "starts_at")
    search_fields = ("=id", "account__name", "account__external_id", "note")
    ordering = ("-id",)
    fields = ("account_link", "plan", "currency", "what", "starts_at", "ends_at", "note", "created_at", "actor")
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("agree/", view(self.agree_view), name="billing_contractterms_agree"),
            path("<int:pk>/end/", view(self.end_view), name="billing_contractterms_end"),
            *super().get_urls(),
        ]

    def list_pages(self, request: HttpRequest) -> list[Act]:
        may = request.user.has_perm(MAY_AGREE)
        return [Act(_("Agree terms with an account"), self.page_url("agree"))] if may else []

    def list_acts(self, request: HttpRequest, row: ContractTerms) -> list[Act]:
        is_over = row.ends_at is not None and row.ends_at <= clocks.time_of(row.account, timezone.now())
        return (
            [] if is_over or not request.user.has_perm(MAY_AGREE) else [Act(_("End them"), self.page_url("end", row))]
        )

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in ("account", "account__id__exact") or super().lookup_allowed(lookup, value, request)

    def name_of(self, row: ContractTerms) -> str:
        return _("Terms of %(account)s") % {"account": row.account}

    def agree_view(self, request: HttpRequest) -> HttpResponse:
        """Ask what is agreed with whom, and ask a second person for it."""
        self.require(request.user.has_perm(MAY_AGREE))
        account = request.GET.get("account")
        initial = {"token": uuid.uuid4(), "account": account, "plan": _plan_of(account)}
        form = AgreeForm(request.POST or None, initial=initial)
        relation = ContractTerms._meta.get_field("account")
        form.fields["account"].widget = PickOne(relation, self.admin_site, choices=form.fields["account"].choices)  # type: ignore[attr-defined]
        if request.method == "POST" and form.is_valid() and (done := self._agree(request, form)) is not None:
            to = self.page_url("changelist")
            return asking.answer(request, done, said=_("The terms apply to the periods to come."), to=to)
        text = _("What is filled in replaces the plan's own terms, for periods that begin in that time.")
        return self.render_act(
            request, None, title=_("Agree terms with an account"), button=_("Agree"), form=form,
            warning=f"{text} {_('A second person must approve them.')}",
        )  # fmt: skip

    def _agree(self, request: HttpRequest, form: AgreeForm) -> Done | None:
        typed = form.cleaned_data
        now = clocks.time_of(typed["account"], timezone.now())
        try:
            contracts.check(form.agreed(), max(typed["starts_at"], now), typed["ends_at"])
        except TermsInvalid as fault:
            form.add_error(fault.field if fault.field in form.fields else None, str(fault))
            return None
        ends_at = typed["ends_at"]
        payload = plans.terms_payload(
            form.agreed(), account_id=typed["account"].pk,
            starts_at=typed["starts_at"].isoformat(), ends_at=ends_at.isoformat() if ends_at else None,
        )  # fmt: skip
        return asking.ask(request, form, act="agree_terms", account_id=typed["account"].pk, payload=payload)

    def end_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask from when on the terms apply no longer, and ask a second person for it."""
        self.require(request.user.has_perm(MAY_AGREE))
        row = ContractTerms.objects.select_related("account", "plan").filter(pk=pk).first()
        if row is None:
            raise Http404
        form = EndForm(request.POST or None, initial={"token": uuid.uuid4()})
        if request.method == "POST" and form.is_valid():
            payload = {"terms_id": pk, "at": form.cleaned_data["at"].isoformat()}
            done = asking.ask(request, form, act="end_terms", account_id=row.account_id, payload=payload)
            if done is not None:
                return asking.answer(request, done, said=_("They end then."), to=self.page_url("change", row))
        facts = [(_("Account"), row.account), (_("Plan"), row.plan), (_("Terms"), self.what(row))]
        text = _("The period that runs keeps them; the plan's own terms follow.")
        return self.render_act(
            request, row, title=_("End these terms?"), button=_("End them"), form=form, facts=facts,
            warning=f"{text} {_('A second person must approve it.')}",
        )  # fmt: skip

    @admin.display(description=gettext_lazy("account"))
    def account_link(self, row: ContractTerms) -> Any:
        return link("account", row.account)

    @admin.display(description=gettext_lazy("agreed"))
    def what(self, row: ContractTerms) -> str:
        money = (
            (_("fee %(value)s"), row.fee),
            (_("extra seat %(value)s"), row.seat_price),
            (_("at least %(value)s"), row.minimum),
        )
        parts = [text % {"value": amounts.money_text(sum_, row.currency)} for text, sum_ in money if sum_ is not None]
        if row.included_credits is not None:
            parts.append(_("%(value)s credits") % {"value": amounts.exact_credits_text(row.included_credits)})
        if row.seats_included is not None:
            parts.append(_("%(value)s seats included") % {"value": row.seats_included})
        if row.discount_percent is not None:
            parts.append(_("%(value)s off") % {"value": amounts.percent_text(row.discount_percent)})
        if row.overage_tiers is not None:
            parts.append(_("own overage prices"))
        return ", ".join(parts)


def _plan_of(account: str | None) -> int | None:
    """The plan that an account named in the address has, which is what terms are mostly agreed for."""
    if account is None or not account.isascii() or not account.isdigit() or len(account) > 18:
        return None
    live = Subscription.objects.filter(account=int(account)).exclude(state=Subscription.State.ENDED)
    return live.values_list("plan_version__plan", flat=True).first()
