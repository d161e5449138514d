"""From usage to credits, in one database transaction: duplicates found, rated, burned, stored, counted.

Single events, charges and batches all come through `process`. Locks: the pools concerned and their accounts' main
pools, in primary-key order, so all usage of one account is rated one after the other. Facts are taken before charges.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.db import transaction

from billing.catalog.pricing import AmountTooLarge, best_price, charge_credits
from billing.ledger.book import Book, available, draft, spendable
from billing.ledger.books import OpenBooks, open_books
from billing.ledger.burn import InsufficientCredits, burn
from billing.ledger.posting import AccountParked, ReferenceConflict, SpendLimitReached, admit, count_against
from billing.metering.events import InvalidEvent
from billing.metering.known import Known, known_statements, read_known
from billing.metering.resolve import member_id_of, resolve
from billing.metering.store import Tally, store_rejected, write_usage
from billing.metering.work import ZERO, Work, find_out

Refusal = (InsufficientCredits, SpendLimitReached, AccountParked, ReferenceConflict)


def process(
    works: Sequence[Work],
    *,
    now: datetime,
    api_key_id: int | None = None,
    source: str = "api",
    keep_rejected: bool = True,
) -> None:
    """Take events and charges; each work's verdict and figures are set. All or nothing for what is written.

    Rejected events are kept in the same transaction, unless told otherwise (a replay has them already). Raises only
    what makes the whole batch fail (a lost database).
    """
    open_works = [work for work in works if not work.verdict and work.usage]
    if open_works:
        world = resolve(
            accounts={work.usage.account for work in open_works if work.usage},
            pools={work.usage.pool for work in open_works if work.usage and work.usage.pool},
            members={found for work in open_works if work.usage and (found := member_id_of(work.usage.member))},
        )
        for work in open_works:
            find_out(work, world, now=now, grace_seconds=settings.FLORIN_EXPIRY_GRACE_SECONDS)
    ready = [work for work in open_works if not work.verdict]
    with transaction.atomic():
        if ready:
            _take(ready, now)
        rejected = [work for work in works if work.verdict == "rejected" and not work.is_charge]
        if rejected and keep_rejected:
            store_rejected(rejected, now=now, api_key_id=api_key_id, source=source)


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
    before = known.counter(work)
    work.credits = charge_credits(work.price, before=before, quantity=work.counted)


def _take(works: list[Work], now: datetime) -> None:
    pool_ids = {work.pool_id for work in works}
    pool_ids |= {work.account.main_pool_id for work in works if work.account}
    charges = sum(work.is_charge for work in works)
    opened = open_books(
        pool_ids,
        now=now,
        postings=len(pool_ids) + charges,
        member_ids={work.member_id for work in works if work.member_id},
        extras=known_statements(works),
    )
    known, tally = read_known(opened.extras), Tally()
    fact_drafts: dict[int, Work] = {}
    for work in sorted(works, key=lambda each: each.is_charge) if charges else works:
        if _is_repeat(work, known):
            continue
        try:
            rate(work, known)
            if work.is_charge:
                _burn_charge(work, opened, now)
            elif work.credits:
                _burn_fact(work, opened, fact_drafts, now)
        except InvalidEvent as fault:
            work.reject(fault)
            continue
        except AmountTooLarge:
            work.reject(InvalidEvent("amount_too_large", "This would cost 10^18 credits or more.", "quantity"))
            continue
        except Refusal as refusal:
            work.verdict, work.refusal = "refused", refusal
            continue
        work.verdict = "accepted"
        known.count(work)
        tally.add(work)
        count_against(opened.limits.get(work.member_id or 0), work.credits)
    write_usage(opened, tally, now=now)
    for work in works:
        if work.pool_id in opened.books:
            work.available = available(opened.books[work.pool_id], at=now)


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


def _burn_charge(work: Work, opened: OpenBooks, now: datetime) -> None:
    """Spend for one charge with a posting of its own. Raises what refuses it, before any change."""
    book, limit = opened.books[work.pool_id], opened.limits.get(work.member_id or 0)
    meter_id = work.meter.id if work.meter else None
    lots = admit(book, work.credits, limit=limit, now=now, occurred_at=work.occurred_at, meter_id=meter_id)
    if work.credits:
        _begin(work, book, f"charge:{work.usage.id if work.usage else ''}", now)
        if work.draft:
            work.draft.fingerprint = work.usage.fingerprint if work.usage else None
            burn(book, work.draft, work.credits, lots=lots)


def _burn_fact(work: Work, opened: OpenBooks, first_of_pool: dict[int, Work], now: datetime) -> None:
    """Spend for one event on the posting its pool has for this batch; what that burned before is the event's offset."""
    book = opened.books[work.pool_id]
    first = first_of_pool.setdefault(work.pool_id, work)
    if first is work:
        _begin(work, book, f"usage:{work.usage.id if work.usage else ''}", now)
    posting = first.draft
    if posting is None:
        return
    meter_id = work.meter.id if work.meter else None
    if posting.meter_id != meter_id:
        posting.meter_id = None
    if posting.member_id != work.member_id:
        posting.member_id = None
    work.draft, work.posting_id, work.burn_offset = posting, posting.id, posting.credits
    lots = spendable(book, now=now, occurred_at=work.occurred_at, meter_id=meter_id)
    burn(book, posting, work.credits, lots=lots)


def _begin(work: Work, book: Book, reference: str, now: datetime) -> None:
    posting = draft(book, act="spend", reference=reference, now=now, occurred_at=work.occurred_at)
    posting.meter_id = work.meter.id if work.meter else None
    posting.member_id, posting.actor, posting.note = work.member_id, work.actor, work.note
    work.draft, work.posting_id = posting, posting.id
