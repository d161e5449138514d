"""Signing up, in and out: allauth's flows with our templates. Their addresses: portal/entrance/urls.py."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import structlog
from allauth.account import views as account_views
from allauth.account.models import EmailConfirmationHMAC
from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from kombu.exceptions import OperationalError

from billing import tasks
from billing.accounts import addresses, people, throttles
from billing.accounts.models import User
from portal import countries
from portal.entrance import forms as entrance_forms

log = structlog.get_logger(__name__)


def deliver_soon() -> None:
    """Ask a worker to look into the outbox now. Beat asks too, seconds later, so a broker that is away does no harm."""
    try:
        tasks.deliver_notifications.apply_async(retry=False)
    except OperationalError:
        log.warning("entrance.no_broker", exc_info=True)


class Login(account_views.LoginView):
    """Sign in; goes on to `next` if that is an address of ours. Who has not proved the address gets another link."""

    form_class = entrance_forms.LoginForm
    template_name = "portal/login.html"
    extra_context = {"sign_up_open": settings.FLORIN_SIGN_UP_OPEN}

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        if not self.request.user.is_authenticated:
            deliver_soon()
        return response


class SignUp(account_views.SignupView):
    """Make a login and an account; the answer is the same for an address that somebody has already."""

    form_class = entrance_forms.SignUpForm
    template_name = "portal/sign_up.html"
    template_name_signup_closed = "portal/sign_up_closed.html"

    def get_initial(self) -> dict[str, Any]:
        country = countries.guess_country(self.request.headers.get("Accept-Language", ""))
        guesses = {
            "country": country,
            "currency": countries.usual_currency(country),
            "time_zone": countries.usual_time_zone(country),
        }
        return {**super().get_initial(), **guesses}

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        deliver_soon()
        return response


class ConfirmEmail(account_views.ConfirmEmailView):
    """Prove an address with the link sent to it."""

    template_name = "portal/verify_email.html"

    def get_object(self, queryset: object = None) -> EmailConfirmationHMAC:
        found = addresses.find_by_key(self.kwargs["key"])
        if found is None:
            raise Http404
        return found


class ForgotPassword(account_views.PasswordResetView):
    """Ask for a link by e-mail; the answer is the same whether the address is known or not."""

    form_class = entrance_forms.ForgotPasswordForm
    template_name = "portal/password_reset.html"

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        deliver_soon()
        return response


class ChoosePassword(account_views.PasswordResetFromKeyView):
    """Choose a new password with the link of the e-mail; every session of the person ends, and the API keys they made
    unless they say otherwise. The link proves the address too."""

    form_class = entrance_forms.NewPasswordForm
    template_name = "portal/password_reset_confirm.html"

    def get_success_url(self) -> str:
        return reverse("account_login")

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        addresses.trust(self.reset_user)
        revoke_keys(self.request, form, self.reset_user)
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        user = getattr(self, "reset_user", None)
        return super().get_context_data(has_keys=user is not None and people.list_keys(user).exists(), **kwargs)


class ChangePassword(account_views.PasswordChangeView):
    """Choose another password; every other session of the person ends, and the API keys they made unless they say
    otherwise."""

    form_class = entrance_forms.ChangePasswordForm
    template_name = "portal/password_change.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.user.is_authenticated and not request.user.has_usable_password():
            # Who has none gets the first one as one who forgot it does: by a link.
            return redirect("account_reset_password")
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        revoke_keys(self.request, form, self.request.user)
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(has_keys=people.list_keys(self.request.user).exists(), **kwargs)


def revoke_keys(request: HttpRequest, form: forms.Form, user: User) -> None:
    """Revoke the person's API keys with the old password, unless the form says that they are to be kept."""
    if form.cleaned_data["keep_keys"]:
        return
    if count := people.revoke_keys(user=user, now=timezone.now()):
        said = ngettext("%(count)d API key you made was revoked.", "%(count)d API keys you made were revoked.", count)
        messages.warning(request, said % {"count": count})


def few_wrong_links(page: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Let one client open a few links that lead nowhere, then answer 429: nobody finds one of an e-mail by trying."""

    @wraps(page)
    def counted(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = page(request, *args, **kwargs)
        context = getattr(response, "context_data", None) or {}
        if response.status_code == 404 or context.get("token_fail") or not context.get("can_confirm", True):
            try:
                throttles.take((throttles.WRONG_LINKS, throttles.client_of(request)), now=timezone.now())
            except throttles.Throttled:
                return render(request, "429.html", status=429)
        return response

    return counted


@never_cache
def staff_login(request: HttpRequest) -> HttpResponse:
    """Staff sign in where everybody does. Somebody who is no staff is told so, or they would go round in circles."""
    if isinstance(request.user, User):
        if request.user.is_staff:
            return redirect("admin:index")
        raise PermissionDenied(_("You are signed in as %(email)s, who is not staff.") % {"email": request.user.email})
    target = request.GET.get("next") or reverse("admin:index")
    return redirect(f"{reverse('account_login')}?{urlencode({'next': target})}")
