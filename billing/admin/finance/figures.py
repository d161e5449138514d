"""The business by month and currency: what was sold, used, lost and is still owed to customers.

Test accounts are left out, and so is what a simulated database has in months to come.

What it costs to read: one pass over the lots, the totals by day of the months asked for (found by a BRIN index), and
the invoices' lines; never the usage events, the postings or their entries. Months are UTC.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal

from django.db.models import Case, Count, F, Q, Sum, When
from django.db.models.functions import TruncMonth

from billing.admin.charts import BarChart, bar_chart
from billing.catalog.pricing import round_money
from billing.finance.months import day_of
from billing.invoicing.models import CreditNote, Invoice
from billing.ledger.models import CreditGrant, GrantKind
from billing.metering.models import DailyUsage
from billing.payments.models import Payment

SEES_FIGURES = "billing.view_figures"

ZERO = Decimal(0)
MONTHS = 12
COLUMNS = (
    "month", "currency", "credits_sold", "sold_net", "credits_spent", "credits_expired", "breakage", "invoiced_net",
    "credited_net", "revenue_net", "active_accounts", "payments", "failed_payments",
)  # fmt: skip


@dataclass(slots=True)
class Month:
    """A calendar month in one currency. Money is net of tax.

    `sold` is what lots bought in the month cost, `invoiced` what invoices issued in it say, `credited` what credit
    notes took back. `spent` are credits used by accounts of the currency, net of reversals, `expired` those that ended
    unused in the month and `breakage` what they had cost.
    """

    starts_on: date
    credits_sold: Decimal = ZERO
    sold: Decimal = ZERO
    spent: Decimal = ZERO
    expired: Decimal = ZERO
    breakage: Decimal = ZERO
    invoiced: Decimal = ZERO
    credited: Decimal = ZERO
    active: int = 0
    invoices: int = 0
    payments: int = 0
    failed: int = 0

    @property
    def revenue(self) -> Decimal:
        """Invoiced less credited."""
        return self.invoiced - self.credited


@dataclass(slots=True)
class Book:
    """One currency: its months, oldest first, and how its lots stand now.

    `deferred` is what credits that are still open have cost: owed to customers. `recognised` is what all credits used
    and expired so far had cost.
    """

    currency: str
    months: list[Month] = field(default_factory=list)
    open_credits: Decimal = ZERO
    deferred: Decimal = ZERO
    recognised: Decimal = ZERO

    @property
    def documents(self) -> int:
        """Invoices and payments in these months."""
        return sum(month.invoices + month.payments for month in self.months)

    @property
    def spent_chart(self) -> BarChart:
        """Credits used by month."""
        return bar_chart([(f"{month.starts_on:%b %y}", month.spent) for month in self.months])

    @property
    def sold_chart(self) -> BarChart:
        """Credits sold by month."""
        return bar_chart([(f"{month.starts_on:%b %y}", month.credits_sold) for month in self.months])


class _Books:
    """Books by currency while they are filled."""

    def __init__(self, starts: list[date]) -> None:
        self.starts = starts
        self.books: dict[str, Book] = {}

    def of(self, currency: str) -> Book:
        """The currency's book, made when it is first met."""
        if currency not in self.books:
            self.books[currency] = Book(currency, [Month(start) for start in self.starts])
        return self.books[currency]

    def month(self, currency: str, on: date) -> Month:
        """The month of a day that lies in those asked for."""
        first = self.starts[0]
        return self.of(currency).months[(on.year - first.year) * 12 + on.month - first.month]


def read(*, now: datetime, months: int = MONTHS) -> list[Book]:
    """The last months, this one included, of every currency in use. First comes the one with the most invoices and
    payments: amounts of different currencies do not compare. Five queries."""
    today = now.astimezone(UTC).date()
    index = today.year * 12 + today.month - 1
    starts = [day_of(each) for each in range(index - months + 1, index + 1)]
    books = _Books(starts)
    since = datetime.combine(starts[0], datetime.min.time(), tzinfo=UTC)
    _add_lots(books, since, now)
    _add_usage(books, starts[0], today)
    _add_documents(books, since, datetime.combine(day_of(index + 1), datetime.min.time(), tzinfo=UTC))
    found = list(books.books.values())
    return sorted(found, key=lambda book: (-book.documents, book.currency))


