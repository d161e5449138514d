"""When money is earned: each fact as movements of months, exact, before any rounding. Pure arithmetic, no I/O.

What was asked for in advance (sold, or waiting for an invoice) stands against what earned it: use and breakage of the
credits that it paid for, or time. What of it pays for nothing any more is `adjusted`, and so earned (or given up): what
rounding a cost per credit leaves over, promised credits that were never granted, credits taken back without a credit
note. Credits revoked because a payer had the bank take their money back are neither, as long as the bank has not
decided: they are `in_dispute`. Lost, they are gone, as with a refund; won, they are in hand again.
`closing` = money - earned = credits in hand + credits promised + time to come + in dispute, by construction.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Context, Decimal
from enum import StrEnum
from typing import NamedTuple

from billing.finance.months import Months, index_of, month_of
from billing.finance.prepayments import Beyond, Credited, Facts, Line, Promise, Value

ZERO = Decimal(0)
_EXACT = Context(prec=60)


class Column(StrEnum):
    """What a movement is of. Signs are those of deferred revenue: what is sold adds, what is earned takes away."""

    # Deferred revenue that documents stand behind.
    SOLD = "sold"
    WAITING = "waiting"
    REFUNDED = "refunded"
    VOIDED = "voided"
    USED = "used"
    TIME = "time"
    BREAKAGE = "breakage"
    ADJUSTED = "adjusted"
    # Of which at the end: credits in hand, promised ones, and those whose money a bank holds.
    IN_LOTS = "in_lots"
    PROMISED = "promised"
    IN_DISPUTE = "in_dispute"
    # Earned when it was invoiced; never deferred.
    AT_ONCE = "at_once"
    OVERAGE = "overage"
    # Lots that have a cost and no document of ours.
    OTHER_GRANTED = "other_granted"
    OTHER_USED = "other_used"
    OTHER_BREAKAGE = "other_breakage"
    OTHER_REVOKED = "other_revoked"
    # What went from lot to lot: nothing, in sum.
    MOVED = "moved"


class Key(NamedTuple):
    """Where a movement belongs. `meter` is empty but for what was used, and what went beyond the credits."""

    currency: str
    month: date
    column: Column
    source: str
    meter: str


Movements = dict[Key, Decimal]


def movements(facts: Facts, *, until: datetime) -> Movements:
    """All movements before a moment, summed by where they belong."""
    found: Movements = defaultdict(lambda: ZERO)
    for value in facts.values:
        _add_value(found, value)
    notes: dict[int, list[Credited]] = defaultdict(list)
    for note in facts.credited:
        notes[note.line_id].append(note)
    meters: dict[int, list[Beyond]] = defaultdict(list)
    for each in facts.beyond:
        meters[each.line_id].append(each)
    for line in facts.lines:
        if line.how == "at_once":
            _add_at_once(found, line, notes[line.id], meters[line.id], until)
        else:
            _add_advance(found, line, notes[line.id], until)
    for promise in facts.promises:
        _promise(found, promise, until)
    return found


def _add_value(found: Movements, value: Value) -> None:
    if value.moved:
        _add(found, value, Column.MOVED, value.money)
        return
    if not value.paid:
        _add(found, value, _OTHER[value.flow], value.money)
        return
    if value.flow == "lost":
        _add(found, value, Column.IN_DISPUTE, value.money)
        _add(found, value, Column.ADJUSTED, value.money)
        return
    _add(found, value, Column.IN_LOTS, value.money)
    if value.flow in ("disputed", "won"):
        _add(found, value, Column.IN_DISPUTE, -value.money)
    elif value.flow in _EARNED:
        _add(found, value, _EARNED[value.flow], value.money)
    else:
        # A grant keeps what was paid for; what is revoked pays for nothing any more.
        _add(found, value, Column.ADJUSTED, value.money)


_EARNED = {"spend": Column.USED, "reverse": Column.USED, "expire": Column.BREAKAGE}
_OTHER = {
    "grant": Column.OTHER_GRANTED,
    "spend": Column.OTHER_USED,
    "reverse": Column.OTHER_USED,
    "expire": Column.OTHER_BREAKAGE,
    "revoke": Column.OTHER_REVOKED,
}


def _add(found: Movements, value: Value, column: Column, money: Decimal) -> None:
    meter = value.meter if value.flow in ("spend", "reverse") else ""
    found[Key(value.currency, value.month, column, value.source, meter)] += money


def _put(found: Movements, of: Line | Promise, at: datetime, column: Column, money: Decimal) -> None:
    found[Key(of.currency, month_of(at), column, of.source, "")] += money


def _add_at_once(
    found: Movements, line: Line, notes: Iterable[Credited], meters: Sequence[Beyond], until: datetime
) -> None:
    if line.pending:
        return
    left = line.amount
    moved = [(line.since, -line.amount)]
    for note in notes:
        left -= note.amount
        moved.append((note.at, note.amount))
    if line.until is not None and line.until < until:
        moved.append((line.until, left))
    for at, money in moved:
        if not meters:
            _put(found, line, at, Column.AT_ONCE, money)
        for meter, part in _by_meter(meters, money):
            found[Key(line.currency, month_of(at), Column.OVERAGE, line.source, meter)] += part


def _by_meter(meters: Sequence[Beyond], money: Decimal) -> Iterator[tuple[str, Decimal]]:
    """Money of an overage line as the meters have caused it; the parts add up to it, whatever a division leaves."""
    whole, given = sum((each.weight for each in meters), ZERO), ZERO
    for each in meters[1:]:
        part = _EXACT.divide(_EXACT.multiply(money, each.weight), whole)
        given = _EXACT.add(given, part)
        yield each.meter, part
    if meters:
        yield meters[0].meter, _EXACT.subtract(money, given)


def _add_advance(found: Movements, line: Line, notes: list[Credited], until: datetime) -> None:
    """A line that is earned later: its money, and against it what it promises or the time it is for."""
    changes = [(line.since, Column.WAITING if line.pending else Column.SOLD, line.amount)]
    changes += [(note.at, Column.REFUNDED, -note.amount) for note in notes]
    if line.until is not None and line.until < until:
        left = line.amount - sum((note.amount for note in notes), ZERO)
        changes.append((line.until, Column.WAITING if line.pending else Column.VOIDED, -left))
    for at, column, money in changes:
        _put(found, line, at, column, money)
    if line.how == "period":
        _earn_by_time(found, line, [(at, money) for at, _, money in changes], until)
        return
    for at, _, money in changes:
        _put(found, line, at, Column.ADJUSTED, -money)
    if line.promised:
        _promise_of_line(found, line, [(at, money) for at, _, money in changes], until)


def _promise_of_line(found: Movements, line: Line, changes: list[tuple[datetime, Decimal]], until: datetime) -> None:
    """What a pack's line promises from its invoice on until it is paid and granted, less what is taken back before."""
    kept_at = line.kept_at if line.kept_at is not None and line.kept_at < until else None
    left = ZERO
    for at, money in changes:
        if kept_at is None or at < kept_at:
            left += money
            _set_aside(found, line, at, money)
    if kept_at is not None:
        _set_aside(found, line, kept_at, -left)


