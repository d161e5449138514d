"""Pure arithmetic of plans: overage, true-up, discounts, loyalty and what may roll over. Rounds through `pricing`.

No I/O, no clock. Money is of one currency and net or gross as the caller has it; credits have at most six decimals.
"""

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal, InvalidOperation
from typing import NamedTuple

from billing.catalog.pricing import Tier, check_tiers, round_credits, round_money

ZERO = Decimal(0)
_HUNDRED = Decimal(100)
_EXACT = Context(prec=60)

FLAT, GRADUATED, VOLUME = "flat", "graduated", "volume"


class RolloverRule(NamedTuple):
    """What may roll into the next cycle: at most `most` credits of those left (None: all of them), each credit at most
    `periods` times, and never more than `cap` rolled credits together (None: no cap)."""

    most: Decimal | None
    periods: int
    cap: Decimal | None


def overage_tiers(raw: object) -> tuple[Tier, ...]:
    """`PlanPrice.overage_tiers` as the arithmetic takes them. Raises ValueError for what is no list of tiers."""
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        raise ValueError("Tiers are a list.")
    try:
        return tuple(_tier(entry) for entry in raw)
    except (TypeError, KeyError, InvalidOperation):
        raise ValueError('Write tiers as [{"up_to": "1000", "price": "2"}, {"up_to": null, "price": "1"}].') from None


def _tier(entry: Mapping[str, object]) -> Tier:
    up_to = entry["up_to"]
    return Tier(None if up_to is None else Decimal(str(up_to)), Decimal(str(entry["price"])))


def check_overage(model: str, tiers: Sequence[Tier]) -> str | None:
    """Say what is wrong with overage tiers, or None. One price for all is a single tier without end."""
    if not tiers:
        return "Overage needs a price."
    if model == FLAT and len(tiers) != 1:
        return "One price for all overage is a single tier."
    return check_tiers(tiers)


def overage_price(*, model: str, tiers: Sequence[Tier], unit: Decimal, credits: Decimal, currency: str) -> Decimal:
    """What a period's overage of `credits` costs, each `unit` of them at a tier's price; rounded once.

    `flat`: one price. `graduated`: each slice at its own tier's price. `volume`: the tier reached prices all of it.
    Example, per 1,000 credits up to 10,000 at 2.00 and beyond at 1.50: 12,500 cost 23.75 graduated, 18.75 by volume.
    Raises ValueError for a negative amount or without tiers.
    """
    if credits < 0 or not tiers:
        raise ValueError("overage is of some credits, at some price")
    if model == GRADUATED:
        exact = _by_slices(tiers, credits)
    else:
        exact = _EXACT.multiply(credits, _reached(tiers, credits).price)
    return round_money(_EXACT.divide(exact, unit), currency)


def overage_charge(
    *, model: str, tiers: Sequence[Tier], unit: Decimal, before: Decimal, credits: Decimal, currency: str
) -> Decimal:
    """What `credits` more cost after `before` of the same period are billed: f(before + credits) - f(before).

    So a period's charges add up to the price of its whole overage, however it is split; negative where credits were
    reversed (`credits` negative), and where more of a volume price makes all of it cheaper.
    """
    after = overage_price(model=model, tiers=tiers, unit=unit, credits=before + credits, currency=currency)
    return after - overage_price(model=model, tiers=tiers, unit=unit, credits=before, currency=currency)


def _by_slices(tiers: Sequence[Tier], credits: Decimal) -> Decimal:
    total, begins = ZERO, ZERO
    for tier in tiers:
        ends = credits if tier.up_to is None else min(credits, tier.up_to)
        if ends > begins:
            total = _EXACT.add(total, _EXACT.multiply(ends - begins, tier.price))
            begins = ends
    return total


def _reached(tiers: Sequence[Tier], credits: Decimal) -> Tier:
    return next((tier for tier in tiers if tier.up_to is None or credits <= tier.up_to), tiers[-1])


