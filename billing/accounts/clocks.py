"""Test clocks: an account that lives at a time of its own, for watching months of billing in minutes.

Promises: the time of an account on a test clock stands still until its clock is moved, and never goes back; it stays on
its clock for good. Everything that concerns the account happens at that time: doors ask here for it, and jobs that work
through what is due leave such accounts alone, for whoever moves the clock runs them in its time. It is a test account:
left out of books, figures, queues and reports unless they are asked for test accounts.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, TypeVar

from django.db import models, transaction
from django.db.models import Q

from billing.accounts import ids
from billing.accounts.models import Account, TestClock

Rows = TypeVar("Rows", bound=models.QuerySet[Any])

# For so long a process that has found no clocks believes that there are none.
BELIEVED_SECONDS = 0.25
# For so long a clock is its mover's, from each step on.
LEASE = timedelta(minutes=2)


_known_none_until = 0.0


class HasClock(Exception):
    """The account is on a test clock already."""


class HasHistory(Exception):
    """Something has happened to the account by then: a clock cannot begin before it."""


class ClockNotFound(LookupError):
    """The account is on no test clock."""


class ClockRunsBack(Exception):
    """A clock is moved forward only."""


class ClockMoving(Exception):
    """Somebody else moves the clock."""


def time_of(account: Account, now: datetime) -> datetime:
    """What time it is for the account, when it is `now` for everybody else."""
    return account.clock_at or now


def in_books(account: str) -> str:
    """SQL that is true of rows of those accounts that a report is about: of test accounts where the parameter `tests`
    is true, else of all others. `account` is the column with the account's key."""
    return f"(({account} IN (SELECT id FROM billing_account WHERE clock_at IS NOT NULL)) = %(tests)s)"  # noqa: S608


def narrow(rows: Rows, *, account_id: int | None, road: str = "account") -> Rows:
    """The rows of an account that has its own clock, or for None those of all accounts that have none; `road` leads
    from a row to its account. For jobs that work through what is due."""
    return rows.filter(Q(**{road: account_id}) if account_id is not None else Q(**{f"{road}__clock_at": None}))


def open_clock(*, account_id: int, starts_at: datetime, now: datetime) -> TestClock:
    """Put an account on a test clock that shows `starts_at`; `now` is the real time. Raises HasClock.

    That nothing happened to the account after `starts_at` is the caller's to see to. Locks the account's row.
    """
    global _known_none_until
    _known_none_until = 0.0
    with transaction.atomic():
        account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
        if account.clock_at is not None:
            raise HasClock
        account.clock_at = starts_at
        account.save(update_fields=["clock_at"])
        return TestClock.objects.create(account=account, created_at=now)


def aim(*, account_id: int, target_at: datetime) -> TestClock:
    """Say where the clock is to be moved to. Raises ClockNotFound, ClockRunsBack, ClockMoving."""
    with transaction.atomic():
        clock = _lock(account_id)
        assert clock.account.clock_at is not None  # noqa: S101
        if clock.target_at is not None and not clock.problem:
            raise ClockMoving
        if target_at < clock.account.clock_at:
            raise ClockRunsBack
        clock.target_at, clock.problem = target_at, ""
        clock.save(update_fields=["target_at", "problem"])
        return clock


def take(*, account_id: int, now: datetime) -> TestClock | None:
    """Be the one who moves the clock for a while, in real time; None when it need not be moved or another does."""
    with transaction.atomic():
        clock = _lock(account_id)
        if clock.target_at is None or clock.problem or (clock.locked_until and clock.locked_until > now):
            return None
        clock.locked_until = now + LEASE
        clock.save(update_fields=["locked_until"])
        return clock


def show(*, account_id: int, at: datetime, now: datetime) -> None:
    """Let the clock show `at`, and hold it on; never back. Both are one statement each."""
    Account.objects.filter(pk=account_id, clock_at__lte=at).update(clock_at=at)
    TestClock.objects.filter(account=account_id).update(locked_until=now + LEASE)


def let_go(*, account_id: int) -> None:
    """Hold the clock no more; it is still on its way."""
    TestClock.objects.filter(account=account_id).update(locked_until=None)


def arrive(*, account_id: int, problem: str = "") -> None:
    """Let go of the clock: it is where it was to go, or stopped on the way because of `problem`."""
    rows = TestClock.objects.filter(account=account_id)
    if problem:
        rows.update(locked_until=None, problem=problem[:300])
    else:
        rows.update(locked_until=None, target_at=None, problem="")


def list_moving(*, now: datetime, limit: int) -> list[int]:
    """Accounts whose clock is on its way and held by nobody."""
    rows = TestClock.objects.filter(target_at__isnull=False, problem="")
    free = rows.filter(Q(locked_until=None) | Q(locked_until__lte=now))
    return list(free.order_by("pk").values_list("account_id", flat=True)[:limit])


def times_of_names(names: Iterable[str]) -> dict[str, datetime]:
    """The times of those accounts, by our id (`acc_…`) or the integrator's, that are on a test clock, by that name.

    No query where there are no clocks, which each process finds out a few times a second.
    """
    global _known_none_until
    if monotonic() < _known_none_until:
        return {}
    if not TestClock.objects.exists():
        _known_none_until = monotonic() + BELIEVED_SECONDS
        return {}
    asked = set(names)
    ours = {own for name in asked if (own := ids.find(ids.ACCOUNT, name)) is not None}
    rows = Account.objects.filter(Q(pk__in=ours) | Q(external_id__in=asked), clock_at__isnull=False)
    found: dict[str, datetime] = {}
    for pk, external_id, clock_at in rows.values_list("pk", "external_id", "clock_at"):
        assert clock_at is not None  # noqa: S101
        found |= {ids.encode(ids.ACCOUNT, pk): clock_at, external_id: clock_at}
    return {name: at for name, at in found.items() if name in asked}


def _lock(account_id: int) -> TestClock:
    account = Account.objects.select_for_update(no_key=True).filter(pk=account_id).first()
    clock = TestClock.objects.filter(account=account_id).first()
    if account is None or clock is None:
        raise ClockNotFound
    clock.account = account
    return clock
