"""Contract terms: what one account pays and gets instead of a plan's terms, for periods that begin in their time.

Locks: the account's terms, by primary key.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Q, QuerySet

from billing.accounts.models import Account
from billing.catalog import plan_pricing, pricing
from billing.catalog.models import PlanPrice
from billing.subscriptions.models import ContractTerms, Subscription, SubscriptionChange


class TermsInvalid(ValueError):
    """The terms cannot be agreed as they are; the message says why, `field` which of them."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class TermsOverlap(Exception):
    """Other terms of the account, plan and currency are agreed for a part of that time. `other` are they."""

    def __init__(self, other: ContractTerms) -> None:
        super().__init__(f"terms {other.pk} are agreed from {other.starts_at}")
        self.other = other


@dataclass(frozen=True, slots=True)
class Agreed:
    """What is agreed for a plan; None leaves the plan's. Money is of `currency`, with or without tax as the plan's
    prices are; `overage_tiers` are as `PlanPrice` has them; `discount_percent` is taken from fee and seats."""

    plan_id: int
    currency: str
    fee: Decimal | None = None
    seat_price: Decimal | None = None
    minimum: Decimal | None = None
    included_credits: Decimal | None = None
    seats_included: int | None = None
    overage_tiers: Sequence[dict[str, object]] | None = None
    discount_percent: Decimal | None = None


def agree(
    *,
    account_id: int,
    agreed: Agreed,
    starts_at: datetime,
    ends_at: datetime | None,
    note: str,
    actor: str,
    now: datetime,
) -> ContractTerms:
    """Agree terms of a plan with an account for periods that begin in `[starts_at, ends_at)`, now at the earliest: the
    one that runs keeps its own.

    Terms of the plan without an end that began before give way where the new ones begin. Raises TermsInvalid and
    TermsOverlap; nothing is written then.
    """
    starts_at = max(starts_at, now)
    check(agreed, starts_at, ends_at)
    with transaction.atomic():
        Account.objects.select_for_update(no_key=True).get(pk=account_id)
        _make_room(account_id, agreed, starts_at, ends_at)
        terms = ContractTerms.objects.create(
            account_id=account_id,
            starts_at=starts_at,
            ends_at=ends_at,
            note=note,
            actor=actor,
            created_at=now,
            **asdict(agreed),
        )
        live = Subscription.objects.filter(account=account_id).exclude(state=Subscription.State.ENDED)
        subscription = live.filter(currency=agreed.currency, plan_version__plan=agreed.plan_id).first()
        if subscription is not None:
            SubscriptionChange.objects.create(
                subscription=subscription,
                act=SubscriptionChange.Act.CONTRACT,
                reference=f"contract:{terms.pk}",
                at=now,
                details={"terms": terms.pk, "note": note},
                actor=actor,
            )
        return terms


def end(*, terms_id: int, at: datetime, now: datetime) -> ContractTerms:
    """Let terms hold only for periods that begin before `at`, now at the earliest; terms that end sooner anyway stay as
    they are.

    Raises TermsInvalid when `at` is not after their beginning.
    """
    with transaction.atomic():
        at = max(at, now)
        terms = ContractTerms.objects.select_for_update(no_key=True).get(pk=terms_id)
        if at <= terms.starts_at:
            raise TermsInvalid("ends_at", "Terms end after they begin.")
        if terms.ends_at is None or at < terms.ends_at:
            terms.ends_at = at
            terms.save(update_fields=["ends_at"])
        return terms


def check(agreed: Agreed, starts_at: datetime, ends_at: datetime | None) -> None:
    """Raise TermsInvalid where `agree` would, whatever else is agreed with the account."""
    currency = agreed.currency
    prices = PlanPrice.objects.filter(version__plan=agreed.plan_id, version__published_at__isnull=False)
    if not prices.filter(currency=currency).exists():
        raise TermsInvalid("plan", f"This plan has no price in {currency}.")
    if ends_at is not None and ends_at <= starts_at:
        raise TermsInvalid("ends_at", "Terms end after they begin.")
    if all(value is None for name, value in asdict(agreed).items() if name not in ("plan_id", "currency")):
        raise TermsInvalid("", "Agree at least one term that differs from the plan's.")
    for field in ("fee", "seat_price", "minimum"):
        amount: Decimal | None = getattr(agreed, field)
        if amount is not None and (amount < 0 or amount != pricing.round_money(amount, currency)):
            raise TermsInvalid(field, f"Use an amount of zero or more in whole minor units of {currency}.")
    if agreed.included_credits is not None and agreed.included_credits < 0:
        raise TermsInvalid("included_credits", "Use zero or more.")
    if agreed.discount_percent is not None and not 0 <= agreed.discount_percent <= 100:
        raise TermsInvalid("discount_percent", "A discount is from 0 to 100 percent.")
    if agreed.overage_tiers is not None:
        try:
            fault = pricing.check_tiers(plan_pricing.overage_tiers(agreed.overage_tiers))
        except ValueError as error:
            fault = str(error)
        if fault:
            raise TermsInvalid("overage_tiers", fault)


def list_terms(account_id: int) -> QuerySet[ContractTerms]:
    """All terms ever agreed with an account, the latest first."""
    return ContractTerms.objects.filter(account=account_id).order_by("-starts_at", "-pk")


def _make_room(account_id: int, agreed: Agreed, starts_at: datetime, ends_at: datetime | None) -> None:
    """End the open terms that began before; whatever else reaches into the time is in the way."""
    others = ContractTerms.objects.select_for_update(no_key=True)
    others = others.filter(account=account_id, plan=agreed.plan_id, currency=agreed.currency)
    for other in others.filter(Q(ends_at=None) | Q(ends_at__gt=starts_at)).order_by("pk"):
        if ends_at is not None and other.starts_at >= ends_at:
            continue
        if other.ends_at is not None or other.starts_at >= starts_at:
            raise TermsOverlap(other)
        other.ends_at = starts_at
        other.save(update_fields=["ends_at"])
