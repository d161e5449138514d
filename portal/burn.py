"""How fast an account uses its credits, and how far they go at that price. Reading only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.core.cache import caches
from django.db.models import Case, F, Min, Sum, When
from django.db.models.functions import TruncDate

from billing.accounts.models import Account
from billing.catalog.models import Rate
from billing.ledger.models import CreditPool, Posting
from billing.metering.models import DailyUsage
from portal.forecast import MAX_DAYS, Pace, pace_of

ZERO = Decimal(0)
# How many postings the pace is read from at most: some 20 ms. A busier pool's pace comes from fewer days.
PACE_POSTINGS = 50_000
PACE_KEPT_SECONDS = 6 * 3600


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


def read_pace(pool: CreditPool, zone: ZoneInfo, *, now: datetime) -> Pace:
    """How fast the pool spends: credits of its whole days until yesterday, less what was given back.

    A pool that is younger than a day is judged by today. Past days do not change, so what was read is kept for a while.
    """
    today = now.astimezone(zone).date()
    key = f"pace:{pool.pk}:{today}"
    kept: Pace | None = caches["process"].get(key)
    if kept is None:
        kept = pace_of(_spent_by_day(pool, zone, today))
        if pool.created_at.astimezone(zone).date() < today:
            caches["process"].set(key, kept, PACE_KEPT_SECONDS)
    return kept


def _spent_by_day(pool: CreditPool, zone: ZoneInfo, today: date) -> list[Decimal]:
    """Credits spent on each whole day of the last MAX_DAYS that the pool has seen, oldest first."""
    first = max(pool.created_at.astimezone(zone).date(), today - timedelta(days=MAX_DAYS))
    last = max(today - timedelta(days=1), first)
    starts_at, ends_at = (
        datetime.combine(day, datetime.min.time(), tzinfo=zone) for day in (first, last + timedelta(days=1))
    )
    acts = Posting.objects.filter(pool=pool, posted_at__gte=starts_at, posted_at__lt=ends_at)
    signed = Case(When(act="spend", then=F("credits")), When(act="reverse", then=-F("credits")), default=ZERO)
    read_from = pool.version - PACE_POSTINGS
    rows = list(
        acts.filter(version__gt=read_from)
        .annotate(day=TruncDate("posted_at", tzinfo=zone))
        .values_list("day")
        .annotate(credits_spent=Sum(signed), first_version=Min("version"))
        .order_by("day")
    )
    if not rows:
        return [ZERO] * ((last - first).days + 1)
    if read_from >= 1 and rows[0][2] == read_from + 1 and len(rows) > 1:
        # The oldest of these days is not whole. (With one day only, its part is the best there is.)
        rows = rows[1:]
        first = rows[0][0]
    by_day = {day: credits for day, credits, _ in rows}
    return [by_day.get(first + timedelta(days=index), ZERO) for index in range((last - first).days + 1)]
