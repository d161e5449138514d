"""`manage.py import_usage FILE`: usage from a CSV or JSON-lines file, counted once however often it is run."""

import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.utils import timezone

from billing.management.progress import ProgressBar
from billing.metering.importing import Imported, ImportRunning, import_file
from billing.metering.tables import Mapping, MeterColumn, UnusableFile

WRONG_USAGE = 2
NOT_ALL_TAKEN = 3
STOPPED = 130

_METER = re.compile(r"(?P<key>[^=]+)=(?P<column>.+?)(?:\*(?P<factor>[0-9]{1,12}(?:\.[0-9]{1,12})?))?\Z", re.ASCII)

HELP = """Load usage from a CSV file (with a header line) or JSON lines, UTF-8.

With --meter, columns are mapped to events, one event per row and meter (an empty cell makes none). Without, each row
is an event in one of the API's own forms. Example:

  manage.py import_usage trace.csv --account acme --time-column TIMESTAMP --time-zone UTC \\
      --meter context_tokens=ContextTokens --meter generated_tokens=GeneratedTokens

Each batch is one transaction together with the note of how far the import has come. Killed or stopped, run the same
command again: it goes on where it was, and counts nothing twice. A finished import that is run again changes nothing.
Without --id-column, ids are made of the file's digest and the row's number; give --id-prefix for a file that may grow
or be corrected between two imports, so that its rows keep their ids.
Rows that are rejected are kept: see manage.py replay_rejected.

Exit codes: 0 all rows counted, now or before; 1 not started, or broken off (the message says why); 2 wrong usage;
3 finished, but events were rejected or in conflict; 130 stopped by Ctrl-C."""


