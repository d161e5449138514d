"""The staff page that starts a subscription: plan, seats, coupon, how it is paid; shown first, then confirmed.

It counts against the author's day with its first invoice, happens once per rendered form, and charges the card after
the commit.
"""

from decimal import Decimal
from typing import Any

from django import forms
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts import clocks
from billing.accounts.models import Account, Approval
from billing.accounts.text import PlainText
from billing.admin import acts, asking
from billing.admin.acts import Done
from billing.admin.asking import OnceForm
from billing.admin.powers import POWERS
from billing.admin.rules import Act, PickOne, RoomAdmin
from billing.admin.trail import apart, settle
from billing.catalog import periods
from billing.catalog.models import PlanPrice, PlanVersion
from billing.invoicing import engines
from billing.payments.models import PaymentMethod
from billing.subscriptions.agreement import plans_on_offer
from billing.subscriptions.lifecycle import subscribing
from billing.subscriptions.lifecycle.subscribing import SubscribePreview
from billing.subscriptions.models import Subscription
from billing.wording.amounts import exact_credits_text, money_text

MANUAL = Subscription.Collection.MANUAL
MOST_TERMS_DAYS = 365


class WhoseForm(forms.Form):
    """Whose subscription it will be."""

    account = forms.ModelChoiceField(queryset=Account.objects.all(), label=gettext_lazy("Account"))


class StartForm(OnceForm):
    """What the account subscribes to, and how it pays."""

    plan = forms.ModelChoiceField(queryset=PlanVersion.objects.none(), label=gettext_lazy("Plan"), empty_label=None)
    seats = forms.IntegerField(
        label=gettext_lazy("Seats"),
        min_value=0,
        max_value=1_000_000,
        initial=0,
        help_text=gettext_lazy("At least those that the plan includes."),
    )
    currency = forms.ChoiceField(label=gettext_lazy("Currency"))
    coupon = PlainText(label=gettext_lazy("Coupon"), max_length=40, required=False)
    collection = forms.ChoiceField(label=gettext_lazy("Payment"), choices=Subscription.Collection.choices)
    method = forms.ModelChoiceField(
        queryset=PaymentMethod.objects.none(),
        label=gettext_lazy("Card"),
        required=False,
        empty_label=gettext_lazy("the account's default at the time"),
    )
    payment_terms_days = forms.IntegerField(
        label=gettext_lazy("Days to pay"),
        required=False,
        min_value=0,
        max_value=MOST_TERMS_DAYS,
        help_text=gettext_lazy("By bank transfer only. Empty: the issuer's terms."),
    )
    reason = PlainText(
        label=gettext_lazy("Reason"), max_length=200, widget=forms.TextInput(attrs={"class": "vTextField"})
    )
    field_order = (
        "token", "plan", "seats", "currency", "coupon", "collection", "method", "payment_terms_days", "reason",
    )  # fmt: skip

    def __init__(self, account: Account, data: Any = None) -> None:
        super().__init__(data)
        versions = plans_on_offer.versions_to(account)
        cards = PaymentMethod.objects.filter(account=account, removed_at=None).order_by("-is_default", "-pk")
        plan, method, currency = self.fields["plan"], self.fields["method"], self.fields["currency"]
        assert isinstance(plan, forms.ModelChoiceField)  # noqa: S101  for the type checker
        assert isinstance(method, forms.ModelChoiceField)  # noqa: S101
        assert isinstance(currency, forms.ChoiceField)  # noqa: S101
        plan.queryset = versions.select_related("plan")
        plan.label_from_instance = lambda version: f"{version.plan.name} v{version.number}"  # type: ignore[assignment,method-assign]
        method.queryset = cards
        sold = PlanPrice.objects.filter(version__in=versions).order_by("currency").values_list("currency", flat=True)
        currency.choices = [(each, each) for each in sold.distinct()]
        currency.initial = account.currency

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        by_transfer = cleaned.get("collection") == MANUAL
        if by_transfer and cleaned.get("method"):
            self.add_error("method", _("A transfer needs no card."))
        if not by_transfer and cleaned.get("payment_terms_days") is not None:
            self.add_error("payment_terms_days", _("A card is charged immediately: leave this empty."))
        return cleaned

    @property
    def asked(self) -> dict[str, Any]:
        """What `subscribing.subscribe` takes of a valid form."""
        typed = self.cleaned_data
        return {
            "plan_version_id": typed["plan"].pk,
            "seats": typed["seats"],
            "currency": typed["currency"],
            "coupon_code": typed["coupon"],
            "collection": typed["collection"],
            "method_id": typed["method"].pk if typed["method"] else None,
            "payment_terms_days": typed["payment_terms_days"],
        }


