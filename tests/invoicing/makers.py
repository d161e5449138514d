"""Lines and invoices as the tests of invoicing need them."""

from datetime import datetime
from decimal import Decimal

from billing.accounts.models import Account
from billing.invoicing import issuing
from billing.invoicing.lines import LineDraft
from billing.invoicing.models import Invoice
from billing.ledger import pools
from tests.factories import NOW


def plain_line(amount: str = "100.00", **fields: object) -> LineDraft:
    """A line that grants nothing."""
    given = {"description": "Support", "quantity": Decimal(1), "unit_price": Decimal(amount), **fields}
    return LineDraft(amount=Decimal(amount), **given)


def credits_line(account: Account, amount: str = "1000.00", credits: str = "10000", **fields: object) -> LineDraft:
    """Credits for the account's main pool, valid for a year."""
    given = {
        "description": f"{credits} credits",
        "quantity": Decimal(credits),
        "unit_price": Decimal(amount) / Decimal(credits),
        "pool_id": pools.get_main_pool(account.pk).pk,
        "credits": Decimal(credits),
        "grant_kind": "purchase",
        "validity_days": 365,
        **fields,
    }
    return LineDraft(amount=Decimal(amount), **given)


def issue(
    account: Account,
    *lines: LineDraft,
    reference: str = "purchase:1",
    currency: str = "EUR",
    now: datetime = NOW,
    due_at: datetime | None = None,
) -> Invoice:
    """An invoice; of 10,000 credits for 1,000.00 net unless told otherwise."""
    return issuing.issue(
        account_id=account.pk,
        reference=reference,
        currency=currency,
        lines=lines or [credits_line(account)],
        now=now,
        due_at=due_at,
    )
