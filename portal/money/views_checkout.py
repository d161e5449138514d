"""Buying credits: the packs on sale, the checkout, and what became of a purchase."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing.catalog import pricing
from billing.catalog.models import MAX_CREDITS
from billing.invoicing import engines, issuing, tax
from billing.ledger.models import CreditPool
from billing.payments import methods, paying
from billing.payments.gateways import registry
from billing.payments.models import PaymentMethod
from billing.purchases import checkout as purchasing
from billing.purchases import offers
from billing.purchases.models import Purchase
from portal.access import Visit, account_page, require_manager
from portal.burn import read_burn, read_list_prices, what_it_buys
from portal.frame import list_pools, render_page
from portal.money.cards import choose_method, test_cards
from portal.money.forms import CheckoutForm, amounts_in_words, plain
from portal.money.payment_progress import answer_poll, read_progress
from portal.money.views_invoices import new_pay_form

BUYS = 4
BURN_DAYS = 30
_USED = _lazy("That form had bought these credits already. Nothing more was charged.")


@require_safe
@account_page
def buy(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The packs on sale to the account: what a credit costs by volume, how long it is good for, what it buys."""
    require_manager(visit)
    now = visit.now
    today = timezone.localdate(now)
    burns = read_burn(visit.account, first=today - timedelta(days=BURN_DAYS - 1), last=today)
    rates = burns or read_list_prices(now)
    shelf = [
        {
            "offer": offer,
            "tiers": [(tier, _cost(offer, tier.from_credits)) for tier in offer.tiers],
            "buys": what_it_buys(offer.min_credits, rates)[:BUYS],
        }
        for offer in offers.list_offers(account=visit.account)
    ]
    return render_page(request, visit, "buy", {"shelf": shelf, "by_list": not burns, "days": BURN_DAYS})


@sensitive_post_parameters("number", "expiry", "cvc")
@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def checkout(request: HttpRequest, visit: Visit, pack: str) -> HttpResponse:
    """Choose an amount and a card, see the whole price, then pay.

    Once per form: its token, which stands in the address too, is for one purchase, and whoever sends it again or goes
    back to it comes to that purchase. What is paid is what the page showed: when the price has changed since, it is
    shown anew and nothing is bought.
    """
    require_manager(visit)
    now = visit.now
    desk = _open_desk(visit, pack, now=now)
    if request.method == "POST":
        return _sent(request, visit, desk)
    credits = _decimal(request.GET.get("credits")) or desk.offer.min_credits
    if getattr(request, "htmx", False):
        return render(request, "portal/_quote.html", {"visit": visit, **desk.page(*desk.quote(credits))})
    token = _uuid(request.GET.get("form"))
    if token is None:
        # In the address, so that going back to the form finds the same one again.
        query = urlencode({"credits": plain(credits), "form": uuid.uuid4()})
        return redirect(f"{visit.url('checkout', pack=desk.offer.key)}?{query}")
    if Purchase.objects.filter(account=visit.account, token=token).exists():
        messages.warning(request, _USED)
        return redirect(visit.url("purchase", token=token))
    quoted, problem = desk.quote(credits)
    form = desk.form(initial={"credits": plain(credits), "token": token})
    return render_page(request, visit, "checkout", {"form": form, **desk.page(quoted, problem)})


@require_safe
@account_page
def purchase(request: HttpRequest, visit: Visit, token: uuid.UUID) -> HttpResponse:
    """What became of a purchase; waits for a payment under way. It may be loaded as often as one likes."""
    require_manager(visit)
    now = visit.now
    standing = purchasing.find_standing(account_id=visit.account.pk, token=token)
    if standing is None:
        raise Http404("No such purchase.")
    progress = read_progress(standing.invoice, standing.payment, now=now)
    if (answer := answer_poll(request, progress)) is not None:
        return answer
    line = standing.invoice.lines.select_related("posting").get()
    context = {
        "now": now,
        "purchase": standing.purchase,
        "invoice": standing.invoice,
        "line": line,
        "expires_at": _expiry(line.fulfilled_at, line.validity_days),
        "progress": progress,
        "form": new_pay_form(visit, now=now) if progress.is_payable else None,
        "test_cards": test_cards(visit.account),
        "from_bank": request.GET.get("from") == "bank",
    }
    return render_page(request, visit, "purchase", context)


@account_page
@require_POST
def cancel(request: HttpRequest, visit: Visit, token: uuid.UUID) -> HttpResponse:
    """Give up a purchase that was not paid."""
    require_manager(visit)
    try:
        purchasing.cancel(account_id=visit.account.pk, token=token, now=visit.now)
    except purchasing.PurchaseNotFound:
        raise Http404("No such purchase.") from None
    except purchasing.NotCancellable:
        messages.warning(request, _("This purchase cannot be cancelled now: it is paid, or its payment is under way."))
    return redirect(visit.url("purchase", token=token))


