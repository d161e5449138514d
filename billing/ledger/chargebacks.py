"""Taking credits back because the money for them was (L13), and giving them back when it comes again.

What is free of the lot is revoked; what was used of it (spent, held or moved elsewhere) becomes overdraft, which is
repaid from whatever comes into the pool. Credits that had ended unused are not asked for. A lot is itself and what
became of it in its pool: what was rolled over from it, and what came back of it after an earlier time.
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import Sum

from billing.ledger import moves, pools, posting
from billing.ledger.burn import owe, settle_overdraft
from billing.ledger.models import CreditGrant, GrantKind, LedgerEntry, Posting
from billing.ledger.pool_state import ZERO, Lot, draft, new_lot
from billing.ledger.pool_store import open_pools, write_pools

# A lot given back is good for this long at least.
SHORTEST = timedelta(days=1)


def take_back(
    *, grant_id: int, credits: Decimal, reference: str, note: str, now: datetime, others: Collection[str] = ()
) -> Decimal:
    """Take `credits` of a lot back: revoke what is free of it, and owe what was used; how many that came to.

    Once per reference, which begins with `posting.CHARGEBACK`: two postings at most, `reference` and
    `<reference>:used`. `others` are the references under which the same lot may have been taken back before: what is
    owed by them is not owed again. Locks the pool.
    """
    pool_id = CreditGrant.objects.values_list("pool_id", flat=True).get(pk=grant_id)
    with transaction.atomic():
        pools.lock([pool_id])
        sources = family(grant_id, pool_id)
        opened = open_pools([pool_id], now=now, postings=3, lot_ids=list(sources))
        known = Posting.objects.filter(pool_id=pool_id, reference__in=(reference, f"{reference}:used"))
        if known.exists():
            return sum(known.values_list("credits", flat=True), ZERO)
        state = opened.states[pool_id]
        lots = [lot for lot in state.lots if lot.id in sources]
        left = credits
        if any(lot.free > 0 for lot in lots) and left > 0:
            taken = draft(state, act="revoke", reference=reference, now=now)
            taken.note = note
            for lot in lots:
                if (part := min(lot.free, left)) > 0:
                    moves.revoke(state, taken, lot, part)
                    left -= part
        owed = min(left, _used(lots, sources) - _owed(pool_id, others))
        if owed > 0:
            debt = draft(state, act="spend", reference=f"{reference}:used", now=now)
            debt.note = note
            owe(state, debt, owed)
            settle_overdraft(state, now=now)
        write_pools(opened, now=now)
        return credits - left + max(owed, ZERO)


def give_back(*, grant_id: int, reference: str, note: str, waited: timedelta, now: datetime) -> Decimal:
    """Undo `take_back`: what was owed is owed no more (what repaid it goes back where it came from), and what was
    revoked comes as lots like the first, which end as much later as they were `waited` for; how many came. Once.
    Locks the pool."""
    pool_id = CreditGrant.objects.values_list("pool_id", flat=True).get(pk=grant_id)
    came = ZERO
    with transaction.atomic():
        pools.lock([pool_id])
        names = (reference, f"{reference}:used", f"{reference}:back")
        known = {row.reference: row for row in Posting.objects.filter(pool_id=pool_id, reference__in=names)}
        if (debt := known.get(f"{reference}:used")) is not None:
            with suppress(posting.AlreadyReversed):
                came += posting.reverse(posting_id=debt.pk, now=now, note=note).credits
        revoked = known.get(reference)
        if revoked is None or f"{reference}:back" in known:
            return came
        opened = open_pools([pool_id], now=now, postings=2)
        state = opened.states[pool_id]
        back = draft(state, act="grant", reference=f"{reference}:back", now=now)
        back.note = note
        for entry in revoked.entries.select_related("grant").order_by("line"):
            moves.grant(state, back, _again(entry, note=note, waited=waited, now=now))
        settle_overdraft(state, now=now)
        write_pools(opened, now=now)
        return came + back.credits


def family(grant_id: int, pool_id: int) -> dict[int, int | None]:
    """The lot and those of its pool that it has become, each with the one that it came from. Reads under the pool's
    lock are exact."""
    found: dict[int, int | None] = {grant_id: None}
    newest: Collection[int] = [grant_id]
    while newest:
        rows = CreditGrant.objects.filter(source_id__in=newest, pool_id=pool_id)
        newest = dict(rows.values_list("pk", "source_id"))
        found |= newest
    return found


def _again(entry: LedgerEntry, *, note: str, waited: timedelta, now: datetime) -> Lot:
    """A lot like the one that the entry has revoked of."""
    lot = entry.grant
    return new_lot(
        kind=lot.kind if lot.kind in posting.GRANTABLE else GrantKind.ADJUSTMENT,
        amount=-entry.amount,
        effective_at=now,
        expires_at=None if lot.expires_at is None else max(lot.expires_at + waited, now + SHORTEST),
        priority=lot.priority,
        cost_basis=lot.cost_basis,
        currency=lot.currency,
        meter_id=lot.meter_id,
        rollovers=lot.rollovers,
        source=lot.pk,
        note=note,
    )


def _used(lots: Iterable[Lot], sources: Mapping[int, int | None]) -> Decimal:
    """What of these lots was spent, is held or has left them for others. What has gone from one of them to another
    has left nobody."""
    used = ZERO
    for lot in lots:
        used += lot.spent - lot.reversed + lot.transferred + lot.held
        if sources[lot.id or 0] is not None and lot.kind == GrantKind.ROLLOVER:
            used -= lot.amount
    return used


def _owed(pool_id: int, references: Iterable[str]) -> Decimal:
    """What is owed by others of these references, and has not been given back."""
    debts = Posting.objects.filter(pool_id=pool_id, reference__in=[f"{name}:used" for name in references])
    back = Posting.objects.filter(reverses__in=debts)
    owed, undone = (rows.aggregate(sum=Sum("credits"))["sum"] or ZERO for rows in (debts, back))
    return owed - undone
