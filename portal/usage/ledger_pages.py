"""Reading a pool's ledger for people: pages of postings with what each drew from, and the same as CSV."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet, prefetch_related_objects

from billing.accounts import ids
from billing.ledger import history
from billing.ledger.models import CreditPool, LedgerEntry, Posting

PAGE = 50
# How many postings a page reads at most when it searches texts or lots: some 20 ms for a hundred thousand.
REACH = 100_000
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


@dataclass(frozen=True, slots=True)
class Search:
    """Which postings to show: of an act, touching lots of a kind, with a text in reference or note, posted in
    `[since, until)`. Empty: all."""

    act: str = ""
    kind: str = ""
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def reads_all(self) -> bool:
        """Whether no index knows the answer, so that postings must be read one by one."""
        return bool(self.text or self.kind)


@dataclass(frozen=True, slots=True)
class Page:
    """Some postings, newest first. `older` and `newer` are versions to go on from, None at the ledger's ends.

    `is_part`: only the latest REACH postings were searched, and there are older ones.
    """

    postings: list[Posting]
    older: int | None
    newer: int | None
    is_part: bool = False


def list_postings(pool: CreditPool, search: Search) -> QuerySet[Posting]:
    """The pool's postings that fit, newest first, with meter, member and what each drew from."""
    versions = history.versions_within(pool, since=search.since, until=search.until)
    return _fitting(pool, search).filter(_in(versions)).prefetch_related(_entries())


def list_latest(pool: CreditPool, count: int) -> list[Posting]:
    """The pool's latest postings, each with the `kinds` of lots that it touched."""
    kinds = LedgerEntry.objects.filter(posting=OuterRef("pk")).values("grant__kind").distinct()
    return list(_fitting(pool, Search()).annotate(kinds=ArraySubquery(kinds))[:count])


def _entries() -> Prefetch:
    return Prefetch("entries", queryset=LedgerEntry.objects.select_related("grant__meter").order_by("line"))


def _in(versions: range) -> Q:
    return Q(version__gte=versions.start, version__lt=versions.stop)


def _fitting(pool: CreditPool, search: Search) -> QuerySet[Posting]:
    postings = Posting.objects.filter(pool=pool).select_related("meter", "member__user").order_by("-version")
    if search.act:
        postings = postings.filter(act=search.act)
    if search.kind:
        postings = postings.filter(Exists(LedgerEntry.objects.filter(posting=OuterRef("pk"), grant__kind=search.kind)))
    if search.text:
        postings = postings.filter(Q(reference__icontains=search.text) | Q(note__icontains=search.text))
    return postings


def read_page(pool: CreditPool, search: Search, *, before: int | None, after: int | None) -> Page:
    """A page of the postings that fit, by key set: those before a version, else those after one, else the newest.

    A search that must read every posting reads REACH of them at most; the page then says so and goes on from there.
    A posting that has the searched text for its reference is found wherever it stands.
    """
    versions = history.versions_within(pool, since=search.since, until=search.until)
    fitting = _fitting(pool, search)
    reach = REACH if search.reads_all else len(versions)
    if after is not None and before is None:
        page = _read_up(fitting, versions, after, reach)
    else:
        page = _read_down(fitting, versions, before, reach)
        if page.is_part and before is None and search.text:
            known = {posting.pk for posting in page.postings}
            exact = _fitting(pool, replace(search, text="")).filter(_in(versions))
            exact = exact.filter(reference__in=(search.text, f"api:{search.text}"))
            page.postings.extend(posting for posting in exact if posting.pk not in known)
    prefetch_related_objects(page.postings, _entries())
    return page


def _read_down(fitting: QuerySet[Posting], versions: range, before: int | None, reach: int) -> Page:
    stop = versions.stop if before is None else max(min(before, versions.stop), versions.start)
    part = range(max(versions.start, stop - reach), stop)
    found = list(fitting.filter(_in(part))[: PAGE + 1])
    rows = found[:PAGE]
    newer = None
    if before is not None and stop < versions.stop:
        newer = rows[0].version if rows else stop - 1
    if len(found) > PAGE:
        return Page(rows, older=rows[-1].version, newer=newer)
    is_part = part.start > versions.start
    return Page(rows, older=part.start if is_part else None, newer=newer, is_part=is_part)


def _read_up(fitting: QuerySet[Posting], versions: range, after: int, reach: int) -> Page:
    start = min(max(after + 1, versions.start), versions.stop)
    part = range(start, min(versions.stop, start + reach))
    nearest = list(fitting.filter(_in(part)).order_by("version")[: PAGE + 1])
    rows = nearest[:PAGE][::-1]
    newer = part.stop - 1 if part.stop < versions.stop else None
    if len(nearest) > PAGE:
        newer = rows[0].version
    return Page(rows, older=rows[-1].version if rows else start, newer=newer)


def csv_rows(postings: QuerySet[Posting], zone: ZoneInfo) -> Iterator[Sequence[object]]:
    """The postings as rows of COLUMNS, read bit by bit, so that a long ledger needs no memory; with times in `zone`."""
    for posting in postings.iterator(chunk_size=CHUNK):
        lots = (f"{ids.encode(ids.GRANT, each.grant_id)}:{each.amount.normalize():f}" for each in posting.entries.all())
        yield (
            posting.posted_at.astimezone(zone),
            posting.occurred_at.astimezone(zone),
            posting.act,
            posting.reference,
            posting.meter.key if posting.meter else None,
            posting.member.user.email if posting.member else None,
            *(posting.credits, posting.amount, posting.balance_after, posting.overdraft_after),
            " ".join(lots),
            posting.note,
        )
