"""Tables as CSV files, streamed line by line; cells that a spreadsheet would run as a formula are made inert."""

import csv
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal

from django.http import StreamingHttpResponse
from moneyed import get_currency

from billing.wording.amounts import decimals

# A spreadsheet may take a cell that begins with one of these for a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
# Columns of other numbers than money begin so.
NO_MONEY = ("credits", "percent")


class _Echo:
    """A file for csv.writer that hands each line back instead of keeping it."""

    def write(self, line: str) -> str:
        return line


def respond(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> StreamingHttpResponse:
    """A download of `<name>.csv` with these `lines`."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"', "Cache-Control": "private, no-store"}
    return StreamingHttpResponse(lines(columns, rows), content_type="text/csv; charset=utf-8", headers=headers)


def lines(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a file. Times are ISO 8601 in the zone that they come in, numbers plain; money has at least the
    decimals of its currency, if a column says it: `currency`, or `base_currency` for money in the base currency."""
    writer = csv.writer(_Echo())
    yield writer.writerow(columns)
    places = [_currency_place(name, columns) for name in columns]
    for row in rows:
        cells = zip(row, places, strict=True)
        yield writer.writerow(
            [_cell(value, 0 if place is None else _least_decimals(str(row[place] or ""))) for value, place in cells]
        )


def _currency_place(name: str, columns: Sequence[str]) -> int | None:
    """Where the row says in which currency a column is; None if it is no money, or none is said."""
    wanted = "base_currency" if name.endswith("_in_base_currency") else "currency"
    return None if name.startswith(NO_MONEY) or wanted not in columns else list(columns).index(wanted)


def _least_decimals(currency: str) -> int:
    return decimals(1 / Decimal(get_currency(currency).sub_unit)) if currency else 0


def inert(cell: str) -> str:
    """The text of a CSV cell, with an apostrophe in front if a spreadsheet would run it as a formula."""
    # NFKC, because spreadsheets take the full-width forms of these characters for the plain ones.
    plain = unicodedata.normalize("NFKC", cell.lstrip(" "))
    return f"'{cell}" if plain.startswith(FORMULA_STARTS) else cell


def _cell(value: object, least: int) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:.{max(least, decimals(value))}f}"
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return inert(str(value))
