"""How fast an account uses its credits, and how far they go at that price. Reading only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.db.models import Sum

from billing.accounts.models import Account
from billing.catalog.models import Rate
from billing.metering.models import DailyUsage

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Burn:
    """What one meter used on one day of the account's time zone."""

    day: date
    meter: str
    unit: str
    quantity: Decimal
    credits: Decimal


@dataclass(frozen=True, slots=True)
class Purchase:
    """How many units of a meter some credits buy."""

    meter: str
    unit: str
    quantity: Decimal


def read_burn(account: Account, *, first: date, last: date) -> list[Burn]:
    """The account's metered usage that cost credits, from `first` to `last`, both included, all pools and members."""
    usage = DailyUsage.objects.filter(account=account, day__range=(first, last))
    rows = usage.values_list("day", "meter__name", "meter__unit").annotate(Sum("quantity"), Sum("credits"))
    return [Burn(*row) for row in rows.filter(credits__sum__gt=0)]


def read_list_prices(now: datetime) -> list[Burn]:
    """One unit of each meter at the default rate card's price: what to reckon with before anything was used.

    Rates for certain properties only, graduated ones and free meters are left out: they have no one price.
    """
    rates = Rate.objects.filter(
        version__rate_card__is_default=True,
        version__published_at__isnull=False,
        version__effective_at__lte=now,
        match={},
        model__in=(Rate.Model.PER_UNIT, Rate.Model.PER_PACKAGE),
        price__gt=0,
    )
    prices: dict[int, Burn] = {}
    for rate in rates.select_related("meter").order_by("-version__effective_at", "meter__name"):
        meter = rate.meter
        prices.setdefault(meter.pk, Burn(now.date(), meter.name, meter.unit, rate.unit_size, rate.price))
    return list(prices.values())


def what_it_buys(available: Decimal, burns: Sequence[Burn]) -> list[Purchase]:
    """What `available` credits buy of each meter alone, at what a unit cost on average in `burns`; most used first.

    The average, not the list price, because graduated prices and dimensions make the one what the account really pays.
    """
    totals: dict[tuple[str, str], tuple[Decimal, Decimal]] = {}
    for burn in burns:
        quantity, credits = totals.get((burn.meter, burn.unit), (ZERO, ZERO))
        totals[burn.meter, burn.unit] = (quantity + burn.quantity, credits + burn.credits)
    ranked = sorted(totals.items(), key=lambda item: (-item[1][1], item[0]))
    credits_left = max(available, ZERO)
    return [Purchase(meter, unit, credits_left * quantity / credits) for (meter, unit), (quantity, credits) in ranked]