class Command(BaseCommand):
    """Import, show the progress on stderr and the summary on stdout."""

    help = HELP

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> Any:
        """The parser, whose help keeps its lines."""
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which file, and which of its columns says what."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--format", choices=["csv", "jsonl"], help="default: by the file's name")
        parser.add_argument("--delimiter", default=",", help="of a CSV file; default: a comma")
        parser.add_argument(
            "--meter", action="append", default=[], type=_meter, metavar="KEY=COLUMN[*FACTOR]", dest="meters",
            help="the meter's quantity is in this column, times the factor (rounded to 6 decimals); may be repeated",
        )  # fmt: skip
        account = parser.add_mutually_exclusive_group()
        account.add_argument("--account", default="", help="the account of all rows: acc_… or its external id")
        account.add_argument("--account-column", default="", metavar="COLUMN")
        parser.add_argument("--time-column", default="", metavar="COLUMN")
        parser.add_argument("--time-zone", type=_zone, help="of times without an offset, e.g. UTC")
        parser.add_argument("--id-column", default="", metavar="COLUMN", help="where each row's own id is")
        parser.add_argument(
            "--source-column",
            default="",
            metavar="COLUMN",
            help="which system gave the row's id: ids are unique per source",
        )
        parser.add_argument("--id-prefix", default="", help="begins made-up ids, in place of the file's digest")
        parser.add_argument("--pool-column", default="", metavar="COLUMN")
        parser.add_argument("--member-column", default="", metavar="COLUMN")
        parser.add_argument(
            "--property", action="append", default=[], type=_property, metavar="NAME=COLUMN", dest="properties",
            help="a property of the events; may be repeated",
        )  # fmt: skip
        parser.add_argument("--batch-size", type=int, default=1000, help="rows per transaction; default: 1000")
        parser.add_argument("--dry-run", action="store_true", help="check every row and write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Import and exit with the code that the help promises."""
        path, mapping = options["file"], _mapping_of(options)
        if not 1 <= options["batch_size"] <= 10_000:
            raise CommandError("--batch-size: 1 to 10,000.", returncode=WRONG_USAGE)
        bar: ProgressBar | None = None

        def show(done: Imported) -> None:
            nonlocal bar
            bar = bar or ProgressBar(sys.stderr, total=done.rows_total, unit="rows", done=done.resumed_at)
            bar.show(done.rows_done)

        try:
            done = import_file(
                path=path, mapping=mapping, batch_size=options["batch_size"], now=timezone.now,
                dry_run=options["dry_run"], progress=show,
            )  # fmt: skip
        except UnusableFile as error:
            raise CommandError(f"{error} Nothing was imported.") from error
        except ImportRunning as error:
            raise CommandError("Another process is importing this file; this one leaves it to that.") from error
        except DatabaseError as error:
            raise CommandError(f"Broken off: {error}. Run the same command again to go on.") from error
        except KeyboardInterrupt:
            self.stderr.write("\nStopped. Run the same command again to go on.")
            sys.exit(STOPPED)
        if bar is not None:
            bar.finish(done.rows_done)
        self._summarise(done, dry_run=options["dry_run"])
        if done.rejected or done.conflicts:
            sys.exit(NOT_ALL_TAKEN)

    def _summarise(self, done: Imported, *, dry_run: bool) -> None:
        if done.was_finished:
            self.stdout.write("This import was finished before; nothing has changed.")
        elif done.resumed_at:
            self.stdout.write(f"Went on after row {done.resumed_at:,}.")
        self.stdout.write(
            f"{done.rows_done:,} rows: {done.accepted:,} events accepted, {done.duplicates:,} duplicates,"
            f" {done.conflicts:,} conflicts, {done.rejected:,} rejected."
        )
        for refused in done.reasons:
            self.stdout.write(f"  row {refused.row:,}: {refused.code}: {refused.detail}")
        if done.rejected and not dry_run:
            self.stdout.write(
                "What was rejected is kept. Fix the cause (add the account, the meter or the rate), then run:"
                " manage.py replay_rejected"
            )
        if dry_run:
            self.stdout.write("A dry run: nothing was written.")


def _meter(text: str) -> MeterColumn:
    match = _METER.match(text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is not KEY=COLUMN or KEY=COLUMN*FACTOR")
    return MeterColumn(match["key"], match["column"], Decimal(match["factor"] or 1))


def _property(text: str) -> tuple[str, str]:
    name, _, column = text.partition("=")
    if not name or not column:
        raise ArgumentTypeError(f"{text!r} is not NAME=COLUMN")
    return name, column


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ValueError, OSError, KeyError) as error:
        raise ArgumentTypeError(f"there is no time zone {text!r}") from error
    return text


def _mapping_of(options: dict[str, Any]) -> Mapping:
    """The options as a mapping. Raises CommandError for options that do not go together."""
    by_name = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
    format_ = options["format"] or by_name.get(options["file"].suffix.lower(), "")
    if not format_:
        raise CommandError("Say the file's --format: csv or jsonl.", returncode=WRONG_USAGE)
    delimiter = "\t" if options["delimiter"] == "\\t" else options["delimiter"]
    if len(delimiter) != 1:
        raise CommandError("--delimiter: one character.", returncode=WRONG_USAGE)
    names = (
        "account", "account_column", "time_column", "id_column", "source_column", "id_prefix", "pool_column",
        "member_column",
    )  # fmt: skip
    given = {name: options[name] for name in names}
    if options["meters"]:
        if not (options["account"] or options["account_column"]):
            raise CommandError("Whose usage is it? Give --account or --account-column.", returncode=WRONG_USAGE)
        if not options["time_column"]:
            raise CommandError("When did it happen? Give --time-column.", returncode=WRONG_USAGE)
    elif any(given.values()) or options["properties"] or options["time_zone"]:
        raise CommandError("Which columns are usage? Give --meter KEY=COLUMN.", returncode=WRONG_USAGE)
    return Mapping(
        format=format_,
        meters=tuple(options["meters"]),
        zone=options["time_zone"] or "",
        properties=tuple(options["properties"]),
        delimiter=delimiter,
        **given,
    )
