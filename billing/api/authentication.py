"""Who asks: `Authorization: Bearer <key>`. Sets `request.auth` to the ApiKey, its account loaded."""

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from billing.accounts import keys, throttles
from billing.accounts.models import ApiKey


class Caller:
    """What DRF calls the user: a program, known by its key."""

    is_authenticated = True
    is_active = True

    def __init__(self, key: ApiKey) -> None:
        self.pk = key.pk


class BearerKey(BaseAuthentication):
    """Takes a secret from the Authorization header; no header means anonymous, a wrong one is refused, and too many
    wrong ones from one address are throttled."""

    def authenticate(self, request: Request) -> tuple[Caller, ApiKey] | None:
        """One query, see `keys.authenticate`. Raises AuthenticationFailed, throttles.Throttled."""
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            key = keys.authenticate(secret=secret.strip(" "), now=timezone.now())
        except keys.InvalidKey:
            throttles.take((throttles.WRONG_KEYS, throttles.client_of(request)), now=timezone.now())
            raise AuthenticationFailed from None
        return Caller(key), key

    def authenticate_header(self, request: Request) -> str:
        """The challenge of a 401."""
        return 'Bearer realm="florin"'
