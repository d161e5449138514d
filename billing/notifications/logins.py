"""What is told to a person about their login, by e-mail to one address. In words: `about_logins`."""

from collections.abc import Mapping
from datetime import datetime

from billing.accounts.models import User
from billing.notifications import outbox


def tell(*, kind: str, about: object, email: str, payload: Mapping[str, object], now: datetime) -> None:
    """Write to the outbox, in the caller's transaction. `about` is the row it is about; each call tells anew."""
    key = f"{kind}:{str(about)[:100]}:{now.isoformat()}"
    outbox.write(kind=kind, dedupe_key=key, account_id=None, payload=payload, email=email, now=now)


def tell_changed(
    *, kind: str, user: User, email: str, client: str, where: str, new_email: str = "", now: datetime
) -> None:
    """Tell that somebody's credentials were changed: with which browser, from which network address or by whom."""
    payload = {
        "name": user.get_short_name(),
        "at": now.isoformat(timespec="minutes"),
        "client": client,
        "where": where,
        "new_email": new_email,
    }
    tell(kind=kind, about=user.pk, email=email, payload=payload, now=now)