@dataclass(frozen=True, slots=True)
class Desk:
    """What a checkout is made of: an offer, the account's pools and cards."""

    visit: Visit
    offer: offers.Offer
    pools: list[CreditPool]
    methods: list[PaymentMethod]
    now: datetime

    def form(self, *args: Any, **kwargs: Any) -> CheckoutForm:
        """The checkout's form, bound if it is given data."""
        today = timezone.localdate(self.now)
        cards = registry.how_cards_come(self.visit.account)
        return CheckoutForm(*args, pools=self.pools, methods=self.methods, cards=cards, today=today, **kwargs)

    def quote(self, credits: Decimal) -> tuple[offers.PurchaseQuote | None, str]:
        """What so many credits cost, or why they cannot be had."""
        on = issuing.supply_date(self.visit.account, self.now)
        try:
            return engines.with_tax(
                lambda: offers.quote_offer(self.offer, account=self.visit.account, credits=credits, on=on), now=self.now
            ), ""
        except offers.AmountNotOffered:
            return None, amounts_in_words(self.offer.min_credits, self.offer.max_credits, self.offer.step_credits)
        except tax.TaxUnavailable:
            return None, _(
                "The tax on this cannot be worked out at the moment. Please check your billing details, or try again "
                "in a few minutes."
            )
        except issuing.NoIssuer:
            return None, _(
                "Nothing can be sold at the moment: the seller's details are missing. Please tell our staff."
            )

    def page(self, quoted: offers.PurchaseQuote | None, problem: str) -> dict[str, Any]:
        """What the page shows beside the form."""
        return {
            "offer": self.offer,
            "pools": self.pools,
            "quote": quoted,
            "seen": _seen(quoted) if quoted else "",
            "problem": problem,
            "expires_at": _expiry(self.now, self.offer.validity_days),
            "test_cards": test_cards(self.visit.account),
        }


def _open_desk(visit: Visit, key: str, *, now: datetime) -> Desk:
    offer = next((each for each in offers.list_offers(account=visit.account) if each.key == key), None)
    if offer is None:
        raise Http404("No such pack.")
    return Desk(visit, offer, list_pools(visit), methods.list_methods(visit.account.pk), now)


def _sent(request: HttpRequest, visit: Visit, desk: Desk) -> HttpResponse:
    form = desk.form(request.POST)
    form.is_valid()
    if (bought := _find_bought(visit, form)) is not None:
        if _is_another(bought, form, desk.offer):
            messages.warning(request, _USED)
        return redirect(visit.url("purchase", token=bought.token))
    credits = form.cleaned_data.get("credits")
    quoted, problem = desk.quote(credits) if credits is not None else (None, "")
    if request.POST.get("act") == "quote":
        # Only the price was asked for, so what is still missing for paying is no error yet.
        known = ("token", "credits", "pool", "method")
        form = desk.form(initial={name: request.POST[name] for name in known if request.POST.get(name)})
        return render_page(request, visit, "checkout", {"form": form, **desk.page(quoted, problem)})
    if problem:
        form.add_error("credits", problem)
    if quoted is not None and form.is_valid():
        if form.cleaned_data["seen"] != _seen(quoted):
            form.add_error(None, _("The price has changed since you saw it. Please look at the new one, then pay."))
        elif (target := _buy(request, visit, desk, form)) is not None:
            return redirect(target)
        else:
            # A card may have been kept in the name of this token: whatever is typed next needs a new one.
            form.renew_token()
    return render_page(request, visit, "checkout", {"form": form, **desk.page(quoted, problem)}, status=422)


def _buy(request: HttpRequest, visit: Visit, desk: Desk, form: CheckoutForm) -> str | None:
    """Buy what a valid form says; where to see what became of it, or None when the form says why it could not be."""
    typed, account = form.cleaned_data, visit.account
    method_id = choose_method(form, account, now=desk.now)
    if method_id is None:
        return None
    target = visit.url("purchase", token=typed["token"])
    try:
        purchasing.buy(
            token=typed["token"],
            account_id=account.pk,
            pack_id=desk.offer.pack_id,
            pool_id=typed["pool"],
            credits=typed["credits"],
            method_id=method_id,
            buyer_id=visit.member.user_id,
            return_url=request.build_absolute_uri(f"{target}?from=bank"),
            now=desk.now,
        )
    except purchasing.TokenConflict:
        if _find_bought(visit, form) is None:
            form.add_error(None, _("This form was used already. Please look at it once more, then pay."))
            return None
    except paying.MethodNotUsable:
        form.add_error("method", _("This card was removed. Choose another one."))
        return None
    except tax.TaxUnavailable:
        form.add_error(None, _("The tax on this cannot be worked out at the moment. Nothing was charged."))
        return None
    except (offers.PackNotForSale, offers.AmountNotOffered, offers.PoolNotFound):
        form.add_error(None, _("This is not sold any more. Nothing was charged."))
        return None
    return target


def _find_bought(visit: Visit, form: CheckoutForm) -> Purchase | None:
    """What the form's token stands for already."""
    token = form.cleaned_data.get("token")
    return Purchase.objects.filter(account=visit.account, token=token).first() if token else None


def _is_another(bought: Purchase, form: CheckoutForm, offer: offers.Offer) -> bool:
    asked = (offer.pack_id, form.cleaned_data.get("credits"), form.cleaned_data.get("pool"))
    return asked != (bought.pack_id, bought.credits, bought.pool_id)


def _cost(offer: offers.Offer, credits: Decimal) -> Decimal:
    """What so many credits cost, as the offer has it: net, or with the tax in it."""
    prices = [(tier.from_credits, tier.unit_price) for tier in offer.tiers]
    return pricing.pack_price(prices, credits, offer.currency)[1]


def _seen(quoted: offers.PurchaseQuote) -> str:
    """The whole price, as the form carries it."""
    return f"{quoted.total:f} {quoted.currency}"


def _expiry(since: datetime | None, days: int | None) -> datetime | None:
    return None if since is None or days is None else since + timedelta(days=days)


def _uuid(text: str | None) -> uuid.UUID | None:
    """A token out of an address; what is none is as good as absent."""
    try:
        return uuid.UUID(text or "")
    except ValueError:
        return None


def _decimal(text: str | None) -> Decimal | None:
    """An amount out of an address; what is none is as good as absent."""
    try:
        amount = Decimal(text or "")
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 < amount < MAX_CREDITS else None
