"""How often something may be tried or sent: counted in one table, so exactly and over all processes.

A window begins with the first count and lasts a fixed time. Nothing is counted beyond a limit, so whoever goes on
trying is let in again when the window is over. Counts are kept under a digest: they tell nobody's address.
"""

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from allauth.core.internal.ratelimit import get_ip
from django.db import connection, transaction
from django.http import HttpRequest

from billing.accounts.models import Throttle


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` of a `door` in so many seconds, for each subject: an address, a person, an account."""

    door: str
    count: int
    seconds: int


# Guessing. A valid key or link is never refused for the wrong ones of a neighbour behind the same address: a secret
# has 256 random bits, so the limit keeps guessers from flooding the database and the logs, not a guess from hitting.
WRONG_KEYS = Limit("wrong-key", 20, 60)
WRONG_SIGNATURES = Limit("wrong-signature", 20, 60)
WRONG_LINKS = Limit("wrong-link", 20, 60)
# A coupon's code is short enough to be guessed: beyond these no code at all is taken from the account.
WRONG_COUPONS = Limit("wrong-coupon", 20, 3600)
# Mail to people who have not asked for it. Of the entrance's mails there are few by ACCOUNT_RATE_LIMITS.
INVITATIONS_OF_PERSON = Limit("invitations-person", 20, 3600)
INVITATIONS_OF_ACCOUNT = Limit("invitations-account", 100, 86_400)
INVITATIONS_TO_ADDRESS = Limit("invitations-address", 3, 3600)


class Throttled(Exception):
    """The limit is reached; it may be tried again after `retry_after_seconds`."""

    def __init__(self, limit: Limit, retry_after_seconds: int) -> None:
        super().__init__(limit.door)
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds


def client_of(request: HttpRequest) -> str:
    """The network address that a request counts for; of IPv6 the network, for one client has all of it."""
    return get_ip(request)


def take(*counted: tuple[Limit, object], now: datetime) -> None:
    """Count once against each limit and its subject, or raise Throttled and count nothing.

    One statement a limit, atomic. In a caller's transaction that is rolled back nothing is counted either.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # In the order of their names, or two that take the same ones could wait for each other.
        for limit, name in sorted(
            ((limit, _name(limit, subject)) for limit, subject in counted), key=lambda row: row[1]
        ):
            ends_at = now + timedelta(seconds=limit.seconds)
            cursor.execute(_TAKE, {"name": name, "now": now, "ends_at": ends_at, "count": limit.count})
            if cursor.fetchone() is None:
                raise Throttled(limit, _wait(name, now))


def refuse_beyond(limit: Limit, subject: object, *, now: datetime) -> None:
    """Raise Throttled when the limit is reached; counts nothing."""
    name = _name(limit, subject)
    if Throttle.objects.filter(name=name, window_ends_at__gt=now, count__gte=limit.count).exists():
        raise Throttled(limit, _wait(name, now))


def purge(*, now: datetime) -> int:
    """Delete the counts whose window is over; how many."""
    return Throttle.objects.filter(window_ends_at__lte=now).delete()[0]


_TAKE = """
INSERT INTO billing_throttle AS t (name, count, window_ends_at) VALUES (%(name)s, 1, %(ends_at)s)
ON CONFLICT (name) DO UPDATE SET
    count = CASE WHEN t.window_ends_at <= %(now)s THEN 1 ELSE t.count + 1 END,
    window_ends_at = CASE WHEN t.window_ends_at <= %(now)s THEN excluded.window_ends_at ELSE t.window_ends_at END
WHERE t.window_ends_at <= %(now)s OR t.count < %(count)s
RETURNING count
"""


def _name(limit: Limit, subject: object) -> str:
    return f"{limit.door}:{hashlib.sha256(str(subject).lower().encode()).hexdigest()[:40]}"


def _wait(name: str, now: datetime) -> int:
    ends_at = Throttle.objects.values_list("window_ends_at", flat=True).get(name=name)
    return max(1, math.ceil((ends_at - now).total_seconds()))
