"""Deferred revenue rolled forward (L11): by currency and month, what was there, what came, what went, what is left."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing.catalog.pricing import round_money
from billing.finance.accrual import Column, Movements
from billing.finance.months import Months

ZERO = Decimal(0)

CAME_AND_WENT = (
    Column.SOLD, Column.WAITING, Column.REFUNDED, Column.VOIDED, Column.USED, Column.TIME, Column.BREAKAGE,
    Column.ADJUSTED,
)  # fmt: skip
OTHER = (Column.OTHER_GRANTED, Column.OTHER_USED, Column.OTHER_BREAKAGE, Column.OTHER_REVOKED)
COLUMNS = (
    "currency", "month", "opening", "sold", "waiting_for_invoice", "refunded", "voided", "recognised_by_use",
    "recognised_by_time", "breakage", "adjusted", "rounding", "closing", "closing_credits_in_hand",
    "closing_credits_promised", "closing_time_to_come", "closing_in_dispute", "not_invoiced_opening",
    "not_invoiced_granted", "not_invoiced_used", "not_invoiced_breakage", "not_invoiced_revoked",
    "not_invoiced_rounding", "not_invoiced_closing",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Roll:
    """A sum that is rolled forward: `opening` + each of `moved` + `rounding` = `closing`, in minor units."""

    opening: Decimal
    moved: Mapping[Column, Decimal]
    rounding: Decimal
    closing: Decimal

    @property
    def values(self) -> list[Decimal]:
        """From opening to closing, in the order of the columns."""
        return [self.opening, *self.moved.values(), self.rounding, self.closing]


@dataclass(frozen=True, slots=True)
class Row:
    """A month: deferred revenue that documents stand behind, and lots with a cost that none does (`other`).

    `in_lots`, `promised`, `ahead` and `in_dispute` make up its closing: credits in hand, credits still to be granted,
    time to come, credits revoked while a bank holds their money.
    """

    month: date
    deferred: Roll
    in_lots: Decimal
    promised: Decimal
    in_dispute: Decimal
    other: Roll

    @property
    def ahead(self) -> Decimal:
        """What is paid for time to come."""
        return self.deferred.closing - self.in_lots - self.promised - self.in_dispute


@dataclass(frozen=True, slots=True)
class Sheet:
    """One currency's months."""

    currency: str
    rows: list[Row]


class Totals:
    """What movements come to by the end of a month, by currency and column, rounded and exact."""

    def __init__(self, found: Movements) -> None:
        self.by_month: dict[tuple[str, Column], dict[date, Decimal]] = defaultdict(lambda: defaultdict(lambda: ZERO))
        for key, money in found.items():
            self.by_month[key.currency, key.column][key.month] += money

    @property
    def currencies(self) -> list[str]:
        """Those in which anything moved."""
        return sorted({currency for currency, _ in self.by_month})

    def upto(self, currency: str, column: Column, month: date) -> Decimal:
        """From the beginning to the end of a month, exact."""
        return sum((money for at, money in self.by_month[currency, column].items() if at <= month), ZERO)

    def before(self, currency: str, column: Column, month: date) -> Decimal:
        """From the beginning to the begin of a month, exact."""
        return sum((money for at, money in self.by_month[currency, column].items() if at < month), ZERO)


def list_sheets(found: Movements, months: Months) -> list[Sheet]:
    """A sheet for each currency."""
    totals = Totals(found)
    return [
        Sheet(currency, [_row(totals, currency, month) for month in months.starts]) for currency in totals.currencies
    ]


def _row(totals: Totals, currency: str, month: date) -> Row:
    return Row(
        month=month,
        deferred=_roll(totals, currency, month, CAME_AND_WENT),
        in_lots=round_money(totals.upto(currency, Column.IN_LOTS, month), currency),
        promised=round_money(totals.upto(currency, Column.PROMISED, month), currency),
        in_dispute=round_money(totals.upto(currency, Column.IN_DISPUTE, month), currency),
        other=_roll(totals, currency, month, OTHER),
    )


def _roll(totals: Totals, currency: str, month: date, columns: tuple[Column, ...]) -> Roll:
    """Each column is the difference of its rounded sums, so that months add up; so is the closing, of the exact one."""
    moved, before, after = {}, ZERO, ZERO
    for column in columns:
        start, end = totals.before(currency, column, month), totals.upto(currency, column, month)
        # Plus zero, so that nothing never reads as minus nothing.
        moved[column] = round_money(end, currency) - round_money(start, currency) + ZERO
        before, after = before + start, after + end
    opening, closing = round_money(before, currency), round_money(after, currency)
    return Roll(opening, moved, closing - opening - sum(moved.values(), ZERO), closing)


def csv_rows(sheets: list[Sheet]) -> list[list[object]]:
    """All months of all currencies, in the order of COLUMNS."""
    return [
        [
            sheet.currency, f"{row.month:%Y-%m}", *row.deferred.values, row.in_lots, row.promised, row.ahead,
            row.in_dispute, *row.other.values,
        ]
        for sheet in sheets for row in sheet.rows
    ]  # fmt: skip
