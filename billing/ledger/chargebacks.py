"""Taking credits back because the money for them was (L13), and giving them back when it comes again.

What is free of the lot is revoked; what was used of it (spent, held or moved elsewhere) becomes overdraft, which is
repaid from whatever comes into the pool. Credits that had ended unused are not asked for.
"""

from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction

from billing.ledger import moves, pools, posting
from billing.ledger.book import ZERO, draft
from billing.ledger.books import open_books, write_books
from billing.ledger.burn import owe, settle_overdraft
from billing.ledger.models import CreditGrant, GrantKind, Posting

# A lot given back is good for this long at least.
SHORTEST = timedelta(days=1)


def take_back(*, grant_id: int, credits: Decimal, reference: str, note: str, now: datetime) -> None:
    """Take `credits` of a lot back: revoke what is free of it, and owe what was used. Once per reference: two postings
    at most, `reference` and `<reference>:used`. Locks the pool."""
    pool_id = CreditGrant.objects.values_list("pool_id", flat=True).get(pk=grant_id)
    with transaction.atomic():
        opened = open_books([pool_id], now=now, postings=3, lot_ids=[grant_id])
        if Posting.objects.filter(pool_id=pool_id, reference__in=(reference, f"{reference}:used")).exists():
            return
        book = opened.books[pool_id]
        lot = next(each for each in book.lots if each.id == grant_id)
        used = lot.spent - lot.reversed + lot.transferred + lot.held
        revoked = min(lot.free, credits)
        owed = min(credits - revoked, used)
        if revoked > 0:
            taken = draft(book, act="revoke", reference=reference, now=now)
            taken.note = note
            moves.revoke(book, taken, lot, revoked)
        if owed > 0:
            debt = draft(book, act="spend", reference=f"{reference}:used", now=now)
            debt.note = note
            owe(book, debt, owed)
            settle_overdraft(book, now=now)
        write_books(opened, now=now)


def give_back(*, grant_id: int, reference: str, note: str, waited: timedelta, now: datetime) -> None:
    """Undo `take_back`: what was owed is owed no more (what repaid it goes back where it came from), and what was
    revoked comes as a lot like the first, which ends as much later as it was `waited` for. Once. Locks the pool."""
    lot = CreditGrant.objects.get(pk=grant_id)
    with transaction.atomic():
        pools.lock([lot.pool_id])
        taken = {row.reference: row for row in Posting.objects.filter(
            pool_id=lot.pool_id, reference__in=(reference, f"{reference}:used")
        )}  # fmt: skip
        if (debt := taken.get(f"{reference}:used")) is not None:
            with suppress(posting.AlreadyReversed):
                posting.reverse(posting_id=debt.pk, now=now, note=note)
        if (revoked := taken.get(reference)) is None or revoked.credits <= ZERO:
            return
        ends = None if lot.expires_at is None else max(lot.expires_at + waited, now + SHORTEST)
        posting.grant(
            pool_id=lot.pool_id,
            amount=revoked.credits,
            kind=lot.kind if lot.kind in posting.GRANTABLE else GrantKind.ADJUSTMENT,
            reference=f"{reference}:back",
            now=now,
            priority=lot.priority,
            expires_at=ends,
            cost_basis=lot.cost_basis,
            currency=lot.currency,
            meter_id=lot.meter_id,
            note=note,
        )
