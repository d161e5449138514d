"""Moving time: do all that is due, go to the next moment at which something is, until the end."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from billing.clock import jobs
from billing.clock.jobs import Job

log = structlog.get_logger(__name__)

# What a job does may give another one something to do at the same moment; after so many rounds it gives up.
MOST_ROUNDS = 100
DAY = timedelta(days=1)


@dataclass(slots=True)
class Move:
    """How far a move came: the time it reached, whether that is its end, moments at which it did what was due, and what
    was done there, by job."""

    at: datetime
    is_over: bool = False
    moments: int = 0
    done: Counter[str] = field(default_factory=Counter)


def move(
    *,
    start: datetime,
    end: datetime,
    account_id: int | None,
    with_mails: bool = False,
    before: Callable[[datetime], bool] | None = None,
    after: Callable[[datetime], None] | None = None,
) -> Move:
    """Go from `start` to `end`, both included, doing at each moment all that is due then.

    For the account on a test clock, or for None for all that are on none. Time stops at what is due and at each
    midnight (UTC), so that whoever watches sees every day; where else it stops makes no difference. `before` is called
    at each moment and may stop the move there, by False; `after`, when all is done. Must run outside a transaction.
    Whatever goes wrong is raised; moving on from where it stopped does the rest.
    """
    ordered = jobs.list_jobs(with_mails=with_mails)
    moved, due, times = Move(start), ordered, dict[Job, datetime | None]()
    while True:
        if before is not None and not before(moved.at):
            return moved
        done = settle(ordered, moved.at, account_id, due=due)
        moved.done += done
        moved.moments += 1
        if after is not None:
            after(moved.at)
        if moved.at >= end:
            moved.is_over = True
            return moved
        midnight = jobs.midnight_after(moved.at)
        # Others may do something meanwhile, so nothing is taken for known longer than a day.
        is_new_day = midnight - moved.at >= DAY or not times
        stale = set(ordered) if is_new_day else {*due, *_affected(ordered, done)}
        times |= {job: job.next_at(moved.at, account_id) for job in ordered if job in stale and job.next_at is not None}
        moved.at = min([end, midnight, *(at for at in times.values() if at is not None)])
        due = ordered if moved.at >= end else tuple(job for job in ordered if _is_due(job, times, moved.at))


def settle(ordered: tuple[Job, ...], now: datetime, account_id: int | None, *, due: tuple[Job, ...]) -> Counter[str]:
    """Run the `due` jobs, and once one of them finds anything to do, all that this affects, in order, again and again,
    until none does at this moment; what was done."""
    done: Counter[str] = Counter()
    for _round in range(MOST_ROUNDS):
        this = Counter({job.name: job.run(now, account_id) for job in due})
        done += this
        if not +this:
            return done
        due = _affected(ordered, this)
    log.warning("clock.restless", at=now.isoformat(), jobs=sorted(+this))
    return done


def _affected(ordered: tuple[Job, ...], done: Counter[str]) -> tuple[Job, ...]:
    """The jobs that may have more to do after what was done."""
    worked = [job for job in ordered if done[job.name]]
    if any(job.affects is None for job in worked):
        return ordered
    names = frozenset[str]().union(*(job.affects or () for job in worked))
    return tuple(job for job in ordered if job.name in names)


def _is_due(job: Job, times: Mapping[Job, datetime | None], now: datetime) -> bool:
    if job.next_at is None:
        return True
    at = times[job]
    return at is not None and at <= now
