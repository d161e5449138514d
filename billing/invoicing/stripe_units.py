"""Amounts as Stripe counts them, for charging as for tax: whole minor units, which are not always those of ISO 4217.

Ariary have none there. Icelandic krónur and Ugandan shillings have two decimals, which must be zero: 500 is 5 UGX.
Dinars and rials of three decimals must be rounded to the nearest ten where they are charged: 5.124 KWD is 5120
(https://docs.stripe.com/currencies#three-decimal). Pure.
"""

from decimal import ROUND_HALF_UP, Decimal

_NO_DECIMALS = frozenset({
    "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF",
})  # fmt: skip
_THREE_DECIMALS = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})
_WHOLE_ONLY = frozenset({"ISK", "UGX"})


def chargeable(amount: Decimal, currency: str) -> Decimal:
    """The nearest amount that can be charged or given back; a half is rounded up."""
    step = Decimal(_step(currency)) / per_whole(currency)
    return (amount / step).quantize(Decimal(1), rounding=ROUND_HALF_UP) * step


class NotChargeable(Exception):
    """Stripe cannot charge this amount in this currency."""


def exact(amount: Decimal, currency: str) -> int:
    """The amount to be charged or given back. Raises NotChargeable for one that Stripe's units cannot say."""
    units = amount * per_whole(currency)
    if units != int(units) or int(units) % _step(currency):
        raise NotChargeable(f"{amount} {currency}")
    return int(units)


def nearest(amount: Decimal, currency: str) -> int:
    """The amount to be asked about: of what Stripe's units cannot say, the nearest that they can."""
    return int((amount * per_whole(currency)).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def amount_of(units: int, currency: str) -> Decimal:
    """The amount that Stripe means."""
    return Decimal(units) / per_whole(currency)


def _step(currency: str) -> int:
    return 10 if currency in _THREE_DECIMALS else 100 if currency in _WHOLE_ONLY else 1


def per_whole(currency: str) -> int:
    """How many of Stripe's units make one of the currency."""
    if currency in _NO_DECIMALS:
        return 1
    return 1000 if currency in _THREE_DECIMALS else 100
