"""What renewing several subscriptions at once needs to know, read in a few statements. The caller holds their locks."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from billing.ledger.models import CreditPool
from billing.subscriptions.charges import coupons, overage
from billing.subscriptions.charges.overage import OverageLot
from billing.subscriptions.models import (
    ContractTerms,
    CouponRedemption,
    ScheduledChange,
    Subscription,
    SubscriptionChange,
    SubscriptionPeriod,
)


@dataclass(slots=True)
class Facts:
    """By account or by subscription. `changed` are subscriptions whose plan or seats changed within their period."""

    contracts: dict[int, list[ContractTerms]] = field(default_factory=lambda: defaultdict(list))
    pools: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    main_pools: dict[int, int] = field(default_factory=dict)
    lots: dict[int, list[OverageLot]] = field(default_factory=lambda: defaultdict(list))
    periods: dict[int, SubscriptionPeriod] = field(default_factory=dict)
    scheduled: dict[int, ScheduledChange] = field(default_factory=dict)
    redemptions: dict[int, list[CouponRedemption]] = field(default_factory=lambda: defaultdict(list))
    changed: set[int] = field(default_factory=set)


def read(subscriptions: Sequence[Subscription]) -> Facts:
    """Everything about these subscriptions and their accounts."""
    facts = Facts()
    ids = [each.pk for each in subscriptions]
    account_ids = [each.account_id for each in subscriptions]
    for contract in ContractTerms.objects.filter(account__in=account_ids):
        facts.contracts[contract.account_id].append(contract)
    pools = CreditPool.objects.filter(account__in=account_ids).values_list("account_id", "pk", "kind")
    for account_id, pool_id, kind in pools.order_by("pk"):
        facts.pools[account_id].append(pool_id)
        if kind == CreditPool.Kind.MAIN:
            facts.main_pools[account_id] = pool_id
    facts.lots |= overage.find_lots_of(subscriptions)
    current = {each.pk: each.period_number for each in subscriptions}
    for period in SubscriptionPeriod.objects.filter(subscription__in=ids, closed_at=None):
        if period.number == current[period.subscription_id]:
            facts.periods[period.subscription_id] = period
    for change in ScheduledChange.objects.filter(subscription__in=ids, applied_at=None, withdrawn_at=None):
        facts.scheduled[change.subscription_id] = change
    for redemption in coupons.active_of(ids):
        facts.redemptions[redemption.subscription_id].append(redemption)
    starts = {each.pk: each.period_starts_at for each in subscriptions}
    made = SubscriptionChange.objects.filter(
        subscription__in=ids, act=SubscriptionChange.Act.CHANGE, at__gte=min(starts.values())
    )
    for subscription_id, at in made.values_list("subscription_id", "at"):
        if at >= starts[subscription_id]:
            facts.changed.add(subscription_id)
    return facts
