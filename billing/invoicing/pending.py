"""Items for an account's next invoice, added one by one, taken together when that invoice is issued.

Locks: the items' rows by primary key, before the invoice is written.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from billing.catalog import pricing
from billing.invoicing.models import Invoice, InvoiceLine, PendingItem
from billing.invoicing.tax import STANDARD

ZERO = Decimal(0)


class ReferenceTaken(Exception):
    """The reference is in use for an item of another account or currency."""


class NotPending(Exception):
    """The item is on an invoice already."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A locked item and how much of it, net, an invoice takes: all of it, or a part of a credit."""

    item: PendingItem
    amount: Decimal


def add(
    *,
    account_id: int,
    currency: str,
    reference: str,
    description: str,
    amount: Decimal,
    now: datetime,
    quantity: Decimal | None = None,
    unit_price: Decimal | None = None,
    category: str = STANDARD,
    includes_tax: bool = False,
    recognition: str = InvoiceLine.Recognition.AT_ONCE,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    period_reference: str = "",
    actor: str = "",
) -> PendingItem:
    """Put `amount` (a credit is negative, as is its quantity) on the account's next invoice of the currency: net unless
    it `includes_tax`. The quantity is one unless told otherwise.

    Once per reference: repeating it returns the first item. Raises ReferenceTaken when that is another account's or in
    another currency, and ValueError for an amount that is nothing, of another sign than its quantity, or not in whole
    minor units.
    """
    if quantity is None:
        quantity = Decimal(-1 if amount < 0 else 1)
    if not quantity or quantity * amount <= 0 or amount != pricing.round_money(amount, currency):
        raise ValueError("an item needs an amount in whole minor units, and a quantity of the same sign")
    try:
        with transaction.atomic():
            return PendingItem.objects.create(
                account_id=account_id,
                currency=currency,
                reference=reference,
                description=description,
                quantity=quantity,
                unit_price=pricing.cost_per_credit(amount, quantity) if unit_price is None else unit_price,
                amount=amount,
                category=category,
                includes_tax=includes_tax,
                recognition=recognition,
                starts_at=starts_at,
                ends_at=ends_at,
                period_reference=period_reference,
                created_at=now,
                actor=actor,
            )
    except IntegrityError:
        first = PendingItem.objects.filter(reference=reference).first()
        if first is None:
            raise
        if (first.account_id, first.currency) != (account_id, currency):
            raise ReferenceTaken(reference) from None
        return first


def list_open(*, account_id: int, currency: str) -> QuerySet[PendingItem]:
    """The items that the account's next invoice of the currency takes, in the order of their coming."""
    rows = PendingItem.objects.filter(account=account_id, currency=currency, invoice_line=None, cancelled_at=None)
    return rows.order_by("pk")


def cancel(*, item_id: int, now: datetime) -> PendingItem:
    """Take an item off the account's next invoice; again it changes nothing. Raises NotPending."""
    with transaction.atomic():
        item = PendingItem.objects.select_for_update().get(pk=item_id)
        if item.invoice_line_id is not None:
            raise NotPending(item)
        if item.cancelled_at is None:
            item.cancelled_at = now
            item.save(update_fields=["cancelled_at"])
        return item


def choose(
    items: Sequence[PendingItem], *, room: Callable[[Sequence[Taken], PendingItem], Decimal]
) -> tuple[Taken, ...]:
    """What an invoice takes: everything that is owed, then of each credit as much as `room` has for it.

    `room(taken, credit)` says how much an invoice with the items taken so far would still have to pay in what the
    credit is for. Reads and writes nothing.
    """
    taken = [Taken(item, item.amount) for item in items if item.amount > 0]
    for credit in (item for item in items if item.amount < 0):
        part = min(-credit.amount, room(taken, credit))
        if part > 0:
            taken.append(Taken(credit, -part))
    return tuple(taken)


def mark(taken: Sequence[Taken], lines: Sequence[InvoiceLine], *, now: datetime) -> None:
    """Write down on which line each item taken stands. What is left of a credit stays pending, as an item of its own.

    The caller holds the items' locks.
    """
    for each, line in zip(taken, lines, strict=True):
        item, left = each.item, each.item.amount - each.amount
        item.invoice_line = line
        if left:
            _leave(item, left, now=now)
            item.quantity, item.unit_price, item.amount = line.quantity, line.unit_price, each.amount
        item.save(update_fields=["invoice_line", "quantity", "unit_price", "amount"])


def use_up(credits: Sequence[PendingItem], amount: Decimal, *, now: datetime) -> None:
    """Set credits off, in their order, against a charge of `amount` that needs no invoice for it: each is cancelled as
    far as it goes, and what is left of one stays pending as an item of its own. The caller holds the items' locks."""
    for item in credits:
        part = min(-item.amount, amount)
        if not part:
            return
        if left := item.amount + part:
            _leave(item, left, now=now)
            item.quantity, item.unit_price, item.amount = Decimal(-1), part, -part
        item.cancelled_at, amount = now, amount - part
        item.save(update_fields=["quantity", "unit_price", "amount", "cancelled_at"])


def note_credited(item: PendingItem, *, left: Decimal, now: datetime) -> None:
    """Write down that a credit was given by credit notes instead, but for `left` of it, which stays pending as an item
    of its own. The caller holds the item's lock."""
    item.cancelled_at = now
    item.save(update_fields=["cancelled_at"])
    if left:
        _leave(item, -left, now=now)


def pass_over(items: Sequence[PendingItem], *, now: datetime) -> None:
    """Write down that credits stand on no invoice, for they are of what was charged at another tax; they are to become
    credit notes. The caller holds the items' locks."""
    ids = [item.pk for item in items if item.passed_over_at is None]
    if ids:
        PendingItem.objects.filter(pk__in=ids).update(passed_over_at=now)


def put_back(invoice: Invoice, *, now: datetime) -> None:
    """Let the credits that a void invoice has taken stand on the account's next one, each as a new item.

    The caller holds the invoice's lock, and has made it void just now.
    """
    for item in PendingItem.objects.filter(invoice_line__invoice=invoice, amount__lt=0).order_by("pk"):
        _write_again(item, item.amount, reference=f"back:{item.pk}", now=now)


def _leave(item: PendingItem, left: Decimal, *, now: datetime) -> None:
    _write_again(item, left, reference=f"left-of:{item.pk}", now=now)


def _write_again(item: PendingItem, left: Decimal, *, reference: str, now: datetime) -> None:
    PendingItem.objects.create(
        account_id=item.account_id,
        currency=item.currency,
        reference=reference,
        description=item.description,
        quantity=Decimal(-1),
        unit_price=-left,
        amount=left,
        category=item.category,
        includes_tax=item.includes_tax,
        recognition=item.recognition,
        starts_at=item.starts_at,
        ends_at=item.ends_at,
        period_reference=item.period_reference,
        created_at=now,
        actor=item.actor,
    )
