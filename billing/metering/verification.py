"""Proving the ledger and the usage it was spent on: every identity, the seal chain and exported heads, in one snapshot.

Never repairs.
"""

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from django.db import connection, transaction
from django.db.models import Count

from billing.accounts.models import Account, User
from billing.ledger.invariants import IDENTITIES, SCOPE
from billing.ledger.models import CreditPool, LedgerSeal, Posting, SealedRange
from billing.ledger.sealing import Range, link_digest, range_digests
from billing.metering.usage_invariants import USAGE_IDENTITIES, USAGE_SCOPE
from billing.notifications import outbox

STATEMENTS = (
    *((name, SCOPE + statement) for name, statement in IDENTITIES),
    *((name, USAGE_SCOPE + statement) for name, statement in USAGE_IDENTITIES),
)
# How many findings a staff notification spells out.
EXAMPLES = 20


class HeadsUnreadable(Exception):
    """A file of exported heads is missing, or a line of it is not what `seal_ledger --export` writes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. `account_id` and `pool_id` are None where the chain as a whole is concerned."""

    kind: str
    account_id: int | None
    pool_id: int | None
    subject: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject}: expected {self.expected}, found {self.found}"


@dataclass(slots=True)
class Report:
    """What was examined and every difference found."""

    verified_at: datetime
    accounts: int
    pools: int
    postings: int
    sealed: int = 0
    findings: list[Finding] = field(default_factory=list)


def _silent(_: str) -> None:
    return


def verify(
    *,
    account_ids: Collection[int] | None = None,
    heads_file: Path | None = None,
    now: datetime,
    progress: Callable[[str], None] = _silent,
) -> Report:
    """Examine the accounts (None: all, and the whole seal chain) in one snapshot while writers go on; writes nothing.

    Of single accounts it examines the sealed postings too, of the chain only what `heads_file` asks for: a file that
    `seal_ledger --export` wrote, or a folder of them. Raises HeadsUnreadable. `progress` is told what comes next.
    """
    heads = list(_read_heads(heads_file)) if heads_file else []
    accounts = None if account_ids is None else sorted(account_ids)
    with snapshot():
        report = _examined(accounts, now)
        for name, statement in STATEMENTS:
            progress(name)
            with connection.cursor() as cursor:
                cursor.execute(statement, {"accounts": accounts})
                report.findings += [_finding(*row) for row in cursor.fetchall()]
        progress("sealed postings")
        if accounts is None:
            _verify_chain(report)
        else:
            _verify_ranges(report, accounts)
        report.findings += _missing_heads(heads)
    return report


def verify_and_park(*, now: datetime, progress: Callable[[str], None] = _silent) -> Report:
    """Verify everything, park just the accounts with differences, and tell staff of each, once a day."""
    report = verify(now=now, progress=progress)
    by_account: dict[int | None, list[Finding]] = {}
    for finding in report.findings:
        by_account.setdefault(finding.account_id, []).append(finding)
    with transaction.atomic():
        staff = User.objects.filter(is_staff=True, is_active=True).order_by("pk").values_list("pk", "email")
        recipients = list(staff) or [(0, "")]
        for account_id, findings in by_account.items():
            _park(account_id, findings, now)
            for user_id, email in recipients:
                _tell(account_id, findings, user_id, email, now)
    return report


@contextmanager
def snapshot() -> Iterator[None]:
    """All statements see one moment. Inside a caller's transaction, that one is used as it is."""
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _examined(accounts: list[int] | None, now: datetime) -> Report:
    pools, postings = CreditPool.objects.all(), Posting.objects.all()
    if accounts is not None:
        pools, postings = pools.filter(account__in=accounts), postings.filter(pool__account__in=accounts)
    counts = pools.aggregate(pools=Count("pk"), accounts=Count("account", distinct=True))
    return Report(verified_at=now, accounts=counts["accounts"], pools=counts["pools"], postings=postings.count())


def _finding(
    kind: str, account_id: int | None, pool_id: int | None, subject: str, expected: object, found: object
) -> Finding:
    return Finding(kind, account_id, pool_id, subject, str(expected), str(found))


