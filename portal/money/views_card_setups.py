"""Adding a card on the gateway's own page: there and back again."""

import uuid
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.functional import Promise
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from billing.payments import methods, setups
from billing.payments.gateways import contract
from portal.access import Visit, account_page, require_manager
from portal.frame import render_page
from portal.money.forms import CardPageForm

_PROBLEMS: dict[type[Exception], Promise] = {
    contract.NoGateway: gettext_lazy("Cards cannot be taken at the moment."),
    contract.NoCardPage: gettext_lazy("Cards cannot be taken at the moment."),
    contract.GatewayUnavailable: gettext_lazy("The payment provider gives no answer just now. Please try again."),
    methods.TooManyMethods: gettext_lazy("There are too many cards already. Remove one that you do not use any more."),
}


@account_page
@require_POST
def begin_card_setup(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Open the gateway's page for a card, once per rendered form, and lead to the way there."""
    require_manager(visit)
    form = CardPageForm(request.POST)
    if not form.is_valid():
        raise Http404("No such form.")
    token, target = form.cleaned_data["token"], _inside(form.cleaned_data["next"])
    here = visit.url("card_setup", token=token) + (f"?{urlencode({'next': target})}" if target else "")
    address = request.build_absolute_uri(here)
    try:
        setups.begin(
            account_id=visit.account.pk,
            key=f"form:{token}",
            return_url=address,
            cancel_url=address,
            make_default=form.cleaned_data["make_default"],
            now=visit.now,
        )
    except tuple(_PROBLEMS) as error:
        messages.error(request, str(_PROBLEMS[type(error)]))
        return redirect(visit.url("payment_methods"))
    return redirect(here)


@account_page
@require_safe
def card_setup(request: HttpRequest, visit: Visit, token: uuid.UUID) -> HttpResponse:
    """Lead to the gateway's page, and take the card over when the customer comes back."""
    require_manager(visit)
    problem = ""
    try:
        setup = setups.find(account_id=visit.account.pk, key=f"form:{token}")
    except setups.SetupNotFound:
        raise Http404("No such setup.") from None
    try:
        setup = setups.finish(setup_id=setup.pk, now=visit.now)
    except (contract.NoGateway, contract.GatewayUnavailable) as error:
        problem = str(_PROBLEMS.get(type(error), _PROBLEMS[contract.GatewayUnavailable]))
    if setup.state == setup.State.DONE:
        messages.success(request, _("The card is saved."))
        return redirect(_inside(request.GET.get("next", "")) or visit.url("payment_methods"))
    context = {"setup": setup, "problem": problem, "here": request.get_full_path()}
    return render_page(request, visit, "card_setup", context)


def _inside(address: str) -> str:
    """The address if it is one of our own pages; else none."""
    is_ours = url_has_allowed_host_and_scheme(address, None) and address.startswith("/")
    return address if is_ours else ""
