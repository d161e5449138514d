"""The few figures on the admin's first page. What waits for somebody is in `work`."""

from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Sum
from django.urls import reverse

from billing.accounts.models import Account
from billing.ledger.models import CreditPool
from billing.notifications import wording


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its name and the list behind it."""

    name: str
    text: str
    url: str


def list_figures() -> list[Figure]:
    """The business at a glance; two queries, none over tables that grow with usage."""
    credits = CreditPool.objects.aggregate(balance=Sum("balance"), held=Sum("held"), overdraft=Sum("overdraft"))
    return [
        Figure("Accounts", f"{Account.objects.count():,}", reverse("admin:billing_account_changelist")),
        Figure("Credits in hand", _credits(credits["balance"]), reverse("admin:billing_creditpool_changelist")),
        Figure("Credits held", _credits(credits["held"]), reverse("admin:billing_hold_changelist") + "?state=open"),
        Figure("Overdraft", _credits(credits["overdraft"]), reverse("admin:billing_creditpool_changelist")),
    ]


def _credits(amount: Decimal | None) -> str:
    return wording.credits_text(amount or Decimal(0))
