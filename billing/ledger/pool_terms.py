"""How pools follow a subscription: policy and cycles. Pure, but for the statements that it returns."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from billing.ledger.book import Book
from billing.ledger.cycles import begin_cycle
from billing.sql.pipeline import Statement


@dataclass(frozen=True, slots=True)
class PoolTerms:
    """How an account's pools behave under a subscription: cycles of `interval_count` intervals counted from
    `anchor_on`; the policy is the main pool's. Allocations that end from `renews_at` on are the renewal's to end."""

    policy: str
    burst_limit: Decimal
    overage_cap: Decimal | None
    interval: str
    interval_count: int
    anchor_on: date | None
    renews_at: datetime | None


def apply(book: Book, terms: PoolTerms, *, is_main: bool, cycle: tuple[datetime, datetime] | None) -> list[Statement]:
    """Let a book follow the terms, `cycle` being the one that runs now (None: leave it); the statements that write what
    `write_books` does not, none where nothing has changed."""
    if cycle is not None:
        _align(book, *cycle)
    wanted = (terms.interval, terms.interval_count, terms.anchor_on, terms.renews_at if is_main else None)
    found = (book.cycle_interval, book.cycle_interval_count, book.cycle_anchor_on, book.renews_at)
    policy = (terms.policy, terms.burst_limit, terms.overage_cap)
    if wanted == found and (not is_main or policy == (book.policy, book.burst_limit, book.overage_cap)):
        return []
    book.cycle_interval, book.cycle_interval_count, book.cycle_anchor_on, book.renews_at = wanted
    if is_main:
        book.policy, book.burst_limit, book.overage_cap = policy
    return [(_WRITE, [*wanted, book.policy, book.burst_limit, book.overage_cap, book.pool_id])]


_WRITE = """
UPDATE billing_creditpool SET cycle_interval = %s, cycle_interval_count = %s, cycle_anchor_on = %s, renews_at = %s,
    policy = %s, burst_limit = %s, overage_cap = %s
WHERE id = %s
"""


def _align(book: Book, starts_at: datetime, ends_at: datetime) -> None:
    """Make this the book's cycle. One that has begun already goes on with its new bounds."""
    if starts_at > book.cycle_starts_at:
        begin_cycle(book, starts_at=starts_at, ends_at=ends_at)
    elif (starts_at, ends_at) != (book.cycle_starts_at, book.cycle_ends_at):
        book.cycle_starts_at, book.cycle_ends_at, book.changed = starts_at, ends_at, True
