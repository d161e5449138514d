"""Subscriptions as the tests of that room need them."""

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from billing.accounts.models import Account
from billing.catalog.models import PlanVersion
from billing.ledger import balance, pools
from billing.payments import collecting, methods
from billing.subscriptions.credits import allocations
from billing.subscriptions.followup import payment_news
from billing.subscriptions.lifecycle import subscribing
from billing.subscriptions.models import Subscription
from billing.subscriptions.renewal import renewals
from tests.factories import NOW, make_plan

CARD = "4242424242424242"
_numbers = itertools.count(1)

# When stories of 2026 begin.
START = datetime(2026, 1, 1, 8, tzinfo=UTC)


def make_team(**fields: object) -> PlanVersion:
    """A monthly plan of 1,000 credits for 50.00 dollars."""
    return make_plan(**{"included_credits": Decimal(1000), "prices": {"USD": {"fee": "50.00"}}, **fields})


def add_card(account: Account, number: str = CARD, *, now: datetime = NOW) -> None:
    """A card that is charged from now on."""
    methods.add_card(
        account_id=account.pk, number=number, exp_month=12, exp_year=2040, cvc="123", make_default=True, now=now
    )


def subscribe(account: Account, version: PlanVersion, *, now: datetime = NOW, **fields: object) -> Subscription:
    """A subscription by bank transfer, which is active at once, unless told otherwise."""
    given = {"seats": 0, "collection": "manual", "reference": f"test:{next(_numbers)}", "actor": "test", **fields}
    return subscribing.subscribe(account_id=account.pk, plan_version_id=version.pk, now=now, **given)


def run(now: datetime, *, account: Account | None = None) -> renewals.Round:
    """Everything that is due by now: renewals, collecting, and what follows from it."""
    account_id = account.pk if account else None
    done = renewals.run_due(now=now, limit=1000, account_id=account_id)
    collecting.run_due(now=now, limit=1000, account_id=account_id)
    payment_news.follow_up(now=now, limit=1000, account_id=account_id)
    allocations.grant_due(now=now, limit=1000, account_id=account_id)
    return done


def available(account: Account, now: datetime) -> Decimal:
    """Credits that the main pool has now."""
    return balance.read(pool_id=pools.get_main_pool(account.pk).pk, now=now).available


def tiers(*pairs: tuple[str | None, str]) -> list[Mapping[str, str | None]]:
    """Overage tiers: up to so many credits at a price."""
    return [{"up_to": up_to, "price": price} for up_to, price in pairs]
