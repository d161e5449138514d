"""The outbox: say that someone must be told. Who that is and how they are told comes later (`fanout`, `delivery`)."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from billing.notifications.models import Notification
from billing.tracing import requests


def write(
    *,
    kind: str,
    dedupe_key: str,
    account_id: int | None,
    payload: Mapping[str, object],
    email: str = "",
    now: datetime,
) -> None:
    """Say that someone must be told, in the caller's transaction: one row, and nothing else happens here.

    One row per `dedupe_key`, permanently: writing it again changes nothing. `payload` holds the finished facts as JSON.
    With `email` it is for that address alone; without, for the people of the account whom the kind concerns.
    """
    row = Notification(
        kind=kind, dedupe_key=dedupe_key, account_id=account_id, payload=dict(payload), email=email, created_at=now
    )
    write_many([row])


def write_many(rows: Sequence[Notification]) -> None:
    """`write` for several rows at once, made by the caller. Each remembers the request that it comes from."""
    for row in rows:
        row.request_id = requests.current_id()
    Notification.objects.bulk_create(rows, ignore_conflicts=True)


def supersede(*, dedupe_keys: Collection[str], now: datetime) -> None:
    """Take notifications out of the inbox, because a newer one of the same matter is written. Those that are not yet
    mailed are not mailed any more."""
    rows = Notification.objects.filter(dedupe_key__in=dedupe_keys, superseded_at=None)
    states = Notification.State
    rows.filter(state=states.PENDING).update(state=states.EXPANDED, expanded_at=now, superseded_at=now)
    rows.update(superseded_at=now)
