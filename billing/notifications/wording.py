"""Facts in words, the same in portal, admin and e-mail: amounts of credits, and how far off a moment is. Pure."""

from datetime import datetime
from decimal import ROUND_DOWN, Decimal

MINUS = "\N{MINUS SIGN}"
CENT = Decimal("0.01")


def credits_text(amount: Decimal) -> str:
    """An amount with thousands separators and at most the digits that matter: two decimals, or three significant
    digits below one credit. Digits are cut off, never rounded up: nobody is shown a credit they do not have.

    Examples: 12345.678 is `12,345.67`, 500.000000 is `500`, 0.0012345 is `0.00123`.
    """
    size = abs(amount)
    if size >= 1:
        size = size.quantize(CENT, rounding=ROUND_DOWN)
    elif size:
        size = _cut(size)
    return _signed(amount, size)


def exact_credits_text(amount: Decimal, places: int = 0) -> str:
    """An amount with thousands separators and every digit that is not a trailing zero, as a ledger needs it.

    `places` decimals are shown at least, so that a column's decimal points can stand below each other.
    """
    return _signed(amount, abs(amount), places)


def decimals(amount: Decimal) -> int:
    """How many decimals it takes to write the amount exactly."""
    exponent = amount.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def rough_text(amount: Decimal) -> str:
    """A large number as people say it, with three significant digits: `26.3 million`, `1.25 billion`, `10,500`."""
    for size, name in ((12, "trillion"), (9, "billion"), (6, "million")):
        if amount.adjusted() >= size:
            return f"{exact_credits_text(_cut(amount.scaleb(-size)))} {name}"
    return exact_credits_text(_cut(amount)) if amount else "0"


def _cut(amount: Decimal) -> Decimal:
    """The amount cut off after three significant digits."""
    return amount.quantize(Decimal(1).scaleb(amount.adjusted() - 2), rounding=ROUND_DOWN)


def plural(noun: str) -> str:
    """An English noun's plural, for the units of meters: `token` is `tokens`, `query` is `queries`."""
    if noun.endswith("y") and noun[-2:-1] not in tuple("aeiou"):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"


def _signed(amount: Decimal, size: Decimal, places: int = 0) -> str:
    text = f"{size:,.{max(places, decimals(size))}f}"
    return f"{MINUS}{text}" if amount < 0 else text


def days_off(moment: datetime, now: datetime) -> str:
    """How far a coming moment is off, by the calendar of `now`'s time zone: `in 5 hours`, `tomorrow`, `in 12 days`."""
    if moment <= now:
        return "now"
    days = (moment.astimezone(now.tzinfo).date() - now.date()).days
    if days == 0:
        hours = int((moment - now).total_seconds() // 3600)
        return _in(hours, "hour") if hours else "within the hour"
    if days == 1:
        return "tomorrow"
    return _in(days, "day") if days < 90 else _in(days // 30, "month")


def _in(count: int, unit: str) -> str:
    return f"in {count} {unit}" if count == 1 else f"in {count} {unit}s"
