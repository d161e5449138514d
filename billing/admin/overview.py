"""The few figures on the admin's first page."""

from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Sum
from django.urls import reverse
from django.utils import timezone

from billing.accounts.models import Account
from billing.ledger.models import CreditPool
from billing.metering.models import RejectedEvent
from billing.notifications import wording
from billing.notifications.models import NotificationDelivery
from billing.payments.models import Payment, Refund


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its name and the list behind it; `urgent` if somebody should look."""

    name: str
    text: str
    url: str
    urgent: bool = False


def list_figures() -> list[Figure]:
    """The business at a glance; seven queries, none over tables that grow with usage."""
    credits = CreditPool.objects.aggregate(balance=Sum("balance"), held=Sum("held"), overdraft=Sum("overdraft"))
    parked = Account.objects.filter(parked_at__isnull=False).count()
    rejected = RejectedEvent.objects.filter(state=RejectedEvent.State.OPEN).count()
    failed = NotificationDelivery.objects.filter(state=NotificationDelivery.State.FAILED).count()
    payments = Payment.objects.needing_staff(timezone.now()).count()
    refunds = Refund.objects.filter(state=Refund.State.FAILED).count()
    return [
        Figure("Accounts", f"{Account.objects.count():,}", reverse("admin:billing_account_changelist")),
        Figure("Credits in hand", _credits(credits["balance"]), reverse("admin:billing_creditpool_changelist")),
        Figure("Credits held", _credits(credits["held"]), reverse("admin:billing_hold_changelist") + "?state=open"),
        Figure("Overdraft", _credits(credits["overdraft"]), reverse("admin:billing_creditpool_changelist")),
        Figure("Parked accounts", f"{parked:,}", _list("account", "parked_at__isempty=0"), parked > 0),
        Figure("Rejected events", f"{rejected:,}", _list("rejectedevent", "state__exact=open"), rejected > 0),
        Figure("Mails given up", f"{failed:,}", _list("notificationdelivery", "state__exact=failed"), failed > 0),
        Figure("Payments to look at", f"{payments:,}", _list("payment", "queue=open"), payments > 0),
        Figure("Refunds that failed", f"{refunds:,}", _list("refund", "state__exact=failed"), refunds > 0),
    ]


def _credits(amount: Decimal | None) -> str:
    return wording.credits_text(amount or Decimal(0))


def _list(table: str, query: str) -> str:
    return f"{reverse(f'admin:billing_{table}_changelist')}?{query}"
