"""The journal: every document as a double entry that balances, and each month's recognition as one.

Documents: invoices, voids, credit notes, payments, refunds, disputes, write-offs, and one accrual per month and
currency. Their entries of `deferred_revenue` add up to the deferred sheet, of `receivables` to the ageing, of
`tax:<issuer>` to the tax report. Money that a bank holds in an open dispute stands
in `cash_in_dispute:<gateway>` instead of `cash:<gateway>`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from billing.finance.accrual import Column
from billing.finance.deferred import Sheet
from billing.finance.documents import Bill
from billing.finance.months import Months

ZERO = Decimal(0)
COLUMNS = ("date", "kind", "document", "account", "debit", "credit", "currency", "customer")

RECEIVABLES, DEFERRED, WAITING = "receivables", "deferred_revenue", "waiting_for_invoice"
CASH, CASH_IN_DISPUTE = "cash:", "cash_in_dispute:"
AT_ONCE, BAD_DEBTS = "revenue:at_once", "bad_debts"
OTHER_DEFERRED, NOT_INVOICED = "deferred_not_invoiced", "credits_not_invoiced"


@dataclass(slots=True)
class Document:
    """A double entry: amounts by account, debits positive; they come to nothing together."""

    at: datetime
    kind: str
    name: str
    currency: str
    customer: str = ""
    entries: dict[str, Decimal] = field(default_factory=lambda: defaultdict(lambda: ZERO))

    def debit(self, account: str, amount: Decimal) -> None:
        """Add a debit (negative: a credit) to an account."""
        if amount:
            self.entries[account] += amount

    def credit(self, account: str, amount: Decimal) -> None:
        """Add a credit (negative: a debit) to an account."""
        self.debit(account, -amount)

    @property
    def is_balanced(self) -> bool:
        return not sum(self.entries.values(), ZERO)


def list_documents(bills: Iterable[Bill], sheets: Iterable[Sheet], months: Months) -> list[Document]:
    """All documents of the months in the order of their dates. `sheets` are of the same months."""
    found = [document for bill in bills for document in _of_bill(bill, months.until)]
    found += [document for sheet in sheets for document in _of_sheet(sheet, months)]
    inside = [each for each in found if months.starts_on <= each.at.date() and each.entries]
    return sorted(inside, key=lambda each: (each.at, each.kind, each.name))


def _of_bill(bill: Bill, until: datetime) -> Iterator[Document]:
    def begin(at: datetime, kind: str, name: str) -> Document:
        return Document(at, kind, name, bill.currency, bill.customer)

    issued = begin(bill.issued_at, "invoice", bill.number)
    issued.debit(RECEIVABLES, bill.total)
    _sell(issued, bill, at_once=bill.at_once, advance=bill.advance, tax=bill.tax)
    yield issued
    for note in bill.notes:
        document = begin(note.at, "credit_note", note.number)
        document.credit(_receivable(bill, note.at), note.total)
        _sell(document, bill, at_once=-note.at_once, advance=-note.advance, tax=-note.tax)
        yield document
    for money in bill.money:
        document = begin(money.at, "payment" if money.amount > 0 else "refund", money.name)
        document.debit(f"{CASH_IN_DISPUTE if money.was_held else CASH}{money.gateway}", money.amount)
        document.credit(_receivable(bill, money.at), money.amount)
        yield document
    for held in bill.held:
        document = begin(held.at, "dispute", held.name)
        document.debit(f"{CASH_IN_DISPUTE}{held.gateway}", held.amount)
        document.credit(f"{CASH}{held.gateway}", held.amount)
        yield document
        if held.came_back and held.until is not None and held.until < until:
            document = begin(held.until, "dispute_won", held.name)
            document.debit(f"{CASH}{held.gateway}", held.amount)
            document.credit(f"{CASH_IN_DISPUTE}{held.gateway}", held.amount)
            yield document
    if bill.voided_at is not None and bill.voided_at < until:
        document = begin(bill.voided_at, "void", bill.number)
        document.credit(_receivable(bill, bill.voided_at), bill.voided("total"))
        parts = {name: -bill.voided(name) for name in ("at_once", "advance", "tax")}
        _sell(document, bill, **parts)
        yield document
    if bill.uncollectible_at is not None and bill.uncollectible_at < until:
        owed = bill.balance(bill.uncollectible_at)
        document = begin(bill.uncollectible_at, "write_off", bill.number)
        document.debit(BAD_DEBTS, owed)
        document.credit(RECEIVABLES, owed)
        yield document


def _sell(document: Document, bill: Bill, *, at_once: Decimal, advance: Decimal, tax: Decimal) -> None:
    document.credit(AT_ONCE, at_once)
    document.credit(DEFERRED, advance)
    document.credit(f"tax:{bill.issuer}", tax)


def _receivable(bill: Bill, at: datetime) -> str:
    """Where what is owed stands at a moment: what comes for an invoice that was given up makes up for the loss."""
    written_off = bill.uncollectible_at is not None and bill.uncollectible_at <= at
    return BAD_DEBTS if written_off and (bill.paid_at is None or at <= bill.paid_at) else RECEIVABLES


_EARNED = {
    Column.USED: "revenue:use",
    Column.TIME: "revenue:time",
    Column.BREAKAGE: "revenue:breakage",
    Column.ADJUSTED: "revenue:adjusted",
    Column.WAITING: WAITING,
}
_OTHER = {
    Column.OTHER_GRANTED: NOT_INVOICED,
    Column.OTHER_USED: "revenue_not_invoiced:use",
    Column.OTHER_BREAKAGE: "revenue_not_invoiced:breakage",
    Column.OTHER_REVOKED: NOT_INVOICED,
}


def _of_sheet(sheet: Sheet, months: Months) -> Iterator[Document]:
    """Each month's accrual, dated with the last moment that the month has in the report."""
    for row in sheet.rows:
        at = months.last_moment(row.month)
        document = Document(at, "accrual", f"accrual-{row.month:%Y-%m}-{sheet.currency}", sheet.currency)
        for column, account in _EARNED.items():
            document.debit(account, row.deferred.moved[column])
            document.credit(DEFERRED, row.deferred.moved[column])
        document.debit("revenue:rounding", row.deferred.rounding)
        document.credit(DEFERRED, row.deferred.rounding)
        for column, account in _OTHER.items():
            document.debit(account, row.other.moved[column])
            document.credit(OTHER_DEFERRED, row.other.moved[column])
        document.debit("revenue_not_invoiced:rounding", row.other.rounding)
        document.credit(OTHER_DEFERRED, row.other.rounding)
        yield document


def balances(documents: Iterable[Document]) -> dict[tuple[str, str], Decimal]:
    """What entries come to by currency and account, debits positive."""
    found: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    for document in documents:
        for account, amount in document.entries.items():
            found[document.currency, account] += amount
    return dict(found)


def csv_rows(documents: Iterable[Document]) -> Iterator[list[object]]:
    """A line for each entry, in the order of COLUMNS; debits first."""
    for each in documents:
        for account, amount in sorted(each.entries.items(), key=lambda entry: (entry[1] < 0, entry[0])):
            if amount:
                debit, credit = (amount, None) if amount > 0 else (None, -amount)
                yield [each.at, each.kind, each.name, account, debit, credit, each.currency, each.customer]
