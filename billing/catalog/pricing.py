"""Pure arithmetic of prices: usage to credits, packs to money. The only place in Florin that rounds.

No I/O, no clock, no model instances. Credits and quantities are `Decimal` with at most six decimals; money is rounded
to the currency's minor units. Arithmetic runs in a context of 60 digits, so nothing is lost before the one rounding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Context, Decimal

from moneyed import get_currency

ZERO = Decimal(0)
CREDIT_QUANTUM = Decimal("0.000001")
MAX_CREDITS = Decimal(10**18 - 1)
_COST_QUANTUM = Decimal(1).scaleb(-12)

_EXACT = Context(prec=60)
_MODES = {"half_even": ROUND_HALF_EVEN, "half_up": ROUND_HALF_UP, "up": ROUND_UP, "down": ROUND_DOWN}
_QUANTA = tuple(Decimal(1).scaleb(-places) for places in range(7))


class AmountTooLarge(ValueError):
    """A result of 10^18 - 1 credits or more: the columns could not hold it."""


@dataclass(frozen=True, slots=True)
class Tier:
    """A slice of a graduated price: units up to and including `up_to` (None: no end) at `price` per unit size."""

    up_to: Decimal | None
    price: Decimal


@dataclass(frozen=True, slots=True)
class Price:
    """One published rate, ready for arithmetic. `match` are the property values an event must have."""

    rate_id: int
    meter_id: int
    match: tuple[tuple[str, object], ...]
    dimension: str
    model: str
    price: Decimal
    unit_size: Decimal
    tiers: tuple[Tier, ...]
    minimum: Decimal
    rounding: str
    decimals: int


def round_credits(amount: Decimal, *, rounding: str = "half_even", decimals: int = 6) -> Decimal:
    """Round credits to `decimals` places with a named mode; `half_even` unless a rate says otherwise.

    Raises AmountTooLarge from 10^18 - 1 on.
    """
    if amount >= MAX_CREDITS:
        raise AmountTooLarge
    return amount.quantize(_QUANTA[decimals], rounding=_MODES[rounding], context=_EXACT)


def round_quantity(amount: Decimal) -> Decimal:
    """Round a quantity of a meter's units half-even to the six decimals that quantities have."""
    return amount.quantize(CREDIT_QUANTUM, rounding=ROUND_HALF_EVEN, context=_EXACT)


def units_of(level_seconds: Decimal, unit_seconds: int) -> Decimal:
    """Level x seconds (exact) in units of `unit_seconds`, rounded: 7,200 GB-seconds are 2 GB-hours (3,600)."""
    return round_quantity(_EXACT.divide(level_seconds, Decimal(unit_seconds)))


def cumulative_credits(price: Price, quantity: Decimal) -> Decimal:
    """Credits for a period's whole `quantity` (units) at this price, rounded as the rate states.

    Zero for nothing used, never below the rate's minimum otherwise. It never falls as the quantity grows.
    """
    if not quantity:
        return ZERO
    if price.model == "per_unit":
        exact = _EXACT.divide(_EXACT.multiply(quantity, price.price), price.unit_size)
    elif price.model == "per_package":
        packages = _EXACT.divide(quantity, price.unit_size).to_integral_value(ROUND_CEILING)
        exact = _EXACT.multiply(packages, price.price)
    else:
        exact = _graduated(price, quantity)
    return round_credits(max(exact, price.minimum), rounding=price.rounding, decimals=price.decimals)


def charge_credits(price: Price, *, before: Decimal, quantity: Decimal) -> Decimal:
    """Credits for `quantity` more units after `before` units of the same period: f(before + quantity) - f(before).

    Because it is a difference of one cumulative function, events in any grouping or order cost the same in total.
    Example: packages of 1,000 at 2 credits; 600 then 600 units cost 2, then 2 (two packages begun), as 1,200 at once.
    """
    after = _EXACT.add(before, quantity)
    return cumulative_credits(price, after) - cumulative_credits(price, before)


def credits_by_turns(turns: Sequence[tuple[Price, Decimal]]) -> Decimal:
    """Credits for (price, units) used one after the other on one count: what `charge_credits` adds up to."""
    total = before = ZERO
    for price, quantity in turns:
        total = _EXACT.add(total, charge_credits(price, before=before, quantity=quantity))
        before = _EXACT.add(before, quantity)
    return total


