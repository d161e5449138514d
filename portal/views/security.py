"""What guards a person's login: password, second factor, and where they are signed in."""

from dataclasses import dataclass
from datetime import datetime

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from billing.accounts.models import User
from portal.browsers import in_words

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Session:
    """A browser somebody is signed in with."""

    client: str
    ip: str
    since: datetime
    here: bool


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
        "sessions": _list_sessions(request, request.user),
    }
    return render(request, "portal/security.html", context)


@require_POST
@never_cache
@login_required
def end_sessions(request: HttpRequest) -> HttpResponse:
    """Sign out everywhere but here."""
    assert isinstance(request.user, User)  # noqa: S101  login_required lets nobody else through
    for session in UserSession.objects.filter(user=request.user).exclude(session_key=request.session.session_key):
        session.end()
    messages.success(request, _("You are signed out everywhere else."))
    return redirect("portal:security")


def _list_sessions(request: HttpRequest, user: User) -> list[Session]:
    """The newest first; those that have ended are forgotten on the way."""
    rows = sorted(UserSession.objects.purge_and_list(user), key=lambda row: row.created_at, reverse=True)
    key = request.session.session_key
    sessions = [
        Session(in_words(row.user_agent) or _("Unknown browser"), row.ip, row.created_at, row.session_key == key)
        for row in rows
    ]
    return sorted(sessions, key=lambda session: not session.here)[:SHOWN]