def _add_lots(books: _Books, since: datetime, now: datetime) -> None:
    """One pass: lots by currency, the month they were bought in and the month they ended in, if it is asked for."""
    cost = F("cost_basis")
    bought = Q(kind=GrantKind.PURCHASE, created_at__gte=since, created_at__lte=now)
    ended = Q(expired__gt=0, expires_at__gte=since, expires_at__lte=now)
    rows = (
        CreditGrant.objects.filter(pool__account__clock_at=None)
        .annotate(
            bought_in=Case(When(bought, then=_month("created_at"))),
            ended_in=Case(When(ended, then=_month("expires_at"))),
        )
        .values_list("currency", "bought_in", "ended_in")
        .annotate(
            open=Sum("remaining", filter=Q(is_open=True), default=ZERO),
            deferred=Sum(F("remaining") * cost, filter=Q(is_open=True), default=ZERO),
            recognised=Sum((F("spent") - F("reversed") + F("expired")) * cost),
            credits=Sum("amount"),
            sold=Sum(F("amount") * cost),
            lost=Sum("expired"),
            breakage=Sum(F("expired") * cost),
        )
    )
    for currency, bought_in, ended_in, open_credits, deferred, recognised, credits, sold, lost, breakage in rows:
        book = books.of(currency)
        book.open_credits += open_credits
        book.deferred += deferred
        book.recognised += recognised
        if bought_in is not None:
            month = books.month(currency, bought_in)
            month.credits_sold += credits
            month.sold += sold
        if ended_in is not None:
            month = books.month(currency, ended_in)
            month.expired += lost
            month.breakage += breakage


def _add_usage(books: _Books, since: date, today: date) -> None:
    days = DailyUsage.objects.filter(day__gte=since, day__lte=today, account__clock_at=None)
    for month, currency, credits, accounts in (
        days.annotate(month=TruncMonth("day")).values_list("month", "account__currency")
        .annotate(credits=Sum("credits"), accounts=Count("account", distinct=True))
    ):  # fmt: skip
        row = books.month(currency, month)
        row.spent, row.active = credits, accounts


def _add_documents(books: _Books, since: datetime, until: datetime) -> None:
    issued = Invoice.objects.filter(issued_at__gte=since, issued_at__lt=until, account__clock_at=None)
    issued = issued.exclude(state=Invoice.State.VOID)
    for month, currency, money, count in (
        issued.annotate(month=_month("issued_at")).values_list("month", "currency")
        .annotate(money=Sum("subtotal"), count=Count("pk"))
    ):  # fmt: skip
        row = books.month(currency, month)
        row.invoiced, row.invoices = money, count
    notes = CreditNote.objects.filter(issued_at__gte=since, issued_at__lt=until, invoice__account__clock_at=None)
    notes = notes.exclude(invoice__state=Invoice.State.VOID)
    for month, currency, money in (
        notes.annotate(month=_month("issued_at")).values_list("month", "currency").annotate(money=Sum("subtotal"))
    ):
        books.month(currency, month).credited = money
    tried = Payment.objects.filter(created_at__gte=since, created_at__lt=until, invoice__account__clock_at=None)
    for month, currency, count, failed in (
        tried.annotate(month=_month("created_at")).values_list("month", "currency")
        .annotate(count=Count("pk"), failed=Count("pk", filter=Q(state=Payment.State.FAILED)))
    ):  # fmt: skip
        row = books.month(currency, month)
        row.payments, row.failed = count, failed


def _month(moment: str) -> TruncMonth:
    return TruncMonth(moment, tzinfo=UTC)


def csv_rows(books: list[Book]) -> Iterator[list[object]]:
    """All months of all currencies, in the order of COLUMNS."""
    for book in books:
        for month in book.months:
            yield [
                f"{month.starts_on:%Y-%m}", book.currency, month.credits_sold, round_money(month.sold, book.currency),
                month.spent, month.expired, round_money(month.breakage, book.currency), month.invoiced, month.credited,
                month.revenue, month.active, month.payments, month.failed,
            ]  # fmt: skip
