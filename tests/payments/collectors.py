"""Collections and what they have done, as the tests of collecting and dunning need them."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from billing.accounts.models import Account
from billing.invoicing.models import Invoice
from billing.notifications.models import Notification
from billing.payments import collecting
from billing.payments.collecting import Round
from billing.payments.models import Collection, Payment
from tests.factories import NOW
from tests.invoicing.makers import issue, plain_line

DAY = timedelta(days=1)
POLICY = {
    "retry_days": [3, 7], "reminder_days": [5, 10], "final_days": 14, "final_act": "cancel", "downgrade_to": None,
}  # fmt: skip


def make_collection(
    account: Account, *, reference: str = "renewal:1:1", now: datetime = NOW, **fields: Any
) -> Collection:
    """Of an invoice over 119.00 euros, charged automatically unless told otherwise."""
    invoice = issue(account, plain_line(), reference=reference, now=now)
    given = {"purpose": "subscription:1", "policy": POLICY, "method_id": None, "is_automatic": True, **fields}
    return collect(invoice, now=now, **given)


def collect(invoice: Invoice, *, now: datetime = NOW, **fields: Any) -> Collection:
    """Let the invoice be collected."""
    row = collecting.new_collection(invoice=invoice, now=now, **fields)
    row.save(force_insert=True)
    return row


def run(now: datetime = NOW) -> Round:
    """What a run of the job does."""
    return collecting.run_due(now=now, limit=100)


def run_days(count: int, *, start: datetime = NOW, step: timedelta = DAY) -> None:
    """Runs for so many days, the last one at its end."""
    moment = start
    while moment <= start + count * DAY:
        run(moment)
        moment += step


def owed() -> list[Decimal]:
    return [invoice.owed for invoice in Invoice.objects.order_by("pk")]


def tries() -> list[tuple[int, str]]:
    """Of every payment: the day after NOW on which it was made, and how it stands."""
    return [((row.created_at - NOW).days, row.state) for row in Payment.objects.order_by("pk")]


def told(kind: str) -> list[dict[str, Any]]:
    """What was said of a kind, oldest first."""
    return list(Notification.objects.filter(kind=kind).order_by("pk").values_list("payload", flat=True))


def told_on(kind: str) -> list[int]:
    """The days after NOW on which something of a kind was said."""
    rows = Notification.objects.filter(kind=kind).order_by("pk")
    return [(row.created_at - NOW).days for row in rows]
