"""A pool's cycle: its allocation, what of it is spent, and the alerts on the way. Pure arithmetic, no I/O.

L12: a cycle's allocation is what was available when it began and what is granted since. Crossing 75, 90 and 100 %
is noted once each per cycle; a top-up arms again the thresholds that are ahead again.
"""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from billing.catalog import periods
from billing.ledger.book import DEBT_KINDS, ZERO, Book, Crossing, Lot

THRESHOLDS = (75, 90, 100)


def percent_spent(book: Book) -> Decimal:
    if not book.cycle_allocation:
        return ZERO
    return book.cycle_spent * 100 / book.cycle_allocation


def note_crossings(book: Book) -> None:
    """Note each threshold that spending has newly reached; a jump over several notes each of them."""
    percent = percent_spent(book)
    for threshold in THRESHOLDS:
        if book.alert_level < threshold <= percent:
            book.alert_level = threshold
            book.crossings.append(
                Crossing(threshold, book.cycle_number, book.alert_arming, book.cycle_spent, book.cycle_allocation)
            )


def lower_allocation(book: Book, amount: Decimal) -> None:
    """Credits leave the cycle unspent (transferred, revoked, paid for old debt): what is left may cross a threshold."""
    if amount:
        book.cycle_allocation = max(book.cycle_allocation - amount, ZERO)
        note_crossings(book)


def rearm(book: Book) -> None:
    """After a top-up: thresholds above today's percentage may be crossed, and told of, again."""
    percent = percent_spent(book)
    level = max((threshold for threshold in THRESHOLDS if threshold <= percent), default=0)
    if level < book.alert_level:
        book.alert_level = level
        book.alert_arming += 1


def roll_cycle(book: Book, *, now: datetime) -> None:
    """Begin the cycle `now` lies in, as often as cycles have ended: calendar months of the account's time zone, or what
    a subscription's periods are (`cycle_interval`, counted from `cycle_anchor_on`).

    A new cycle's allocation is what was left when it began (held credits too: their capture counts as spent) and what
    becomes effective before it ends; alerts are armed anew; overage counts from zero, on a new lot. Overdraft still
    owed is carried: it lowers the allocation when it is repaid, not before, so that it lowers it once.
    """
    while now >= book.cycle_ends_at:
        begin_cycle(book, starts_at=book.cycle_ends_at, ends_at=_cycle_end(book, book.cycle_ends_at))


def begin_cycle(book: Book, *, starts_at: datetime, ends_at: datetime) -> None:
    """End the book's cycle and begin the next, at once."""
    book.cycle_number += 1
    book.cycle_starts_at, book.cycle_ends_at = starts_at, ends_at
    of_cycle = (lot.remaining for lot in book.lots if is_of_cycle(book, lot))
    book.cycle_allocation = sum(of_cycle, ZERO)
    book.cycle_spent = book.cycle_overage = ZERO
    book.cycle_carried = book.overdraft
    book.alert_level = 0
    book.changed = True
    for lot in book.lots:
        if lot.kind == "overage" and lot.is_open:
            lot.is_open = False
            lot.changed = True


def _cycle_end(book: Book, starts_at: datetime) -> datetime:
    """When the cycle that begins at `starts_at` ends."""
    if book.cycle_anchor_on is None:
        return month_after(starts_at, book.time_zone)
    interval, count = book.cycle_interval, book.cycle_interval_count
    on = periods.day_of(starts_at, book.time_zone)
    number = periods.number_at(book.cycle_anchor_on, interval=interval, count=count, on=on)
    ends_on = periods.boundary(book.cycle_anchor_on, interval=interval, count=count, number=number + 1)
    return periods.first_moment(ends_on, book.time_zone)


def is_of_cycle(book: Book, lot: Lot) -> bool:
    """Whether a lot's credits are good at some time of the book's cycle, and so count in its allocation."""
    return (
        lot.kind not in DEBT_KINDS
        and lot.effective_at < book.cycle_ends_at
        and (lot.expires_at is None or lot.expires_at > book.cycle_starts_at)
    )


def month_start(at: datetime, time_zone: str) -> datetime:
    """Midnight of the first of the month that `at` lies in, in the time zone, as UTC."""
    local = at.astimezone(ZoneInfo(time_zone))
    return local.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC)


def month_after(at: datetime, time_zone: str) -> datetime:
    """Midnight of the first of the month after the one `at` lies in, in the time zone, as UTC."""
    local = at.astimezone(ZoneInfo(time_zone))
    year, month = (local.year + 1, 1) if local.month == 12 else (local.year, local.month + 1)
    first = local.replace(year=year, month=month, day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
    return first.astimezone(UTC)