def _verify_chain(report: Report) -> None:
    """Each seal follows from the one before it and its ranges, and each range from its postings."""
    previous: LedgerSeal | None = None
    heads: dict[int, int] = {}
    for link in LedgerSeal.objects.order_by("pk").iterator(chunk_size=500):
        ranges = list(SealedRange.objects.filter(seal=link).select_related("pool").order_by("pool_id"))
        _verify_postings_of(ranges, heads, report)
        previous_id = previous.pk if previous else None
        if link.previous_id != previous_id:
            report.findings.append(_chain_finding("seal_order", link, f"after seal {previous_id}", link.previous_id))
        digest = link_digest(
            bytes(previous.digest) if previous else b"",
            [_range_of(each) for each in ranges],
            [bytes(each.digest) for each in ranges],
        )
        if digest != bytes(link.digest):
            report.findings.append(_chain_finding("seal_digest", link, digest.hex(), bytes(link.digest).hex()))
        count = sum(len(_range_of(each)) for each in ranges)
        if count != link.postings:
            report.findings.append(_chain_finding("seal_postings", link, count, link.postings))
        previous = link


def _verify_ranges(report: Report, accounts: list[int]) -> None:
    """The sealed postings of these accounts are as they were sealed."""
    heads: dict[int, int] = {}
    rows = SealedRange.objects.filter(pool__account__in=accounts).select_related("pool").order_by("pk")
    batch: list[SealedRange] = []
    for row in rows.iterator(chunk_size=500):
        batch.append(row)
        if len(batch) == 500:
            _verify_postings_of(batch, heads, report)
            batch = []
    _verify_postings_of(batch, heads, report)


def _verify_postings_of(ranges: list[SealedRange], heads: dict[int, int], report: Report) -> None:
    """Ranges of a pool follow each other without a gap (`heads`: last version by pool), with the digest they had."""
    if not ranges:
        return
    for row, digest in zip(ranges, range_digests([_range_of(each) for each in ranges]), strict=True):
        subject = f"seal {row.seal_id}, versions {row.first_version} to {row.last_version}"
        where = (row.pool.account_id, row.pool_id, subject)
        begins = heads.get(row.pool_id, 0) + 1
        if row.first_version != begins:
            report.findings.append(_finding("sealed_range", *where, f"from version {begins}", row.first_version))
        if digest != bytes(row.digest):
            report.findings.append(_finding("sealed_postings", *where, bytes(row.digest).hex(), digest.hex()))
        heads[row.pool_id] = row.last_version
        report.sealed += len(_range_of(row))


def _range_of(row: SealedRange) -> Range:
    return Range(row.pool_id, row.first_version, row.last_version)


def _chain_finding(kind: str, link: LedgerSeal, expected: object, found: object) -> Finding:
    return _finding(kind, None, None, f"seal {link.pk}", expected, found)


def _read_heads(path: Path) -> Iterator[tuple[int, str]]:
    """(seal id, digest) of each exported line."""
    try:
        files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        for file in files:
            for line in file.read_text(encoding="utf-8").splitlines():
                head = json.loads(line)
                yield int(head["seal"]), str(head["digest"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HeadsUnreadable(f"{path}: {error!r}") from error


def _missing_heads(heads: list[tuple[int, str]]) -> list[Finding]:
    digests = {link.pk: bytes(link.digest).hex() for link in LedgerSeal.objects.filter(pk__in=[pk for pk, _ in heads])}
    return [
        Finding("exported_head", None, None, f"seal {pk}", digest, digests.get(pk, "no such seal"))
        for pk, digest in heads
        if digests.get(pk) != digest
    ]


def _park(account_id: int | None, findings: list[Finding], now: datetime) -> None:
    if account_id is None:
        return
    reason = f"verify_ledger found {len(findings)} differences, first: {findings[0]}"[:200]
    Account.objects.filter(pk=account_id, parked_at=None).update(parked_at=now, parked_reason=reason)


def _tell(account_id: int | None, findings: list[Finding], user_id: int, email: str, now: datetime) -> None:
    """To staff, so not in the account's own inbox: the row names the account in its payload only. Without any staff
    user the row has no address, and stands among those that could not be delivered."""
    account = Account.objects.filter(pk=account_id).first() if account_id else None
    outbox.write(
        kind="ledger_difference",
        dedupe_key=f"ledger_difference:{account_id or 'chain'}:{now.astimezone(UTC):%Y-%m-%d}:{user_id}",
        account_id=None,
        email=email,
        payload={
            "account_id": account_id,
            "account_name": account.name if account else "",
            "differences": len(findings),
            "examples": [str(finding) for finding in findings[:EXAMPLES]],
        },
        now=now,
    )
