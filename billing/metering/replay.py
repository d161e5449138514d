"""Sending rejected events through ingest again, once what was wrong with them has been mended; or giving them up."""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from json import JSONDecodeError

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from billing.metering.events import InvalidEvent, read_event
from billing.metering.importing import IMPORT_MAX_AGE
from billing.metering.ingest import bind
from billing.metering.models import RejectedEvent
from billing.metering.processing import process
from billing.metering.work import Work

BATCH = 500


@dataclass(slots=True)
class Replayed:
    """What became of the events tried. Accepted and duplicate ones are done; the others stay open."""

    tried: int = 0
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0


def replay(
    *,
    ids: Collection[int] | None = None,
    code: str = "",
    account_id: int | None = None,
    limit: int,
    now: datetime,
    progress: Callable[[Replayed], None] | None = None,
) -> Replayed:
    """Try up to `limit` open rejected events (`ids`, or all; of one code or account) again, oldest first.

    An event counts as it would have when it was received: that is its time if it states none, and its age is measured
    from then. Its id still counts once, so replaying twice, or from two processes, changes nothing more. Events that
    still cannot be taken keep their one row, with what is wrong now. One transaction per batch; locks the rejected
    rows, then the pools. `progress` hears the running totals after each batch.
    """
    done = Replayed()
    last_id = 0
    while done.tried < limit:
        with transaction.atomic():
            waiting = open_rejected(ids=ids, code=code, account_id=account_id).filter(pk__gt=last_id)
            size = min(BATCH, limit - done.tried)
            rows = list(waiting.select_for_update(skip_locked=True, of=("self",)).order_by("pk")[:size])
            if not rows:
                return done
            _replay_rows(rows, done, now)
        last_id = rows[-1].pk
        if progress is not None:
            progress(done)
    return done


def open_rejected(
    *, ids: Collection[int] | None = None, code: str = "", account_id: int | None = None
) -> QuerySet[RejectedEvent]:
    """The rejected events that wait for replay."""
    rows = RejectedEvent.objects.filter(state=RejectedEvent.State.OPEN).select_related("api_key__account")
    if ids is not None:
        rows = rows.filter(pk__in=ids)
    if code:
        rows = rows.filter(code=code)
    if account_id is not None:
        rows = rows.filter(account_id=account_id)
    return rows


def dismiss(*, ids: Collection[int], now: datetime) -> int:
    """Give up open rejected events: they stay readable and are not replayed any more. How many there were."""
    return RejectedEvent.objects.filter(pk__in=ids, state=RejectedEvent.State.OPEN).update(
        state=RejectedEvent.State.DISMISSED, closed_at=now
    )


def _replay_rows(rows: Sequence[RejectedEvent], done: Replayed, now: datetime) -> None:
    works = [_work_of(row) for row in rows]
    process(works, now=now, keep_rejected=False)
    for row, work in zip(rows, works, strict=True):
        done.tried += 1
        row.attempts += 1
        if work.verdict in ("accepted", "duplicate"):
            row.state, row.closed_at = RejectedEvent.State.REPLAYED, now
            done.accepted += work.verdict == "accepted"
            done.duplicates += work.verdict == "duplicate"
        elif work.verdict == "conflict":
            row.code, row.detail = "id_conflict", "This id was used for another event."
            done.conflicts += 1
        else:
            row.code = work.fault.code if work.fault else ""
            row.detail = work.fault.detail[:300] if work.fault else ""
            done.rejected += 1
        row.event_id = work.usage.id if work.usage else row.event_id
        row.account_id = work.account.id if work.account else row.account_id
    fields = ["state", "attempts", "closed_at", "code", "detail", "event_id", "account"]
    RejectedEvent.objects.bulk_update(rows, fields)


def _work_of(row: RejectedEvent) -> Work:
    """The event of a rejected row, read as at the time it was received."""
    work = Work(is_charge=False, usage=None, actor=f"key:{row.api_key_id}" if row.api_key_id else "system")
    age = IMPORT_MAX_AGE if row.source == "import" else timedelta(days=settings.FLORIN_EVENT_MAX_AGE_DAYS)
    ahead = timedelta(seconds=settings.FLORIN_EVENT_MAX_AHEAD_SECONDS)
    try:
        usage = read_event(_body(row), now=row.received_at, max_ahead=ahead, max_age=age)
        key = row.api_key
        bind(usage, key.account_id if key else None, key.account.external_id if key and key.account else "")
        usage.stated_at = usage.stated_at or row.received_at
        work.usage = usage
    except InvalidEvent as fault:
        work.reject(fault)
    return work


def _body(row: RejectedEvent) -> object:
    try:
        return json.loads(row.body, parse_float=Decimal)
    except JSONDecodeError as error:
        raise InvalidEvent("body_not_kept", "The event was too long to be kept; send it again.") from error
