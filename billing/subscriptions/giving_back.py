"""Giving back what a subscription that ends now has not used up: staff's decision, by the day.

Locks: the caller holds the subscription's row; the invoices of its period, their payments, the account's pools, then
the issuer's row.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from billing.catalog import pricing
from billing.invoicing import crediting
from billing.invoicing.models import CreditNote, Invoice, InvoiceLine
from billing.ledger import pools
from billing.payments import refunding
from billing.payments.models import Payment
from billing.subscriptions import adjusting, lines, sides, starting
from billing.subscriptions.models import Subscription

ZERO = Decimal(0)


def give_back(subscription: Subscription, *, reason: str, actor: str, now: datetime) -> list[CreditNote]:
    """Credit the days of the period from today on, discounts considered, less what credits of them are used already;
    and take back their credits, as many as are free. Credit notes are for the period's invoices, the latest first, and
    never for more than those charged.

    Where a payment can take a note's total back it is refunded; what came otherwise is for staff to pay out.
    """
    rest = sides.rest_of(subscription, now=now)
    side = sides.before(subscription, subscription.periods.get(number=subscription.period_number))
    invoices = _lock_invoices(subscription)
    payments = _lock_payments(invoices)
    pools.lock(subscription.account.pools.values_list("pk", flat=True))
    price = worth(subscription, now=now)
    left = adjusting.cycle_left(subscription, side, now=now)
    adjusting.take_back(subscription, left.left(side), ends_at=left.cycle[1], name="end", actor=actor, now=now)
    notes = []
    for invoice in invoices:
        items, price = _items(invoice, price, reference=rest.reference)
        if not items:
            continue
        reference = f"end:{subscription.pk}:{invoice.pk}"
        notes.append(
            crediting.credit(
                invoice_id=invoice.pk, reference=reference, reason=reason, items=items, actor=actor, now=now
            )
        )
        _refund(notes[-1], [payment for payment in payments if payment.invoice_id == invoice.pk], now=now)
    return notes


def worth(subscription: Subscription, *, now: datetime) -> Decimal:
    """What `give_back` credits by the plan's prices, as far as invoices say it."""
    cut, rest = sides.cut_of(subscription, now=now), sides.rest_of(subscription, now=now)
    side = sides.before(subscription, subscription.periods.get(number=subscription.period_number))
    gone = sides.unused(side, cut=cut, of=rest)
    if (ahead := adjusting.used_ahead(subscription, side, kept=ZERO, cut=cut, of=rest, now=now)) is not None:
        gone.append(ahead)
    return -lines.net(gone)


def _lock_invoices(subscription: Subscription) -> list[Invoice]:
    """The invoices of the period that something can be credited of, the latest first."""
    reference = starting.span_of(subscription).reference
    ids = InvoiceLine.objects.filter(period_reference=reference, amount__gt=0).values("invoice")
    states = (Invoice.State.OPEN, Invoice.State.PAID)
    rows = Invoice.objects.filter(account=subscription.account_id, pk__in=ids, state__in=states)
    return list(rows.select_for_update().order_by("pk"))[::-1]


def _lock_payments(invoices: Sequence[Invoice]) -> list[Payment]:
    rows = Payment.objects.filter(invoice__in=invoices, state=Payment.State.SUCCEEDED)
    return list(rows.select_for_update().order_by("pk"))


def _items(invoice: Invoice, price: Decimal, *, reference: str) -> tuple[list[crediting.CreditItem], Decimal]:
    """What of an invoice's lines to credit for so much of the plan's price, and what of that is left."""
    room = invoice.subtotal - sum(invoice.credit_notes.values_list("subtotal", flat=True), ZERO)
    items = []
    found = invoice.lines.filter(period_reference=reference, amount__gt=0)
    for line in found.exclude(recognition=InvoiceLine.Recognition.AT_ONCE):
        whole = line.amount + line.tax_amount if line.includes_tax else line.amount
        part = min(price, whole)
        net = pricing.part_of_money(line.amount, part=part, of=whole, currency=invoice.currency)
        net = min(net, line.amount - line.amount_credited, room)
        if net > 0:
            items.append(crediting.CreditItem(line.pk, net))
            price, room = price - part, room - net
    return items, price


def _refund(note: CreditNote, payments: Sequence[Payment], *, now: datetime) -> None:
    """Open the refund of a credit note, if one payment can take it back; the periodic check sends it."""
    payment = next((each for each in payments if each.refundable >= note.total), None)
    if payment is not None:
        refunding.start(
            payment_id=payment.pk, credit_note_id=note.pk, amount=note.total, key=f"refund:{note.pk}", now=now
        )
