"""Amounts of credits and money in words, the same in portal, admin and e-mail. Pure."""

from decimal import ROUND_DOWN, Decimal

from babel.numbers import format_currency, get_currency_symbol
from django.utils.translation import gettext as _
from moneyed import get_currency

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


def money_text(amount: Decimal, currency: str) -> str:
    """An amount of money with the currency's sign and its minor units: `€1,200.00`, `¥1,200`, `KWD 1.200`."""
    return _money(amount, currency, places="")


def unit_price_text(price: Decimal, currency: str) -> str:
    """What one credit costs, with every digit that is not a trailing zero and at least the minor units: `$0.0725`."""
    return _money(price.normalize(), currency, places="#" * 12)


def percent_text(rate: Decimal) -> str:
    """A rate that was set, such as a tax or a discount, with all its digits: `19%`, `7.7%`."""
    return f"{exact_credits_text(rate)}%"


def share_text(percent: Decimal) -> str:
    """A share that was worked out, in whole percent: `75%`, `<1%`. Cut off, as thresholds are: 74.9 is not yet 75."""
    if 0 < percent < 1:
        return "<1%"
    return f"{exact_credits_text(percent.quantize(Decimal(1), rounding=ROUND_DOWN))}%"


def rough_text(amount: Decimal) -> str:
    """A large number as people say it, with three significant digits: `26.3 million`, `1.25 billion`, `10,500`."""
    sizes = ((12, _("%(amount)s trillion")), (9, _("%(amount)s billion")), (6, _("%(amount)s million")))
    for size, name in sizes:
        if amount.adjusted() >= size:
            return name % {"amount": exact_credits_text(_cut(amount.scaleb(-size)))}
    return exact_credits_text(_cut(amount)) if amount else "0"


def _cut(amount: Decimal) -> Decimal:
    """The amount cut off after three significant digits."""
    return amount.quantize(Decimal(1).scaleb(amount.adjusted() - 2), rounding=ROUND_DOWN)


def plural(noun: str) -> str:
    """An English noun's plural, for the units of meters: `token` is `tokens`, `query` is `queries`."""
    if noun.endswith("y") and noun[-2:-1] not in tuple("aeiou"):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"


def _money(amount: Decimal, currency: str, *, places: str) -> str:
    """Money with the minor units that we count in. CLDR's digits differ: it shows no cents of a dinar."""
    space = "\N{NO-BREAK SPACE}" if get_currency_symbol(currency, "en")[-1].isalpha() else ""
    minor = len(str(get_currency(currency).sub_unit)) - 1
    pattern = f"\N{CURRENCY SIGN}{space}#,##0.{'0' * minor}{places}".rstrip(".")
    text = format_currency(
        amount, currency, pattern, locale="en", currency_digits=False, decimal_quantization=not places
    )
    return _minus(text)


def _signed(amount: Decimal, size: Decimal, places: int = 0) -> str:
    text = f"{size:,.{max(places, decimals(size))}f}"
    return f"{MINUS}{text}" if amount < 0 else text


def _minus(text: str) -> str:
    return text.replace("-", MINUS)