def settle(credits: Decimal, correction: Decimal) -> tuple[Decimal, Decimal]:
    """What to charge where `credits` are due and `correction` was charged too much before (negative: too little), and
    the correction that is left. Nothing is ever paid back here: (5, 8) charges 0 and leaves 3, (5, -2) charges 7.

    Raises AmountTooLarge.
    """
    charged = max(_EXACT.subtract(credits, correction), ZERO)
    if charged >= MAX_CREDITS:
        raise AmountTooLarge
    return charged, _EXACT.subtract(_EXACT.add(correction, charged), credits)


def _graduated(price: Price, quantity: Decimal) -> Decimal:
    total, begins = ZERO, ZERO
    for tier in price.tiers:
        ends = quantity if tier.up_to is None else min(quantity, tier.up_to)
        if ends > begins:
            slice_price = _EXACT.divide(_EXACT.multiply(ends - begins, tier.price), price.unit_size)
            total = _EXACT.add(total, slice_price)
            begins = ends
    return total


def best_price(prices: Sequence[Price], properties: Mapping[str, object]) -> Price | None:
    """The price whose `match` fits the event's properties with most entries; ties go to the lower rate id.

    `prices` are the rates of one meter on one version, sorted most specific first (`specific_first`).
    """
    for price in prices:
        if all(_fits(properties.get(name, _ABSENT), value) for name, value in price.match):
            return price
    return None


_ABSENT = object()


def _fits(found: object, wanted: object) -> bool:
    """Equal as JSON has it: `true` is no number, though Python takes it for 1."""
    return found == wanted and isinstance(found, bool) == isinstance(wanted, bool)


def specific_first(prices: Sequence[Price]) -> tuple[Price, ...]:
    """Sort rates of one meter so that the first that matches is the one that applies."""
    return tuple(sorted(prices, key=lambda price: (-len(price.match), price.rate_id)))


def check_tiers(tiers: Sequence[Tier]) -> str | None:
    """Say what is wrong with graduated tiers, or None: at least one, bounds rising, only the last without end."""
    if not tiers:
        return "A graduated rate needs at least one tier."
    previous = ZERO
    for index, tier in enumerate(tiers):
        last = index == len(tiers) - 1
        if (tier.up_to is None) != last:
            return "The last tier, and only the last, must have no upper bound."
        if not tier.price.is_finite() or tier.price < 0:
            return "A tier's price must be zero or more."
        if tier.up_to is not None:
            if not tier.up_to.is_finite() or tier.up_to <= previous:
                return "Each tier must end above the one before."
            previous = tier.up_to
    return None


def round_money(amount: Decimal, currency: str) -> Decimal:
    """Round money half-up to the currency's minor units (2 decimals for EUR, 0 for JPY, 3 for KWD)."""
    # Adding zero takes the sign off a zero, which Decimal keeps: -0.001 is 0.00, not -0.00.
    rounded = amount.quantize(minor_unit(currency), rounding=ROUND_HALF_UP, context=_EXACT)
    return _EXACT.add(rounded, 0)


def minor_unit(currency: str) -> Decimal:
    """The least money of a currency: 0.01 for EUR, 1 for JPY, 0.001 for KWD."""
    return Decimal(1) / Decimal(get_currency(currency).sub_unit)


def round_parts(parts: Sequence[Decimal], currency: str) -> list[Decimal]:
    """Round parts of money such that they add up to their rounded sum: down, and a minor unit more for those that lost
    most, the first of equals.

    Example: 3.3333, 3.3333 and 3.3334: 3.33, 3.33, 3.34.
    """
    unit = Decimal(1) / Decimal(get_currency(currency).sub_unit)
    rounded = [part.quantize(unit, rounding=ROUND_FLOOR, context=_EXACT) for part in parts]
    short = int((round_money(sum(parts, Decimal(0)), currency) - sum(rounded, Decimal(0))) / unit)
    by_loss = sorted(range(len(parts)), key=lambda index: rounded[index] - parts[index])
    for index in by_loss[:short]:
        rounded[index] += unit
    return rounded


def pack_price(tiers: Sequence[tuple[Decimal, Decimal]], credits: Decimal, currency: str) -> tuple[Decimal, Decimal]:
    """Price of a pack of `credits`: (money per credit, total money), volume model: the reached tier prices all of it.

    `tiers` are (from_credits, unit price) pairs. Raises ValueError below the first tier.
    Example: 10,000 at 0.10 and 100,000 at 0.07: 99,999 cost 9,999.90, 100,000 cost 7,000.00.
    """
    reached = [pair for pair in tiers if pair[0] <= credits]
    if not reached:
        raise ValueError("fewer credits than the first tier begins with")
    unit_price = max(reached)[1]
    return unit_price, round_money(_EXACT.multiply(unit_price, credits), currency)


