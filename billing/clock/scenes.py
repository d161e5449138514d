"""A customer made up for watching: an account on a test clock with a card, a plan, and so much usage a day."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from billing.accounts.models import Account
from billing.catalog.models import Plan
from billing.clock import advancing
from billing.ledger import pools
from billing.metering import ingest
from billing.payments import methods
from billing.subscriptions.agreement import plans_on_offer
from billing.subscriptions.lifecycle import subscribing
from billing.subscriptions.models import Subscription

CARD_YEARS = 15


class NoSuchPlan(LookupError):
    """No plan of this key is on sale in this currency."""


class UsageRefused(Exception):
    """Usage could not be reported; the message says why."""


def open_scene(
    *,
    plan_key: str,
    seats: int,
    coupon_code: str,
    card_number: str,
    currency: str,
    country: str,
    time_zone: str,
    starts_at: datetime,
    now: datetime,
) -> Subscription:
    """Make a customer who has a card and subscribes to a plan at `starts_at`, their own time; `now` is the real one.

    Must run outside a transaction. Raises NoSuchPlan, what `subscribing.subscribe` and `methods.add_card` raise, and
    advancing.NotSandbox.
    """
    external_id = f"simulated-{now:%Y%m%d-%H%M%S-%f}"
    account = pools.open_account(
        name=f"Simulated {starts_at:%Y-%m-%d}",
        external_id=external_id,
        billing_email=f"{external_id}@example.com",
        country=country,
        currency=currency,
        time_zone=time_zone,
        now=starts_at,
    )
    advancing.open_clock(account_id=account.pk, starts_at=starts_at, now=now)
    version = plans_on_offer.versions_for(account).filter(plan__key=plan_key).first()
    if version is None:
        raise NoSuchPlan(plan_key)
    if card_number:
        methods.add_card(
            account_id=account.pk, number=card_number, exp_month=12, exp_year=starts_at.year + CARD_YEARS, cvc="123",
            make_default=True, now=starts_at,
        )  # fmt: skip
    automatic, manual = Subscription.Collection.AUTOMATIC, Subscription.Collection.MANUAL
    return subscribing.subscribe(
        account_id=account.pk, plan_version_id=version.pk, seats=seats, coupon_code=coupon_code,
        collection=automatic if card_number else manual, reference=f"simulated:{external_id}", actor="system",
        now=starts_at,
    )  # fmt: skip


def list_plan_keys() -> list[str]:
    """The plans that there are."""
    return list(Plan.objects.filter(retired_at=None).order_by("position", "pk").values_list("key", flat=True))


def report_usage(*, account: Account, usage: Mapping[str, Decimal], at: datetime) -> None:
    """Report so much of each meter as used at a moment, once per moment. Raises UsageRefused."""
    events: list[object] = [
        {
            "id": f"simulated:{meter}:{at.isoformat()}",
            "account": account.external_id,
            "meter": meter,
            "quantity": f"{quantity:f}",
            "occurred_at": at.isoformat(),
        }
        for meter, quantity in usage.items()
    ]
    for result in ingest.take_events(events=events, now=at).results:
        if result.status not in ("accepted", "duplicate"):
            raise UsageRefused(f"{result.id}: {result.detail}")