class StartPages(RoomAdmin):
    """For subscriptions: start one."""

    def get_urls(self) -> list[URLPattern]:
        start = path("start/", self.admin_site.admin_view(self.start_view), name="billing_subscription_start")
        return [start, *super().get_urls()]

    def list_pages(self, request: HttpRequest) -> list[Act]:
        may = request.user.has_perm(POWERS["subscribe"].permission)
        own = [Act(_("Start a subscription"), self.page_url("start"))] if may else []
        return [*own, *super().list_pages(request)]

    @apart
    def start_view(self, request: HttpRequest) -> HttpResponse:
        """Ask whose it is, what it is and how it is paid, show what it costs, and start it."""
        self.require(request.user.has_perm(POWERS["subscribe"].permission))
        if not request.GET.get("account"):
            return self._ask_whose(request)
        account = _find(request.GET["account"])
        form = StartForm(account, request.POST or None)
        preview = None
        if request.method == "POST" and form.is_valid():
            # A form that is sent again finds the account subscribed already, by itself.
            is_known = Approval.objects.filter(reference=form.reference).exists()
            preview = None if is_known else _preview(form, account)
            if (is_known or preview is not None) and "_confirmed" in request.POST:
                done = self._ask_start(request, form, account)
                if done is not None:
                    return done
        confirming = preview is not None and "_edit" not in request.POST and form.is_valid()
        return self.render_act(
            request,
            None,
            title=_("Start this subscription?") if confirming else _("Start a subscription"),
            button=_("Start it") if confirming else _("Preview"),
            form=form,
            facts=[(_("Account"), account), *(_facts_of(preview, form, account) if confirming and preview else [])],
            warning=asking.warning(request, "subscribe", _payload(account, form), account_id=account.pk)
            if confirming
            else "",
            hidden=confirming,
        )

    def _ask_whose(self, request: HttpRequest) -> HttpResponse:
        form = WhoseForm(request.POST or None)
        relation = Subscription._meta.get_field("account")
        field = form.fields["account"]
        field.widget = PickOne(relation, self.admin_site, choices=field.choices)  # type: ignore[attr-defined]
        if request.method == "POST" and form.is_valid():
            settle(request)
            return HttpResponseRedirect(f"{self.page_url('start')}?account={form.cleaned_data['account'].pk}")
        return self.render_act(request, None, title=_("Start a subscription"), button=_("Continue"), form=form)

    def _ask_start(self, request: HttpRequest, form: StartForm, account: Account) -> HttpResponse | None:
        def ask() -> Done | None:
            with transaction.atomic():
                return asking.ask(
                    request, form, act="subscribe", account_id=account.pk, payload=_payload(account, form)
                )

        done = engines.with_tax(ask, now=timezone.now())
        if done is None:
            return None
        to = self.page_url("changelist")
        said = _("The subscription has started.")
        if not asking.waits(done):
            acts.finish(done.approval, now=timezone.now())
            row = Subscription.objects.get(reference=done.approval.reference)
            to = self.page_url("change", row)
            if row.state == Subscription.State.INCOMPLETE:
                said = _("It starts once its first invoice is paid: the card was not charged.")
        return asking.answer(request, done, said=said, to=to)


def _payload(account: Account, form: StartForm) -> dict[str, Any]:
    return {"account_id": account.pk, **form.asked}


def _find(text: str) -> Account:
    account = Account.objects.filter(pk=int(text)).first() if text.isdecimal() and len(text) < 19 else None
    if account is None:
        raise Http404
    return account


def _preview(form: StartForm, account: Account) -> SubscribePreview | None:
    """What it would cost; None, with the form saying why, when it cannot be started."""
    asked = {name: form.asked[name] for name in ("plan_version_id", "seats", "currency", "coupon_code")}
    live = Subscription.objects.filter(account=account).exclude(state__in=("ended", "incomplete"))
    if live.exists():
        form.add_error(None, str(acts.REFUSALS[subscribing.AlreadySubscribed]))
        return None
    now = clocks.time_of(account, timezone.now())
    try:
        return engines.with_tax(lambda: subscribing.preview(account_id=account.pk, **asked, now=now), now=now)
    except tuple(acts.REFUSALS) as refusal:
        form.add_error(None, str(acts.REFUSALS[type(refusal)]))
        return None


def _facts_of(preview: SubscribePreview, form: StartForm, account: Account) -> list[tuple[str, object]]:
    terms, currency = preview.terms, preview.terms.currency
    typed = form.cleaned_data
    facts: list[tuple[str, object]] = [
        (_("Plan"), f"{terms.plan_name} v{terms.version.number}"),
        (_("Seats"), preview.seats),
        (_("Fee of a period"), money_text(terms.fee, currency)),
    ]
    if terms.extra_seats(preview.seats):
        facts.append((_("Each seat beyond those included"), money_text(terms.seat_price, currency)))
    if terms.is_agreed:
        facts.append((_("Contract terms"), _("These prices are agreed with this account.")))
    facts.append((_("Credits granted first"), exact_credits_text(preview.credits)))
    if preview.trial_ends_at is not None:
        facts.append((_("Free trial until"), periods.day_of(preview.trial_ends_at, account.time_zone)))
    first, last = (periods.day_of(at, account.time_zone) for at in (preview.starts_at, preview.ends_at))
    facts.append((_("First period"), _("from %(first)s, renews on %(last)s") % {"first": first, "last": last}))
    for line in preview.price.lines if preview.price else ():
        facts.append((line.draft.description, money_text(line.amount, currency)))
    total = money_text(preview.price.total if preview.price else Decimal(0), currency)
    label = _("Invoiced after the trial, tax included") if preview.trial_ends_at else _("Invoiced now, tax included")
    facts.append((label, total))
    if typed["collection"] == MANUAL:
        days = typed["payment_terms_days"]
        due = _("by the issuer's terms") if days is None else _("%(days)d days after each invoice") % {"days": days}
        facts.append((_("Paid by bank transfer"), due))
        if preview.trial_ends_at is None:
            facts.append((_("Note"), _("It is active, with its credits, before the money comes.")))
    else:
        facts.append((_("Charged to"), typed["method"] or _("the account's default card")))
    return facts
