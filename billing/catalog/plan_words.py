"""What a plan version says, in words: one line for each term. The same in admin, portal and comparisons."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.catalog.models import PlanPrice, PlanVersion
from billing.wording.amounts import exact_credits_text, money_text, percent_text, unit_price_text

NOTHING = "\N{EN DASH}"
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class ComparedTerm:
    """One term and what each compared version says of it; an en dash for nothing."""

    name: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        return len(set(self.values)) > 1


def compare(version_ids: Sequence[int]) -> tuple[list[PlanVersion], list[ComparedTerm]]:
    """Versions side by side, in the order asked for (unknown ids are left out), term by term. Two queries."""
    rows = PlanVersion.objects.select_related("plan", "rate_card", "dunning_policy").prefetch_related("prices")
    found = rows.in_bulk(list(version_ids))
    versions = [found[pk] for pk in dict.fromkeys(version_ids) if pk in found]
    sheets = [list_terms(version) for version in versions]
    # In the order of the first sheet that has the term.
    names = dict.fromkeys(name for sheet in sheets for name in sheet)
    return versions, [ComparedTerm(name, tuple(sheet.get(name, NOTHING) for sheet in sheets)) for name in names]


def list_terms(version: PlanVersion) -> dict[str, str]:
    """Each term of a version by its name. Reads its prices, rate card and dunning policy."""
    prices = sorted(version.prices.all(), key=lambda price: price.currency)
    terms = {_("Period"): period_text(version)}
    for price in prices:
        terms[_("Fee, %(currency)s") % {"currency": price.currency}] = money_text(price.fee, price.currency)
    terms[_("Credits included")] = included_text(version)
    terms[_("Rollover")] = rollover_text(version)
    terms[_("When credits run out")] = policy_text(version)
    for price in prices:
        if price.overage_tiers:
            terms[_("Overage, %(currency)s") % {"currency": price.currency}] = overage_text(version, price)
    for price in prices:
        if price.minimum:
            minimum = money_text(price.minimum, price.currency)
            terms[_("Minimum a period, %(currency)s") % {"currency": price.currency}] = minimum
    terms |= _seats(version, prices)
    terms[_("Trial")] = trial_text(version)
    terms[_("Loyalty")] = loyalty_text(version)
    terms[_("Price list")] = str(version.rate_card) if version.rate_card else _("the account's own or the default")
    terms[_("Tax")] = _("in the prices") if version.prices_include_tax else _("on top of the prices")
    terms[_("If unpaid")] = str(version.dunning_policy) if version.dunning_policy else _("the default policy")
    terms[_("For")] = ", ".join(version.target_segments) or _("everyone")
    return terms


def _seats(version: PlanVersion, prices: Iterable[PlanPrice]) -> dict[str, str]:
    terms = {}
    if version.seats_included or version.seats_max is not None:
        most = _("at most %(count)s") % {"count": version.seats_max}
        included = _("%(count)s included") % {"count": version.seats_included}
        terms[_("Seats")] = included if version.seats_max is None else f"{included}, {most}"
    for price in prices:
        if price.seat_price:
            each = money_text(price.seat_price, price.currency)
            terms[_("Extra seat, %(currency)s") % {"currency": price.currency}] = each
    return terms


def period_text(version: PlanVersion) -> str:
    """How long a period is: `1 month`, `2 weeks`."""
    count = version.interval_count
    match version.interval:
        case PlanVersion.Interval.WEEK:
            text = ngettext("%(count)s week", "%(count)s weeks", count)
        case PlanVersion.Interval.MONTH:
            text = ngettext("%(count)s month", "%(count)s months", count)
        case PlanVersion.Interval.QUARTER:
            text = ngettext("%(count)s quarter", "%(count)s quarters", count)
        case _:
            text = ngettext("%(count)s year", "%(count)s years", count)
    return text % {"count": count}


def included_text(version: PlanVersion) -> str:
    """What is granted and when: `10,000 each month and 500 for each seat`."""
    if not version.included_credits and not version.credits_per_seat:
        return NOTHING
    credits = exact_credits_text(version.included_credits)
    text = _("%(credits)s each month") if version.grants_monthly else _("%(credits)s each period")
    if version.credits_per_seat:
        text += " " + _("and %(credits)s for each seat") % {"credits": exact_credits_text(version.credits_per_seat)}
    return text % {"credits": credits}


def rollover_text(version: PlanVersion) -> str:
    """What of the credits left over is kept, how often and up to what."""
    match version.rollover:
        case PlanVersion.Rollover.NONE:
            return NOTHING
        case PlanVersion.Rollover.SHARE:
            percent = percent_text(version.rollover_percent or ZERO)
            text = _("up to %(percent)s of what is included") % {"percent": percent}
        case PlanVersion.Rollover.AMOUNT:
            text = _("up to %(credits)s credits") % {"credits": exact_credits_text(version.rollover_amount or ZERO)}
        case _:
            text = _("all that is left")
    times = version.rollover_periods
    text += ", " + ngettext("%(count)s time", "%(count)s times", times) % {"count": times}
    if version.rollover_cap is not None:
        text += ", " + _("together at most %(credits)s") % {"credits": exact_credits_text(version.rollover_cap)}
    return text


def policy_text(version: PlanVersion) -> str:
    """What happens when the credits are used up."""
    match version.policy:
        case PlanVersion.Policy.BURST:
            limit = exact_credits_text(version.burst_limit)
            return _("up to %(credits)s more, repaid from the next credits") % {"credits": limit}
        case PlanVersion.Policy.OVERAGE:
            if version.overage_cap is None:
                return _("metered on and invoiced afterwards")
            cap = exact_credits_text(version.overage_cap)
            return _("metered on up to %(credits)s credits and invoiced afterwards") % {"credits": cap}
    return _("charges are refused")


def overage_text(version: PlanVersion, price: PlanPrice) -> str:
    """What overage costs: `$2.00 up to 10,000, $1.50 beyond, per 1,000 credits (each slice at its own price)`."""
    unit = exact_credits_text(version.overage_unit)
    tiers = [_tier_text(tier, price.currency) for tier in price.overage_tiers]
    if len(tiers) == 1:
        each = unit_price_text(_decimal(price.overage_tiers[0]["price"]), price.currency)
        return _("%(price)s per %(unit)s credits") % {"price": each, "unit": unit}
    by_volume = version.overage_model == PlanVersion.OverageModel.VOLUME
    how = _("the tier reached prices all of it") if by_volume else _("each slice at its own price")
    return _("%(tiers)s, per %(unit)s credits (%(how)s)") % {"tiers": ", ".join(tiers), "unit": unit, "how": how}


def _tier_text(tier: Mapping[str, str | None], currency: str) -> str:
    price = unit_price_text(_decimal(tier["price"]), currency)
    if tier["up_to"] is None:
        return _("%(price)s beyond") % {"price": price}
    return _("%(price)s up to %(credits)s") % {"price": price, "credits": exact_credits_text(_decimal(tier["up_to"]))}


def trial_text(version: PlanVersion) -> str:
    """How long one may try it and with how many credits."""
    days = version.trial_days
    if not days:
        return NOTHING
    text = ngettext("%(count)s day", "%(count)s days", days) % {"count": days}
    if version.trial_credits:
        text += " " + _("with %(credits)s credits") % {"credits": exact_credits_text(version.trial_credits)}
    return text


def loyalty_text(version: PlanVersion) -> str:
    """The bonus that staying brings: `5% more from period 7 on`."""
    said = [
        _("%(percent)s more from period %(number)s on")
        % {"percent": percent_text(_decimal(step["percent"])), "number": step["from_period"]}
        for step in version.loyalty_steps
    ]
    return ", ".join(said) or NOTHING


def _decimal(number: object) -> Decimal:
    return Decimal(str(number))
