"""`Idempotency-Key`: one request of an API key, rotated or not, runs at most once at a time, and its first answer is
kept.

A request begins by claiming the key with a lease. While the lease runs, a second request is told to come back; once it
has run out without an answer the holder is taken for dead, and the next request takes over. The lease carries an id,
so a holder that was overtaken cannot write its answer over the other's.

The effect itself must be safe to repeat, for a holder may die after its effect and before its answer: callers give
their act a ledger reference made from the idempotency key.
"""

import math
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.accounts.models import IdempotencyKey


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run the request and to write its answer, until another takes over."""

    row_id: int
    lease: uuid.UUID


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What was answered the first time."""

    status: int
    body: str
    content_type: str


class KeyReused(Exception):
    """The key has been used for another request."""


class InProgress(Exception):
    """The first request still runs, or died less than a lease ago."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds


def begin(
    *, lineage: uuid.UUID, key: str, fingerprint: bytes, lease_seconds: int, now: datetime
) -> Claim | StoredAnswer:
    """Claim the key for this request, or return the answer it has had already.

    `fingerprint` is the digest of method, path and body. Must run outside a transaction, or no other request sees the
    claim. Raises KeyReused for another fingerprint, InProgress while another request holds the key.
    """
    claim = uuid.uuid4()
    fresh = IdempotencyKey(
        lineage=lineage,
        key=key,
        fingerprint=fingerprint,
        created_at=now,
        locked_until=now + timedelta(seconds=lease_seconds),
        lease=claim,
    )
    while True:
        IdempotencyKey.objects.bulk_create([fresh], ignore_conflicts=True)
        row = IdempotencyKey.objects.filter(lineage=lineage, key=key).first()
        if row is None:
            # Freed between the two statements: claim again.
            continue
        if row.lease == claim:
            return Claim(row_id=row.pk, lease=claim)
        if bytes(row.fingerprint) != fingerprint:
            raise KeyReused
        if row.status is not None:
            return StoredAnswer(status=row.status, body=row.body, content_type=row.content_type)
        if row.locked_until > now:
            raise InProgress(math.ceil((row.locked_until - now).total_seconds()))
        # The old lease is part of the condition: of several that find it over, one takes over.
        taken = IdempotencyKey.objects.filter(pk=row.pk, lease=row.lease, status=None)
        if taken.update(lease=claim, locked_until=fresh.locked_until):
            return Claim(row_id=row.pk, lease=claim)


def finish(*, claim: Claim, status: int, body: str, content_type: str) -> bool:
    """Keep the answer for later requests. False when another request has taken over, whose answer counts."""
    held = IdempotencyKey.objects.filter(pk=claim.row_id, lease=claim.lease, status=None)
    return bool(held.update(status=status, body=body, content_type=content_type))


def abandon(*, claim: Claim) -> None:
    """Free the key, so that the same request may try again at once."""
    IdempotencyKey.objects.filter(pk=claim.row_id, lease=claim.lease, status=None).delete()


def purge(*, older_than: datetime, now: datetime, limit: int) -> int:
    """Delete keys made before `older_than` that nobody runs under, at most `limit`; return how many."""
    old = IdempotencyKey.objects.filter(created_at__lt=older_than, locked_until__lt=now).order_by("created_at")
    deleted, _ = IdempotencyKey.objects.filter(pk__in=old.values("pk")[:limit]).delete()
    return deleted
