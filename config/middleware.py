"""What every answer to a browser goes through here, beside what Django and the packages have."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from billing.accounts import sessions

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
