"""The few figures on the admin's first page. What waits for somebody is in `work`."""

from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Sum
from django.urls import reverse

from billing.accounts.models import Account
from billing.admin import test_accounts
from billing.ledger.models import CreditPool
from billing.wording import amounts


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its name and the list behind it."""

    name: str
    text: str
    url: str


def list_figures() -> list[Figure]:
    """The business at a glance, without test accounts; two queries, none over tables that grow with usage."""
    pools = CreditPool.objects.filter(account__clock_at=None)
    credits = pools.aggregate(balance=Sum("balance"), held=Sum("held"), overdraft=Sum("overdraft"))
    return [
        Figure("Accounts", f"{Account.objects.filter(clock_at=None).count():,}", _list("account")),
        Figure("Credits in hand", _credits(credits["balance"]), _list("creditpool")),
        Figure("Credits held", _credits(credits["held"]), _list("hold", "state=open&")),
        Figure("Overdraft", _credits(credits["overdraft"]), _list("creditpool")),
    ]


def _list(name: str, query: str = "") -> str:
    return f"{reverse(f'admin:billing_{name}_changelist')}?{query}{test_accounts.CUSTOMERS}"


def _credits(amount: Decimal | None) -> str:
    return amounts.credits_text(amount or Decimal(0))
