"""Sealing: a hash chain over postings, so that a change made after a head was exported is evident.

A range is a run of versions of one pool without a gap; its digest is the SHA-256 of its postings' canonical text, one
line each. A seal's digest is the SHA-256 of the previous seal's digest (nothing for the first) followed, for each range
in pool order, by `pool:first-last:` in ASCII and the range's digest. A posting's canonical text is the JSON array that
`_CANONICAL` builds of all its columns and all its entries, as PostgreSQL prints jsonb: numbers with six decimals, times
as microseconds since 1970.

Sealing runs behind the writers and takes none of their locks. A pool's versions have no gap and are committed in order,
so what lies up to a pool's head is complete.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.db import connection, transaction
from django.db.models import Sum

from billing.ledger.models import LedgerSeal, SealedRange

# Any number will do, as long as nothing else in this database takes the same advisory lock.
SEALING_LOCK = 7_061_984


@dataclass(frozen=True, slots=True)
class Range:
    """Versions `first_version` to `last_version` of a pool, both included."""

    pool_id: int
    first_version: int
    last_version: int

    def __len__(self) -> int:
        return self.last_version - self.first_version + 1


# For each pool the versions after its last range, as far as none is missing; at most %(limit)s over all pools.
_UNSEALED = """
SELECT pool_id, min(version), max(version) FROM (
    SELECT pool.id AS pool_id, fresh.version
    FROM billing_creditpool pool
    LEFT JOIN LATERAL (
        SELECT last_version FROM billing_sealedrange WHERE pool_id = pool.id ORDER BY first_version DESC LIMIT 1
    ) done ON true
    JOIN LATERAL (
        SELECT version, row_number() OVER (ORDER BY version) AS number FROM billing_posting
        WHERE pool_id = pool.id AND version > coalesce(done.last_version, 0)
        ORDER BY version LIMIT %(limit)s
    ) fresh ON fresh.version = coalesce(done.last_version, 0) + fresh.number
    WHERE pool.version > coalesce(done.last_version, 0)
    ORDER BY pool.id, fresh.version LIMIT %(limit)s
) unsealed
GROUP BY pool_id ORDER BY pool_id
"""
_CANONICAL = """
SELECT r.number, jsonb_build_array(
    p.pool_id, p.version, p.id, p.act, p.reference, encode(p.fingerprint, 'hex'), p.credits, p.amount,
    p.balance_before, p.balance_after, p.overdraft_after, (extract(epoch FROM p.posted_at) * 1000000)::bigint,
    (extract(epoch FROM p.occurred_at) * 1000000)::bigint, p.meter_id, p.member_id, p.hold_id, p.reverses_id,
    p.counterpart_id, p.actor, p.note,
    (SELECT jsonb_agg(jsonb_build_array(e.line, e.grant_id, e.flow, e.amount, e.reverses_line, e.repays_id)
                      ORDER BY e.line) FROM billing_ledgerentry e WHERE e.posting_id = p.id))::text
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) WITH ORDINALITY AS r(pool_id, first_version, last_version, number)
JOIN billing_posting p ON p.pool_id = r.pool_id AND p.version BETWEEN r.first_version AND r.last_version
ORDER BY r.number, p.version
"""


def seal(*, now: datetime, batch: int = 10_000) -> int:
    """Seal every posting committed by now, at most `batch` a seal; how many postings.

    Each seal is its own transaction. Two sealers at once take turns on an advisory lock, so the chain never forks.
    Running again with nothing new writes nothing.
    """
    sealed = 0
    while count := _seal_batch(now, batch):
        sealed += count
    return sealed


def _seal_batch(now: datetime, batch: int) -> int:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SEALING_LOCK])
            cursor.execute(_UNSEALED, {"limit": batch})
            ranges = [Range(*row) for row in cursor.fetchall()]
        if not ranges:
            return 0
        previous = LedgerSeal.objects.order_by("-pk").first()
        digests = range_digests(ranges)
        count = sum(len(each) for each in ranges)
        link = LedgerSeal.objects.create(
            previous=previous,
            digest=link_digest(bytes(previous.digest) if previous else b"", ranges, digests),
            postings=count,
            sealed_at=now,
        )
        SealedRange.objects.bulk_create(
            SealedRange(
                seal=link,
                pool_id=each.pool_id,
                first_version=each.first_version,
                last_version=each.last_version,
                digest=digest,
            )
            for each, digest in zip(ranges, digests, strict=True)
        )
        return count


def range_digests(ranges: Sequence[Range]) -> list[bytes]:
    """The digest of each range as its postings are now; a missing posting or entry changes it too."""
    hashes = [hashlib.sha256() for _ in ranges]
    columns = zip(*((each.pool_id, each.first_version, each.last_version) for each in ranges), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(_CANONICAL, [list(column) for column in columns])
        for number, text in cursor:
            hashes[number - 1].update(text.encode() + b"\n")
    return [each.digest() for each in hashes]


def link_digest(previous: bytes, ranges: Sequence[Range], digests: Sequence[bytes]) -> bytes:
    """The digest of a seal over these ranges, which stand in pool order."""
    whole = hashlib.sha256(previous)
    for each, digest in zip(ranges, digests, strict=True):
        whole.update(f"{each.pool_id}:{each.first_version}-{each.last_version}:".encode() + digest)
    return whole.digest()


def export_head(*, directory: Path, now: datetime) -> Path | None:
    """Append the newest seal as one JSON line to the day's file in `directory`; its path, or None without any seal.

    The line is written by one call and is on the disk when this returns. Keep the files where whoever runs the database
    cannot change them: only then they prove something.
    """
    head = LedgerSeal.objects.order_by("-pk").first()
    if head is None:
        return None
    # Postings sealed by then: a seal's number and this total say how long the chain was.
    line = {
        "seal": head.pk,
        "digest": bytes(head.digest).hex(),
        "sealed_at": head.sealed_at.astimezone(UTC).isoformat(),
        "postings": LedgerSeal.objects.aggregate(total=Sum("postings"))["total"],
        "exported_at": now.astimezone(UTC).isoformat(),
    }
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"seals-{now.astimezone(UTC):%Y-%m-%d}.jsonl"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _sync_directory(directory)
    return path


def _sync_directory(directory: Path) -> None:
    """Put a new file's name on the disk too."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
