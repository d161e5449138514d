"""What a currency was worth in another on a day, by the reference rates of the European Central Bank.

The bank publishes on its working days; on others the last rate counts, for so many days (`LONGEST_AGE`).
"""

import csv
import io
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation

from billing.catalog import pricing
from billing.invoicing.tax_models import ExchangeRate

EURO = "EUR"
LONGEST_AGE = timedelta(days=10)
PATIENCE_SECONDS = 20
_MOST_BYTES = 50_000_000
_DAYS = ("%Y-%m-%d", "%d %B %Y")


class UnreadableRates(ValueError):
    """The file is not one of the bank's: the message says where it stops making sense. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What one unit of the asked currency was worth in the other on a day."""

    worth: Decimal
    on: date


def find_rate(*, currency: str, base: str, on: date) -> Rate | None:
    """What one unit of `currency` was worth in `base` on a day, by the last rates published until then; None if there
    are none of the days before. Both rates are of one day."""
    wanted = {currency, base} - {EURO}
    rows = ExchangeRate.objects.filter(currency__in=wanted, on__lte=on, on__gt=on - LONGEST_AGE).order_by("-on")
    days: dict[date, dict[str, Decimal]] = {}
    for row in rows:
        per_euro = days.setdefault(row.on, {EURO: Decimal(1)})
        per_euro[row.currency] = row.rate
        if wanted <= per_euro.keys():
            return Rate(pricing.cross_rate(per_euro[base], per_euro[currency]), row.on)
    return None


def fetch(url: str) -> bytes:
    """The bank's file from its address. Raises OSError when it does not come, UnreadableRates when it is too long."""
    if not url.startswith(("https://", "http://")):
        raise UnreadableRates("the address must begin with https:// or http://")
    with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310 (checked above)
        content: bytes = answer.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise UnreadableRates("the file is too large")
    return content


def import_rates(content: bytes) -> int:
    """Store the rates of a file of the bank's, CSV or zipped; how many were new. Rates that are there stay as they are.

    Raises UnreadableRates.
    """
    rows = list(_read(_text_of(content)))
    before = ExchangeRate.objects.count()
    ExchangeRate.objects.bulk_create(rows, ignore_conflicts=True, batch_size=5_000)
    return ExchangeRate.objects.count() - before


def _text_of(content: bytes) -> str:
    try:
        if content.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(content)) as packed:
                (entry,) = packed.infolist()
                if entry.file_size > _MOST_BYTES:
                    raise UnreadableRates("the file is too large")
                content = packed.read(entry)
        return content.decode("utf-8-sig")
    except (zipfile.BadZipFile, UnicodeDecodeError, ValueError) as error:
        raise UnreadableRates(f"not a CSV file, nor a zip of one: {error}") from error


def _read(text: str) -> Iterator[ExchangeRate]:
    table = csv.reader(io.StringIO(text))
    head = [cell.strip() for cell in next(table, [])]
    if not head or head[0] != "Date" or len(head) < 2:
        raise UnreadableRates("the first line must name the currencies: Date, USD, JPY, ...")
    for number, line in enumerate(table, start=2):
        cells = [cell.strip() for cell in line]
        if not any(cells):
            continue
        on = _day(cells[0], number)
        for currency, cell in zip(head[1:], cells[1:], strict=False):
            if len(currency) == 3 and cell not in ("", "N/A"):
                yield ExchangeRate(currency=currency, on=on, rate=_rate(cell, number))


def _day(text: str, number: int) -> date:
    for form in _DAYS:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 (a day has no zone)
        except ValueError:
            continue
    raise UnreadableRates(f"line {number}: {text!r} is no day")


def _rate(text: str, number: int) -> Decimal:
    try:
        rate = Decimal(text)
    except InvalidOperation:
        rate = Decimal("NaN")
    if not rate.is_finite() or not 0 < rate < 10**9:
        raise UnreadableRates(f"line {number}: {text!r} is no rate")
    return rate
