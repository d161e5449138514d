"""Plans on offer, side by side, and choosing one: what it would do, then doing it."""

import uuid
from datetime import datetime
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import prefetch_related_objects
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from billing.payments import methods
from billing.subscriptions.agreement import plans_on_offer
from billing.subscriptions.agreement.terms import Terms, of, resolve_many
from billing.subscriptions.models import Subscription
from portal.access import Visit, account_page, require_manager
from portal.frame import render_page
from portal.plans import status
from portal.plans.change import ChangeDesk
from portal.plans.forms import MOST_SEATS
from portal.plans.offers import arrange
from portal.plans.subscribe import Asked, Desk, reference_of
from portal.plans.wording import compare, has_seats

State = Subscription.State
_USED = _lazy("That form was used already. Nothing more was charged.")


@require_safe
@account_page
def plans(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The plans on offer to the account with what each includes, those of one length of period at a time."""
    subscription = status.find(visit.account)
    current = None
    if subscription is not None and subscription.is_live:
        current = of(subscription, at=subscription.period_starts_at)
    shelves = arrange(_list_offered(visit, current), current)
    wanted = request.GET.get("every", "")
    mine = next((each for each in shelves if any(card.step == "here" for card in each.cards)), None)
    shelf = next((each for each in shelves if each.every == wanted), mine or (shelves[0] if shelves else None))
    context = {
        "shelves": shelves,
        "shelf": shelf,
        "current": current,
        "rows": compare([card.terms for card in shelf.cards], with_trial=current is None) if shelf else [],
        "tax": {card.terms.version.prices_include_tax for card in shelf.cards} if shelf else set(),
    }
    return render_page(request, visit, "plans", context)


@sensitive_post_parameters("number", "expiry", "cvc")
@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def choose(request: HttpRequest, visit: Visit, plan: str) -> HttpResponse:
    """Choose a plan: see what it would do, with these seats and this coupon, then confirm.

    Once per form: its token, which stands in the address too, is for one act, and whoever sends it again or goes back
    to it comes to what it did. What is done is what the page showed: when that has changed it is shown anew.
    """
    require_manager(visit)
    token = _token_of(request)
    return _at(request, _open_desk(visit, plan, token, now=visit.now), token)


@sensitive_post_parameters("number", "expiry", "cvc")
@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def seats(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Change how many seats the plan has: see what it costs or gives back, then confirm; once per form, too."""
    require_manager(visit)
    token = _token_of(request)
    return _at(request, _open_seats(visit, token, now=visit.now), token)


def _at(request: HttpRequest, desk: Desk, token: uuid.UUID | None) -> HttpResponse:
    """What is asked of a desk."""
    is_sent = request.method == "POST"
    if token is None and not is_sent:
        # In the address, so that going back to the form finds the same one again.
        return redirect(f"{desk.here}?{urlencode({'form': uuid.uuid4()})}")
    if desk.is_used:
        messages.warning(request, _USED)
        return redirect(desk.visit.url("plan"))
    if is_sent:
        return _sent(request, desk)
    asked = desk.begins_with
    sheet, problem = desk.price(asked)
    form = desk.form(sheet=sheet, initial={"token": token, "seats": asked.seats})
    return render_page(request, desk.visit, "plan_choice", desk.page(form, sheet, problem))


def _list_offered(visit: Visit, current: Terms | None) -> list[Terms]:
    """Each plan on offer at the price that the account would pay, as agreed with it or by the price list."""
    currency = current.currency if current else visit.account.currency
    versions = plans_on_offer.versions_for(visit.account, currency=currency)
    version_ids = list(versions.order_by("plan__position", "plan_id").values_list("pk", flat=True))
    # The price of a form reads them once more, then from the account.
    prefetch_related_objects([visit.account], "contract_terms")
    contracts = visit.account.contract_terms.all()
    return resolve_many(version_ids, currency=currency, at=visit.now, contracts=contracts)


def _open_desk(visit: Visit, key: str, token: uuid.UUID | None, *, now: datetime) -> Desk:
    """Where the plan of a key is chosen by a form of this token; 404 when it is not on offer."""
    subscription = _find(visit, token)
    has_plan = subscription is not None and subscription.state not in (State.ENDED, State.INCOMPLETE)
    current = of(subscription, at=subscription.period_starts_at) if subscription is not None and has_plan else None
    offered = _list_offered(visit, current)
    terms = next((each for each in offered if each.version.plan.key == key), None)
    if terms is None:
        raise Http404("No such plan.")
    cards = methods.list_methods(visit.account.pk)
    here = visit.url("plan_choice", plan=key)
    if current is None:
        unpaid = subscription if subscription is not None and subscription.state == State.INCOMPLETE else None
        return Desk(visit, terms, here, now, cards, status.has_done(subscription), unpaid)
    is_used = status.has_done(subscription)
    return ChangeDesk(visit, terms, here, now, cards, is_used, subscription=subscription, current=current)


def _find(visit: Visit, token: uuid.UUID | None) -> Subscription | None:
    """The account's subscription, with whether a form of this token has been used."""
    return status.find(visit.account, reference=reference_of(token) if token else "")


def _open_seats(visit: Visit, token: uuid.UUID | None, *, now: datetime) -> ChangeDesk:
    """Where the seats of the plan one has are changed; 404 without a plan that counts them."""
    subscription = _find(visit, token)
    if subscription is None or subscription.state in (State.ENDED, State.INCOMPLETE):
        raise Http404("No plan.")
    terms = of(subscription, at=subscription.period_starts_at)
    if not has_seats(terms):
        raise Http404("The plan has no seats.")
    cards = methods.list_methods(visit.account.pk)
    here = visit.url("plan_seats")
    is_used = status.has_done(subscription)
    return ChangeDesk(visit, terms, here, now, cards, is_used, subscription=subscription, current=terms, is_seats=True)


def _sent(request: HttpRequest, desk: Desk) -> HttpResponse:
    sent = request.POST
    when = sent.get("when", "")
    asked = Asked(
        seats=_count(sent.get("seats")),
        coupon=sent.get("coupon", "").strip().upper()[:40],
        when=when if when in ("now", "period_end") else "",
    )
    sheet, problem = desk.price(asked)
    if request.POST.get("act") == "quote":
        # Only the price was asked for, so what is still missing for confirming is no error yet.
        known = ("token", "seats", "coupon", "when", "method")
        form = desk.form(sheet=sheet, initial={name: request.POST[name] for name in known if request.POST.get(name)})
        return render_page(request, desk.visit, "plan_choice", desk.page(form, sheet, problem))
    form = desk.form(request.POST, sheet=sheet)
    if form.is_valid() and sheet is not None:
        if form.cleaned_data["seen"] != sheet.seen:
            form.add_error(None, _("What you saw has changed since. Please look at it once more, then confirm."))
        elif target := desk.confirm(request, form, asked, sheet):
            return redirect(target)
        else:
            # A card may have been kept in the name of this token: whatever is typed next needs a new one.
            form.renew_token()
    return render_page(request, desk.visit, "plan_choice", desk.page(form, sheet, problem), status=422)


def _token_of(request: HttpRequest) -> uuid.UUID | None:
    """The token of the form that was sent, or that the address asks for."""
    return _uuid(request.POST.get("token") if request.method == "POST" else request.GET.get("form"))


def _count(text: str | None) -> int:
    """A number of seats; what is none is as good as absent."""
    return min(int(text), MOST_SEATS) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0


def _uuid(text: str | None) -> uuid.UUID | None:
    """A token out of an address; what is none is as good as absent."""
    try:
        return uuid.UUID(text or "")
    except ValueError:
        return None
