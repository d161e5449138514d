"""Telling of what a pool's people asked to hear: thresholds of the cycle (L12) and a low balance.

Noted while the books are open and written with them, so a crossing is told of exactly when it is true.
"""

from collections.abc import Collection
from datetime import UTC, datetime

from billing.ledger.book import Book, Fall, left
from billing.ledger.models import CreditPool
from billing.notifications import outbox


def note_low_balance(book: Book, *, now: datetime) -> None:
    """Note once that the balance has fallen below what the pool has set; armed again when it is back.

    The balance here is what is left of lots valid now less overdraft. What holds reserve is still there until it is
    spent, so that work which reserves and gives back does not tell again and again.
    """
    if book.low_balance_below is None:
        return
    remaining = left(book, at=now)
    is_low = remaining < book.low_balance_below
    if is_low and not book.low_balance_told:
        book.fall = Fall(remaining, book.low_balance_below)
    book.low_balance_told = is_low


def write_alerts(books: Collection[Book], *, now: datetime) -> None:
    """Write what has been noted to the outbox. Asks the database for nothing when there is nothing to tell."""
    telling = [book for book in books if book.crossings or book.fall]
    if not telling:
        return
    names = dict(CreditPool.objects.filter(pk__in=[b.pool_id for b in telling]).values_list("pk", "name"))
    for book in telling:
        _write_crossings(book, names[book.pool_id], now)
        if book.fall is not None:
            _write_fall(book, book.fall, names[book.pool_id], now)


def _write_crossings(book: Book, name: str, now: datetime) -> None:
    for crossing in book.crossings:
        outbox.write(
            kind="threshold",
            dedupe_key=f"threshold:{book.pool_id}:{crossing.cycle_number}:{crossing.threshold}:{crossing.arming}",
            account_id=book.account_id,
            payload={
                "pool": book.key,
                "pool_name": name,
                "threshold": crossing.threshold,
                "spent": str(crossing.spent),
                "allocation": str(crossing.allocation),
                "cycle_ends_at": book.cycle_ends_at.astimezone(UTC).isoformat(),
            },
            now=now,
        )


def _write_fall(book: Book, fall: Fall, name: str, now: datetime) -> None:
    outbox.write(
        kind="low_balance",
        # The lock and the pool's mark say it once; the version and the time only tell one fall from the next.
        dedupe_key=f"low_balance:{book.pool_id}:{book.version}:{now.astimezone(UTC).isoformat()}",
        account_id=book.account_id,
        payload={
            "pool": book.key,
            "pool_name": name,
            "available": str(fall.left),
            "threshold": str(fall.below),
        },
        now=now,
    )
