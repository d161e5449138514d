"""What every answer to a browser goes through here, beside what Django and the packages have."""

from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone

from billing.accounts import people, sessions
from billing.accounts.models import User
from billing.api.errors import API_ROOT

Answer = Callable[[HttpRequest], HttpResponseBase]

# Everything that a page could ask of a browser and none of ours does.
_UNUSED = (
    "accelerometer", "autoplay", "browsing-topics", "camera", "display-capture", "encrypted-media", "fullscreen",
    "geolocation", "gyroscope", "magnetometer", "microphone", "midi", "payment", "picture-in-picture",
    "publickey-credentials-get", "screen-wake-lock", "serial", "usb", "xr-spatial-tracking",
)  # fmt: skip
PERMISSIONS_POLICY = ", ".join(f"{feature}=()" for feature in _UNUSED)


def permissions_policy(get_response: Answer) -> Answer:
    """Tell the browser which of its features no page of ours uses, so that nothing injected into one can."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        return response

    return middleware


def staff_sessions(get_response: Answer) -> Answer:
    """Keep a session of staff going for as long as they use it, within its limits.

    What a page fetches by itself (htmx) is no use of it. An answer that did not touch the session, as the API's, costs
    no query here.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if (
            request.session.accessed
            and "HX-Request" not in request.headers
            and getattr(request.user, "is_staff", False)
        ):
            sessions.limit(request.session, now=timezone.now())
        return response

    return middleware


# All that staff who must set up a second factor can reach before they have: the page, what it asks for, the way out.
_BEFORE_SECOND_FACTOR = (
    "mfa_activate_totp", "account_reauthenticate", "account_login", "mfa_authenticate", "account_logout",
)  # fmt: skip
# Where no person comes in.
_NOT_PEOPLES = (API_ROOT, "/health")


def staff_second_factor(get_response: Answer) -> Answer:
    """Send staff without a second factor to set one up before anything else, where it is required of them.

    One query for each page of staff. The API knows no people, and is left alone.
    """
    allowed = {reverse(name) for name in _BEFORE_SECOND_FACTOR}

    def middleware(request: HttpRequest) -> HttpResponseBase:
        is_guarded = settings.FLORIN_STAFF_SECOND_FACTOR and request.path_info not in allowed
        if is_guarded and not request.path_info.startswith(_NOT_PEOPLES) and _lacks_second_factor(request.user):
            return redirect(f"{reverse('mfa_activate_totp')}?required")
        return get_response(request)

    return middleware


def _lacks_second_factor(user: User | AnonymousUser) -> bool:
    """Whether this is staff who sign in by password alone."""
    return isinstance(user, User) and user.is_staff and not people.has_second_factor(user)
