"""What an account has agreed to for a period: its plan version, its price, and what a contract says instead.

Reads only. Published versions never change, so a process keeps those it has met in memory.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal

from django.db.models import Q

from billing.catalog import periods
from billing.catalog.models import DunningPolicy, PlanPrice, PlanVersion
from billing.catalog.plan_pricing import overage_tiers
from billing.catalog.pricing import Tier
from billing.subscriptions.models import ContractTerms, Subscription

ZERO = Decimal(0)
MOST_KEPT = 1000

# For plans that name no policy where none is the default: a week of tries, three weeks until the end.
STANDARD_DUNNING: Mapping[str, object] = {
    "retry_days": [1, 3, 5, 7],
    "reminder_days": [1, 7, 14],
    "final_days": 21,
    "final_act": "cancel",
    "downgrade_to": None,
}


class NoPrice(LookupError):
    """The plan version has no price in the currency."""


@dataclass(frozen=True, slots=True)
class Terms:
    """A plan version in one currency, with the contract's terms in place of the plan's (`is_agreed`). Money is per
    period, net or, with `prices_include_tax`, with tax in it; credits are per grant: a period, or with `grants_monthly`
    a month."""

    version: PlanVersion
    currency: str
    fee: Decimal
    seat_price: Decimal
    minimum: Decimal
    included_credits: Decimal
    seats_included: int
    overage_tiers: tuple[Tier, ...]
    discount_percent: Decimal = ZERO
    is_agreed: bool = False

    @property
    def plan_name(self) -> str:
        return self.version.plan.name

    @property
    def interval(self) -> str:
        return self.version.interval

    @property
    def interval_count(self) -> int:
        return self.version.interval_count

    @property
    def grants_monthly(self) -> bool:
        """Whether credits come month by month in a period of several months."""
        return self.version.grants_monthly and self.interval != PlanVersion.Interval.WEEK

    @property
    def cycle(self) -> tuple[str, int]:
        """Interval and count of what one grant of credits is for."""
        return ("month", 1) if self.grants_monthly else (self.interval, self.interval_count)

    @property
    def cycles(self) -> int:
        """How many grants a period has."""
        return periods.MONTHS[self.interval] * self.interval_count if self.grants_monthly else 1

    def extra_seats(self, seats: int) -> int:
        """Seats beyond those that the plan includes, each at `seat_price`."""
        return max(seats - self.seats_included, 0)

    def included(self, seats: int) -> Decimal:
        """Credits of one grant, those of the seats among them."""
        return self.included_credits + seats * self.version.credits_per_seat

    def starts_on(self, anchor_on: date, number: int) -> date:
        """The day that period `number` (from 0) counted from the anchor begins on."""
        return periods.boundary(anchor_on, interval=self.interval, count=self.interval_count, number=number)


def resolve(
    *,
    account_id: int,
    version_id: int,
    currency: str,
    at: datetime,
    contracts: Iterable[ContractTerms] | None = None,
) -> Terms:
    """The terms of a period that begins `at`: the plan's own, or those agreed for this plan; `contracts` are all of the
    account's, where they have been read. At most one query once the version is known. Raises NoPrice."""
    plain = _plain([version_id], currency).get(version_id)
    if plain is None:
        raise NoPrice(f"plan version {version_id} has no price in {currency}")
    if contracts is None:
        contracts = ContractTerms.objects.filter(account=account_id, currency=currency)
    return _as_agreed(plain, contracts, at)


def resolve_many(
    version_ids: Sequence[int], *, currency: str, at: datetime, contracts: Iterable[ContractTerms]
) -> list[Terms]:
    """`resolve` for several versions, in their order and without those that have no price in the currency. One query at
    most."""
    plain = _plain(version_ids, currency)
    return [_as_agreed(plain[pk], contracts, at) for pk in version_ids if pk in plain]


def of(subscription: Subscription, *, at: datetime, contracts: Iterable[ContractTerms] | None = None) -> Terms:
    """The terms of the subscription's version for a period that begins `at`. Raises NoPrice."""
    return resolve(
        account_id=subscription.account_id,
        version_id=subscription.plan_version_id,
        currency=subscription.currency,
        at=at,
        contracts=contracts,
    )


def dunning(version: PlanVersion) -> dict[str, object]:
    """How an unpaid invoice of the plan is dunned, as a `Collection` keeps it."""
    policy = DunningPolicy.objects.filter(
        Q(pk=version.dunning_policy_id) if version.dunning_policy_id else Q(is_default=True)
    ).first()
    if policy is None:
        return dict(STANDARD_DUNNING)
    return {
        "retry_days": sorted(policy.retry_days),
        "reminder_days": sorted(policy.reminder_days),
        "final_days": policy.final_days,
        "final_act": policy.final_act,
        "downgrade_to": policy.downgrade_to_id,
    }


_kept: dict[tuple[int, str], Terms] = {}


def forget() -> None:
    """Forget the versions kept in memory, for tests whose database begins anew."""
    _kept.clear()


def _plain(version_ids: Sequence[int], currency: str) -> dict[int, Terms]:
    """The plans' own terms by version, from memory where the version is published; without those that have no price."""
    found = {pk: _kept[pk, currency] for pk in version_ids if (pk, currency) in _kept}
    unknown = [pk for pk in version_ids if pk not in found]
    prices = PlanPrice.objects.filter(version__in=unknown, currency=currency) if unknown else PlanPrice.objects.none()
    for price in prices.select_related("version__plan", "version__rate_card"):
        version = price.version
        found[version.pk] = terms = Terms(
            version=version,
            currency=currency,
            fee=price.fee,
            seat_price=price.seat_price,
            minimum=price.minimum,
            included_credits=version.included_credits,
            seats_included=version.seats_included,
            overage_tiers=overage_tiers(price.overage_tiers),
        )
        if version.is_published:
            if len(_kept) >= MOST_KEPT:
                _kept.clear()
            _kept[version.pk, currency] = terms
    return found


def _as_agreed(plain: Terms, contracts: Iterable[ContractTerms], at: datetime) -> Terms:
    """The plan's own terms, or what is agreed with the account for a period that begins `at`."""
    for each in contracts:
        is_of = (each.plan_id, each.currency) == (plain.version.plan_id, plain.currency)
        if is_of and each.starts_at <= at and (each.ends_at is None or at < each.ends_at):
            return _with_contract(plain, each)
    return plain


def _with_contract(plain: Terms, agreed: ContractTerms) -> Terms:
    given = {
        "fee": agreed.fee,
        "seat_price": agreed.seat_price,
        "minimum": agreed.minimum,
        "included_credits": agreed.included_credits,
        "seats_included": agreed.seats_included,
        "overage_tiers": None if agreed.overage_tiers is None else overage_tiers(agreed.overage_tiers),
        "discount_percent": agreed.discount_percent,
    }
    return replace(plain, is_agreed=True, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
