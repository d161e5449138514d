"""The statement of an account in one currency: what was invoiced, credited, paid and given back, and what is owed.

Reads only. Positive amounts are owed by the customer. What an invoice says counts when it was issued, credit notes when
they were, money when its payment or refund succeeded; a void invoice gives back what was not credited before. An
invoice that was given up is still owed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts.models import Account
from billing.catalog import pricing
from billing.catalog.periods import first_moment
from billing.invoicing import documents, issuing, printing
from billing.invoicing.models import Invoice
from billing.wording import amounts

ZERO = Decimal(0)
# Ten years.
MOST_DAYS = 3_660
MOST_ENTRIES = 2_000

KINDS: dict[str, str | Promise] = {
    "invoice": gettext_lazy("Invoice"),
    "credit_note": gettext_lazy("Credit note"),
    "void": gettext_lazy("Invoice made void"),
    "payment": gettext_lazy("Payment"),
    "refund": gettext_lazy("Refund"),
}

_MOVES = """
WITH moves (at, kind, row_id, number, invoice_id, amount) AS (
    SELECT issued_at, 'invoice', id, number, id, total FROM billing_invoice
    WHERE account_id = %(account)s AND currency = %(currency)s AND issued_at IS NOT NULL
    UNION ALL
    SELECT n.issued_at, 'credit_note', n.id, n.number, n.invoice_id, -n.total
    FROM billing_creditnote n JOIN billing_invoice i ON i.id = n.invoice_id
    WHERE i.account_id = %(account)s AND i.currency = %(currency)s
    UNION ALL
    SELECT voided_at, 'void', id, number, id, amount_credited - total FROM billing_invoice
    WHERE account_id = %(account)s AND currency = %(currency)s AND voided_at IS NOT NULL AND amount_credited < total
    UNION ALL
    SELECT p.finished_at, 'payment', p.id, i.number, i.id, -p.amount
    FROM billing_payment p JOIN billing_invoice i ON i.id = p.invoice_id
    WHERE i.account_id = %(account)s AND i.currency = %(currency)s AND p.state = 'succeeded'
    UNION ALL
    SELECT r.finished_at, 'refund', r.id, i.number, i.id, r.amount
    FROM billing_refund r JOIN billing_payment p ON p.id = r.payment_id JOIN billing_invoice i ON i.id = p.invoice_id
    WHERE i.account_id = %(account)s AND i.currency = %(currency)s AND r.state = 'succeeded'
)
"""
_SUMS = """
SELECT coalesce(sum(amount) FILTER (WHERE at < %(since)s), 0),
    coalesce(sum(amount) FILTER (WHERE at >= %(since)s AND at < %(until)s AND amount > 0), 0),
    coalesce(sum(amount) FILTER (WHERE at >= %(since)s AND at < %(until)s AND amount < 0), 0)
FROM moves
"""
# Of one moment an invoice comes before what is done about it.
_ENTRIES = """
SELECT at, kind, row_id, number, invoice_id, amount FROM moves WHERE at >= %(since)s AND at < %(until)s
ORDER BY at, array_position(ARRAY['invoice', 'credit_note', 'void', 'payment', 'refund'], kind), row_id LIMIT %(limit)s
"""


class TooLong(Exception):
    """More has happened in this time than a statement holds: ask for a shorter one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that changed what is owed. `number` is the document's, or of the invoice that money was for;
    `balance` is what was owed after it."""

    at: datetime
    kind: str
    row_id: int
    number: str
    invoice_id: int
    amount: Decimal
    balance: Decimal

    @property
    def label(self) -> str:
        """What it was, in words."""
        return str(KINDS[self.kind])


@dataclass(frozen=True, slots=True)
class Statement:
    """What was owed when the first day began, what happened until the last day ended, and what was owed then: opening +
    charges + credits = closing. `credits` is negative. Days are the account's, both included."""

    account: Account
    currency: str
    since: date
    until: date
    opening: Decimal
    charges: Decimal
    credits: Decimal
    entries: tuple[Entry, ...]

    @property
    def closing(self) -> Decimal:
        """What was owed when the last day ended."""
        return self.opening + self.charges + self.credits


def list_currencies(account: Account) -> list[str]:
    """The currencies that the account has invoices in; its own if it has none."""
    issued = Invoice.objects.filter(account=account).exclude(state=Invoice.State.DRAFT).order_by()
    return sorted(issued.values_list("currency", flat=True).distinct()) or [account.currency]


def read(*, account: Account, currency: str, since: date, until: date) -> Statement:
    """The statement from one day to another. Raises TooLong for more than MOST_ENTRIES entries, and ValueError when
    the days are not in order."""
    if until < since:
        raise ValueError("the last day is before the first")
    asked: dict[str, Any] = {
        "account": account.pk,
        "currency": currency,
        "since": first_moment(since, account.time_zone),
        "until": first_moment(until + timedelta(days=1), account.time_zone),
        "limit": MOST_ENTRIES + 1,
    }
    with connection.cursor() as cursor:
        cursor.execute(_MOVES + _SUMS, asked)
        opening, charges, credits = cursor.fetchone()
        cursor.execute(_MOVES + _ENTRIES, asked)
        rows = cursor.fetchall()
    if len(rows) > MOST_ENTRIES:
        raise TooLong(MOST_ENTRIES)
    return Statement(account, currency, since, until, opening, charges, credits, tuple(_entries(rows, opening)))


def _entries(rows: list[tuple[Any, ...]], balance: Decimal) -> Iterator[Entry]:
    for at, kind, row_id, number, invoice_id, amount in rows:
        balance += amount
        yield Entry(at, kind, row_id, number, invoice_id, amount, balance)


def pdf(statement: Statement, *, now: datetime) -> bytes:
    """The statement as a PDF/A. Raises issuing.NoIssuer, for it is the default issuer's."""
    account, currency = statement.account, statement.currency
    zone = ZoneInfo(account.time_zone)
    first, last = (date_format(day, "j F Y") for day in (statement.since, statement.until))

    def money(amount: Decimal) -> str:
        return amounts.money_text(pricing.round_money(amount, currency), currency)

    return printing.render(
        "statement",
        {
            "title": _("Statement of account"),
            "number": _("%(first)s to %(last)s") % {"first": first, "last": last},
            "stamp": None,
            **documents.parties(issuing.get_seller(account), issuing.customer_of(account)),
            "facts": [
                (_("From"), first),
                (_("To"), last),
                (_("Made on"), documents.day_text(now, zone)),
                (_("Currency"), currency),
            ],
            "headings": [_("Day"), _("What"), _("Number"), _("Owed"), _("Settled"), _("Balance")],
            "opening": [_("Balance before"), money(statement.opening)],
            "entries": [
                [
                    documents.day_text(entry.at, zone),
                    entry.label,
                    entry.number,
                    money(entry.amount) if entry.amount >= 0 else "",
                    money(-entry.amount) if entry.amount < 0 else "",
                    money(entry.balance),
                ]
                for entry in statement.entries
            ],
            "nothing": _("Nothing happened in this time."),
            "totals": [
                [_("Balance before"), money(statement.opening)],
                [_("Owed"), money(statement.charges)],
                [_("Settled"), money(statement.credits)],
                [_("Balance"), money(statement.closing)],
            ],
            "note": _("A positive balance is owed by %(name)s.") % {"name": account.name},
        },
        issued_at=now,
    )
