"""Where people are signed in: how long staff stay so, and how sessions are ended.

A session is Django's row; allauth's `UserSession` beside it says whose it is and from which browser it came.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase

from billing.accounts.browsers import in_words
from billing.accounts.models import User

# A session's end is moved at most this often, so that not every request writes.
PRECISION = timedelta(minutes=1)
_SINCE = "staff_since"


@dataclass(frozen=True, slots=True)
class Browser:
    """A browser somebody is signed in with. `handle` names it on pages without giving away the session's key."""

    handle: str
    client: str
    ip: str
    since: datetime
    is_here: bool


def limit(session: SessionBase, *, now: datetime) -> None:
    """Let a session of staff end FLORIN_STAFF_IDLE_MINUTES from now, and FLORIN_STAFF_SESSION_HOURS after its first
    request at the latest. Moves the end at most once a PRECISION."""
    since = datetime.fromisoformat(session.get(_SINCE, now.isoformat()))
    ends_at = min(
        now + timedelta(minutes=settings.FLORIN_STAFF_IDLE_MINUTES),
        since + timedelta(hours=settings.FLORIN_STAFF_SESSION_HOURS),
    )
    if abs(ends_at - session.get_expiry_date()) >= PRECISION:
        session[_SINCE] = since.isoformat()
        session.set_expiry(ends_at)


def list_browsers(user: User, *, here: str | None) -> list[Browser]:
    """Where the person is signed in: first the session with the key `here`, then the newest. Forgets those that have
    ended."""
    rows = sorted(UserSession.objects.purge_and_list(user), key=lambda row: row.created_at, reverse=True)
    browsers = [
        Browser(_handle(row), in_words(row.user_agent), row.ip, row.created_at, row.session_key == here) for row in rows
    ]
    return sorted(browsers, key=lambda browser: not browser.is_here)


def end(*, user: User, handles: Iterable[str]) -> int:
    """Sign the person out of these browsers, from the next request on. Returns the number of sessions that ended."""
    wanted = set(handles)
    rows = [row for row in UserSession.objects.filter(user=user) if _handle(row) in wanted]
    for row in rows:
        row.end()
    return len(rows)


def _handle(row: UserSession) -> str:
    # The key itself is a secret with which the session could be taken over; the row's number would be a counter.
    return hashlib.sha256(row.session_key.encode()).hexdigest()[:32]
