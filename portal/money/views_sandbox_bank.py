"""The page of the sandbox's bank, where a customer confirms a payment. It looks like somebody else's on purpose."""

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from billing.accounts import clocks
from billing.accounts.models import User
from billing.payments.gateways import sandbox
from billing.payments.models import GatewayName, Payment
from portal.access import Visit, account_url, list_places, require_manager


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@login_required
def bank(request: HttpRequest, reference: str) -> HttpResponse:
    """Show what is to be confirmed; on POST confirm or refuse it and go back to where the customer came from.

    A real bank knows its customer. This one takes the account's owners and admins for it, and nobody else.
    """
    payment = _find_payment(request, reference)
    action = sandbox.find_action(reference)
    if action is None:
        raise Http404("No such payment.")
    back, now = action.return_url, clocks.time_of(payment.invoice.account, timezone.now())
    if not url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure()):
        back = account_url(payment.invoice.account, "invoice", invoice=payment.invoice_id)
    if request.method == "POST":
        sandbox.confirm(reference, approve=request.POST.get("act") == "approve", now=now)
        return redirect(back)
    is_open = action.state == "requires_action" and now < action.expires_at
    context = {"action": action, "payment": payment, "is_open": is_open, "back": back}
    return render(request, "portal/bank.html", context)


def _find_payment(request: HttpRequest, reference: str) -> Payment:
    """The payment of that reference; 404 unless it is of an account the person is in, 403 unless they act for it."""
    assert isinstance(request.user, User)  # noqa: S101  login_required lets nobody else through
    found = Payment.objects.filter(gateway=GatewayName.SANDBOX, gateway_reference=reference)
    payment = found.select_related("invoice__account", "method").first()
    places = list_places(request.user)
    here = [place for place in places if payment and place.account_id == payment.invoice.account_id]
    if payment is None or not here:
        raise Http404("No such payment.")
    require_manager(Visit(here[0], places))
    return payment
