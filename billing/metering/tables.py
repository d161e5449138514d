"""Reading usage files, CSV or JSON lines, and turning their rows into events. No database."""

import codecs
import csv
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from pathlib import Path
from typing import IO
from zoneinfo import ZoneInfo

from billing.catalog.pricing import round_quantity

# A row that could be read, or what stands in its place, which ingest will reject as it is.
Row = dict[str, object]

_OFFSET = re.compile(r"(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})\Z")
_CHUNK = 1 << 20


class UnusableFile(Exception):
    """The file cannot be imported in this way; nothing of it has been."""


@dataclass(frozen=True, slots=True)
class MeterColumn:
    """A meter whose quantity is in a column, times a factor."""

    key: str
    column: str
    factor: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which column says what. Without `meters` each row is an event in one of Florin's own forms.

    `account` is one account for all rows, or `account_column` has each row's. `zone` is the time zone of times without
    an offset. Ids come from `id_column`, or are made of `id_prefix` (default: the content's digest) and the row's
    number; `source_column` says which system gave them. `properties` are pairs of a property's name and a column.
    """

    format: str
    meters: tuple[MeterColumn, ...] = ()
    account: str = ""
    account_column: str = ""
    time_column: str = ""
    zone: str = ""
    id_column: str = ""
    source_column: str = ""
    id_prefix: str = ""
    pool_column: str = ""
    member_column: str = ""
    properties: tuple[tuple[str, str], ...] = ()
    delimiter: str = ","

    @property
    def columns(self) -> list[str]:
        """All columns that the file must have."""
        named = [self.account_column, self.time_column, self.id_column, self.source_column]
        named += [self.pool_column, self.member_column]
        named += [meter.column for meter in self.meters] + [column for _, column in self.properties]
        return [name for name in named if name]


@dataclass(frozen=True, slots=True)
class Source:
    """A file that has been looked through: the digest of its content and mapping, its prefix of ids, its rows."""

    path: Path
    mapping: Mapping
    digest: bytes
    id_prefix: str
    rows_total: int

    @contextmanager
    def rows(self) -> Iterator[Iterator[object]]:
        """The rows in order, each a dict; one that cannot be read comes as the text or cells that it is."""
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            yield _read_csv(file, self.mapping.delimiter) if self.mapping.format == "csv" else _read_lines(file)


def open_source(path: Path, mapping: Mapping) -> Source:
    """Read through a file once. Raises UnusableFile if it is missing, empty, not UTF-8, or lacks mapped columns."""
    content, lines, last = sha256(), 0, b"\n"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                content.update(chunk)
                decoder.decode(chunk)
                lines += chunk.count(b"\n")
                last = chunk[-1:]
            decoder.decode(b"", final=True)
    except OSError as error:
        raise UnusableFile(f"{path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UnusableFile(f"{path} is not UTF-8, somewhere after line {lines}.") from error
    lines += last != b"\n"
    digest = sha256(content.digest() + repr(mapping).encode()).digest()
    prefix = mapping.id_prefix or content.hexdigest()[:16]
    source = Source(path, mapping, digest, prefix, max(lines - (mapping.format == "csv"), 0))
    with source.rows() as rows:
        _check_first(next(rows, None), mapping)
    return source


def _check_first(row: object, mapping: Mapping) -> None:
    if not isinstance(row, dict):
        raise UnusableFile("The file has no rows." if row is None else "The first row cannot be read.")
    for column in mapping.columns:
        if column not in row:
            found = ", ".join(str(name) for name in list(row)[:20])
            raise UnusableFile(f"There is no column {column!r} in the first row, which has: {found}.")
    stated = row.get(mapping.time_column)
    if mapping.meters and isinstance(stated, str) and not mapping.zone and not _OFFSET.search(stated.strip()):
        raise UnusableFile(f"The time {stated!r} has no offset: say in which time zone it is.")


def _read_csv(file: IO[str], delimiter: str) -> Iterator[object]:
    reader = csv.reader(file, delimiter=delimiter)
    header = next(reader, [])
    for cells in reader:
        if len(cells) == len(header):
            yield dict(zip(header, cells, strict=True))
        elif cells:
            yield cells


def _read_lines(file: IO[str]) -> Iterator[object]:
    for line in file:
        if line.strip():
            try:
                yield json.loads(line, parse_float=Decimal)
            except (ValueError, RecursionError, InvalidOperation):
                yield line[:1000]


def events_of(row: object, number: int, source: Source) -> Iterator[object]:
    """The events of a row: one a meter whose cell is filled. What is wrong in them is for ingest to say."""
    mapping = source.mapping
    if not isinstance(row, dict):
        yield row
        return
    if not mapping.meters:
        yield {name: value for name, value in row.items() if value != ""}
        return
    common = _common(row, mapping)
    stated = _text(row.get(mapping.id_column)) if mapping.id_column else f"import:{source.id_prefix}:{number}"
    for meter in mapping.meters:
        quantity = row.get(meter.column)
        if quantity not in (None, ""):
            # A row without an id has none for any of its meters: made up of nothing, it would be every such row's.
            is_named = isinstance(stated, str) and stated != ""
            id_ = f"{stated}:{meter.key}" if is_named and len(mapping.meters) > 1 else stated
            yield {"id": id_, **common, "meter": meter.key, "quantity": _times(quantity, meter.factor)}


def _common(row: Row, mapping: Mapping) -> Row:
    """What all events of a row say."""
    columns = {
        "source": mapping.source_column,
        "account": mapping.account_column,
        "pool": mapping.pool_column,
        "member": mapping.member_column,
    }
    common = {name: _text(row[column]) for name, column in columns.items() if row.get(column) not in (None, "")}
    if mapping.account:
        common["account"] = mapping.account
    if mapping.time_column:
        common["occurred_at"] = _with_offset(row.get(mapping.time_column), mapping.zone)
    found = {name: row.get(column) for name, column in mapping.properties}
    common["properties"] = {name: value for name, value in found.items() if value not in (None, "")}
    return common


def _text(value: object) -> object:
    """A number that names something, as JSON may have it, as text."""
    return str(value) if type(value) is int else value


def _times(quantity: object, factor: Decimal) -> object:
    """The quantity times the factor, rounded to six decimals; as it is where that cannot be done."""
    text = quantity.strip() if isinstance(quantity, str) else quantity
    if factor == 1:
        return text
    try:
        return round_quantity(Decimal(str(text)) * factor)
    except InvalidOperation:
        return text


def _with_offset(stated: object, zone: str) -> object:
    """A time in any of ISO 8601's forms as RFC 3339, in the zone if it has no offset of its own; as it is where it is
    no time, or has neither."""
    if not isinstance(stated, str):
        return stated
    text = stated.strip()
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            if not zone:
                return text
            at = at.replace(tzinfo=ZoneInfo(zone))
        return at.astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        return text
