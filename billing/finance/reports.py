"""The finance report of some months: all its parts, from one reading of one snapshot."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.db import connection

from billing.finance import accrual, deferred, documents, journal, prepayments, proof, receivables, revenue, tax_report
from billing.finance.deferred import Sheet
from billing.finance.documents import Bill
from billing.finance.journal import Document
from billing.finance.months import Months, first_moment
from billing.finance.proof import Check
from billing.finance.receivables import Ageing
from billing.finance.revenue import Earned, Total
from billing.finance.tax_report import TaxLine
from billing.metering.verification import snapshot

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Report:
    """The parts. `is_whole`: nothing has happened after its end, so the proof compares rows as they stand, too."""

    months: Months
    sheets: list[Sheet]
    earned: list[Earned]
    totals: list[Total]
    ageings: list[Ageing]
    taxes: list[TaxLine]
    documents: list[Document]
    checks: list[Check]
    is_whole: bool

    @property
    def holds(self) -> bool:
        """Whether every check of the proof does."""
        return all(check.holds for check in self.checks)

    @property
    def currencies(self) -> list[str]:
        """Every currency that the report knows of."""
        parts: tuple[Iterable[Sheet | Ageing], ...] = (self.sheets, self.ageings)
        return sorted({each.currency for part in parts for each in part})

    def of(self, currency: str) -> "Report":
        """What it says of one currency."""
        return Report(
            self.months,
            [each for each in self.sheets if each.currency == currency],
            [each for each in self.earned if each.currency == currency],
            [each for each in self.totals if each.currency == currency],
            [each for each in self.ageings if each.currency == currency],
            [each for each in self.taxes if each.currency == currency],
            [each for each in self.documents if each.currency == currency],
            [each for each in self.checks if each.currency == currency],
            self.is_whole,
        )


def read(*, starts_on: date, until: datetime, tests: bool = False) -> Report:
    """The months from that of `starts_on` up to `until`, in one snapshot while others write; writes nothing.
    Test accounts are left out; with `tests` it is about nothing else.

    It reads every entry of lots that have cost something and every document since the beginning, because what is there
    when a month opens is worked from them; up to twenty-four statements.
    """
    months = Months(starts_on.replace(day=1), until)
    with snapshot(), _bulk_plans():
        found = accrual.movements(prepayments.read(until=until, tests=tests), until=until)
        bills: list[Bill] = documents.list_bills(until=until, tests=tests)
        sheets = deferred.list_sheets(found, months)
        shares = prepayments.read_meters(since=first_moment(months.starts_on), until=until, tests=tests)
        is_whole = proof.nothing_since(until, tests=tests)
        return Report(
            months=months,
            sheets=sheets,
            earned=revenue.list_earned(found, months, shares),
            totals=revenue.list_totals(found, months),
            ageings=receivables.age(bills, at=until),
            taxes=tax_report.list_lines(since=first_moment(months.starts_on), until=until, tests=tests),
            documents=journal.list_documents(bills, sheets, months),
            checks=proof.prove(found=found, bills=bills, until=until, is_whole=is_whole, tests=tests),
            is_whole=is_whole,
        )


@contextmanager
def _bulk_plans() -> Iterator[None]:
    """Joins by hash, whatever statistics say: of tables that nobody has analyzed since they grew the planner thinks
    that they are small, and a loop within a loop over them takes hours instead of a second."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_nestloop = off")
        yield
        cursor.execute("SET LOCAL enable_nestloop = on")


def files(report: Report) -> dict[str, tuple[tuple[str, ...], Iterable[list[object]]]]:
    """The parts as tables: the columns and rows of each, by name."""
    checks = [[check.currency, check.what, check.one, check.other, check.holds] for check in report.checks]
    return {
        "deferred": (deferred.COLUMNS, deferred.csv_rows(report.sheets)),
        "revenue": (revenue.COLUMNS, revenue.csv_rows(report.earned)),
        "receivables": (receivables.COLUMNS, receivables.csv_rows(report.ageings)),
        "tax": (tax_report.COLUMNS, tax_report.csv_rows(report.taxes)),
        "journal": (journal.COLUMNS, journal.csv_rows(report.documents)),
        "proof": (proof.COLUMNS, checks),
    }
