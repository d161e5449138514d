"""Prices for tests of the pure arithmetic."""

from decimal import Decimal
from typing import Any

from billing.catalog.pricing import Price, Tier

D = Decimal


def price(model: str = "per_unit", **fields: Any) -> Price:
    """A price of 1 credit per unit, unless told otherwise; numbers may be given as text."""
    given: dict[str, Any] = {
        "rate_id": 1, "meter_id": 1, "match": (), "dimension": "", "model": model, "price": D(1), "unit_size": D(1),
        "tiers": (), "minimum": D(0), "rounding": "half_even", "decimals": 6, **fields,
    }  # fmt: skip
    for name in ("price", "unit_size", "minimum"):
        given[name] = D(given[name])
    return Price(**given)


def tiers(*pairs: tuple[str | int | None, str | int]) -> tuple[Tier, ...]:
    """Tiers of (up to, price) pairs."""
    return tuple(Tier(None if up_to is None else D(up_to), D(each)) for up_to, each in pairs)
