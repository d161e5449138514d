"""An account on a test clock that has a plan with seats, for the tests of changing it: dates and sums stay the same."""

import re
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from billing.accounts.models import Account
from billing.invoicing.models import Invoice
from billing.payments import collecting
from billing.payments.models import Payment
from billing.subscriptions.followup import payment_news
from billing.subscriptions.models import ScheduledChange, Subscription, SubscriptionChange
from billing.subscriptions.renewal import renewals

# 1 April at noon in New York: 30 days, of which 20 are left on the 11th.
BEGAN_AT = datetime(2026, 4, 1, 12, tzinfo=ZoneInfo("America/New_York"))
CHANGED_AT = BEGAN_AT + timedelta(days=10)


def work(account: Account, now: datetime) -> None:
    """What workers do."""
    collecting.run_due(now=now, limit=10, account_id=account.pk)
    payment_news.follow_up(now=now, limit=10, account_id=account.pk)


def wait_until(account: Account, at: datetime) -> None:
    """Its clock goes on, and what is due is done."""
    Account.objects.filter(pk=account.pk).update(clock_at=at)
    renewals.run_due(now=at, limit=10, account_id=account.pk)


def form_of(page: Any, **fields: Any) -> dict[str, Any]:
    """The form of a page as a browser without JavaScript sends it, with what is typed into it."""
    text = page.content.decode()
    hidden = dict(re.findall(r'<input type="hidden" name="(token|seen)" value="([^"]*)"', text))
    chosen = dict(re.findall(r'<input type="radio" name="(method)" value="(\d+)"[^>]* checked', text))
    return {"act": "confirm", **hidden, **chosen, **fields}


def nothing_happened(subscription: Subscription) -> bool:
    """Whether the subscription is as it was, and nobody was billed."""
    before = (subscription.plan_version_id, subscription.seats, subscription.state)
    subscription.refresh_from_db()
    return (
        before == (subscription.plan_version_id, subscription.seats, subscription.state)
        and Invoice.objects.count() == Payment.objects.count() == 1
        and not ScheduledChange.objects.exists()
        and not SubscriptionChange.objects.filter(act__in=("change", "schedule")).exists()
    )
