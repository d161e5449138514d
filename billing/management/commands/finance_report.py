"""`manage.py finance_report`: the finance report with its proof. Exit 0: it holds, 1: differences, 2: could not run."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from billing.finance import gateway_proof, reports, revenue
from billing.finance.months import day_of, first_moment, index_of
from billing.finance.proof import Check
from billing.finance.reports import Report
from billing.payments.gateways import contract, registry
from billing.payments.models import GatewayName
from billing.wording import csv_files
from billing.wording.amounts import money_text

DIFFERENCES = 1
COULD_NOT_RUN = 2
ZERO = Decimal(0)


class Command(BaseCommand):
    """Print the report of some months, and write it as CSV files."""

    help = (
        "Deferred revenue rolled forward, recognised revenue, breakage, receivables, tax and journal of some months"
        " (UTC), from one consistent snapshot, and the proof that they meet the ledger and the documents. Exit code 0:"
        " everything meets; 1: differences, each named; 2: it could not run. Writes nothing to the database."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which months, which currency, where files go."""
        parser.add_argument("--from", type=_month, metavar="YYYY-MM", help="first month (default: eleven before --to)")
        parser.add_argument("--to", type=_month, metavar="YYYY-MM", help="last month (default: this one, so far)")
        parser.add_argument("--currency", metavar="EUR", help="only this one")
        parser.add_argument(
            "--test-accounts", action="store_true", help="of accounts on test clocks, which are left out otherwise"
        )
        parser.add_argument("--csv", type=Path, metavar="DIR", help="write each part as a file into this folder")
        parser.add_argument(
            "--gateway",
            action="store_true",
            help="also compare payments, refunds and disputes with Stripe's balance transactions, charge by charge",
        )
        parser.add_argument(
            "--now", type=_moment, metavar="TIME", help="for a database that `simulate` has moved into the future"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Read, print, write, and exit with the code that the help promises."""
        now = options["now"] or timezone.now()
        report = self._read(options["from"], options["to"], tests=options["test_accounts"], now=now)
        if options["gateway"]:
            report = replace(report, checks=[*report.checks, *self._compare()])
        if (currency := options["currency"]) is not None:
            if currency.upper() not in report.currencies:
                raise CommandError(f"nothing has happened in {currency!r}", returncode=COULD_NOT_RUN)
            report = report.of(currency.upper())
        for each in report.currencies:
            self._print(each, report.of(each))
        self._print_proof(report)
        if options["csv"] is not None:
            self._write(options["csv"], report)
        if not report.holds:
            sys.exit(DIFFERENCES)

    def _compare(self) -> list[Check]:
        name = GatewayName.STRIPE
        try:
            return gateway_proof.compare(name=name, movements=registry.books(name).list_movements())
        except contract.NoGateway:
            raise CommandError("no Stripe key is set (FLORIN_STRIPE_SECRET_KEY)", returncode=COULD_NOT_RUN) from None
        except contract.GatewayUnavailable as error:
            raise CommandError(f"Stripe gives no answer: {error}", returncode=COULD_NOT_RUN) from None

    def _read(self, first: date | None, last: date | None, *, tests: bool, now: datetime) -> Report:
        last = last or now.date().replace(day=1)
        first = first or day_of(index_of(last) - 11)
        if first > last or first_moment(first) > now:
            raise CommandError("--from must not be later than --to, nor than now", returncode=COULD_NOT_RUN)
        return reports.read(starts_on=first, until=min(first_moment(day_of(index_of(last) + 1)), now), tests=tests)

    def _print(self, currency: str, report: Report) -> None:
        self.stdout.write(f"\n{currency}: deferred revenue")
        for sheet in report.sheets:
            self._table(
                ("month", "opening", "sold", "waiting", "refunded", "voided", "use", "time", "breakage", "adjusted",
                 "rounding", "closing"),
                [[f"{row.month:%Y-%m}", *row.deferred.values] for row in sheet.rows], currency,
            )  # fmt: skip
            last = sheet.rows[-1]
            self.stdout.write(
                f"  of which credits in hand {money_text(last.in_lots, currency)}, credits promised "
                f"{money_text(last.promised, currency)}, time to come {money_text(last.ahead, currency)}, "
                f"in dispute {money_text(last.in_dispute, currency)}"
            )
            if any(any(row.other.values) for row in sheet.rows):
                self.stdout.write(f"{currency}: credits with a cost that no invoice stands behind")
                self._table(
                    ("month", "opening", "granted", "use", "breakage", "revoked", "rounding", "closing"),
                    [[f"{row.month:%Y-%m}", *row.other.values] for row in sheet.rows], currency,
                )  # fmt: skip
        self.stdout.write(f"{currency}: recognised revenue of these months by plan")
        rows = [
            [source or "-", way, money] for (source, way), money in revenue.by_source(report.earned).items() if money
        ]
        total = sum((each.money for each in report.totals), ZERO)
        self._table(("of", "by", "revenue"), [*rows, ["all that was invoiced", "", total]], currency)
        self.stdout.write(f"{currency}: recognised revenue of what was used, by meter")
        meters = revenue.by_meter(report.earned).items()
        self._table(("meter", "revenue"), [[meter or "(no meter)", money] for meter, money in meters], currency)
        for ageing in report.ageings:
            self.stdout.write(f"{currency}: receivables")
            names = (*ageing.buckets, "given_up", "owed_to_customer", "net")
            values = [*ageing.buckets.values(), ageing.given_up, ageing.owed_to_customer, ageing.net]
            self._table(names, [values], currency)
        if report.taxes:
            self.stdout.write(f"{currency}: tax")
            self._table(
                ("issuer", "month", "country", "tax", "percent", "treatment", "net", "tax amount"),
                [[tax.issuer, f"{tax.month:%Y-%m}", tax.country, tax.name or "-", f"{tax.percent.normalize():f}",
                  tax.treatment, tax.net, tax.tax] for tax in report.taxes], currency,
            )  # fmt: skip

    def _print_proof(self, report: Report) -> None:
        self.stdout.write("\nProof")
        for check in report.checks:
            mark = "ok" if check.holds else "DIFFERS"
            self.stdout.write(f"  {mark:8}{check.currency}  {check.what}: {check.one:f} and {check.other:f}")
        balanced = sum(document.is_balanced for document in report.documents)
        self.stdout.write(f"  {balanced:,} of {len(report.documents):,} documents of the journal are balanced.")
        if not report.is_whole:
            self.stdout.write("  Later months have begun: lots and invoices as they stand now were not compared.")
        differ = sum(not check.holds for check in report.checks)
        self.stdout.write(f"{len(report.checks):,} checks, {differ:,} differences.")

    def _table(self, names: Sequence[str], rows: Sequence[Sequence[object]], currency: str) -> None:
        """Columns as wide as what stands in them; money to the right, with its minor units."""
        text = [list(names), *([_text(value, currency) for value in row] for row in rows)]
        widths = [max(len(row[column]) for row in text) for column in range(len(names))]
        for row, values in zip(text, [[""] * len(names), *rows], strict=True):
            cells = [
                cell.rjust(width) if isinstance(value, Decimal) or (row is text[0] and column) else cell.ljust(width)
                for column, (cell, width, value) in enumerate(zip(row, widths, values, strict=True))
            ]
            self.stdout.write(f"  {'  '.join(cells)}".rstrip())

    def _write(self, folder: Path, report: Report) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, (columns, rows) in reports.files(report).items():
            with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                file.writelines(csv_files.lines(columns, rows))
        self.stderr.write(f"Written to {folder}.")


def _text(value: object, currency: str) -> str:
    return money_text(value, currency) if isinstance(value, Decimal) else str(value)


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _month(text: str) -> date:
    year, _, month = text.partition("-")
    return date(int(year), int(month), 1)
