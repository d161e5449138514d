"""Issued documents and the money that came and went for them, as rows with their dates.

Four statements over documents of the whole past; the ledger is not read.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.db import connection

from billing.accounts import clocks

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Note:
    """A credit note: net money that had been earned at once, or was to be earned later (`advance`), and tax."""

    number: str
    at: datetime
    at_once: Decimal
    advance: Decimal
    tax: Decimal

    @property
    def total(self) -> Decimal:
        return self.at_once + self.advance + self.tax


@dataclass(frozen=True, slots=True)
class Money:
    """A payment that succeeded, or a refund (negative), by its gateway. `was_held`: a dispute that was lost, so the
    bank had the money already."""

    name: str
    at: datetime
    amount: Decimal
    gateway: str
    was_held: bool


@dataclass(frozen=True, slots=True)
class Held:
    """Money of a payment that a bank took back for a dispute, until it was decided. `came_back`: it was not lost."""

    name: str
    at: datetime
    until: datetime | None
    amount: Decimal
    gateway: str
    came_back: bool

    def is_held(self, at: datetime) -> bool:
        """Whether the bank had it before a moment, undecided."""
        return self.at < at and (self.until is None or self.until >= at)


@dataclass(slots=True)
class Bill:
    """An issued invoice with what became of it. `customer` is the integrator's id of the account, or ours."""

    id: int
    number: str
    issuer: str
    account_id: int
    customer: str
    currency: str
    subtotal: Decimal
    tax: Decimal
    total: Decimal
    at_once: Decimal
    advance: Decimal
    issued_at: datetime
    due_at: datetime | None
    voided_at: datetime | None
    uncollectible_at: datetime | None
    paid_at: datetime | None
    notes: list[Note] = field(default_factory=list)
    money: list[Money] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)

    def voided(self, name: str) -> Decimal:
        """What voiding took away of `at_once`, `advance`, `tax` or `total`: all that no credit note had."""
        whole: Decimal = getattr(self, name)
        return whole - sum((getattr(note, name) for note in self.notes), ZERO)

    def is_void(self, at: datetime) -> bool:
        """Whether it had been voided before a moment."""
        return self.voided_at is not None and self.voided_at < at

    def balance(self, at: datetime) -> Decimal:
        """What was owed on it before a moment; negative: what the customer is owed."""
        if self.issued_at >= at:
            return ZERO
        credited = sum((note.total for note in self.notes if note.at < at), ZERO)
        taken_away = self.voided("total") if self.is_void(at) else ZERO
        return self.total - credited - taken_away - sum((each.amount for each in self.money if each.at < at), ZERO)

    def is_given_up(self, at: datetime) -> bool:
        """Whether it was held for uncollectible at a moment, and no money had come all the same."""
        if self.uncollectible_at is None or self.uncollectible_at > at:
            return False
        return self.paid_at is None or self.paid_at < self.uncollectible_at or self.paid_at > at


_BILLS = f"""
SELECT i.id, i.number, issuer.key, i.account_id, a.external_id, i.currency, i.subtotal,
       i.tax_total, i.total,
       coalesce(sum(l.amount) FILTER (WHERE l.recognition = 'at_once' AND l.credits IS NULL), 0),
       coalesce(sum(l.amount) FILTER (WHERE l.recognition <> 'at_once' OR l.credits IS NOT NULL), 0),
       i.issued_at, i.due_at, i.voided_at, i.uncollectible_at, i.paid_at
FROM billing_invoice i
JOIN billing_issuer issuer ON issuer.id = i.issuer_id
JOIN billing_account a ON a.id = i.account_id
LEFT JOIN billing_invoiceline l ON l.invoice_id = i.id
WHERE i.issued_at < %(until)s AND {clocks.in_books("i.account_id")}
GROUP BY i.id, issuer.key, a.id ORDER BY i.issued_at, i.id
"""  # noqa: S608  (only constants)

_NOTES = """
SELECT n.invoice_id, n.number, n.issued_at,
       coalesce(sum(c.amount) FILTER (WHERE l.recognition = 'at_once' AND l.credits IS NULL), 0),
       coalesce(sum(c.amount) FILTER (WHERE l.recognition <> 'at_once' OR l.credits IS NOT NULL), 0),
       n.tax_total
FROM billing_creditnote n
JOIN billing_creditnoteline c ON c.credit_note_id = n.id
JOIN billing_invoiceline l ON l.id = c.invoice_line_id
WHERE n.issued_at < %(until)s
GROUP BY n.id ORDER BY n.issued_at, n.id
"""

_MONEY = """
SELECT p.invoice_id, 'pay_' || p.id, p.finished_at AS at, p.amount, p.gateway, false
FROM billing_payment p WHERE p.state = 'succeeded' AND p.finished_at < %(until)s
UNION ALL
SELECT p.invoice_id, 'ref_' || r.id, r.finished_at, -r.amount, p.gateway, d.id IS NOT NULL
FROM billing_refund r JOIN billing_payment p ON p.id = r.payment_id
LEFT JOIN billing_dispute d ON d.refund_id = r.id
WHERE r.state = 'succeeded' AND r.finished_at < %(until)s
ORDER BY at
"""

_HELD = """
SELECT p.invoice_id, 'dis_' || d.id, d.taken_back_at, d.closed_at, d.amount, p.gateway, d.state <> 'lost'
FROM billing_dispute d JOIN billing_payment p ON p.id = d.payment_id
WHERE d.taken_back_at < %(until)s ORDER BY d.taken_back_at, d.id
"""


def list_bills(*, until: datetime, tests: bool = False) -> list[Bill]:
    """All invoices issued before a moment, oldest first, with their credit notes and the money for them up to then: of
    test accounts, or of all others."""
    with connection.cursor() as cursor:
        cursor.execute(_BILLS, {"until": until, "tests": tests})
        bills = {row[0]: Bill(*row) for row in cursor.fetchall()}
        cursor.execute(_NOTES, {"until": until})
        for invoice_id, *rest in cursor.fetchall():
            if invoice_id in bills:
                bills[invoice_id].notes.append(Note(*rest))
        cursor.execute(_MONEY, {"until": until})
        for invoice_id, *rest in cursor.fetchall():
            if invoice_id in bills:
                bills[invoice_id].money.append(Money(*rest))
        cursor.execute(_HELD, {"until": until})
        for invoice_id, *rest in cursor.fetchall():
            if invoice_id in bills:
                bills[invoice_id].held.append(Held(*rest))
    return list(bills.values())
