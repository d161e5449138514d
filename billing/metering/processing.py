"""From usage to credits, in one database transaction: duplicates found, rated, burned, stored, counted.

Single events, charges and batches all come through `process`. Locks: the pools concerned and their accounts' main
pools, in primary-key order, so all usage of one account is rated one after the other. Facts are taken before charges.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.db import transaction

from billing.accounts import ids
from billing.catalog.pricing import AmountTooLarge, best_price, charge_credits, settle
from billing.ledger import balance
from billing.ledger.burn import InsufficientCredits
from billing.ledger.pool_acts import AccountParked, AccountPaused, FactPosting, SpendLimitReached, spend_on
from billing.ledger.pool_state import (
    DEBT_KINDS,
    PoolState,
    available,
    turn,
)
from billing.ledger.pool_store import OpenPools, open_pools
from billing.ledger.posting import ReferenceConflict
from billing.metering.events import InvalidEvent
from billing.metering.known import Known, known_statements, read_known
from billing.metering.resolve import resolve
from billing.metering.store import Tally, store_rejected, write_usage
from billing.metering.work import ZERO, Work, find_out

# A cycle moves a few times a year; twice while one batch waits for its locks means that something else is wrong.
ATTEMPTS = 3
# Well below what the columns hold (10^18), so that sums over a pool's life stay within them.
LARGEST = Decimal(10**17)

Refusal = (InsufficientCredits, SpendLimitReached, AccountParked, AccountPaused, ReferenceConflict)


def process(
    works: Sequence[Work],
    *,
    now: datetime,
    door: str = "api",
    keep_rejected: bool = True,
    patience_ms: int | None = None,
) -> None:
    """Take events and charges; each work's verdict and figures are set, and of an event what its account then has in
    the main pool. All or nothing for what is written.

    Rejected events are kept in the same transaction, unless told otherwise (a replay has them already). With
    `patience_ms` it fails rather than wait longer for a lock. Raises only what makes the whole batch fail.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _process_once(works, now=now, door=door, keep_rejected=keep_rejected, patience_ms=patience_ms)
            return
        except CycleMoved:
            if attempt == ATTEMPTS:
                raise
            for work in works:
                work.start_over()


class CycleMoved(Exception):
    """A subscription has begun another cycle since the account was looked up; what the usage counts in may differ."""


def _process_once(
    works: Sequence[Work], *, now: datetime, door: str, keep_rejected: bool, patience_ms: int | None
) -> None:
    open_works = [work for work in works if not work.verdict and work.usage]
    if open_works:
        world = resolve(
            accounts={work.usage.account for work in open_works if work.usage},
            pools={work.usage.pool for work in open_works if work.usage and work.usage.pool},
            members={found for work in open_works if work.usage and (found := ids.find(ids.MEMBER, work.usage.member))},
        )
        for work in open_works:
            find_out(work, world, now=now, grace_seconds=settings.FLORIN_EXPIRY_GRACE_SECONDS)
    ready = [work for work in open_works if not work.verdict]
    balances: dict[int, Decimal] = {}
    with transaction.atomic():
        if ready:
            balances = _take(ready, now, patience_ms)
        rejected = [work for work in works if work.verdict == "rejected" and not work.is_charge]
        if rejected and keep_rejected:
            store_rejected(rejected, now=now, door=door)
        _tell_accounts_credits(works, balances, now)


def _tell_accounts_credits(works: Sequence[Work], balances: dict[int, Decimal], now: datetime) -> None:
    """Set what the main pool of each event's account has; the pools that none of the works opened are read now."""
    events = [(work, work.account.main_pool_id) for work in works if work.account and not work.is_charge]
    unread = {pool_id for _, pool_id in events} - balances.keys()
    if unread:
        balances |= {pool_id: found.available for pool_id, found in balance.read_many(unread, now=now).items()}
    for work, pool_id in events:
        work.available = balances[pool_id]


def rate(work: Work, known: Known) -> None:
    """Set what the usage counts for, its price and its credits. Raises InvalidEvent (no_rate) or AmountTooLarge."""
    usage, meter = work.usage, work.meter
    if usage is None:
        return
    if work.bare_credits is not None or meter is None:
        work.credits = work.bare_credits or ZERO
        return
    if work.derived:
        work.counted = usage.quantity
    elif meter.kind == "gauge":
        work.counted = ZERO
        return
    elif meter.kind == "unique":
        work.counted = known.count_of_value(work)
    else:
        work.counted = Decimal(1) if meter.counts_events else usage.quantity
    work.price = best_price(work.prices, usage.properties)
    if work.price is None:
        raise InvalidEvent("no_rate", "No rate of the meter matches these properties.", "properties")
    if work.counted:
        credits = charge_credits(work.price, before=known.counter(work), quantity=work.counted)
        correction = known.correction(work)
        work.credits, left = settle(credits, correction)
        work.corrected = left - correction


