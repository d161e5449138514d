"""Importing usage from a file: each batch of rows is one transaction together with how far the import has come.

So a row counts once, however often the import is killed and started again. `tables.py` reads the files.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from django.db import transaction

from billing.catalog.models import Meter
from billing.metering.ingest import BatchResult, take_events_in_their_time
from billing.metering.models import ImportRun
from billing.metering.resolve import resolve
from billing.metering.tables import Mapping, Source, UnusableFile, events_of, open_source

# An import may bring usage of any age.
IMPORT_MAX_AGE = timedelta(days=20_000)
MAX_REASONS = 5


class ImportRunning(Exception):
    """Another process imports the same file in the same way right now."""


@dataclass(slots=True)
class Refused:
    """Why one row of the file was not taken."""

    row: int
    code: str
    detail: str


@dataclass(slots=True)
class Imported:
    """How far an import has come: rows done of about so many, and what became of the events in them.

    `reasons` are the first that this process met. `resumed_at` is the row where it took over, `was_finished` says that
    nothing was left to do.
    """

    rows_total: int
    rows_done: int = 0
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    resumed_at: int = 0
    was_finished: bool = False
    reasons: list[Refused] = field(default_factory=list)


def import_file(
    *,
    path: Path,
    mapping: Mapping,
    batch_size: int,
    now: Callable[[], datetime],
    dry_run: bool = False,
    progress: Callable[[Imported], None] | None = None,
) -> Imported:
    """Import a file, going on where an earlier import of the same content and mapping ended.

    Rejected events are kept for replay. `now` is asked for each batch, for an import may take hours; `progress` hears
    the totals after each. A dry run does the same in transactions that it rolls back. Raises UnusableFile before the
    first row, or ImportRunning. Locks: the import's row, then the pools, a batch at a time.
    """
    source = open_source(path, mapping)
    _check_names(mapping)
    started_at = now()
    run = ImportRun(digest=source.digest, name=path.name[:200], started_at=started_at)
    if not dry_run:
        ImportRun.objects.bulk_create([run], ignore_conflicts=True)
        with transaction.atomic():  # Waits for the last batch of an import that was killed a moment ago.
            run = ImportRun.objects.select_for_update(no_key=True).get(digest=source.digest)
    done = Imported(source.rows_total, resumed_at=run.rows_done, was_finished=run.finished_at is not None)
    _tell(done, run)
    if done.was_finished:
        return done
    with source.rows() as rows:
        numbered = islice(enumerate(rows, start=1), run.rows_done, None)
        while batch := list(islice(numbered, batch_size)):
            run = _take_batch(run, batch, source, done, now(), dry_run)
            _tell(done, run)
            if progress is not None:
                progress(done)
    if not dry_run:
        ImportRun.objects.filter(pk=run.pk).update(finished_at=now())
    return done


def _check_names(mapping: Mapping) -> None:
    """Meters and the account that the mapping names must exist. Raises UnusableFile."""
    keys = {meter.key for meter in mapping.meters}
    known = set(Meter.objects.filter(key__in=keys, archived_at=None).values_list("key", flat=True))
    if missing := sorted(keys - known):
        raise UnusableFile(f"There is no active meter {missing[0]!r}.")
    if mapping.account and mapping.account not in resolve(accounts=[mapping.account], pools=(), members=()).accounts:
        raise UnusableFile(f"There is no account {mapping.account!r}.")


def _take_batch(
    run: ImportRun,
    batch: list[tuple[int, object]],
    source: Source,
    done: Imported,
    now: datetime,
    dry_run: bool,
) -> ImportRun:
    """Take the events of some rows and note them as done, in one transaction."""
    numbers, events = [], []
    for number, row in batch:
        for event in events_of(row, number, source):
            numbers.append(number)
            events.append(event)
    with transaction.atomic():
        if not dry_run:
            locked = ImportRun.objects.select_for_update(no_key=True).get(pk=run.pk)
            if locked.rows_done != run.rows_done or locked.finished_at is not None:
                raise ImportRunning
            run = locked
        taken = take_events_in_their_time(events=events, now=now, door="import", max_age=IMPORT_MAX_AGE, actor="import")
        run.rows_done += len(batch)
        run.accepted += taken.accepted
        run.duplicates += taken.duplicates
        run.conflicts += taken.conflicts
        run.rejected += taken.rejected
        if dry_run:
            transaction.set_rollback(True)
        else:
            run.save()
    _note_reasons(done, numbers, taken)
    return run


def _note_reasons(done: Imported, numbers: list[int], taken: BatchResult) -> None:
    if len(done.reasons) >= MAX_REASONS or not (taken.rejected or taken.conflicts):
        return
    refused = (
        Refused(number, result.code, result.detail)
        for number, result in zip(numbers, taken.results, strict=True)
        if result.status in ("rejected", "conflict")
    )
    done.reasons += islice(refused, MAX_REASONS - len(done.reasons))


def _tell(done: Imported, run: ImportRun) -> None:
    done.rows_done, done.accepted, done.duplicates = run.rows_done, run.accepted, run.duplicates
    done.conflicts, done.rejected = run.conflicts, run.rejected
