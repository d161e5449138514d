"""Plans' life: draft a version, publish it, sell it, retire the plan. Locks: the plan's row, then the version's."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import QuerySet

from billing.accounts.models import User
from billing.catalog import plan_pricing
from billing.catalog.models import Plan, PlanPrice, PlanVersion
from billing.catalog.plan_pricing import RolloverRule, check_loyalty, check_overage, overage_tiers
from billing.catalog.pricing import round_money

# What a draft is copied without.
_OWN = ("id", "number", "created_at", "published_at", "published_by", "note")


class AlreadyPublished(Exception):
    """A published version never changes; draft a new one from it."""


class NotPublishable(Exception):
    """The draft has a fault; the message says which."""


class AlreadyRetired(Exception):
    """The plan is not sold any more."""


class NoSuchPlan(LookupError):
    """There is no such plan, or no published version of it."""


def draft_version(*, plan_id: int, now: datetime) -> PlanVersion:
    """Begin an empty draft, numbered after the plan's last version."""
    with transaction.atomic():
        plan = _lock(plan_id)
        last = plan.versions.order_by("-number").first()
        return PlanVersion.objects.create(plan=plan, number=last.number + 1 if last else 1, created_at=now)


def draft_from(*, version_id: int, now: datetime) -> PlanVersion:
    """Begin a draft of the same plan with a copy of a version's terms and prices."""
    with transaction.atomic():
        source = PlanVersion.objects.get(pk=version_id)
        draft = draft_version(plan_id=source.plan_id, now=now)
        for field in PlanVersion._meta.concrete_fields:
            if field.name not in _OWN:
                setattr(draft, field.attname, getattr(source, field.attname))
        draft.save()
        prices = list(source.prices.order_by("pk"))
        for price in prices:
            price.pk, price.version = None, draft
        PlanPrice.objects.bulk_create(prices)
        return draft


def publish(*, version_id: int, published_by: User | None = None, now: datetime) -> PlanVersion:
    """Publish a draft: it is what its plan sells from now on, and nobody can change it any more. Who has an older
    version keeps it. Raises AlreadyPublished, or NotPublishable with the reason."""
    with transaction.atomic():
        plan = _lock(PlanVersion.objects.values_list("plan_id", flat=True).get(pk=version_id))
        # Whoever edits the draft or its prices is waited for: what is checked is what is published.
        version = PlanVersion.objects.select_for_update(no_key=True).get(pk=version_id)
        if version.is_published:
            raise AlreadyPublished
        if plan.retired_at is not None:
            raise NotPublishable("The plan is retired.")
        if fault := find_fault(version, list(version.prices.order_by("currency"))):
            raise NotPublishable(fault)
        version.published_at, version.published_by = now, published_by
        version.save(update_fields=["published_at", "published_by"])
        return version


def retire(*, plan_id: int, now: datetime) -> Plan:
    """Sell a plan no longer; its subscriptions go on. Raises AlreadyRetired."""
    with transaction.atomic():
        plan = _lock(plan_id)
        if plan.retired_at is not None:
            raise AlreadyRetired
        plan.retired_at = now
        plan.save(update_fields=["retired_at"])
        return plan


def newest_versions() -> QuerySet[PlanVersion]:
    """The version of each plan that was published last, retired plans included."""
    latest = PlanVersion.objects.filter(published_at__isnull=False).order_by("plan_id", "-published_at", "-number")
    return PlanVersion.objects.filter(pk__in=latest.distinct("plan_id").values("pk"))


def versions_on_sale() -> QuerySet[PlanVersion]:
    """The newest published version of every plan that is not retired, in the order of the plans."""
    return newest_versions().filter(plan__retired_at=None).order_by("plan__position", "plan_id")


def get_newest_version(plan_id: int) -> PlanVersion:
    """The version of a plan that was published last, even of a retired plan. Raises NoSuchPlan."""
    version = newest_versions().filter(plan_id=plan_id).select_related("plan").first()
    if version is None:
        raise NoSuchPlan(plan_id)
    return version


def rollover_rule(version: PlanVersion, included: Decimal) -> RolloverRule | None:
    """What a version lets roll over at the end of a cycle that included so many credits; None where nothing rolls."""
    return plan_pricing.rollover_rule(
        rollover=version.rollover,
        percent=version.rollover_percent,
        amount=version.rollover_amount,
        periods=version.rollover_periods,
        cap=version.rollover_cap,
        included=included,
    )


def find_fault(version: PlanVersion, prices: Sequence[PlanPrice]) -> str | None:
    """Say why a draft cannot be published, or None."""
    return _fault_of_terms(version) or _fault_of_prices(version, prices)


def _fault_of_terms(version: PlanVersion) -> str | None:
    includes = version.included_credits > 0 or version.credits_per_seat > 0
    if version.grants_monthly and not _is_longer_than_a_month(version):
        return "Credits can be granted monthly only where the period is some months long."
    if version.rollover != PlanVersion.Rollover.NONE and not includes:
        return "Nothing can roll over where no credits are included."
    if version.rollover != PlanVersion.Rollover.NONE and not version.rollover_periods:
        return "Say how often a credit may roll over, at least once."
    if version.trial_credits and not version.trial_days:
        return "Trial credits need a trial."
    if version.policy == PlanVersion.Policy.BURST and not version.burst_limit:
        return "A bounded overdraft needs its bound."
    if version.seats_max is not None and version.seats_max < version.seats_included:
        return "More seats are included than there may be."
    if version.rate_card is not None and not version.rate_card.versions.filter(published_at__isnull=False).exists():
        return "The rate card has no published version."
    policy = version.dunning_policy
    if policy is not None and policy.downgrade_to_id == version.plan_id:
        return "The dunning policy downgrades to this very plan."
    return check_loyalty(version.loyalty_steps)


def _is_longer_than_a_month(version: PlanVersion) -> bool:
    match version.interval:
        case PlanVersion.Interval.WEEK:
            return False
        case PlanVersion.Interval.MONTH:
            return version.interval_count > 1
    return True


def _fault_of_prices(version: PlanVersion, prices: Sequence[PlanPrice]) -> str | None:
    if not prices:
        return "A version needs a price in at least one currency."
    for price in prices:
        for name in ("fee", "seat_price", "minimum"):
            amount: Decimal = getattr(price, name)
            if amount != round_money(amount, price.currency):
                return f"{price.currency}: {amount} has more decimals than the currency."
        if fault := _fault_of_overage(version, price):
            return f"{price.currency}: {fault}"
    return None


def _fault_of_overage(version: PlanVersion, price: PlanPrice) -> str | None:
    if version.policy != PlanVersion.Policy.OVERAGE:
        return "An overage price needs the policy that meters on." if price.overage_tiers else None
    try:
        tiers = overage_tiers(price.overage_tiers)
    except ValueError as fault:
        return str(fault)
    return check_overage(version.overage_model, tiers)


def _lock(plan_id: int) -> Plan:
    return Plan.objects.select_for_update(no_key=True).get(pk=plan_id)
