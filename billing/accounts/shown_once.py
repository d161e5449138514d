"""The secret of a new API key on its way from the request that made it to the page that shows it, once.

A page that answers a POST can be sent again by reloading it, so the answer is a redirect. Meanwhile the secret is in
the session, encrypted with SECRET_KEY: a copy of the database does not give it away. Looking at it removes it.
"""

import base64
from collections.abc import MutableMapping
from datetime import datetime, timedelta
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.utils.crypto import salted_hmac

WAITS = timedelta(minutes=10)
_KEY = "new_secret"


def keep(session: MutableMapping[str, Any], *, key_id: int, secret: str, now: datetime) -> None:
    """Remember the secret of a key for the next page of this session, in place of an earlier one."""
    sealed = _fernet().encrypt(secret.encode()).decode()
    session[_KEY] = {"key": key_id, "sealed": sealed, "until": (now + WAITS).isoformat()}


def take(session: MutableMapping[str, Any], *, key_id: int, now: datetime) -> str | None:
    """The secret of the key, which is forgotten with that; None when it has been shown, or waited for too long."""
    kept = session.get(_KEY)
    if not kept or kept["key"] != key_id:
        return None
    del session[_KEY]
    return _fernet().decrypt(kept["sealed"]).decode() if now < datetime.fromisoformat(kept["until"]) else None


def _fernet() -> Fernet:
    digest = salted_hmac("billing.accounts.shown_once", "", settings.SECRET_KEY, algorithm="sha256").digest()
    return Fernet(base64.urlsafe_b64encode(digest))
