"""How fast an account uses its credits, and how far they go at that price. Reading only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.core.cache import caches
from django.db.models import Case, F, Min, OuterRef, Subquery, Sum, When
from django.db.models.functions import TruncDate

from billing.accounts.models import Account
from billing.catalog.models import Rate
from billing.ledger.models import CreditPool, Posting
from billing.metering.models import DailyUsage
from portal.forecast import LEAST_DAYS, MAX_DAYS, Pace, pace_of

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


@dataclass(frozen=True, slots=True)
class _Days:
    """Credits spent by day, oldest first, the last of them today since `starts_at` until the pool's posting
    `version`."""

    spent: list[Decimal]
    starts_at: datetime
    version: int


def first_spend() -> Subquery:
    """When a pool first spent: to be annotated to pools under the name `first_spent_at`."""
    spends = Posting.objects.filter(pool=OuterRef("pk"), act=Posting.Act.SPEND).order_by("version")
    return Subquery(spends.values("posted_at")[:1])


def read_pace(pool: CreditPool, zone: ZoneInfo, *, now: datetime) -> Pace:
    """How fast the pool spends, less what was given back: from the day of its first spend, today so far included. Needs
    `first_spent_at` on the pool (`first_spend`).

    What was read is kept for the day; later only the postings since then are read.
    """
    first_at: datetime | None = pool.first_spent_at  # type: ignore[attr-defined]
    if first_at is None:
        return Pace(ZERO, 0)
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    today = midnight.date()
    first = min(first_at.astimezone(zone).date(), today)
    if (age := (today - first).days + 1) < LEAST_DAYS:
        return Pace(ZERO, age, is_early=True)
    key = f"pace:{pool.pk}:{today}"
    days: _Days | None = caches["process"].get(key)
    if days is None:
        days = _spent_by_day(pool, first, midnight)
    elif days.version < pool.version:
        since = Posting.objects.filter(pool=pool, version__gt=days.version, version__lte=pool.version)
        newly = since.aggregate(credits=Sum(_SPENT))["credits"] or ZERO
        days = _Days([*days.spent[:-1], days.spent[-1] + newly], days.starts_at, pool.version)
    caches["process"].set(key, days, PACE_KEPT_SECONDS)
    passed = Decimal((now - days.starts_at) // timedelta(seconds=1)) / 86_400
    return pace_of(days.spent, today=min(passed, Decimal(1)))


_SPENT = Case(When(act="spend", then=F("credits")), When(act="reverse", then=-F("credits")), default=ZERO)


def _spent_by_day(pool: CreditPool, first: date, midnight: datetime) -> _Days:
    """Credits spent on each day from `first` to today, which began at `midnight`; of the last MAX_DAYS."""
    today = midnight.date()
    first = max(first, today - timedelta(days=MAX_DAYS - 1))
    starts_at = midnight - timedelta(days=(today - first).days)
    read_from = pool.version - PACE_POSTINGS
    acts = Posting.objects.filter(pool=pool, posted_at__gte=starts_at, version__gt=read_from, version__lte=pool.version)
    rows = list(
        acts.annotate(day=TruncDate("posted_at", tzinfo=midnight.tzinfo))
        .values_list("day")
        .annotate(credits_spent=Sum(_SPENT), first_version=Min("version"), first_at=Min("posted_at"))
        .order_by("day")
    )
    begins_at = midnight
    if read_from >= 1 and rows and rows[0][2] == read_from + 1:
        # The oldest of these days is not whole. Where it is the only one, it counts as long as its postings go back.
        if len(rows) > 1:
            rows = rows[1:]
        else:
            begins_at = rows[0][3]
        first = rows[0][0]
    by_day = {row[0]: row[1] for row in rows}
    # No posting lies before the pool's last one: where a clock was set back, some lie after today.
    by_day[today] = sum((credits for day, credits in by_day.items() if day >= today), ZERO)
    return _Days(
        [by_day.get(first + timedelta(days=index), ZERO) for index in range((today - first).days + 1)],
        begins_at,
        pool.version,
    )
