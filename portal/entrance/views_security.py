"""What guards a person's login: password, second factor, and where they are signed in."""

from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from billing.accounts import sessions
from billing.accounts.models import User

SHOWN = 20


@require_safe
@never_cache
@login_required
def security(request: HttpRequest) -> HttpResponse:
    """Password, two-factor sign-in, recovery codes left, sessions."""
    assert isinstance(request.user, User)  # noqa: S101  login_required lets nobody else through
    authenticators = {row.type: row for row in Authenticator.objects.filter(user=request.user)}
    codes = authenticators.get(Authenticator.Type.RECOVERY_CODES)
    context = {
        "two_factor": authenticators.get(Authenticator.Type.TOTP),
        "codes_left": len(codes.wrap().get_unused_codes()) if codes else 0,
        "browsers": sessions.list_browsers(request.user, here=request.session.session_key)[:SHOWN],
    }
    return render(request, "portal/security.html", context)


@require_POST
@never_cache
@login_required
def end_sessions(request: HttpRequest) -> HttpResponse:
    """Sign out of one other browser, `browser`, or without it of all others."""
    assert isinstance(request.user, User)  # noqa: S101  login_required lets nobody else through
    browsers = sessions.list_browsers(request.user, here=request.session.session_key)
    only = request.POST.get("browser", "")
    wanted = [browser.handle for browser in browsers if not browser.is_here and only in ("", browser.handle)]
    ended = sessions.end(user=request.user, handles=wanted)
    done = ngettext("You were signed out of %(count)d browser.", "You were signed out of %(count)d browsers.", ended)
    messages.success(request, done % {"count": ended})
    return redirect("portal:security")
