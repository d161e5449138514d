"""What usage costs an account, in words: the rates of its rate card, what a credit buys, and a worked example each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import OuterRef, Q, Subquery
from django.utils.translation import gettext as _

from billing.accounts.models import Account
from billing.catalog.models import Meter, Rate, RateCardAssignment, RateCardVersion
from billing.catalog.prices import PRECEDENCE, price_of
from billing.catalog.pricing import cumulative_credits
from billing.wording import amounts

ZERO = Decimal(0)
# An example's quantity is the first of these multiples of the unit size that costs at least so many credits.
MULTIPLES = (1, 10, 100, 1_000, 10_000, 100_000)
EXAMPLE_CREDITS = 10


@dataclass(frozen=True, slots=True)
class Example:
    """What a quantity costs when it is the first of its period."""

    quantity: Decimal
    unit: str
    credits: Decimal


@dataclass(frozen=True, slots=True)
class Line:
    """One rate in words. `condition` are the properties that an event must have. `credit_buys` is in the meter's
    units at the first price, None for what is free."""

    meter: str
    unit: str
    condition: str
    price: str
    credit_buys: Decimal | None
    example: Example


@dataclass(frozen=True, slots=True)
class PriceList:
    """The version of the account's rate card in force, by meter, the general rate of each last.

    `example_meter` is the key of a meter that takes plain events, empty if there is none.
    """

    name: str
    since: datetime
    is_own: bool
    lines: list[Line]
    example_meter: str


def read_price_list(account: Account, *, has_plan: bool, now: datetime) -> PriceList | None:
    """The prices in force for the account (U4), which has a plan or not; None when there are none. One query."""
    assigned = RateCardAssignment.objects.filter(
        Q(ends_at=None) | Q(ends_at__gt=now),
        account=account,
        starts_at__lte=now,
        rate_card=OuterRef("version__rate_card"),
    )
    published = Rate.objects.filter(version__published_at__isnull=False, version__effective_at__lte=now)
    rates = list(
        published.annotate(kind=Subquery(assigned.values("kind")[:1]))
        .filter(Q(version__rate_card__is_default=True) | Q(kind__isnull=False))
        .select_related("meter", "version__rate_card")
    )
    if not rates:
        return None
    best = min(rates, key=_rank).version.rate_card_id
    of_card = [rate for rate in rates if rate.version.rate_card_id == best]
    newest = max((rate.version for rate in of_card), key=lambda version: (version.effective_at or now, version.pk))
    in_force = [rate for rate in of_card if rate.version_id == newest.pk and rate.meter.archived_at is None]
    in_force.sort(key=lambda rate: (rate.meter.name, -len(rate.match), sorted(rate.match.items(), key=str)))
    counters = [rate.meter.key for rate in in_force if rate.meter.kind == Meter.Kind.COUNTER]
    by_plan = has_plan and newest.counts_by == RateCardVersion.CountsBy.BILLING_PERIOD
    return PriceList(
        name=newest.rate_card.name,
        since=newest.effective_at or now,
        is_own=not newest.rate_card.is_default,
        lines=lines_of(in_force, period=_("billing period") if by_plan else _("calendar month")),
        example_meter=counters[0] if counters else "",
    )


def _rank(rate: Rate) -> int:
    kind: str | None = rate.kind  # type: ignore[attr-defined]
    return PRECEDENCE.index(kind) if kind else len(PRECEDENCE)


def lines_of(rates: Sequence[Rate], *, period: str) -> list[Line]:
    """Rates in words, which count by the period."""
    return [
        Line(
            meter=rate.meter.name,
            unit=rate.meter.unit,
            condition=", ".join(f"{name} {value}" for name, value in sorted(rate.match.items())),
            price=_price(rate, period),
            credit_buys=_credit_buys(rate),
            example=_example(rate),
        )
        for rate in rates
    ]


def _price(rate: Rate, period: str) -> str:
    text = _base_price(rate, period)
    if rate.minimum:
        names = {"price": text, "minimum": amounts.exact_credits_text(rate.minimum), "period": period}
        return _("%(price)s; at least %(minimum)s in a %(period)s with usage") % names
    return text


def _base_price(rate: Rate, period: str) -> str:
    price, size = amounts.exact_credits_text(rate.price), amounts.exact_credits_text(rate.unit_size)
    one, unit = rate.unit_size == 1, _unit(rate, rate.unit_size)
    names = {"price": price, "size": size, "unit": unit, "period": period}
    if rate.model == Rate.Model.GRADUATED:
        return _graduated(rate, unit, period)
    if not rate.price:
        return _("free")
    if rate.model == Rate.Model.PER_PACKAGE:
        return _("%(price)s for each %(size)s %(unit)s started, counted over a %(period)s") % names
    return _("%(price)s per %(unit)s") % names if one else _("%(price)s per %(size)s %(unit)s") % names


def _graduated(rate: Rate, unit: str, period: str) -> str:
    parts = []
    for tier in rate.tiers:
        price = amounts.exact_credits_text(Decimal(tier["price"]))
        if tier["up_to"] is None:
            parts.append(_("then %(price)s") % {"price": price})
        else:
            bound = amounts.exact_credits_text(Decimal(tier["up_to"]))
            parts.append(_("%(price)s up to %(bound)s") % {"price": price, "bound": bound})
    size = "" if rate.unit_size == 1 else f"{amounts.exact_credits_text(rate.unit_size)} "
    names = {"unit": f"{size}{unit}", "period": period, "tiers": ", ".join(parts)}
    return _("per %(unit)s, counted over a %(period)s: %(tiers)s") % names


def _unit(rate: Rate, quantity: Decimal) -> str:
    return rate.meter.unit if quantity == 1 else amounts.plural(rate.meter.unit)


def _credit_buys(rate: Rate) -> Decimal | None:
    price = Decimal(rate.tiers[0]["price"]) if rate.model == Rate.Model.GRADUATED else rate.price
    return rate.unit_size / price if price else None


def _example(rate: Rate) -> Example:
    price = price_of(rate)
    for multiple in MULTIPLES:
        quantity = rate.unit_size * multiple
        credits = cumulative_credits(price, quantity)
        if credits >= EXAMPLE_CREDITS:
            break
    return Example(quantity, _unit(rate, quantity), credits)
