"""Bank statements as CSV files: each row that is money coming in becomes a transfer, and is matched where possible.

A file may be read again, or overlap with another: a row is known by the bank's reference, else by what it says and
which of the equal rows of its file it is.

Which way the money went is never guessed. Banks say it by the sign of the amount, by a letter behind it, by a column of
its own, or by two columns of amounts; a file that may have such a column is refused until it is named, and a row whose
direction is not understood, or contradicts the sign, is refused.
"""

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import TextIO

from django.core.exceptions import ValidationError

from billing.accounts.fields import validate_currency
from billing.payments import transfers
from billing.payments.models import BankTransfer

FIELDS = (
    "reference", "received_on", "amount", "direction", "credit", "debit", "currency", "payer", "payer_account",
    "remittance",
)  # fmt: skip
INCOMING = frozenset(
    ("c", "cr", "crdt", "credit", "credited", "h", "haben", "gutschrift", "in", "incoming", "received", "+")
)
OUTGOING = frozenset(
    ("d", "dr", "dbit", "debit", "debited", "s", "soll", "lastschrift", "belastung", "out", "outgoing", "paid", "-")
)
DELIMITERS = (",", ";", "\t")
_SUFFIX = re.compile(r"(.*[0-9])\s*(cr|dr|[cdhs+-])", re.ASCII | re.IGNORECASE)
# How banks head such a column: Debit/Credit, Soll-Haben, S/H, CdtDbtInd.
_DIRECTION_NAME = re.compile(
    r"direction|debit\W*credit|credit\W*debit|soll\W*haben|haben\W*soll|dr\W*cr|cr\W*dr|[ds]\W*[ch]|cdtdbtind",
    re.IGNORECASE,
)
_AMOUNT = re.compile(r"[+-]?(?:[0-9]{1,15}|[0-9]{1,3}(?:,[0-9]{3}){1,4})(?:\.[0-9]{1,6})?", re.ASCII)
_DAYS = ("%Y-%m-%d", "%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%Y/%m/%d")


class UnusableFile(Exception):
    """The file is no such table; the message says why. Nothing was read."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is to be read: which column is which field (default: the field's name), what currency rows have that
    say none, whether amounts have a decimal comma, and whether the sign of the amount is all that says which way the
    money went, whatever other columns look like."""

    columns: Mapping[str, str] = field(default_factory=dict)
    currency: str = ""
    decimal_comma: bool = False
    is_signed: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that was not taken."""

    line: int
    reason: str


@dataclass(slots=True)
class Imported:
    """How it went: transfers that are new (and their rows), that were known already, rows of money going out, payments
    made of the new ones, and rows that could not be read."""

    new: int = 0
    recorded: list[BankTransfer] = field(default_factory=list, compare=False)
    known: int = 0
    outgoing: int = 0
    payments: int = 0
    refused: list[Refused] = field(default_factory=list)


def import_file(file: TextIO, *, reading: Reading, matches: bool = True, actor: str, now: datetime) -> Imported:
    """Record every row of money coming in and, with `matches`, match it where there is no doubt. Each row is a
    transaction of its own, so a file that was broken off is simply read again. Raises UnusableFile, before the
    first row is taken."""
    done, seen = Imported(), Counter[str]()
    for line, row in list(_rows(file, reading)):
        try:
            transfer = _take(row, reading, seen, done, actor=actor, now=now)
            if transfer is not None and matches:
                done.payments += len(transfers.match_by_itself(transfer_id=transfer.pk, now=now))
        except (ValueError, ValidationError) as error:
            done.refused.append(Refused(line, "; ".join(getattr(error, "messages", [str(error)]))))
        except transfers.ReferenceTaken:
            done.refused.append(Refused(line, "another transfer has this reference"))
    return done


def _rows(file: TextIO, reading: Reading) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows with their line numbers, by our names of the columns. Raises UnusableFile."""
    try:
        header = file.readline().lstrip("\ufeff")
    except UnicodeDecodeError as error:
        raise UnusableFile("The file is not UTF-8 text.") from error
    delimiter = max(DELIMITERS, key=header.count)
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    columns = {name: reading.columns.get(name, name) for name in FIELDS}
    amounts = ["credit"] if {columns["credit"], columns["debit"]} <= set(names) else ["amount"]
    wanted = [*reading.columns, "received_on", *amounts, *(() if reading.currency else ("currency",))]
    if missing := sorted({columns.get(name, name) for name in wanted} - set(names)):
        raise UnusableFile(f"These columns are missing: {', '.join(missing)}. The file has: {', '.join(names)}.")
    rows = csv.reader(file, delimiter=delimiter)
    says_which_way = reading.is_signed or amounts == ["credit"] or columns["direction"] in names
    try:
        for cells in rows:
            if any(cell.strip() for cell in cells):
                by_name = dict(zip(names, cells, strict=False))
                if not says_which_way:
                    _ensure_no_direction(by_name, set(columns.values()))
                yield rows.line_num + 1, {name: by_name.get(columns[name], "").strip() for name in FIELDS}
    except (csv.Error, UnicodeDecodeError) as error:
        raise UnusableFile(f"The file cannot be read after line {rows.line_num + 1}: {error}") from error


