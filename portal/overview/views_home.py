"""The start page: on to the account, or a choice of accounts."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache

from billing.accounts.models import User
from portal.access import account_url, list_places


@never_cache
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Go to the person's account; choose if there are several, explain if there is none."""
    assert isinstance(request.user, User)  # noqa: S101  login_required lets nobody else through
    places = list_places(request.user)
    if len(places) == 1:
        return redirect(account_url(places[0].account))
    choices = [{"member": place, "url": account_url(place.account)} for place in places]
    return render(request, "portal/home.html", {"places": choices})
