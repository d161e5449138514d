"""Writing down what was done to a subscription: append-only, once per reference."""

from collections.abc import Mapping
from datetime import datetime
from typing import Required, TypedDict, Unpack

from billing.catalog.models import PlanVersion
from billing.invoicing.models import Invoice
from billing.subscriptions.models import Subscription, SubscriptionChange

SYSTEM = "system"


class Told(TypedDict, total=False):
    """What a line of history says; `reference`, `at` and `actor` always."""

    reference: Required[str]
    at: Required[datetime]
    actor: Required[str]
    from_version: PlanVersion | None
    to_version: PlanVersion | None
    from_seats: int | None
    to_seats: int | None
    invoice: Invoice | None
    details: Mapping[str, object]


def write(subscription: Subscription, act: str, **told: Unpack[Told]) -> SubscriptionChange:
    """Write one line of a subscription's history, in the transaction of what it tells of."""
    row = change(subscription, act, **told)
    row.save(force_insert=True)
    return row


def change(subscription: Subscription, act: str, **told: Unpack[Told]) -> SubscriptionChange:
    """What `write` writes, for whoever writes many at once."""
    return SubscriptionChange(subscription=subscription, act=act, **{**told, "details": dict(told.get("details", {}))})