def share_tax(amounts: Sequence[Decimal], percent: Decimal, currency: str, *, included: bool = False) -> list[Decimal]:
    """The tax of each amount at one rate, such that they add up to the tax of the sum, rounded once.

    The amounts are net, or gross where the tax is `included` in them. Each share is the difference of the rounded tax
    of the sums after and before it, so none is off by more than a minor unit, of another sign than its amount, or,
    where it is included, larger than it. Example: 0.33, 0.33 and 0.34 at 19 %: 0.06, 0.07 and 0.06, together 0.19; of
    119.00 with 19 % in it: 19.00.
    """
    base = _EXACT.add(Decimal(100), percent) if included else Decimal(100)
    taxes, total, taxed = [], ZERO, ZERO
    for amount in amounts:
        total = _EXACT.add(total, amount)
        tax = round_money(_EXACT.divide(_EXACT.multiply(total, percent), base), currency)
        taxes.append(tax - taxed)
        taxed = tax
    return taxes


def share_money(whole: Decimal, parts: Sequence[Decimal], *, of: Decimal, currency: str) -> list[Decimal]:
    """The part of `whole`, which belongs to `of`, that belongs to each of some parts, rounded such that they add up to
    what belongs to the sum. Example: 0.10 of 3 for 1, 1 and 1: 0.03, 0.04 and 0.03."""
    shares, total, shared = [], ZERO, ZERO
    for part in parts:
        total = _EXACT.add(total, part)
        share = part_of_money(whole, part=total, of=of, currency=currency)
        shares.append(share - shared)
        shared = share
    return shares


def net_unit_price(unit_price: Decimal, *, net: Decimal, gross: Decimal) -> Decimal:
    """The net price of a unit whose price has tax in it, to twelve decimals, from what the line is net and gross."""
    if net == gross:
        return unit_price
    exact = _EXACT.divide(_EXACT.multiply(unit_price, net), gross)
    return exact.quantize(_COST_QUANTUM, rounding=ROUND_HALF_EVEN, context=_EXACT)


def part_of_money(whole: Decimal, *, part: Decimal, of: Decimal, currency: str) -> Decimal:
    """`whole` x `part` / `of`, rounded: the tax of a part of a line. All of it when `part` is `of`; zero of nothing."""
    return round_money(_EXACT.divide(_EXACT.multiply(whole, part), of), currency) if of else ZERO


def part_of_credits(whole: Decimal, *, part: Decimal, of: Decimal) -> Decimal:
    """`whole` x `part` / `of` credits, rounded half-even to six decimals. All of them when `part` is `of`."""
    return round_credits(_EXACT.divide(_EXACT.multiply(whole, part), of))


def line_amount(quantity: Decimal, unit_price: Decimal, currency: str) -> Decimal:
    """What so many units cost, rounded once."""
    return round_money(_EXACT.multiply(quantity, unit_price), currency)


def cross_rate(base_per_euro: Decimal, currency_per_euro: Decimal) -> Decimal:
    """What one unit of a currency is worth in the base, to twelve decimals, from what a euro is worth in both."""
    return _EXACT.divide(base_per_euro, currency_per_euro).quantize(
        _COST_QUANTUM, rounding=ROUND_HALF_EVEN, context=_EXACT
    )


def convert_money(amount: Decimal, rate: Decimal, currency: str) -> Decimal:
    """Money in another currency at a rate, rounded to that currency's minor units."""
    return round_money(_EXACT.multiply(amount, rate), currency)


def cost_per_credit(amount: Decimal, credits: Decimal) -> Decimal:
    """Net money per credit of a lot that was bought for `amount`, to twelve decimals."""
    return _EXACT.divide(amount, credits).quantize(_COST_QUANTUM, rounding=ROUND_HALF_EVEN, context=_EXACT)


def percent_saved(unit_price: Decimal, *, dearest: Decimal) -> int:
    """How much less a credit costs than at the dearest price, in whole percent, rounded down so as not to boast.

    Example: 0.07 instead of 0.12 saves 41 %.
    """
    if unit_price >= dearest:
        return 0
    part = _EXACT.divide(_EXACT.multiply(dearest - unit_price, Decimal(100)), dearest)
    return int(part.to_integral_value(ROUND_DOWN))
