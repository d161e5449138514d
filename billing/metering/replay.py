"""Sending rejected events through ingest again, once what was wrong with them has been fixed; or giving them up."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from json import JSONDecodeError

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet

from billing.accounts import clocks
from billing.metering.events import InvalidEvent, read_event
from billing.metering.importing import IMPORT_MAX_AGE
from billing.metering.ingest import bind, in_order
from billing.metering.models import RejectedEvent
from billing.metering.processing import process
from billing.metering.work import Work

BATCH = 500
State = RejectedEvent.State

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Replayed:
    """What became of the events tried. Accepted and duplicate ones are done; the others stay open."""

    tried: int = 0
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0

    def add(self, more: "Replayed") -> None:
        self.tried += more.tried
        self.accepted += more.accepted
        self.duplicates += more.duplicates
        self.conflicts += more.conflicts
        self.rejected += more.rejected


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
    still cannot be taken keep their one row, with what is wrong now; one that makes its batch fail is tried alone, and
    stays open too. One transaction per batch; locks the pools, then the rejected rows in the order of their digests,
    as ingest does. `progress` hears the running totals after each batch.
    """
    done = Replayed()
    last_id = 0
    while done.tried < limit:
        waiting = open_rejected(ids=ids, code=code, account_id=account_id).filter(pk__gt=last_id).order_by("pk")
        rows = list(waiting[: min(BATCH, limit - done.tried)])
        if not rows:
            return done
        try:
            done.add(_replay_rows(rows, now))
        except Exception:
            log.exception("replay.batch_failed", events=len(rows))
            for row in rows:
                done.add(_replay_alone(row, now))
        last_id = rows[-1].pk
        if progress is not None:
            progress(done)
    return done


def open_rejected(
    *, ids: Collection[int] | None = None, code: str = "", account_id: int | None = None
) -> QuerySet[RejectedEvent]:
    """The rejected events that wait for replay."""
    rows = RejectedEvent.objects.filter(state=State.OPEN).select_related("bound_account")
    if ids is not None:
        rows = rows.filter(pk__in=ids)
    if code:
        rows = rows.filter(code=code)
    if account_id is not None:
        rows = rows.filter(account_id=account_id)
    return rows


def dismiss(*, ids: Collection[int], now: datetime) -> int:
    """Give up open rejected events: they stay readable and are not replayed any more. How many there were."""
    with transaction.atomic():
        open_ids = [row.pk for row in _lock(ids) if row.state == State.OPEN]
        return RejectedEvent.objects.filter(pk__in=open_ids).update(state=State.DISMISSED, closed_at=now)


def _lock(ids: Collection[int]) -> list[RejectedEvent]:
    return list(RejectedEvent.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("digest", "pk"))


def _replay_rows(rows: Sequence[RejectedEvent], now: datetime) -> Replayed:
    """Take the events of these rows, each at its account's time, and note on each what became of it, in one
    transaction."""
    works = {row.pk: _work_of(row) for row in rows}
    times = clocks.times_of_names(work.usage.account for work in works.values() if work.usage)
    at_times: dict[datetime, list[Work]] = defaultdict(list)
    for work in works.values():
        at_times[times.get(work.usage.account, now) if work.usage else now].append(work)
    with transaction.atomic():
        for at in in_order(at_times, now):
            process(at_times[at], now=at, keep_rejected=False)
        locked = _lock(works)
        for row in locked:
            _note(row, works[row.pk], now)
        fields = ["state", "attempts", "closed_at", "code", "detail", "event_id", "source", "account"]
        RejectedEvent.objects.bulk_update(locked, fields)
    counts = Counter(work.verdict for work in works.values())
    return Replayed(len(rows), counts["accepted"], counts["duplicate"], counts["conflict"], counts["rejected"])


def _replay_alone(row: RejectedEvent, now: datetime) -> Replayed:
    """Take one event of a batch that failed. Should it fail again, its row says so and the others go on."""
    try:
        return _replay_rows([row], now)
    except Exception:
        log.exception("replay.event_failed", rejected=row.pk)
    RejectedEvent.objects.filter(pk=row.pk, state=State.OPEN).update(
        attempts=F("attempts") + 1, code="failed", detail="It could not be taken, through a fault of ours; see the log."
    )
    return Replayed(tried=1, rejected=1)


def _note(row: RejectedEvent, work: Work, now: datetime) -> None:
    """Bring a locked row up to date. It may have been closed since it was read: by another replay, which then was
    first, or dismissed, which cannot undo that the event was taken."""
    taken = work.verdict in ("accepted", "duplicate")
    if row.state == State.REPLAYED or (row.state == State.DISMISSED and not taken):
        return
    row.attempts += 1
    if taken:
        row.state, row.closed_at = State.REPLAYED, now
    elif work.verdict == "conflict":
        row.code, row.detail = "id_conflict", "This id was used for another event."
    elif work.fault is not None:
        row.code, row.detail = work.fault.code, work.fault.detail[:300]
    if work.usage:
        row.event_id, row.source = work.usage.id, work.usage.source
    row.account_id = work.account.id if work.account else row.account_id


def _work_of(row: RejectedEvent) -> Work:
    """The event of a rejected row, read as at the time it was received."""
    work = Work(is_charge=False, usage=None, actor=f"key:{row.api_key_id}" if row.api_key_id else "system")
    age = IMPORT_MAX_AGE if row.door == "import" else timedelta(days=settings.FLORIN_EVENT_MAX_AGE_DAYS)
    ahead = timedelta(seconds=settings.FLORIN_EVENT_MAX_AHEAD_SECONDS)
    try:
        usage = read_event(_body(row), now=row.received_at, max_ahead=ahead, max_age=age)
        account = row.bound_account
        bind(usage, account.pk if account else None, account.external_id if account else "")
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
