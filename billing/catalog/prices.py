"""The catalog in memory: meters and published prices, reloaded when the catalog's revision has risen.

Published versions never change, so what is cached can only be incomplete, never wrong; the revision (one row, raised
by triggers in the transaction of every change) tells when to load anew.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from json import dumps

from billing.catalog.models import Meter, Rate, RateCardVersion
from billing.catalog.pricing import Price, Tier, specific_first

REVISION = "SELECT revision FROM billing_catalogrevision WHERE id = 1"

# U4: contract or grandfathered card, else experiment variant, else plan, else default.
PRECEDENCE = ("contract", "grandfathered", "experiment", "plan")


@dataclass(frozen=True, slots=True)
class MeterInfo:
    """What rating needs to know of a meter."""

    id: int
    key: str
    kind: str
    counts_events: bool
    series_property: str
    unique_property: str
    unit_cost: Decimal
    archived: bool


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which card an account has in `[starts_at, ends_at)`, and why (`RateCardAssignment.Kind`)."""

    kind: str
    rate_card_id: int
    starts_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class PublishedVersion:
    """A published version's prices by meter id, most specific first."""

    id: int
    effective_at: datetime
    counts_by: str
    prices: dict[int, tuple[Price, ...]]


@dataclass(frozen=True, slots=True)
class Catalog:
    """All meters and published prices at one revision."""

    revision: int
    meters: dict[str, MeterInfo]
    cards: dict[int, tuple[PublishedVersion, ...]]
    default_card_id: int | None

    def prices(self, card_id: int | None, meter_id: int, at: datetime, *, now: datetime) -> tuple[Price, ...]:
        """A card's rates for a meter in the version in force at a time, the first that matches applies; empty: none.

        Usage from before a card's first version is priced by that version, for there is no other price for it. So is
        usage that its version forgot by the next that has, once that is in force `now`: its rates stand at the end.
        """
        versions = self.cards.get(card_id or 0, ())
        if not versions:
            return ()
        index = _in_force(versions, at)
        prices = versions[index].prices.get(meter_id, ())
        for later in versions[index + 1 :]:
            if later.effective_at <= now:
                prices += later.prices.get(meter_id, ())
        return prices

    def counts_by(self, card_id: int | None, at: datetime) -> str:
        """By what periods (`RateCardVersion.CountsBy`) a card's rates count at a time."""
        versions = self.cards.get(card_id or 0, ())
        return versions[_in_force(versions, at)].counts_by if versions else RateCardVersion.CountsBy.BILLING_PERIOD

    def card_id(self, assignments: Sequence[Assignment], at: datetime) -> int | None:
        """The rate card that applies to an account at a time (U4)."""
        best, best_rank = self.default_card_id, len(PRECEDENCE)
        for each in assignments:
            if each.starts_at <= at and (each.ends_at is None or at < each.ends_at):
                rank = PRECEDENCE.index(each.kind)
                if rank < best_rank:
                    best, best_rank = each.rate_card_id, rank
        return best


def _in_force(versions: Sequence[PublishedVersion], at: datetime) -> int:
    """The index of the version in force at a time; before the first, that one."""
    for index in range(len(versions) - 1, 0, -1):
        if versions[index].effective_at <= at:
            return index
    return 0


_lock = threading.Lock()
_cached: Catalog | None = None


def catalog_at(revision: int | None) -> Catalog:
    """The catalog at (or after) a revision just read from the database; one process keeps one."""
    global _cached
    cached = _cached
    if cached is not None and cached.revision == (revision or 0):
        return cached
    with _lock:
        loaded = load_catalog(revision or 0)
        _cached = loaded
        return loaded


def load_catalog(revision: int) -> Catalog:
    """Read the whole catalog: two queries, however many accounts there are.

    Everything that has a price comes in one statement, so a change that commits meanwhile is seen as a whole or not at
    all: a version never lacks its rates. It may then be newer than `revision`, which only has it loaded once more.
    """
    meters = {meter.key: _info(meter) for meter in Meter.objects.all()}
    versions: dict[int, RateCardVersion] = {}
    rates: dict[int, dict[int, list[Price]]] = {}
    published = Rate.objects.filter(version__published_at__isnull=False)
    for rate in published.select_related("meter", "version__rate_card").order_by("version__effective_at", "version_id"):
        meters[rate.meter.key] = _info(rate.meter)
        versions[rate.version_id] = rate.version
        rates.setdefault(rate.version_id, {}).setdefault(rate.meter_id, []).append(price_of(rate))
    cards: dict[int, list[PublishedVersion]] = {}
    default_card_id = None
    for version in versions.values():
        if version.rate_card.is_default:
            default_card_id = version.rate_card_id
        prices = {meter_id: specific_first(found) for meter_id, found in rates[version.pk].items()}
        if version.effective_at is not None:  # a CHECK holds it for every published version
            cards.setdefault(version.rate_card_id, []).append(
                PublishedVersion(version.pk, version.effective_at, version.counts_by, prices)
            )
    return Catalog(revision, meters, {card: tuple(versions) for card, versions in cards.items()}, default_card_id)


def _info(meter: Meter) -> MeterInfo:
    return MeterInfo(
        meter.pk,
        meter.key,
        meter.kind,
        meter.kind == Meter.Kind.COUNTER and meter.aggregation == Meter.Aggregation.COUNT,
        meter.series_property,
        meter.unique_property,
        meter.unit_cost,
        meter.archived_at is not None,
    )


def price_of(rate: Rate) -> Price:
    """A rate row as the arithmetic takes it."""
    return Price(
        rate_id=rate.pk,
        meter_id=rate.meter_id,
        # Fractions are read from events as decimals, to which a float compares unequal.
        match=tuple(
            (name, Decimal(str(value)) if isinstance(value, float) else value)
            for name, value in sorted(rate.match.items())
        ),
        dimension=dumps(rate.match, sort_keys=True, separators=(",", ":")),
        model=rate.model,
        price=rate.price,
        unit_size=rate.unit_size,
        tiers=tuple(
            Tier(None if tier["up_to"] is None else Decimal(tier["up_to"]), Decimal(tier["price"]))
            for tier in rate.tiers
        ),
        minimum=rate.minimum,
        rounding=rate.rounding,
        decimals=rate.decimals,
    )
