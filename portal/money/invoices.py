"""Reading an account's invoices for people: pages of them, one with all its papers, and the list as CSV."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db.models import Prefetch, Q, QuerySet

from billing.accounts.models import Account
from billing.catalog import periods
from billing.catalog.pricing import round_money
from billing.invoicing.models import CreditNote, Invoice, InvoiceLine
from billing.payments.models import Payment
from portal.usage.ledger_pages import CHUNK

PAGE = 25
COLUMNS = (
    "number",
    "issued_at",
    "due_at",
    "state",
    "currency",
    "subtotal",
    "tax",
    "total",
    "paid",
    "credited",
    "refunded",
    "items",
)


@dataclass(frozen=True, slots=True)
class Page:
    """Some invoices, newest first. `older` is the id to go on before, None at the end."""

    invoices: list[Invoice]
    older: int | None


def list_invoices(account: Account) -> QuerySet[Invoice]:
    """The account's issued invoices, newest first, with their lines."""
    issued = Invoice.objects.filter(account=account).exclude(state=Invoice.State.DRAFT)
    return issued.prefetch_related("lines").order_by("-pk")


def read_page(invoices: QuerySet[Invoice], *, before: int | None) -> Page:
    """A page of `invoices`: those before an id, else the newest."""
    found = list((invoices.filter(pk__lt=before) if before is not None else invoices)[: PAGE + 1])
    return Page(found[:PAGE], older=found[PAGE - 1].pk if len(found) > PAGE else None)


def find_invoice(account: Account, pk: int) -> Invoice | None:
    """One issued invoice of the account with its lines, payments, refunds and credit notes; None if it has no such."""
    lines = InvoiceLine.objects.select_related("pool")
    payments = Payment.objects.select_related("method").prefetch_related("refunds").order_by("-pk")
    notes = CreditNote.objects.order_by("pk")
    issued = Invoice.objects.select_related("account", "collection").filter(account=account, pk=pk)
    issued = issued.exclude(state=Invoice.State.DRAFT)
    return issued.prefetch_related(
        Prefetch("lines", queryset=lines),
        Prefetch("payments", queryset=payments),
        Prefetch("credit_notes", queryset=notes),
    ).first()


def list_unpaid(account: Account, *, now: datetime) -> list[Invoice]:
    """The account's open invoices that should have been paid by now or whose payment failed, the oldest first."""
    late = Invoice.objects.filter(account=account, state=Invoice.State.OPEN)
    today = periods.first_moment(periods.day_of(now, account.time_zone), account.time_zone)
    late = late.filter(Q(due_at__lt=today) | Q(collection__state__in=("overdue", "exhausted")))
    return [invoice for invoice in late.order_by("due_at", "pk") if invoice.owed > 0]


@dataclass(frozen=True, slots=True)
class TaxSum:
    """What all lines of one rate bear of it."""

    name: str
    percent: Decimal
    amount: Decimal


def sum_taxes(invoice: Invoice) -> list[TaxSum]:
    """The tax table of an invoice: its taxed lines by name and rate. Expects its lines to be prefetched."""
    sums: dict[tuple[str, Decimal], Decimal] = {}
    for line in invoice.lines.all():
        if line.tax_treatment == InvoiceLine.Treatment.TAXED:
            key = (line.tax_name, line.tax_percent)
            sums[key] = sums.get(key, Decimal(0)) + line.tax_amount
    return [TaxSum(name, percent, amount) for (name, percent), amount in sorted(sums.items())]


def csv_rows(invoices: QuerySet[Invoice], zone: ZoneInfo) -> Iterator[Sequence[object]]:
    """The invoices as rows of COLUMNS, with times in `zone`."""
    for invoice in invoices.iterator(chunk_size=CHUNK):
        yield (
            invoice.number,
            *(moment and moment.astimezone(zone) for moment in (invoice.issued_at, invoice.due_at)),
            invoice.state,
            invoice.currency,
            *(round_money(amount, invoice.currency) for amount in _amounts(invoice)),
            "; ".join(line.description for line in invoice.lines.all()),
        )


def _amounts(invoice: Invoice) -> tuple[Decimal, ...]:
    return (
        *(invoice.subtotal, invoice.tax_total, invoice.total),
        *(invoice.amount_paid, invoice.amount_credited, invoice.amount_refunded),
    )
