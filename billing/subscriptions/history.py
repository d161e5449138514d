"""Writing down what was done to a subscription: append-only, once per reference."""

from collections.abc import Mapping
from datetime import datetime

from billing.catalog.models import PlanVersion
from billing.invoicing.models import Invoice
from billing.subscriptions.models import Subscription, SubscriptionChange

SYSTEM = "system"


def write(
    subscription: Subscription,
    act: str,
    *,
    reference: str,
    at: datetime,
    actor: str,
    from_version: PlanVersion | None = None,
    to_version: PlanVersion | None = None,
    from_seats: int | None = None,
    to_seats: int | None = None,
    invoice: Invoice | None = None,
    details: Mapping[str, object] | None = None,
) -> SubscriptionChange:
    """Write one line of a subscription's history, in the transaction of what it tells of."""
    return SubscriptionChange.objects.create(
        subscription=subscription,
        act=act,
        reference=reference,
        at=at,
        actor=actor,
        from_version=from_version,
        to_version=to_version,
        from_seats=from_seats,
        to_seats=to_seats,
        invoice=invoice,
        details=dict(details or {}),
    )