def ensure_holdable(work: Work, state: PoolState) -> None:
    """Raise AmountTooLarge for what the columns could not hold, before anything is changed, so it sinks no batch."""
    quantity = work.usage.quantity if work.usage and work.bare_credits is None else ZERO
    debts = sum((lot.amount for lot in state.lots if lot.kind in DEBT_KINDS), ZERO)
    if quantity >= LARGEST or max(state.cycle_spent, state.overdraft, debts) + work.credits >= LARGEST:
        raise AmountTooLarge


def _take(works: list[Work], now: datetime, patience_ms: int | None) -> dict[int, Decimal]:
    """Returns the credits that are then available in each of the pools that were opened, by its id."""
    pool_ids = {work.pool_id for work in works}
    pool_ids |= {work.account.main_pool_id for work in works if work.account}
    charges = sum(work.is_charge for work in works)
    # Facts of the cycle before, of this one and of the next stand on postings of their own.
    sides = 3 if any(_is_of_other_cycle(work) for work in works) else 1
    opened = open_pools(
        pool_ids,
        now=now,
        postings=len(pool_ids) * sides + charges,
        member_ids={work.member_id for work in works if work.member_id},
        extras=known_statements(works),
        patience_ms=patience_ms,
    )
    _ensure_same_cycles(works, opened)
    known, tally = read_known(opened.extras), Tally()
    facts: dict[tuple[int, int], FactPosting] = {}
    for work in sorted(works, key=lambda each: each.is_charge) if charges else works:
        if _is_repeat(work, known):
            continue
        try:
            rate(work, known)
            ensure_holdable(work, opened.states[work.pool_id])
            if work.is_charge or work.credits:
                _spend(work, opened, None if work.is_charge else _facts_of(work, opened, facts), now)
        except InvalidEvent as fault:
            work.reject(fault)
            continue
        except AmountTooLarge:
            work.reject(InvalidEvent("amount_too_large", "This is more than a pool can hold.", "quantity"))
            continue
        except Refusal as refusal:
            work.verdict, work.refusal = "refused", refusal
            continue
        work.verdict = "accepted"
        known.count(work)
        tally.add(work)
    write_usage(opened, tally, now=now)
    balances = {pool_id: available(state, at=now) for pool_id, state in opened.states.items()}
    for work in works:
        work.available = balances[work.pool_id]
    return balances


def _is_of_other_cycle(work: Work) -> bool:
    account = work.account
    return account is not None and not account.cycle_starts_at <= work.charged_at < account.cycle_ends_at


def _facts_of(work: Work, opened: OpenPools, facts: dict[tuple[int, int], FactPosting]) -> FactPosting:
    state = opened.states[work.pool_id]
    key = (state.pool_id, turn(state, work.charged_at))
    if key not in facts:
        facts[key] = FactPosting(state)
    return facts[key]


def _ensure_same_cycles(works: Sequence[Work], opened: OpenPools) -> None:
    """Raise CycleMoved where an account's main pool, now locked, is in another cycle than its usage was judged by."""
    for account in {work.account.id: work.account for work in works if work.account}.values():
        state = opened.states[account.main_pool_id]
        found = (state.last_cycle_starts_at, state.cycle_starts_at, state.cycle_ends_at)
        if found != (account.last_cycle_starts_at, account.cycle_starts_at, account.cycle_ends_at):
            raise CycleMoved


def _is_repeat(work: Work, known: Known) -> bool:
    """Whether this id is taken; then the work carries the first's result, or is a conflict."""
    first = known.first_of(work)
    if first is None:
        return False
    usage = work.usage
    if usage is None or first.fingerprint != usage.fingerprint:
        work.verdict = "conflict"
    else:
        work.verdict = "duplicate"
        work.credits, work.posting_id, work.late = first.credits, first.posting_id, first.late
    return True


def _spend(work: Work, opened: OpenPools, facts: FactPosting | None, now: datetime) -> None:
    """Spend for a charge on a posting of its own, or for an event on the one of its pool and cycle in this batch; what
    that burned before is the event's offset. Raises what refuses a charge, before any change."""
    burned = facts.posting.credits if facts and facts.posting else ZERO
    work.draft = spend_on(
        opened.states[work.pool_id],
        work.credits,
        reference=work.reference("usage" if facts else "charge"),
        charged_at=work.charged_at,
        limit=opened.limits.get(work.member_id or 0),
        meter_id=work.meter.id if work.meter else None,
        member_id=work.member_id,
        note=work.note,
        actor=work.actor,
        fingerprint=work.usage.fingerprint if work.usage and not facts else None,
        facts=facts,
        now=now,
    )
    if work.draft:
        work.posting_id, work.burn_offset = work.draft.id, burned
