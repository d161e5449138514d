"""The account's cards: add one, choose the default, remove one."""

import uuid

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from billing.payments import methods
from billing.payments.gateways import registry
from billing.purchases.models import TopUpRule
from portal.access import Visit, account_page, require_manager
from portal.frame import render_page
from portal.money.cards import keep_card, test_cards
from portal.money.forms import AddCardForm, CardPageForm
from portal.money.invoices import list_unpaid


@sensitive_post_parameters("number", "expiry", "cvc")
@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def payment_methods(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The cards, what is unpaid, and a form for another card; on POST keep it, once per rendered form."""
    require_manager(visit)
    now = visit.now
    form = AddCardForm(request.POST or None, today=timezone.localdate(now))
    if request.method == "POST" and form.is_valid():
        token, make_default = form.cleaned_data["token"], form.cleaned_data["make_default"]
        if keep_card(form, visit.account, token=token, make_default=make_default, now=now) is not None:
            messages.success(request, _("The card is saved."))
            return redirect(visit.url("payment_methods"))
    kept = methods.list_methods(visit.account.pk)
    context = {
        "form": form,
        "methods": kept,
        "card": next((card for card in kept if card.is_default), kept[0] if kept else None),
        "unpaid": [(invoice, uuid.uuid4()) for invoice in list_unpaid(visit.account, now=now)],
        "test_cards": test_cards(visit.account),
        "cards": registry.how_cards_come(visit.account),
        "page_form": CardPageForm(initial={"next": request.GET.get("next", "")}),
    }
    return render_page(request, visit, "payment_methods", context, status=422 if form.errors else 200)


@account_page
@require_POST
def make_default(request: HttpRequest, visit: Visit, method: int) -> HttpResponse:
    """Charge this card unless told otherwise."""
    require_manager(visit)
    try:
        card = methods.set_default(account_id=visit.account.pk, method_id=method, now=visit.now)
    except methods.MethodNotUsable:
        raise Http404("No such card.") from None
    messages.success(request, _("%(card)s is the default card now.") % {"card": card})
    return redirect(visit.url("payment_methods"))


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def remove(request: HttpRequest, visit: Visit, method: int) -> HttpResponse:
    """Ask whether to remove a card, saying what hangs on it; on POST remove it."""
    require_manager(visit)
    if request.method == "POST":
        try:
            card = methods.remove(account_id=visit.account.pk, method_id=method, now=visit.now)
        except methods.MethodNotUsable:
            raise Http404("No such card.") from None
        messages.success(request, _("%(card)s is removed.") % {"card": card})
        return redirect(visit.url("payment_methods"))
    kept = methods.list_methods(visit.account.pk)
    found = [each for each in kept if each.pk == method]
    if not found:
        raise Http404("No such card.")
    card = found[0]
    rules = TopUpRule.objects.filter(pool__account=visit.account, is_active=True).select_related("pool")
    context = {
        "card": card,
        "is_last": len(kept) == 1,
        "rules": [rule for rule in rules if rule.method_id == card.pk or (rule.method_id is None and card.is_default)],
    }
    return render_page(request, visit, "payment_method_remove", context)
