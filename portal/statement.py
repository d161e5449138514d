"""Reading a pool's ledger for people: pages of postings with what each drew from, and the same as CSV."""

import csv
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from django.db.models import Prefetch, QuerySet

from billing.ledger.models import CreditPool, LedgerEntry, Posting

PAGE = 50
CHUNK = 1000
COLUMNS = (
    "posted_at",
    "occurred_at",
    "act",
    "reference",
    "meter",
    "member",
    "credits",
    "balance_change",
    "balance_after",
    "overdraft_after",
    "lots",
    "note",
)
# A spreadsheet may take a cell that begins with one of these for a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True, slots=True)
class Page:
    """Some postings, newest first. `older` and `newer` are versions to go on from, None at the ledger's ends."""

    postings: list[Posting]
    older: int | None
    newer: int | None


def list_postings(pool: CreditPool) -> QuerySet[Posting]:
    """The pool's postings, newest first, with meter, member and what each drew from."""
    entries = LedgerEntry.objects.select_related("grant__meter").order_by("line")
    return (
        Posting.objects.filter(pool=pool)
        .select_related("meter", "member__user")
        .prefetch_related(Prefetch("entries", queryset=entries))
        .order_by("-version")
    )


def read_page(postings: QuerySet[Posting], *, before: int | None, after: int | None) -> Page:
    """A page of `postings` by key set: those before a version, else those after one, else the newest."""
    if after is not None and before is None:
        nearest = list(postings.filter(version__gt=after).order_by("version")[: PAGE + 1])
        rows = nearest[:PAGE][::-1]
        newer = rows[0].version if len(nearest) > PAGE else None
        return Page(rows, older=rows[-1].version if rows else None, newer=newer)
    found = list((postings.filter(version__lt=before) if before is not None else postings)[: PAGE + 1])
    rows = found[:PAGE]
    older = rows[-1].version if len(found) > PAGE else None
    newer = rows[0].version if rows and before is not None else None
    return Page(rows, older=older, newer=newer)


class _Echo:
    """A file for csv.writer that hands each line back instead of keeping it."""

    def write(self, line: str) -> str:
        return line


def stream_csv(postings: QuerySet[Posting], zone: ZoneInfo) -> Iterator[str]:
    """The postings as CSV, line by line, so that a long ledger needs no memory. Times are ISO 8601 in `zone`."""
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for posting in postings.iterator(chunk_size=CHUNK):
        yield writer.writerow(_row(posting, zone))


def _row(posting: Posting, zone: ZoneInfo) -> list[str]:
    lots = " ".join(f"grt_{entry.grant_id}:{entry.amount.normalize():f}" for entry in posting.entries.all())
    return [
        posting.posted_at.astimezone(zone).isoformat(timespec="seconds"),
        posting.occurred_at.astimezone(zone).isoformat(timespec="seconds"),
        posting.act,
        inert(posting.reference),
        posting.meter.key if posting.meter else "",
        inert(posting.member.user.email) if posting.member else "",
        f"{posting.credits.normalize():f}",
        f"{posting.amount.normalize():f}",
        f"{posting.balance_after.normalize():f}",
        f"{posting.overdraft_after.normalize():f}",
        lots,
        inert(posting.note),
    ]


def inert(cell: str) -> str:
    """The text, with an apostrophe in front if a spreadsheet would run it as a formula."""
    # NFKC, because spreadsheets take the full-width forms of these characters for the plain ones.
    plain = unicodedata.normalize("NFKC", cell.lstrip(" "))
    return f"'{cell}" if plain.startswith(FORMULA_STARTS) else cell
