"""What a plan costs and includes, in sentences: for its card, for the table that compares plans, for one's own plan.

Single facts are put into words by `catalog.plan_words`, the same for customers and staff. Pure: no I/O, no clock.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.catalog import periods, plan_words, pricing
from billing.catalog.models import PlanVersion
from billing.catalog.plan_words import NOTHING
from billing.subscriptions.agreement.terms import Terms
from billing.wording.amounts import credits_text, money_text, unit_price_text

ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the comparison: a question, and each plan's answer. `differs`: not all answers are the same."""

    name: str
    answers: list[str]

    @property
    def differs(self) -> bool:
        return len(set(self.answers)) > 1


def has_seats(terms: Terms) -> bool:
    """Whether the plan counts seats at all."""
    return bool(terms.seats_included or terms.seat_price or terms.version.credits_per_seat)


def has_credits(terms: Terms) -> bool:
    """Whether the plan includes credits."""
    return bool(terms.included_credits or terms.version.credits_per_seat)


def fee_text(terms: Terms) -> str:
    """`€49.00`, or `No fee` when nothing is paid in advance."""
    return money_text(terms.fee, terms.currency) if terms.fee else _("No fee")


def price_text(terms: Terms) -> str:
    """`€49.00 a month`."""
    return f"{fee_text(terms)} {per_text(terms.version)}" if terms.fee else fee_text(terms)


def per_text(version: PlanVersion) -> str:
    """`a month`, `every 2 weeks`: for prices."""
    if version.interval_count > 1:
        return _("every %(span)s") % {"span": plan_words.period_text(version)}
    names = {"week": _("a week"), "month": _("a month"), "quarter": _("a quarter"), "year": _("a year")}
    return names[version.interval]


def each_text(version: PlanVersion) -> str:
    """`each month`, `every 2 weeks`: for what comes again."""
    if version.interval_count > 1:
        return _("every %(span)s") % {"span": plan_words.period_text(version)}
    names = {"week": _("each week"), "month": _("each month"), "quarter": _("each quarter"), "year": _("each year")}
    return names[version.interval]


def billed_text(version: PlanVersion) -> str:
    """`monthly`, `every 2 weeks`: for how one pays."""
    if version.interval_count > 1:
        return _("every %(span)s") % {"span": plan_words.period_text(version)}
    names = {"week": _("weekly"), "month": _("monthly"), "quarter": _("quarterly"), "year": _("yearly")}
    return names[version.interval]


def a_month_text(terms: Terms) -> str:
    """What the fee of a longer period comes to by the month; empty for others."""
    months = periods.MONTHS.get(terms.interval, 0) * terms.interval_count
    if months < 2 or not terms.fee:
        return ""
    by_month = money_text(pricing.round_money(terms.fee / months, terms.currency), terms.currency)
    return _("that is %(money)s a month") % {"money": by_month}


def list_features(terms: Terms, *, with_trial: bool = False) -> list[str]:
    """What the plan includes, a sentence each, what matters most first."""
    version = terms.version
    found = [trial_text(version)] if with_trial else []
    if has_credits(terms):
        found.append(_included(terms, _("%(credits)s credits %(often)s"), _("%(credits)s credits for each seat")))
        found.append(_("When they run out, %(what)s") % {"what": exhaustion_text(terms)})
        if version.rollover == PlanVersion.Rollover.NONE:
            found.append(_("Unused credits expire when the next ones come"))
        else:
            found.append(_("Rollover of unused credits: %(what)s") % {"what": plan_words.rollover_text(version)})
    else:
        found.append(_("Pay for what you use: %(price)s") % {"price": exhaustion_text(terms)})
    found += [seats_text(terms), minimum_text(terms)]
    if version.loyalty_steps:
        found.append(_("Credits for staying: %(what)s") % {"what": plan_words.loyalty_text(version)})
    return [text for text in found if text]


def compare(plans: Sequence[Terms], *, with_trial: bool = False) -> list[Row]:
    """What tells plans apart, question by question; questions that none of them has an answer to are left out."""
    questions: tuple[tuple[str, Callable[[Terms], str]], ...] = (
        (_("Fee"), price_text),
        (_("By the month"), lambda terms: a_month_text(terms).removeprefix(_("that is "))),
        (_("Credits included"), included_text),
        (_("Rollover"), lambda terms: plan_words.rollover_text(terms.version)),
        (_("When they run out"), exhaustion_text),
        (_("At least"), lambda terms: money_text(terms.minimum, terms.currency) if terms.minimum else ""),
        (_("Seats"), seats_text),
        (_("For staying"), lambda terms: plan_words.loyalty_text(terms.version)),
        (_("Trial"), lambda terms: trial_text(terms.version) if with_trial else ""),
    )
    rows = []
    for name, answer in questions:
        answers = [answer(terms) or NOTHING for terms in plans]
        if set(answers) != {NOTHING}:
            rows.append(Row(name, answers))
    return rows


