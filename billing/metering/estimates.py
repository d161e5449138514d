"""What usage would cost an account, priced on top of what its period has used. Takes no locks and writes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from billing.catalog.pricing import AmountTooLarge
from billing.ledger.balance import read_states
from billing.ledger.pool_state import available
from billing.metering.events import InvalidEvent
from billing.metering.processing import ensure_holdable, rate
from billing.metering.quotes import Asked, check_asked, look_up, read_known_usage, works_of
from billing.metering.resolve import World
from billing.metering.work import ZERO, names_something


@dataclass(frozen=True, slots=True)
class LineEstimate:
    """What one line would cost after the lines before it."""

    meter: str
    quantity: Decimal
    credits: Decimal


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the lines would cost together, and what the main pool has available now; credits."""

    credits: Decimal
    available: Decimal
    lines: list[LineEstimate]


def estimate(*, account: str, lines: Sequence[Asked], occurred_at: datetime | None = None, now: datetime) -> Estimate:
    """Price quantities of meters as if they were used at `occurred_at` (default now), one line after the other.

    A quantity is in the meter's units: events for a meter that counts events, level x time for a gauge, new values for
    a unique one. Raises InvalidEvent, whose field says `account` or which line, as in `lines.0.meter`.
    """
    check_asked(lines)
    world = look_up(accounts=[account], pool="", member="")
    info = world.accounts.get(account)
    if info is None:
        raise InvalidEvent("unknown_account", f"There is no account {account!r}.", "account")
    works = works_of(
        [_with_value(line, world) for line in lines], account=account, world=world, occurred_at=occurred_at, now=now
    )
    known = read_known_usage(works)
    state, _ = read_states([info.main_pool_id], now=now)[info.main_pool_id]
    estimated = []
    for index, (line, work) in enumerate(zip(lines, works, strict=True)):
        try:
            if work.fault is not None:
                raise work.fault
            work.derived = True  # The quantity counts as it is.
            rate(work, known)
            ensure_holdable(work, state)
        except InvalidEvent as fault:
            raise InvalidEvent(fault.code, fault.detail, f"lines.{index}.{fault.field}") from fault
        except AmountTooLarge as error:
            detail = "This is more than a pool can hold."
            raise InvalidEvent("amount_too_large", detail, f"lines.{index}.quantity") from error
        known.count(work)
        estimated.append(LineEstimate(line.meter, line.quantity, work.credits))
    return Estimate(sum((line.credits for line in estimated), ZERO), available(state, at=now), estimated)


def _with_value(line: Asked, world: World) -> Asked:
    """The line with some value of the property that a unique meter insists on; its quantity says how many are new."""
    meter = world.catalog.meters.get(line.meter)
    if meter is None or meter.kind != "unique":
        return line
    stated = line.properties.get(meter.unique_property)
    value = stated if names_something(stated) else "any"
    return replace(line, properties={**line.properties, meter.unique_property: value})
