"""A customer whose money finance counts, and short ways to make something happen to it."""

from datetime import UTC, datetime
from decimal import Decimal

from billing.accounts.models import Account
from billing.finance import reports
from billing.finance.accrual import Column
from billing.finance.deferred import Row
from billing.finance.reports import Report
from billing.invoicing import issuing, settling
from billing.invoicing.lines import LineDraft
from billing.invoicing.models import Invoice
from billing.ledger import expiry, pools, posting
from billing.ledger.models import CreditGrant
from billing.payments.models import Payment
from tests.invoicing.makers import credits_line

D = Decimal


def at(month: int, day: int = 1, hour: int = 12, year: int = 2025) -> datetime:
    """A moment, by the day."""
    return datetime(year, month, day, hour, tzinfo=UTC)


def issue(account: Account, *lines: LineDraft, reference: str, now: datetime, **more: object) -> Invoice:
    """An invoice in the account's currency."""
    return issuing.issue(
        account_id=account.pk, reference=reference, currency=account.currency, lines=lines, now=now, **more
    )


def receive(invoice: Invoice, amount: str = "", *, now: datetime) -> Payment:
    """Money for an invoice (default: all of it) by hand, as a gateway's success is written down."""
    money = D(amount) if amount else invoice.total
    settling.settle(invoice_id=invoice.pk, amount=money, now=now)
    return Payment.objects.create(
        invoice=invoice, gateway="manual", idempotency_key=f"{invoice.pk}:{now}", amount=money,
        currency=invoice.currency, state="succeeded", created_at=now, finished_at=now,
    )  # fmt: skip


def sell(account: Account, amount: str, credits: str, *, now: datetime, days: int | None = 365) -> CreditGrant:
    """Credits of a pack, paid for at once; the lot."""
    line = credits_line(account, amount, credits, validity_days=days, recognition="credits")
    invoice = issue(account, line, reference=f"sale:{account.pk}:{now}", now=now)
    receive(invoice, now=now)
    posted = invoice.lines.get().posting
    assert posted is not None
    return posted.entries.get().grant


def use(account: Account, credits: str, *, now: datetime, meter_id: int | None = None) -> None:
    """Use credits of the main pool."""
    pool = pools.get_main_pool(account.pk)
    posting.spend(
        pool_id=pool.pk, credits=D(credits), reference=f"use:{now}:{credits}", now=now, meter_id=meter_id, actor="test"
    )


def expire(now: datetime) -> None:
    """What the job of the hour does."""
    expiry.expire_due(now=now, grace_seconds=0)


def report(until: datetime, *, since: datetime | None = None) -> Report:
    """The report up to a moment, whose proof holds."""
    found = reports.read(starts_on=(since or at(1)).date(), until=until)
    assert [check for check in found.checks if not check.holds] == []
    assert all(document.is_balanced for document in found.documents)
    return found


def rows(found: Report, currency: str = "USD") -> dict[int, Row]:
    """The sheet's rows of one currency by the month's number."""
    (sheet,) = (sheet for sheet in found.sheets if sheet.currency == currency)
    for row in sheet.rows:
        for roll in (row.deferred, row.other):
            assert roll.opening + sum(roll.moved.values()) + roll.rounding == roll.closing
            assert abs(roll.rounding) <= D("0.04")
    return {row.month.month: row for row in sheet.rows}


def moved(row: Row) -> dict[str, str]:
    """What of deferred revenue moved in a month, by the name of its column, as text."""
    found = {column.value: f"{money:.2f}" for column, money in row.deferred.moved.items() if money}
    if row.deferred.rounding:
        found["rounding"] = f"{row.deferred.rounding:.2f}"
    return found


def other(row: Row) -> dict[str, str]:
    """The same of lots that no document stands behind."""
    return {Column(name).value: f"{money:.2f}" for name, money in row.other.moved.items() if money}