def included_text(terms: Terms) -> str:
    """`10,000 each month and 500 for each seat`; empty when nothing is included."""
    return _included(terms, _("%(credits)s %(often)s"), _("%(credits)s for each seat")) if has_credits(terms) else ""


def _included(terms: Terms, plain: str, by_seat: str) -> str:
    often = _("each month") if terms.grants_monthly else each_text(terms.version)
    parts = []
    if terms.included_credits:
        parts.append(plain % {"credits": credits_text(terms.included_credits), "often": often})
    if terms.version.credits_per_seat:
        text = by_seat % {"credits": credits_text(terms.version.credits_per_seat)}
        parts.append(text if parts else f"{text} {often}")
    return _(" and ").join(parts)


def exhaustion_text(terms: Terms) -> str:
    """What happens when the credits run out, with the price of going on."""
    version = terms.version
    if version.policy == PlanVersion.Policy.BLOCK:
        return _("usage stops until there are more")
    if version.policy == PlanVersion.Policy.BURST:
        limit = credits_text(version.burst_limit)
        return _("up to %(limit)s more can be used in advance of the next ones") % {"limit": limit}
    price = overage_text(terms)
    text = _("usage goes on at %(price)s") % {"price": price} if has_credits(terms) else price
    if version.overage_cap is not None:
        cap = {"cap": credits_text(version.overage_cap), "each": each_text(version)}
        text += _("; at most %(cap)s credits %(each)s") % cap
    return text


def overage_text(terms: Terms) -> str:
    """The price of credits beyond what is included: `$2.00 per 1,000 credits`, or each slice's, `$2.00 per 1,000
    credits up to 5,000, $1.50 beyond`."""
    version, tiers = terms.version, terms.overage_tiers
    if not tiers:
        return _("no charge")
    is_one = version.overage_unit == ONE
    unit = _("a credit") if is_one else _("per %(unit)s credits") % {"unit": credits_text(version.overage_unit)}
    prices = [unit_price_text(tier.price, terms.currency) for tier in tiers]
    if len(tiers) == 1:
        return f"{prices[0]} {unit}"
    steps = [
        _("%(price)s up to %(bound)s") % {"price": price, "bound": credits_text(tier.up_to)}
        for price, tier in zip([f"{prices[0]} {unit}", *prices[1:]], tiers, strict=True)
        if tier.up_to is not None
    ]
    by_volume = version.overage_model == PlanVersion.OverageModel.VOLUME
    last = _("%(price)s for all of it beyond") if by_volume else _("%(price)s beyond")
    return ", ".join([*steps, last % {"price": prices[-1]}])


def seats_text(terms: Terms) -> str:
    """How many seats there are, and what more cost; empty where they are not counted."""
    if not has_seats(terms):
        return ""
    parts = []
    if count := terms.seats_included:
        parts.append(ngettext("%(count)s seat included", "%(count)s seats included", count) % {"count": count})
    if terms.seat_price:
        money = {"money": money_text(terms.seat_price, terms.currency), "per": per_text(terms.version)}
        text = _("each further seat %(money)s %(per)s") if parts else _("%(money)s for each seat %(per)s")
        parts.append(text % money)
    if terms.version.seats_max is not None:
        parts.append(_("at most %(count)s") % {"count": terms.version.seats_max})
    return ", ".join(parts)


def minimum_text(terms: Terms) -> str:
    """What a period comes to at least; empty when there is no such sum."""
    if not terms.minimum:
        return ""
    least = {"money": money_text(terms.minimum, terms.currency), "per": per_text(terms.version)}
    return _("At least %(money)s %(per)s, fee and usage together") % least


def trial_text(version: PlanVersion) -> str:
    """What can be had before anything is paid: `14 days free with 500 credits`; empty without a trial."""
    if not version.trial_days:
        return ""
    days = ngettext("%(count)s day free", "%(count)s days free", version.trial_days) % {"count": version.trial_days}
    if not version.trial_credits:
        return days
    return _("%(days)s, with %(credits)s credits") % {"days": days, "credits": credits_text(version.trial_credits)}


def trial_limit_text(version: PlanVersion) -> str:
    """What happens to usage in a trial beyond what is free."""
    if version.charges_in_trial:
        return _("what you use is charged at the plan's prices")
    return _("nothing is charged: requests are refused when its credits are used up")
