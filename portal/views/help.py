"""Help whose answers are this account's own: its lots, its pools' rules, its prices, its ids."""

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from billing.api import ids
from billing.invoicing.models import Issuer
from billing.ledger import balance
from billing.ledger.balance import Balance, Lot
from billing.ledger.cycles import THRESHOLDS
from billing.ledger.models import CreditPool
from billing.purchases import offers
from billing.purchases.models import TopUpRule
from portal.access import Visit, account_page
from portal.live import managers_url
from portal.price_list import read_price_list
from portal.views.frame import list_pools, render_page

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
    pools = list_pools(visit)
    balances = balance.read_many([pool.pk for pool in pools], now=now)
    rules = [_rules(pool, balances[pool.pk]) for pool in pools]
    prices = read_price_list(visit.account, now=now)
    context = {
        "now": now,
        "rules": rules,
        "rolled": [(each, lot) for each in rules for lot in each.balance.lots if lot.kind == "rollover"],
        "prices": prices,
        "packs": offers.list_offers(account=visit.account),
        "seller": Issuer.objects.filter(is_default=True).first(),
        "thresholds": THRESHOLDS,
        "max_age_days": settings.FLORIN_EVENT_MAX_AGE_DAYS,
        "grace_minutes": settings.FLORIN_EXPIRY_GRACE_SECONDS // 60,
        "account_id": ids.encode(ids.ACCOUNT, visit.account.pk),
        "meter_key": (prices.example_meter if prices else "") or "tokens",
        "api_url": f"{settings.FLORIN_PUBLIC_URL}/api/v1",
        "ledger_url": visit.url("ledger"),
        "preferences_url": visit.url("notification_preferences"),
        "links": {name: managers_url(visit, name) for name in ("buy", "top_ups", "api_keys")},
    }
    return render_page(request, visit, "help", context)


def _rules(pool: CreditPool, reading: Balance) -> PoolRules:
    lots = reading.lots
    return PoolRules(
        pool, reading, lots[:SHOWN_LOTS], max(len(lots) - SHOWN_LOTS, 0), getattr(pool, "top_up_rule", None)
    )
