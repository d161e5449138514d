"""What a subscription does to pools: policy, cycles, allocations, the end of a period, debts repaid late.

Pure arithmetic on books, no I/O, but for `pools.set_terms` and `pools.clear_terms`, which use it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from billing.ledger import moves
from billing.ledger.book import ZERO, Book, Draft, Line, Lot, draft, is_handed_on, move, new_lot
from billing.ledger.burn import settle_overdraft
from billing.ledger.cycles import begin_cycle
from billing.ledger.pipeline import Statement


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


def grant(
    book: Book,
    *,
    kind: str,
    amount: Decimal,
    effective_at: datetime,
    expires_at: datetime,
    cost_basis: Decimal,
    currency: str,
    reference: str,
    note: str,
    late_debts: Collection[int],
    now: datetime,
) -> Draft:
    """Grant the credits of `[effective_at, expires_at)`, by `now` or late, and repay debts from them.

    What was overdrawn, and overage on the lots `late_debts` (those that were made while these credits should have been
    there and have not been invoiced), is repaid from them, even if they have ended meanwhile: it would never have come
    up had they come in time.
    """
    posting = draft(book, act="grant", reference=reference, now=now)
    posting.note = note
    lot = new_lot(
        kind=kind, amount=amount, effective_at=effective_at, expires_at=expires_at, cost_basis=cost_basis,
        currency=currency, note=note,
    )  # fmt: skip
    moves.grant(book, posting, lot)
    _repay_late(book, lot, late_debts, now=now)
    settle_overdraft(book, now=now)
    return posting


def _repay_late(book: Book, payer: Lot, debt_ids: Collection[int], *, now: datetime) -> None:
    """Repay overage made while `payer` should have been there, and overdraft where it has ended already."""
    debts = [lot for lot in book.lots if lot.outstanding > 0 and _is_late_debt(lot, payer, debt_ids, now)]
    payers = [lot for lot in book.lots if lot.free > 0 and (lot is payer or _came_with(lot, payer))]
    if not debts or not payers:
        return
    posting = draft(book, act="repay", reference=f"repay:{book.version + 1}", now=now)
    for debt in debts:
        for lot in payers:
            paid = min(lot.free, debt.outstanding)
            if paid > 0:
                _repay(book, posting, lot, debt, paid)


def _came_with(lot: Lot, payer: Lot) -> bool:
    """Whether a lot was rolled over to where `payer` begins: in time, it would have been burned first."""
    return lot.kind == "rollover" and lot.effective_at == payer.effective_at


def _is_late_debt(lot: Lot, payer: Lot, debt_ids: Collection[int], now: datetime) -> bool:
    """Of overdraft, what began before credits that came too late had ended; credits still good settle by themselves."""
    if lot.kind == "overage":
        return lot.id in debt_ids
    if lot.kind != "overdraft" or payer.expires_at is None or now < payer.expires_at:
        return False
    return lot.effective_at < payer.expires_at


def _repay(book: Book, posting: Draft, payer: Lot, debt: Lot, paid: Decimal) -> None:
    if debt.kind == "overdraft":
        book.overdraft -= paid
        book.cycle_carried = min(book.cycle_carried, book.overdraft)
    elif debt.effective_at >= book.cycle_starts_at:
        book.cycle_overage = max(book.cycle_overage - paid, ZERO)
    was_open = debt.is_open
    if is_handed_on(book, payer):
        book.cycle_rolled_spent += paid
    move(book, posting, Line(payer, "spend", -paid, repays=debt))
    move(book, posting, Line(debt, "reverse", paid))
    move(book, posting, Line(debt, "revoke", -paid))
    if debt.kind == "overage":
        debt.is_open = was_open
    posting.credits += paid


def end_period(
    book: Book,
    *,
    ends_at: datetime,
    new_expires_at: datetime | None,
    rule: moves.RolloverRule,
    grace_seconds: int,
    reference: str,
    now: datetime,
) -> Draft | None:
    """Roll over what may live on past `ends_at` and, after the grace, expire the rest (L10); None: nothing to do.

    Within the grace the rest waits for usage of the period that is still to come. It and what an open hold reserves
    stay in their lots; the expiry job posts what is left of them.
    """
    in_grace = now < ends_at + timedelta(seconds=grace_seconds)
    if not moves.ending_lots(book, ends_at) or (in_grace and not moves.rolls_any(book, ends_at=ends_at, rule=rule)):
        return None
    posting = draft(book, act="rollover", reference=reference, now=now, occurred_at=ends_at)
    moves.roll_over(book, posting, ends_at=ends_at, new_expires_at=new_expires_at, rule=rule, in_grace=in_grace)
    return posting