def true_up(*, minimum: Decimal, charged: Decimal, part: int = 1, of: int = 1, currency: str) -> Decimal:
    """What a period falls short of its minimum: the minimum for `part` of its `of` days, less what was charged.

    Never negative. Example: a minimum of 500.00 a month, left after 10 of 30 days having paid 120.00: 46.67.
    """
    due = round_money(_EXACT.divide(_EXACT.multiply(minimum, Decimal(part)), Decimal(of)), currency)
    return max(due - charged, ZERO)


def discount(*, amount: Decimal, percent: Decimal | None = None, off: Decimal | None = None, currency: str) -> Decimal:
    """What a coupon of `percent` or of the amount `off` takes from `amount`: never more than it, nothing of a credit.

    Example: 20 % of 49.99 is 10.00 (9.998); 30.00 off 20.00 is 20.00.
    """
    if amount <= 0:
        return ZERO
    if percent is not None:
        off = round_money(_EXACT.divide(_EXACT.multiply(amount, percent), _HUNDRED), currency)
    return min(off or ZERO, amount)


def share_money(whole: Decimal, weights: Sequence[Decimal], currency: str) -> list[Decimal]:
    """Split money by weights (none negative, some positive) such that the parts add up to it to the minor unit.

    Example: 10.00 by 1, 1 and 1: 3.33, 3.34, 3.33. Raises ValueError where there is nothing to split by.
    """
    total = sum(weights, ZERO)
    if total <= 0 or min(weights) < 0:
        raise ValueError("weights must be positive together")
    parts, reached, given = [], ZERO, ZERO
    for weight in weights:
        reached = _EXACT.add(reached, weight)
        upto = round_money(_EXACT.divide(_EXACT.multiply(whole, reached), total), currency)
        parts.append(upto - given)
        given = upto
    return parts


def loyalty_credits(*, steps: Sequence[Mapping[str, object]], period: int, included: Decimal) -> Decimal:
    """Bonus credits of a period (counted from 1): the percent, of what is included, of the last step reached.

    Example: 5 % from period 7 and 10 % from period 13 of 1,000 credits: 0 in the 6th, 50 in the 7th, 100 in the 13th.
    """
    reached = [step for step in steps if int(str(step["from_period"])) <= period]
    if not reached:
        return ZERO
    step = max(reached, key=lambda step: int(str(step["from_period"])))
    return round_credits(_percent_of(included, Decimal(str(step["percent"]))))


def check_loyalty(steps: object) -> str | None:
    """Say what is wrong with loyalty steps, or None: each from a later period on, each of more than 0 percent."""
    if not isinstance(steps, Sequence) or isinstance(steps, str):
        return "Loyalty steps are a list."
    previous = 0
    for step in steps:
        try:
            from_period, percent = int(str(step["from_period"])), Decimal(str(step["percent"]))
        except (TypeError, KeyError, ValueError, InvalidOperation):
            return 'Write loyalty steps as [{"from_period": 7, "percent": "5"}].'
        if from_period <= previous:
            return "Each loyalty step must begin at a later period than the one before, the first at 1 or later."
        if not (percent.is_finite() and 0 < percent <= 1000):
            return "A loyalty step gives more than 0 and at most 1000 percent."
        previous = from_period
    return None


def rollover_rule(
    *,
    rollover: str,
    percent: Decimal | None,
    amount: Decimal | None,
    periods: int,
    cap: Decimal | None,
    included: Decimal,
) -> RolloverRule | None:
    """A plan version's rollover for a cycle that includes `included` credits; None where nothing rolls.

    Example: a share of 25 % of 10,000 lets at most 2,500 roll.
    """
    match rollover:
        case "share":
            most: Decimal | None = round_credits(_percent_of(included, percent or ZERO))
        case "amount":
            most = amount or ZERO
        case "all":
            most = None
        case _:
            return None
    return RolloverRule(most, periods, cap) if periods else None


def _percent_of(amount: Decimal, percent: Decimal) -> Decimal:
    return _EXACT.divide(_EXACT.multiply(amount, percent), _HUNDRED)
