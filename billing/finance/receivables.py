"""What customers owe, by how late it is, as of any moment."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from billing.finance.documents import Bill

ZERO = Decimal(0)
# Days overdue up to which a bucket goes; the last has no end. Nothing is due on the day that is named.
BUCKETS = (("not_due", 0), ("to_30", 30), ("to_60", 60), ("to_90", 90), ("older", None))
COLUMNS = (
    "currency", "customer", "invoice", "issued_at", "due_at", "days_overdue", "not_due", "to_30", "to_60", "to_90",
    "older", "given_up", "owed_to_customer",
)  # fmt: skip


@dataclass(slots=True)
class Owed:
    """An invoice on which something is owed, or (negative) to be paid back."""

    bill: Bill
    amount: Decimal
    days_overdue: int
    bucket: str


@dataclass(slots=True)
class Ageing:
    """One currency: sums by bucket, beside them `given_up` and (positive) `owed_to_customer`, and the invoices."""

    currency: str
    buckets: dict[str, Decimal] = field(default_factory=lambda: {name: ZERO for name, _ in BUCKETS})
    given_up: Decimal = ZERO
    owed_to_customer: Decimal = ZERO
    rows: list[Owed] = field(default_factory=list)

    @property
    def total(self) -> Decimal:
        """What is to come, that is neither given up nor to be paid back."""
        return sum(self.buckets.values(), ZERO)

    @property
    def net(self) -> Decimal:
        """What the receivables account says: what is to come less what is to be paid back."""
        return self.total - self.owed_to_customer


def age(bills: Iterable[Bill], *, at: datetime) -> list[Ageing]:
    """The ageing of each currency before a moment, invoices oldest first."""
    found: dict[str, Ageing] = {}
    for bill in bills:
        ageing = found.setdefault(bill.currency, Ageing(bill.currency))
        amount = bill.balance(at)
        if not amount:
            continue
        late = max((at - bill.due_at).days, 0) if bill.due_at is not None and bill.due_at < at else 0
        bucket = _bucket_of(bill, amount, late, at)
        ageing.rows.append(Owed(bill, amount, late, bucket))
        if bucket == "owed_to_customer":
            ageing.owed_to_customer -= amount
        elif bucket == "given_up":
            ageing.given_up += amount
        else:
            ageing.buckets[bucket] += amount
    return [found[currency] for currency in sorted(found)]


def _bucket_of(bill: Bill, amount: Decimal, late: int, at: datetime) -> str:
    if amount < 0:
        return "owed_to_customer"
    if bill.is_given_up(at):
        return "given_up"
    if bill.due_at is None or bill.due_at >= at:
        return "not_due"
    return next(name for name, most in BUCKETS[1:] if most is None or late <= most)


def csv_rows(ageings: Iterable[Ageing]) -> list[list[object]]:
    """Every invoice with a balance, in the order of COLUMNS."""
    names = [*(name for name, _ in BUCKETS), "given_up", "owed_to_customer"]
    rows: list[list[object]] = []
    for ageing in ageings:
        for owed in ageing.rows:
            bill = owed.bill
            amounts = [abs(owed.amount) if name == owed.bucket else ZERO for name in names]
            rows.append(
                [ageing.currency, bill.customer, bill.number, bill.issued_at, bill.due_at, owed.days_overdue, *amounts]
            )
    return rows
