"""Help whose answers are this account's own: its lots, its pools' rules, its prices, its ids."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db.models import OuterRef, Subquery, TextField
from django.db.models.functions import Cast, JSONObject
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from billing.catalog.models import PlanVersion
from billing.catalog.plan_words import rollover_text
from billing.invoicing.models import Issuer
from billing.ledger import balance
from billing.ledger.balance import Balance, Lot
from billing.ledger.cycles import THRESHOLDS
from billing.ledger.models import CreditGrant, CreditPool, GrantKind
from billing.purchases import offers
from billing.purchases.models import TopUpRule
from billing.subscriptions.models import Subscription
from portal.access import Visit, account_page, managers_url
from portal.frame import list_pools, render_page
from portal.usage.price_list import read_price_list

SHOWN_LOTS = 5


@dataclass(frozen=True, slots=True)
class PoolRules:
    """A pool with what is in it. `lots` are the next to be used, `more` how many follow."""

    pool: CreditPool
    balance: Balance
    lots: list[Lot]
    more: int
    top_up: TopUpRule | None


@require_safe
@account_page
def help_page(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The questions that customers ask, answered from data."""
    now = visit.now
    issuers = Issuer.objects.filter(is_default=True)
    pools = list_pools(visit, plan_rollover=_terms(), seller_email=Subquery(issuers.values("email")[:1]))
    balances = balance.read_many([pool.pk for pool in pools], now=now)
    rules = [_rules(pool, balances[pool.pk]) for pool in pools]
    has_plan = pools[0].cycle_anchor_on is not None
    prices = read_price_list(visit.account, has_plan=has_plan, now=now)
    context = {
        "now": now,
        "rules": rules,
        "rollover": _rollover_text(pools[0]),
        "rolled": _last_rolled(pools),
        "has_plan": has_plan,
        "prices": prices,
        "packs": offers.list_offers(account=visit.account),
        "seller_email": pools[0].seller_email,  # type: ignore[attr-defined]
        "thresholds": THRESHOLDS,
        "max_age_days": settings.FLORIN_EVENT_MAX_AGE_DAYS,
        "grace_minutes": settings.FLORIN_EXPIRY_GRACE_SECONDS // 60,
        "account_id": visit.public_id,
        "meter_key": (prices.example_meter if prices else "") or "tokens",
        "api_url": f"{settings.FLORIN_PUBLIC_URL}/api/v1",
        "ledger_url": visit.url("ledger"),
        "preferences_url": visit.url("notification_preferences"),
        "links": {name: managers_url(visit, name) for name in ("buy", "top_ups", "api_keys")},
    }
    return render_page(request, visit, "help", context)


def _terms() -> Subquery:
    """What the account's live plan lets roll over, as `_rollover_text` reads it; amounts as texts, to keep their
    digits."""
    live = Subscription.objects.filter(account=OuterRef("account")).exclude(state=Subscription.State.ENDED)
    names = ("rollover_percent", "rollover_amount", "rollover_cap")
    facts = {name: Cast(f"plan_version__{name}", TextField()) for name in names} | {
        "plan": "plan_version__plan__name",
        "rollover": "plan_version__rollover",
        "rollover_periods": "plan_version__rollover_periods",
    }
    return Subquery(live.values(facts=JSONObject(**facts))[:1])


def _rollover_text(pool: CreditPool) -> str:
    """What the plan lets roll over; empty without a plan, or where it lets nothing."""
    facts: dict[str, Any] | None = pool.plan_rollover  # type: ignore[attr-defined]
    if facts is None or facts["rollover"] == PlanVersion.Rollover.NONE:
        return ""
    plan = facts.pop("plan")
    terms = {
        name: Decimal(fact) if isinstance(fact, str) and name != "rollover" else fact for name, fact in facts.items()
    }
    what = rollover_text(PlanVersion(**terms))
    return _("With your plan %(plan)s, unused credits carry over: %(what)s.") % {"plan": plan, "what": what}


def _last_rolled(pools: list[CreditPool]) -> list[CreditGrant]:
    """The last lot that rolled over in each pool, whatever is left of it, in the order of the pools."""
    rolled = CreditGrant.objects.filter(pool__in=pools, kind=GrantKind.ROLLOVER)
    last = {lot.pool_id: lot for lot in rolled.order_by("pool_id", "-pk").distinct("pool_id").select_related("pool")}
    return [last[pool.pk] for pool in pools if pool.pk in last]


def _rules(pool: CreditPool, reading: Balance) -> PoolRules:
    lots = reading.lots
    return PoolRules(
        pool, reading, lots[:SHOWN_LOTS], max(len(lots) - SHOWN_LOTS, 0), getattr(pool, "top_up_rule", None)
    )
