"""A person's own details: name and e-mail address. They are theirs, whatever accounts they are in."""

from allauth.account.decorators import reauthentication_required
from allauth.decorators import rate_limit
from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from billing.accounts import addresses
from billing.accounts.models import User
from billing.accounts.text import PlainText
from portal.entrance.forms import NewEmailForm
from portal.entrance.views_entrance import deliver_soon


class NameForm(forms.Form):
    """How the person is called."""

    name = PlainText(
        label=gettext_lazy("Your name"), max_length=120, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )


@require_http_methods(["GET", "POST"])
@never_cache
@login_required
def profile(request: HttpRequest) -> HttpResponse:
    """Show who this is; on POST change the name."""
    user = _person(request)
    form = NameForm(request.POST or None, initial={"name": user.name})
    if request.method == "POST" and form.is_valid():
        user.name = form.cleaned_data["name"]
        user.save(update_fields=["name"])
        messages.success(request, _("Your name is saved."))
        return redirect("portal:profile")
    return render(request, "portal/profile.html", {"form": form, "wanted": addresses.find_wanted(user)})


@require_http_methods(["GET", "POST"])
@never_cache
@login_required
@reauthentication_required(app="allauth.account")
@rate_limit(action="manage_email")
def change_email(request: HttpRequest) -> HttpResponse:
    """Ask for another address; it counts once the link sent there is opened. Asks for the password before."""
    form = NewEmailForm(data=request.POST or None, user=_person(request))
    if request.method == "POST" and form.is_valid():
        form.save(request)
        deliver_soon()
        messages.success(request, _("We have sent a link to the new address. It stays as it is until you open it."))
        return redirect("portal:profile")
    return render(request, "portal/change_email.html", {"form": form})


@require_POST
@never_cache
@login_required
def keep_email(request: HttpRequest) -> HttpResponse:
    """Think better of another address."""
    addresses.drop_wanted(_person(request))
    messages.success(request, _("Your address stays as it is."))
    return redirect("portal:profile")


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # noqa: S101  login_required lets nobody else through
    return request.user
