"""Which plans an account can subscribe to: on sale, priced in its currency, for its segment. Reads only."""

from django.db.models import Q, QuerySet

from billing.accounts.models import Account
from billing.catalog import plans
from billing.catalog.models import PlanVersion


def versions_to(account: Account) -> QuerySet[PlanVersion]:
    """The plan versions on sale to everyone or to the account's segment, in whatever currency."""
    for_whom = Q(target_segments=[])
    if account.segment_override:
        for_whom |= Q(target_segments__contains=[account.segment_override])
    return plans.versions_on_sale().filter(for_whom)


def find(versions: QuerySet[PlanVersion], *, version_id: int | None, plan_key: str | None) -> PlanVersion | None:
    """The one of these versions that a primary key names, or its plan's key."""
    named = versions.filter(pk__in=[version_id]) if plan_key is None else versions.filter(plan__key=plan_key)
    return named.select_related("plan").order_by("-number").first()


def versions_for(account: Account, *, currency: str = "") -> QuerySet[PlanVersion]:
    """The plan versions on sale to an account, in the order of the plans: those to everyone or to its segment, with a
    price in the account's currency or in another that its subscription is billed in."""
    return versions_to(account).filter(prices__currency=currency or account.currency)
