"""Staff who look at the portal as an account's viewer: remembered in their session, for a while, and never to write.

A session holds one impersonation at most. It ends by itself, with the session, or when staff end it; the portal
(`portal.access`) asks on every page whether it still holds and whether its owner still may.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

LASTS = timedelta(minutes=30)
PERMISSION = "billing.impersonate_account"
_KEY = "impersonation"


@dataclass(frozen=True, slots=True)
class Impersonation:
    """Whose portal is open, and until when."""

    account_id: int
    until: datetime


def begin(session: MutableMapping[str, Any], *, account_id: int, now: datetime) -> Impersonation:
    """Let the session look at an account from now on; another one's ends."""
    session[_KEY] = {"account_id": account_id, "until": (now + LASTS).isoformat()}
    return Impersonation(account_id, now + LASTS)


def find(session: MutableMapping[str, Any], *, now: datetime) -> Impersonation | None:
    """What the session may look at now."""
    kept = session.get(_KEY)
    if not kept:
        return None
    found = Impersonation(kept["account_id"], datetime.fromisoformat(kept["until"]))
    return found if now < found.until else None


def end(session: MutableMapping[str, Any]) -> int | None:
    """End it; the account it was of, if there was one."""
    kept = session.pop(_KEY, None)
    return kept["account_id"] if kept else None