def _ensure_no_direction(row: Mapping[str, str], named: set[str]) -> None:
    """Raise UnusableFile if a column that was not named may say which way the money went."""
    for column, cell in row.items():
        says = cell.strip().casefold() in INCOMING | OUTGOING or _DIRECTION_NAME.fullmatch(column.strip())
        if column not in named and says:
            raise UnusableFile(
                f"The column {column!r} may say which way the money went ({cell.strip()!r}). Name it as the direction, "
                "or say that the amounts are signed."
            )


def _take(
    row: dict[str, str], reading: Reading, seen: Counter[str], done: Imported, *, actor: str, now: datetime
) -> BankTransfer | None:
    """Record a row; the transfer, if it is new."""
    amount = _signed_amount(row, reading)
    if amount <= 0:
        done.outgoing += 1
        return None
    currency = (row["currency"] or reading.currency).upper()
    validate_currency(currency)
    transfer, is_new = transfers.record(
        reference=row["reference"] or _made_up(row, seen),
        received_on=_day(row["received_on"]),
        amount=amount,
        currency=currency,
        payer=row["payer"],
        payer_account=row["payer_account"],
        remittance=row["remittance"],
        actor=actor,
        now=now,
    )
    if not is_new:
        done.known += 1
        return None
    done.new += 1
    done.recorded.append(transfer)
    return transfer


def _signed_amount(row: Mapping[str, str], reading: Reading) -> Decimal:
    """What came in; below zero for what went out. Raises ValueError when either is in doubt."""
    if row["credit"] or row["debit"]:
        credit, debit = (
            _amount(row[name], reading.decimal_comma) if row[name] else Decimal(0) for name in ("credit", "debit")
        )
        if credit and debit:
            raise ValueError("it says both that money came in and that it went out")
        return credit or -abs(debit)
    text, direction = row["amount"], row["direction"].casefold()
    if suffix := _SUFFIX.fullmatch(text):
        text, said = suffix[1], suffix[2].casefold()
        if direction and (direction in INCOMING) != (said in INCOMING):
            raise ValueError(f"{row['amount']!r} and {row['direction']!r} contradict each other")
        direction = said
    elif text.startswith("(") and text.endswith(")"):
        text = f"-{text[1:-1]}"
    amount = _amount(text, reading.decimal_comma)
    if direction in OUTGOING:
        return -abs(amount)
    if direction in INCOMING and amount >= 0:
        return amount
    if direction in INCOMING:
        raise ValueError(f"{row['amount']!r} is negative, but {row['direction']!r} says that it came in")
    if direction or row["direction"]:
        raise ValueError(f"{direction or row['direction']!r} does not say whether the money came in or went out")
    return amount


def _made_up(row: dict[str, str], seen: Counter[str]) -> str:
    """A reference for a row that has none of the bank's: what it says, and the how many-th such row of the file."""
    digest = hashlib.sha256("\x1f".join(row[name] for name in FIELDS).encode()).hexdigest()[:32]
    seen[digest] += 1
    return f"row:{digest}:{seen[digest]}"


def _amount(text: str, decimal_comma: bool) -> Decimal:
    plain = text.replace("\u00a0", "").replace(" ", "")
    if decimal_comma:
        plain = plain.translate(str.maketrans(",.", ".,"))
    if not _AMOUNT.fullmatch(plain):
        raise ValueError(f"{text!r} is no amount")
    return Decimal(plain.replace(",", ""))


def _day(text: str) -> date:
    for form in _DAYS:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007  a day has no time zone
        except ValueError:
            continue
    raise ValueError(f"{text!r} is no day")
