"""Concurrent single requests of one process share one transaction.

Whoever arrives first posts for all who are waiting: one lock of the pools, one commit, and each caller gets its own
verdict. A busy pool is then limited by what a transaction can hold, not by how many commits fit in a second. Nobody
waits for company: a lone request goes through at once.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import connection
from psycopg.errors import LockNotAvailable

from billing.metering.processing import process
from billing.metering.work import Work

MAX_GROUP = 500

# How long a leader's transaction waits for a lock, also when it is the only one in it, for others queue up behind it.
# Then each caller waits for its own pool alone, so that one pool that is locked for long does not hold up the others.
PATIENCE_MS = 250


@dataclass(slots=True, eq=False)
class _Ticket:
    """One caller's works, and the sign that they are done or that it is this caller's turn to lead."""

    works: Sequence[Work]
    now: datetime
    woken: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    done: bool = False


_lock = threading.Lock()
_waiting: list[_Ticket] = []
_busy = False


def process_together(works: Sequence[Work], *, now: datetime) -> None:
    """Like `process`, sharing a transaction with other callers that wait at this moment.

    Within a transaction of the caller it does not wait for others. If the shared transaction fails, each caller tries
    its own works alone, so that no request suffers for another's.
    """
    global _busy
    if connection.in_atomic_block:
        process(works, now=now)
        return
    ticket = _Ticket(works, now)
    with _lock:
        _waiting.append(ticket)
        ticket.leads = not _busy
        _busy = True
    if not ticket.leads:
        ticket.woken.wait()
    if ticket.leads:
        _lead()
    if not ticket.done:
        process(works, now=now)


def _lead() -> None:
    """Post for the head of the queue (the leader itself and those behind it), then hand the lead on."""
    global _busy
    with _lock:
        group = _waiting[: _group_size(_waiting)]
        del _waiting[: len(group)]
    works = [work for ticket in group for work in ticket.works]
    try:
        process(works, now=max(ticket.now for ticket in group), patience_ms=PATIENCE_MS)
        for ticket in group:
            ticket.done = True
    except Exception as fault:
        if len(group) == 1 and not isinstance(fault.__cause__, LockNotAvailable):
            raise
        # Each caller's own attempt will meet the fault again, if it was its own, and report it.
        start_over(works)
    except BaseException:
        # The thread is being ended. What it had begun for others is rolled back; they try by themselves.
        start_over(works)
        raise
    finally:
        with _lock:
            if _waiting:
                _waiting[0].leads = True
                group.append(_waiting[0])
            else:
                _busy = False
        for ticket in group:
            ticket.woken.set()


def start_over(works: Sequence[Work]) -> None:
    """Forget what a failed attempt has set on the works, so that nobody takes it for done."""
    for work in works:
        work.start_over()


def _group_size(waiting: Sequence[_Ticket]) -> int:
    """How many tickets from the head fit one transaction: at most MAX_GROUP works, at least one ticket."""
    size = works = 0
    for ticket in waiting:
        works += len(ticket.works)
        if size and works > MAX_GROUP:
            break
        size += 1
    return size
