"""The acts on the ledger, each one database transaction: grant, spend, revoke, transfer, reverse, expire, roll over.

Every act locks its pools' rows in primary-key order. It happens once per (pool, reference): repeating it returns the
first posting; the same reference for another request (another `fingerprint`) raises ReferenceConflict. Credits are
`Decimal` with at most six decimals.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import blake2b

from django.conf import settings
from django.db import transaction

from billing.catalog.pricing import CREDIT_QUANTUM
from billing.ledger import moves
from billing.ledger.burn import InsufficientCredits, NotEnoughLeft, ensure_free, settle_overdraft
from billing.ledger.models import CreditGrant, CreditPool, GrantKind, LedgerEntry, Posting
from billing.ledger.pool_acts import count_against, ensure_at_work, grant_on, roll_over_on, spend_on
from billing.ledger.pool_state import (
    DEBT_KINDS,
    ROLLING_KINDS,
    ZERO,
    Draft,
    Lot,
    PoolState,
    available_for,
    charged_as_of,
    draft,
    is_closing,
)
from billing.ledger.pool_store import OpenPools, open_pools, write_pools

__all__ = ["InsufficientCredits", "NotEnoughLeft"]

GRANTABLE = frozenset(GrantKind.values) - {"overage", "overdraft", "transfer", "rollover"}
# What references begin with under which credits are taken back with their money (`chargebacks`): the debt that they
# leave is for use that has counted before.
CHARGEBACK = "chargeback:"


class ReferenceConflict(Exception):
    """The reference is in use for another request."""

    def __init__(self, posting: Posting) -> None:
        super().__init__(f"reference {posting.reference} is taken")
        self.posting = posting


class AlreadyReversed(Exception):
    """Nothing of the posting is left to reverse."""


class NotReversible(Exception):
    """Only spends can be reversed: take a grant back with `revoke`, a transfer with one the other way, and metered
    usage event by event."""


class GrantNotFound(LookupError):
    """No lot has this primary key."""


def find_posting(*, pool_id: int, reference: str, act: str, fingerprint: bytes | None = None) -> Posting | None:
    """The posting of this reference, if there is one.

    Raises ReferenceConflict when it was another act, or another request's (another fingerprint, or one without).
    """
    posting = Posting.objects.filter(pool_id=pool_id, reference=reference).first()
    if posting is None:
        return None
    if posting.act != act or bytes(posting.fingerprint or b"") != (fingerprint or b""):
        raise ReferenceConflict(posting)
    return posting


def _digest(*parts: object) -> bytes:
    return blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).digest()


def grant(
    *,
    pool_id: int,
    amount: Decimal,
    kind: str,
    reference: str,
    now: datetime,
    priority: int = 50,
    effective_at: datetime | None = None,
    expires_at: datetime | None = None,
    cost_basis: Decimal = ZERO,
    currency: str | None = None,
    meter_id: int | None = None,
    note: str = "",
    actor: str = "",
    fingerprint: bytes | None = None,
) -> Posting:
    """Add a lot of `amount` credits, valid in `[effective_at (default now), expires_at)`, and repay overdraft from it.

    `cost_basis` is money per credit in `currency` (default: the account's). Raises ValueError for an amount of zero or
    less, a kind that only the ledger itself makes, or a validity that ends before it begins.
    """
    if amount <= 0 or kind not in GRANTABLE or (expires_at and expires_at <= (effective_at or now)):
        raise ValueError("a grant needs a positive amount, a kind that can be granted and a validity that lasts")
    with transaction.atomic():
        opened = open_pools([pool_id], now=now, postings=2)
        if (
            first := find_posting(pool_id=pool_id, reference=reference, act="grant", fingerprint=fingerprint)
        ) is not None:
            return first
        state = opened.states[pool_id]
        posting = grant_on(
            state, kind=kind, amount=amount, reference=reference, effective_at=effective_at or now,
            expires_at=expires_at, priority=priority, cost_basis=cost_basis, currency=currency or "",
            meter_id=meter_id, note=note, now=now,
        )  # fmt: skip
        posting.fingerprint, posting.actor = fingerprint, actor
        write_pools(opened, now=now)
        return Posting.objects.get(pk=posting.id)


def spend(
    *,
    pool_id: int,
    credits: Decimal,
    reference: str,
    now: datetime,
    occurred_at: datetime | None = None,
    meter_id: int | None = None,
    member_id: int | None = None,
    note: str = "",
    actor: str = "",
    fingerprint: bytes | None = None,
) -> Posting:
    """Spend credits in burn order, then on the pool's exhaustion policy.

    Raises InsufficientCredits, SpendLimitReached, AccountParked, AccountPaused or ReferenceConflict; nothing is written
    then.
    """
    if credits <= 0:
        raise ValueError("a spend needs a positive amount")
    with transaction.atomic():
        opened = open_pools([pool_id], now=now, postings=1, member_ids=[member_id] if member_id else [])
        if (
            first := find_posting(pool_id=pool_id, reference=reference, act="spend", fingerprint=fingerprint)
        ) is not None:
            return first
        state = opened.states[pool_id]
        grace = settings.FLORIN_EXPIRY_GRACE_SECONDS
        charged_at = charged_as_of(state, min(occurred_at or now, now), now=now, grace_seconds=grace)
        spend_on(
            state, credits, reference=reference, charged_at=charged_at, limit=opened.limits.get(member_id or 0),
            meter_id=meter_id, member_id=member_id, note=note, actor=actor, fingerprint=fingerprint, now=now,
        )  # fmt: skip
        write_pools(opened, now=now)
        return Posting.objects.get(pool_id=pool_id, reference=reference)


def revoke(
    *, grant_id: int, reference: str, now: datetime, amount: Decimal | None = None, note: str = "", actor: str = ""
) -> Posting:
    """Take back `amount` (default: all that is free) of a lot.

    Raises NotEnoughLeft, GrantNotFound, or ValueError for an amount of zero or less; nothing is written then.
    """
    if amount is not None and amount <= 0:
        raise ValueError("a revocation needs a positive amount")
    pool_id, fingerprint = _pool_of(grant_id), _digest("revoke", grant_id, amount)
    with transaction.atomic():
        opened = open_pools([pool_id], now=now, postings=1, lot_ids=[grant_id])
        if (
            first := find_posting(pool_id=pool_id, reference=reference, act="revoke", fingerprint=fingerprint)
        ) is not None:
            return first
        state = opened.states[pool_id]
        lot = next(each for each in state.lots if each.id == grant_id)
        asked = lot.free if amount is None else amount
        ensure_free(max(asked, CREDIT_QUANTUM), lot.free)
        posting = draft(state, act="revoke", reference=reference, now=now)
        posting.actor, posting.note, posting.fingerprint = actor, note, fingerprint
        moves.revoke(state, posting, lot, asked)
        write_pools(opened, now=now)
        return Posting.objects.get(pk=posting.id)


def _pool_of(grant_id: int) -> int:
    pool_id = CreditGrant.objects.filter(pk=grant_id).values_list("pool_id", flat=True).first()
    if pool_id is None:
        raise GrantNotFound(grant_id)
    return pool_id


def transfer(
    *,
    from_pool_id: int,
    to_pool_id: int,
    amount: Decimal,
    reference: str,
    now: datetime,
    note: str = "",
    actor: str = "",
    fingerprint: bytes | None = None,
) -> Posting:
    """Move general credits between two pools of one account, each lot with its expiry and cost.

    Returns the outgoing posting.

    Both postings carry the reference and name each other. Raises NotEnoughLeft, AccountParked, AccountPaused,
    ReferenceConflict, or ValueError for a pool to itself, pools of two accounts, or an amount of zero or less.
    """
    if amount <= 0 or from_pool_id == to_pool_id:
        raise ValueError("a transfer needs a positive amount and two pools")
    fingerprint = fingerprint or _digest("transfer", from_pool_id, to_pool_id, amount.normalize())
    with transaction.atomic():
        opened = open_pools([from_pool_id, to_pool_id], now=now, postings=3)
        if (first := _find_transfer(from_pool_id, to_pool_id, reference, fingerprint)) is not None:
            return first
        source, target = opened.states[from_pool_id], opened.states[to_pool_id]
        if source.account_id != target.account_id:
            raise ValueError("a transfer stays within one account")
        ensure_at_work(source)
        ensure_free(amount, available_for(source, at=now, meter_id=None))
        out = draft(source, act="transfer", reference=reference, now=now)
        into = draft(target, act="transfer", reference=reference, now=now)
        out.counterpart_id, into.counterpart_id = into.id, out.id
        for posting in (out, into):
            posting.fingerprint, posting.actor, posting.note = fingerprint, actor, note
        moves.transfer(source, target, amount, out=out, into=into, now=now)
        settle_overdraft(target, now=now)
        write_pools(opened, now=now)
        return Posting.objects.get(pk=out.id)


def _find_transfer(from_pool_id: int, to_pool_id: int, reference: str, fingerprint: bytes) -> Posting | None:
    """The outgoing posting of this transfer; the reference must be free, or its own, in both pools."""
    out = find_posting(pool_id=from_pool_id, reference=reference, act="transfer", fingerprint=fingerprint)
    into = find_posting(pool_id=to_pool_id, reference=reference, act="transfer", fingerprint=fingerprint)
    if out is None and into is not None:
        raise ReferenceConflict(into)
    if out is not None and (into is None or out.counterpart_id != into.pk or out.amount > 0):
        raise ReferenceConflict(out)
    return out


def reverse(*, posting_id: int, now: datetime, note: str = "", actor: str = "") -> Posting:
    """Return what a spend still has not returned to the lots it came from, last burned first; at most once.

    Raises Posting.DoesNotExist, NotReversible for other acts and metered usage, AlreadyReversed when nothing is left.
    """
    original = Posting.objects.get(pk=posting_id)
    if original.act != Posting.Act.SPEND or _is_of_events(original):
        raise NotReversible(original.act)
    with transaction.atomic():
        opened, posting = reverse_part(original, now=now, reference=f"reverse:{posting_id}", window=None)
        posting.actor, posting.note = actor, note
        write_pools(opened, now=now)
        return Posting.objects.get(pk=posting.id)


def _is_of_events(posting: Posting) -> bool:
    """Whether metering posted it for usage events: those are reversed one by one, with their counters and totals."""
    is_metered_charge = posting.reference.startswith(("charge:", "charge@")) and posting.meter_id is not None
    return is_metered_charge or posting.reference.startswith(("usage:", "usage@"))


def reverse_part(
    original: Posting,
    *,
    now: datetime,
    reference: str,
    window: tuple[Decimal, Decimal] | None,
    extra_pool_ids: Sequence[int] = (),
    member_id: int | None = None,
) -> tuple[OpenPools, Draft]:
    """Open the posting's pool and return to its lots what burned between the `window` offsets (None: all that is left).

    The credits no longer count against the spend limit of `member_id` (default: the posting's member), if they counted
    this month. The caller is in a transaction, finishes the draft and writes the pools. Raises AlreadyReversed.
    """
    pool_id = original.pool_id
    wanted = sorted({pool_id, *extra_pool_ids})
    list(CreditPool.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk").values_list("pk"))
    entries = list(LedgerEntry.objects.filter(posting=original).order_by("line"))
    lot_ids = {entry.grant_id for entry in entries} | _payers_of(entries)
    member_id = member_id or original.member_id
    opened = open_pools(wanted, now=now, postings=2, lot_ids=lot_ids, member_ids=[member_id] if member_id else [])
    state = opened.states[pool_id]
    undos = _undos(state, entries, _returned(original), window)
    if not undos or Posting.objects.filter(pool_id=pool_id, reference=reference).exists():
        raise AlreadyReversed
    posting = draft(state, act="reverse", reference=reference, now=now)
    posting.reverses_id, posting.meter_id, posting.member_id = original.pk, original.meter_id, member_id
    in_cycle = original.posted_at >= state.cycle_starts_at and not is_closing(state, original.occurred_at)
    in_cycle = in_cycle and not original.reference.startswith(CHARGEBACK)
    moves.reverse(state, posting, undos, repaid_by=_repaid_by(state, undos), in_cycle=in_cycle)
    limit = opened.limits.get(member_id or 0)
    if limit is not None and original.posted_at >= limit.period_starts_at:
        count_against(limit, -posting.credits)
    settle_overdraft(state, now=now)
    return opened, posting


def _returned(original: Posting) -> dict[int, Decimal]:
    """Credits already returned of each line of a posting, by line number."""
    returned: dict[int, Decimal] = {}
    lines = LedgerEntry.objects.filter(posting__reverses=original, flow="reverse").values_list(
        "reverses_line", "amount"
    )
    for line, amount in lines:
        if line is not None:
            returned[line] = returned.get(line, ZERO) + amount
    return returned


def _undos(
    state: PoolState, entries: list[LedgerEntry], returned: dict[int, Decimal], window: tuple[Decimal, Decimal] | None
) -> list[moves.Undo]:
    """Which parts of the spend lines to give back, last burned first.

    A posting's spend lines stand in burn order, so the credits between two offsets are a slice of them. Returned
    parts never overlap: an event's slice is its own, and a whole reversal takes what is left of each line.
    """
    lots = {lot.id: lot for lot in state.lots}
    undos, offset = [], ZERO
    for entry in entries:
        if entry.flow != LedgerEntry.Flow.SPEND:
            continue
        size = -entry.amount
        left = size - returned.get(entry.line, ZERO)
        if window is None:
            part = left
        else:
            begins, ends = max(window[0], offset), min(window[1], offset + size)
            part = min(max(ends - begins, ZERO), left)
        if part > 0:
            undos.append(moves.Undo(entry.line, lots[entry.grant_id], part))
        offset += size
    return undos[::-1]


def _payers_of(entries: list[LedgerEntry]) -> set[int]:
    lot_ids = [entry.grant_id for entry in entries]
    return set(LedgerEntry.objects.filter(repays_id__in=lot_ids).values_list("grant_id", flat=True))


def _repaid_by(state: PoolState, undos: list[moves.Undo]) -> dict[int, list[tuple[Lot, Decimal]]]:
    """For debt lots: who repaid them and still has how much of it to get back, latest payer first."""
    debts = [undo.lot.id for undo in undos if undo.lot.kind in DEBT_KINDS]
    lots = {lot.id: lot for lot in state.lots}
    paid: dict[tuple[int, int], Decimal] = {}
    rows = LedgerEntry.objects.filter(repays_id__in=debts).order_by("posting_id", "line")
    for debt_id, payer_id, amount in rows.values_list("repays_id", "grant_id", "amount"):
        key = (debt_id or 0, payer_id)
        paid[key] = paid.pop(key, ZERO) - amount
    for line in [line for each in state.drafts for line in each.lines if line.repays is not None]:
        # Repaid a moment ago, when the pools were opened: not in the table yet.
        debt = line.repays.id if isinstance(line.repays, Lot) else line.repays
        key = (debt or 0, line.lot.id or 0)
        paid[key] = paid.pop(key, ZERO) - line.amount
    repaid: dict[int, list[tuple[Lot, Decimal]]] = {}
    for (debt, payer), amount in reversed(paid.items()):
        if amount > 0:
            repaid.setdefault(debt, []).append((lots[payer], amount))
    return repaid


def expire_lots(*, pool_ids: Collection[int], now: datetime, grace_seconds: int) -> int:
    """Post the breakage of these pools' lots whose end, plus grace, has passed; one posting a lot. How many lots.

    A lot that an open hold reserves waits until the hold ends (L6). Running again finds nothing more.
    """
    ended_by = now - timedelta(seconds=grace_seconds)
    with transaction.atomic():
        due = CreditGrant.objects.filter(pool_id__in=pool_ids, is_open=True, expires_at__lte=ended_by).count()
        # Under the locks another lot may have become open and due (a reversal): it waits for the next run.
        opened = open_pools(pool_ids, now=now, postings=due)
        expired = 0
        for state in opened.states.values():
            for lot in state.lots:
                if expired < due and _is_due(state, lot, ended_by):
                    reference = f"expire:{lot.id}@{lot.expired.normalize():f}"
                    posting = draft(state, act="expire", reference=reference, now=now, occurred_at=lot.expires_at)
                    moves.expire(state, posting, lot)
                    expired += 1
        write_pools(opened, now=now)
        return expired


def _is_due(state: PoolState, lot: Lot, ended_by: datetime) -> bool:
    if lot.expires_at is None or lot.expires_at > ended_by or lot.kind in DEBT_KINDS:
        return False
    if lot.kind in ROLLING_KINDS and state.renews_at is not None and lot.expires_at >= state.renews_at:
        return False
    return lot.remaining > 0 and not lot.held


def roll_over(
    *,
    pool_id: int,
    ends_at: datetime,
    new_expires_at: datetime | None,
    rule: moves.RolloverRule,
    reference: str,
    now: datetime,
    grace_seconds: int = 0,
) -> Posting | None:
    """Roll what may live on past a period's end into new lots and, after the grace, expire the rest (L10); None when
    there is nothing to do."""
    with transaction.atomic():
        opened = open_pools([pool_id], now=now, postings=1)
        if (first := find_posting(pool_id=pool_id, reference=reference, act="rollover")) is not None:
            return first
        state = opened.states[pool_id]
        posting = roll_over_on(
            state, ends_at=ends_at, new_expires_at=new_expires_at, rule=rule, grace_seconds=grace_seconds,
            reference=reference, now=now,
        )  # fmt: skip
        if posting is None:
            return None
        write_pools(opened, now=now)
        return Posting.objects.get(pk=posting.id)
