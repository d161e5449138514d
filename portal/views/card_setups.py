"""Adding a card on the gateway's own page: there and back again."""

import uuid
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from billing.payments import gateway, methods, setups
from portal.access import Visit, account_page, require_manager
from portal.forms_buying import CardPageForm
from portal.views.frame import render_page

_PROBLEMS: dict[type[Exception], Promise] = {
    gateway.NoGateway: gettext_lazy("Cards cannot be taken at the moment."),
    gateway.GatewayUnavailable: gettext_lazy("The payment provider gives no answer just now. Please try again."),
    methods.TooManyMethods: gettext_lazy("There are too many cards already. Remove one that you do not use any more."),
}


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def card_setup(request: HttpRequest, visit: Visit, token: uuid.UUID) -> HttpResponse:
    """POST: open the gateway's page for a card, once per token. GET: lead there, and take the card over when the
    customer comes back."""
    require_manager(visit)
    now = timezone.now()
    problem = ""
    target = _inside(request, request.POST.get("next") or request.GET.get("next") or "")
    here = visit.url("card_setup", token=token) + (f"?{urlencode({'next': target})}" if target else "")
    try:
        if request.method == "POST":
            form = CardPageForm(request.POST)
            form.full_clean()
            address = request.build_absolute_uri(here)
            setups.begin(
                account_id=visit.account.pk, key=f"form:{token}", return_url=address, cancel_url=address,
                make_default=bool(form.cleaned_data.get("make_default")), now=now,
            )  # fmt: skip
            return redirect(here)
        setup = setups.find(account_id=visit.account.pk, key=f"form:{token}")
    except setups.SetupNotFound:
        raise Http404("No such setup.") from None
    except (gateway.NoGateway, gateway.GatewayUnavailable, methods.TooManyMethods) as error:
        messages.error(request, str(_PROBLEMS[type(error)]))
        return redirect(visit.url("payment_methods"))
    try:
        setup = setups.finish(setup_id=setup.pk, now=now)
    except (gateway.NoGateway, gateway.GatewayUnavailable) as error:
        problem = str(_PROBLEMS[type(error)])
    if setup.state == setup.State.DONE:
        messages.success(request, _("The card is saved."))
        return redirect(target or visit.url("payment_methods"))
    return render_page(request, visit, "card_setup", {"setup": setup, "problem": problem, "here": here})


def _inside(request: HttpRequest, address: str) -> str:
    """The address if it is one of our own pages; else none."""
    is_ours = url_has_allowed_host_and_scheme(address, None) and address.startswith("/")
    return address if is_ours else ""
