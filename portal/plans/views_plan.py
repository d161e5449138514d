"""One's own plan: how it stands, what comes next, its history; and what is done to it in one step."""

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from billing.invoicing import engines, issuing, pending, tax
from billing.payments.models import Collection, Payment
from billing.subscriptions import guards
from billing.subscriptions.agreement.terms import of
from billing.subscriptions.charges import coupons
from billing.subscriptions.lifecycle import pause_cancel
from billing.subscriptions.models import Subscription, SubscriptionChange
from billing.subscriptions.renewal import next_invoice as upcoming
from portal.access import Visit, account_page, require_manager
from portal.frame import render_page
from portal.money.cards import test_cards
from portal.money.dunning import list_steps
from portal.money.payment_progress import Progress, answer_poll, read_progress
from portal.money.views_invoices import new_pay_form
from portal.plans import status
from portal.plans.forms import COUPON_REFUSALS, CancelForm, CouponForm, TokenForm
from portal.plans.quotes import taxes_of, withdrawn_text
from portal.plans.subscribe import NO_ISSUER, NO_TAX, reference_of
from portal.plans.wording import has_seats, list_features

State = Subscription.State
RUNNING = (State.TRIALING, State.ACTIVE, State.PAST_DUE)
CANCELLABLE = (*RUNNING, State.PAUSED, State.INCOMPLETE)
HISTORY = 25


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def plan(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The account's plan, how its cycle stands and what is invoiced next; on POST what takes one step: resume, keep it
    after all, withdraw what is planned, redeem a coupon."""
    now = visit.now
    subscription = status.find(visit.account)
    if request.method == "POST":
        require_manager(visit)
        return _act(request, visit, subscription, now=now)
    if subscription is None or not subscription.is_live:
        return render_page(request, visit, "plan", {"subscription": subscription})
    collections = status.list_collections(subscription)
    first = next((each for each in collections if subscription.state == State.INCOMPLETE), None)
    progress = _progress(first, now=now) if first else None
    if progress is not None and (answer := answer_poll(request, progress)) is not None:
        return answer
    context = _page_of(visit, subscription, collections, now=now)
    if first is not None and progress is not None:
        context |= {
            "invoice": first.invoice,
            "progress": progress,
            "form": new_pay_form(visit, now=now) if progress.is_payable and visit.is_manager else None,
            "test_cards": test_cards(visit.account),
            "from_bank": request.GET.get("from") == "bank",
        }
    return render_page(request, visit, "plan", context)


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def pause(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Ask whether to pause, saying what that means; on POST pause."""
    require_manager(visit)
    now = visit.now
    subscription = _running(visit)
    form = TokenForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        token = form.cleaned_data["token"]
        if _do(request, lambda: pause_cancel.pause(**_named(visit, subscription, token), now=now), now=now):
            messages.success(request, _("Your plan is paused."))
        return redirect(visit.url("plan"))
    context = {
        "subscription": subscription,
        "form": form,
        "may_pause": subscription.state == State.ACTIVE,
        "withdrawn": _withdrawn(subscription),
    }
    return render_page(request, visit, "plan_pause", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def cancel(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Ask whether to cancel and when, saying what that means; on POST cancel."""
    require_manager(visit)
    now = visit.now
    subscription = _running(visit)
    form = CancelForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        typed = form.cleaned_data
        named = _named(visit, subscription, typed["token"])
        when, reason = typed["when"], typed["reason"]
        if _do(request, lambda: pause_cancel.cancel(when=when, reason=reason, **named, now=now), now=now):
            name = {"plan": subscription.plan_version.plan.name}
            text = _("%(plan)s has ended.") if when == "now" else _("%(plan)s is cancelled and runs out.")
            messages.success(request, text % name)
        return redirect(visit.url("plan"))
    context = {
        "subscription": subscription,
        "form": form,
        "now": now,
        "may_cancel": subscription.state in CANCELLABLE,
        "may_pause": subscription.state == State.ACTIVE,
        "withdrawn": _withdrawn(subscription),
    }
    return render_page(request, visit, "plan_cancel", context, status=422 if form.errors else 200)


@require_safe
@account_page
def next_invoice(request: HttpRequest, visit: Visit) -> HttpResponse:
    """What the next invoice says as things stand; as a part of the plan's page, or a page of its own."""
    subscription = status.find(visit.account)
    if subscription is None or not subscription.is_live:
        return redirect(visit.url("plan"))
    context: dict[str, Any] = {"visit": visit, "subscription": subscription, "next_invoice": None, "problem": ""}
    now = visit.now
    if visit.looking:
        # It is found out by trying it and undoing that, which those who only look cannot.
        context["problem"] = _("It is not shown to those who look through this account's eyes.")
    else:
        try:
            context["next_invoice"] = engines.with_tax(
                lambda: upcoming.find_next_invoice(subscription_id=subscription.pk, now=now), now=now
            )
        except (issuing.NoIssuer, tax.TaxUnavailable):
            context["problem"] = _("It cannot be worked out at the moment.")
    found = context["next_invoice"]
    context["taxes"] = taxes_of(found.quote) if found else []
    context["paid"] = -found.from_balance if found else 0
    open_items = pending.list_open(account_id=visit.account.pk, currency=subscription.currency)
    context["credits"] = open_items.filter(amount__lt=0)
    if getattr(request, "htmx", False):
        return render(request, "portal/_next_invoice.html", context)
    return render_page(request, visit, "plan_next", context)


@require_safe
@account_page
def history(request: HttpRequest, visit: Visit) -> HttpResponse:
    """What was done to the account's subscriptions, and what each period was billed as; the newest first."""
    before = request.GET.get("before", "")
    rows = SubscriptionChange.objects.filter(subscription__account=visit.account)
    rows = rows.select_related("from_version__plan", "to_version__plan", "invoice", "subscription").order_by("-pk")
    if before.isascii() and before.isdigit() and len(before) < 19:
        rows = rows.filter(pk__lt=int(before))
    found = list(rows[: HISTORY + 1])
    older = f"{visit.url('plan_history')}?before={found[HISTORY - 1].pk}" if len(found) > HISTORY else ""
    context = {
        "changes": found[:HISTORY],
        "older_url": older,
        "newer_url": visit.url("plan_history") if before else "",
    }
    return render_page(request, visit, "plan_history", context)


def _running(visit: Visit) -> Subscription:
    """The account's live subscription; 404 without one."""
    subscription = status.find(visit.account)
    if subscription is None or not subscription.is_live:
        raise Http404("No plan.")
    return subscription


def _withdrawn(subscription: Subscription) -> str:
    """What is said of the change that waits, before it is withdrawn; empty where none does."""
    waiting = status.waiting_change(subscription)
    return withdrawn_text(waiting) if waiting is not None else ""


def _named(visit: Visit, subscription: Subscription, token: uuid.UUID) -> dict[str, Any]:
    """What every act takes."""
    actor = f"user:{visit.member.user_id}"
    return {"subscription_id": subscription.pk, "reference": reference_of(token), "actor": actor}


def _do(request: HttpRequest, act: Callable[[], object], *, now: datetime) -> bool:
    """Do an act; where that is not possible now, say so and return False."""
    try:
        engines.with_tax(act, now=now)
    except (guards.NotAllowed, guards.ReferenceConflict, pause_cancel.NothingScheduled):
        messages.warning(request, _("That is not possible any more. Please look at how your plan stands now."))
    except guards.RenewalDue:
        messages.warning(request, _("Your plan is being renewed just now. Please try again in a few minutes."))
    except issuing.NoIssuer:
        messages.error(request, str(NO_ISSUER))
    except tax.TaxUnavailable:
        messages.error(request, str(NO_TAX))
    else:
        return True
    return False


def _act(request: HttpRequest, visit: Visit, subscription: Subscription | None, *, now: datetime) -> HttpResponse:
    """What is done from the plan's page in one step."""
    form = TokenForm(request.POST)
    if subscription is None or not subscription.is_live or not form.is_valid():
        messages.warning(request, _("That is not possible any more. Please look at how your plan stands now."))
        return redirect(visit.url("plan"))
    named = _named(visit, subscription, form.cleaned_data["token"])
    name = {"plan": subscription.plan_version.plan.name}
    match request.POST.get("act"):
        case "coupon":
            return _redeem(request, visit, subscription, named, now=now)
        case "resume":
            if _do(request, lambda: pause_cancel.resume(**named, now=now), now=now):
                messages.success(request, _("%(plan)s goes on.") % name)
        case "reactivate":
            if _do(request, lambda: pause_cancel.reactivate(**named, now=now), now=now):
                messages.success(request, _("You keep %(plan)s: it renews again.") % name)
        case "withdraw":
            if _do(request, lambda: pause_cancel.withdraw_scheduled(**named, now=now), now=now):
                messages.success(request, _("The planned change is withdrawn."))
    return redirect(visit.url("plan"))


def _redeem(
    request: HttpRequest, visit: Visit, subscription: Subscription, named: dict[str, Any], *, now: datetime
) -> HttpResponse:
    form = CouponForm(request.POST)
    if form.is_valid():
        code = form.cleaned_data["code"]
        try:
            with coupons.guess(account_id=visit.account.pk, code=code, now=now):
                is_done = _do(request, lambda: pause_cancel.redeem(code=code, **named, now=now), now=now)
            if is_done:
                messages.success(request, _("The coupon is redeemed: it counts from your next invoice on."))
            return redirect(visit.url("plan"))
        except coupons.CouponRefused as refusal:
            form.add_error("code", str(COUPON_REFUSALS[refusal.reason]))
    context = _page_of(visit, subscription, status.list_collections(subscription), now=now)
    return render_page(request, visit, "plan", {**context, "coupon_form": form}, status=422)


def _progress(collection: Collection, *, now: datetime) -> Progress:
    """How the first payment stands."""
    last = Payment.objects.filter(invoice=collection.invoice).order_by("-pk").first()
    return read_progress(collection.invoice, last, now=now)


def _page_of(
    visit: Visit, subscription: Subscription, collections: list[Collection], *, now: datetime
) -> dict[str, Any]:
    terms = of(subscription, at=subscription.period_starts_at)
    late = (Collection.State.OVERDUE, Collection.State.EXHAUSTED)
    return {
        "now": now,
        "subscription": subscription,
        "terms": terms,
        "features": list_features(terms),
        "cycle": status.cycle_of(subscription, visit.zone, now=now),
        "card": status.paying_card(subscription),
        "coupons": status.coupon_texts(subscription),
        "waiting": status.waiting_change(subscription),
        "overdue": [
            {"collection": each, "steps": list_steps(each, now=now)}
            for each in collections
            if each.state in late and subscription.state != State.INCOMPLETE
        ],
        "seats_counted": has_seats(terms),
        "may_change": subscription.state in RUNNING,
        "may_pause": subscription.state == State.ACTIVE,
        "may_cancel": subscription.state in CANCELLABLE,
        "coupon_form": CouponForm(),
        "token": uuid.uuid4(),
    }