def _promise(found: Movements, promise: Promise, until: datetime) -> None:
    _set_aside(found, promise, promise.since, promise.amount)
    if promise.until is not None and promise.until < until:
        _set_aside(found, promise, promise.until, -promise.amount)


def _set_aside(found: Movements, of: Line | Promise, at: datetime, money: Decimal) -> None:
    _put(found, of, at, Column.PROMISED, money)
    _put(found, of, at, Column.ADJUSTED, money)


def _earn_by_time(found: Movements, line: Line, changes: list[tuple[datetime, Decimal]], until: datetime) -> None:
    """Of what the line has come to by the end of each month, as much is earned as of its time has passed."""
    last = line.ends_at or line.since
    span = Months(month_of(line.since), until)
    earned = ZERO
    final = max([last, *(at for at, _ in changes)])
    for start in span.starts:
        end = span.ends_at(start)
        money = sum((amount for at, amount in changes if at < end), ZERO)
        due = _part_passed(line, money, end)
        found[Key(line.currency, start, Column.TIME, line.source, "")] -= due - earned
        earned = due
        if index_of(start) >= index_of(month_of(final)):
            break


def _part_passed(line: Line, money: Decimal, at: datetime) -> Decimal:
    if line.starts_at is None or line.ends_at is None or at >= line.ends_at:
        return money
    if at <= line.starts_at:
        return ZERO
    whole, passed = (line.ends_at - line.starts_at), (at - line.starts_at)
    part = _EXACT.divide(Decimal(passed.total_seconds()), Decimal(whole.total_seconds()))
    return _EXACT.multiply(money, part)
