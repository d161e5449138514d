"""`manage.py import_transfers FILE`: bank transfers from a statement as CSV, each once however often it is run."""

from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from billing.payments import transfer_files
from billing.payments.transfer_files import FIELDS, Reading, UnusableFile

NOT_ALL_TAKEN = 3

HELP = f"""Load bank transfers from a CSV file with a header line (comma, semicolon or tab), UTF-8.

Columns: {", ".join(FIELDS)}.
Needed are received_on, an amount, and currency unless --currency says it. Days are 2026-11-23, 23.11.2026 or
23/11/2026. Which way the money went stands in the amount's sign, in a direction (C, H, credit, in; D, S, debit, out),
or in two columns of amounts, credit and debit. A file with another column that may say so is refused until the column
is named, or --signed is given. Name columns so:

  manage.py import_transfers statement.csv --currency EUR --decimal-comma --column received_on=Buchungstag \\
      --column amount=Betrag --column payer=Auftraggeber --column remittance=Verwendungszweck

Money going out is passed over. A row whose direction is not understood is refused. A transfer whose payer wrote an
invoice's number pays it, wholly or in part; one of exactly what a known payer owes, too. The rest waits for staff:
admin, Bank transfers. Statements may overlap: rows are known by the bank's reference, or else by what they say.

Exit codes: 0 all rows read, now or before; 1 the file cannot be used; 3 some rows could not be read."""


class Command(BaseCommand):
    """Import and say how it went."""

    help = HELP

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> Any:
        """The parser, whose help keeps its lines."""
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which file, and which of its columns says what."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--column", action="append", default=[], type=_column, metavar="FIELD=COLUMN")
        parser.add_argument("--currency", default="", help="of rows that say none")
        parser.add_argument("--decimal-comma", action="store_true", help="amounts are written 1.234,56")
        parser.add_argument(
            "--signed", action="store_true", help="the sign of the amount alone says which way the money went"
        )
        parser.add_argument("--encoding", default="utf-8-sig")

    def handle(self, *args: Any, **options: Any) -> None:
        """Import and exit with the code that the help promises."""
        reading = Reading(dict(options["column"]), options["currency"], options["decimal_comma"], options["signed"])
        try:
            with options["file"].open(encoding=options["encoding"], newline="") as file:
                done = transfer_files.import_file(file, reading=reading, actor="import_transfers", now=timezone.now())
        except (OSError, LookupError, UnusableFile) as error:
            raise CommandError(str(error)) from error
        for refused in done.refused:
            self.stderr.write(f"line {refused.line}: {refused.reason}")
        self.stdout.write(
            f"{done.new} new, {done.known} known, {done.outgoing} going out, {len(done.refused)} refused; "
            f"{done.payments} payments made"
        )
        if done.refused:
            raise SystemExit(NOT_ALL_TAKEN)


def _column(text: str) -> tuple[str, str]:
    name, sign, column = text.partition("=")
    if name not in FIELDS or not (sign and column):
        raise ArgumentTypeError(f"must look like FIELD=COLUMN with one of {', '.join(FIELDS)}")
    return name, column
