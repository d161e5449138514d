"""Whether time that was charged earlier would be taxed otherwise today: the customer has a VAT number by now, or has
moved, or the rate has changed.

What takes it back must say the tax that was charged (Article 90 of Directive 2006/112/EC corrects the supply that was
made). Beside today's prices on one invoice that often cannot be said: a rate that only takes away has a negative sum,
and category O of EN 16931 stands with no other (BR-O-11). So it becomes a credit note to the invoice that had charged
it. Reads only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import F, QuerySet

from billing.accounts.models import Account
from billing.invoicing.lines import QuotedLine
from billing.invoicing.models import Invoice, InvoiceLine

AT_ONCE = InvoiceLine.Recognition.AT_ONCE
CREDITABLE = (Invoice.State.OPEN, Invoice.State.PAID)


@dataclass(frozen=True, slots=True)
class TaxSaid:
    """What of a line's tax a report tells apart: the buyer's number only where the buyer owes the tax."""

    treatment: str
    percent: Decimal
    country: str
    region: str
    tax_number: str


def find_otherwise(account: Account, quoted: Sequence[QuotedLine]) -> set[int]:
    """The positions in `quoted` of lines about periods for which something was charged at another tax than theirs."""
    of_periods = {line.draft.period_reference for line in quoted} - {""}
    if not of_periods:
        return set()
    charged: dict[tuple[str, str, bool, bool], set[TaxSaid]] = {}
    for row in list_charged(account.pk, of_periods):
        key = (row.period_reference, row.category, row.includes_tax, row.recognition == AT_ONCE)
        charged.setdefault(key, set()).add(said_by(row))
    found = set()
    for index, line in enumerate(quoted):
        draft = line.draft
        key = (draft.period_reference, draft.category, draft.includes_tax, draft.recognition == AT_ONCE)
        if charged.get(key, set()) - {said_today(account, line)}:
            found.add(index)
    return found


def list_charged(account_id: int, periods: Iterable[str]) -> QuerySet[InvoiceLine]:
    """What was charged for these periods and has not been credited in full."""
    rows = InvoiceLine.objects.filter(
        invoice__account=account_id, invoice__state__in=CREDITABLE, period_reference__in=periods, amount__gt=0
    )
    return rows.filter(amount_credited__lt=F("amount")).select_related("invoice").order_by("pk")


def said_by(line: InvoiceLine) -> TaxSaid:
    """What an invoice says of its line's tax."""
    buyer = line.invoice.customer
    return _said(
        line.tax_treatment, line.tax_percent, buyer.get("country", ""), buyer.get("region", ""),
        buyer.get("tax_number", ""),
    )  # fmt: skip


def said_today(account: Account, line: QuotedLine) -> TaxSaid:
    """What an invoice would say now of a line's tax."""
    return _said(line.treatment, line.tax_percent, account.country, account.region, account.tax_number)


def _said(treatment: str, percent: Decimal, country: str, region: str, tax_number: str) -> TaxSaid:
    is_theirs = treatment == InvoiceLine.Treatment.REVERSE_CHARGE
    return TaxSaid(str(treatment), percent.normalize(), country, region, tax_number if is_theirs else "")
