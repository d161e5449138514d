"""Lists as CSV files, streamed line by line; cells that a spreadsheet would run as a formula are made inert."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal

from django.http import StreamingHttpResponse

from billing.catalog import pricing
from billing.notifications import wording


class _Echo:
    """A file for csv.writer that hands each line back instead of keeping it."""

    def write(self, line: str) -> str:
        return line


# Columns of other numbers than money begin so.
NO_MONEY = ("credits", "percent")


def respond(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> StreamingHttpResponse:
    """A download of `<name>.csv`. Times are ISO 8601 in UTC, numbers plain."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"', "Cache-Control": "private, no-store"}
    return StreamingHttpResponse(lines(columns, rows), content_type="text/csv; charset=utf-8", headers=headers)


def lines(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of such a file, for whoever writes it elsewhere. Money has at least the decimals of its row's currency,
    if there is a column of that name."""
    writer = csv.writer(_Echo())
    yield writer.writerow(columns)
    is_money = [not name.startswith(NO_MONEY) for name in columns]
    place = list(columns).index("currency") if "currency" in columns else None
    for row in rows:
        least = 0 if place is None or not row[place] else wording.decimals(pricing.minor_unit(str(row[place])))
        yield writer.writerow([_cell(value, least if money else 0) for value, money in zip(row, is_money, strict=True)])


def _cell(value: object, least: int) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:.{max(least, wording.decimals(value))}f}"
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return wording.inert(str(value))
