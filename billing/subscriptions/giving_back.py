"""Giving back by credit notes: what a subscription that ends now has not used up, which is staff's decision, by the
day; and pending credits that no invoice will take.

Locks: the caller holds the subscription's row; the invoices of its period, their payments, the account's pools, then
the issuer's row.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from django.db.models import QuerySet

from billing.catalog import pricing
from billing.invoicing import crediting, spreading
from billing.invoicing.models import CreditNote, Invoice, InvoiceLine, PendingItem
from billing.ledger import pools
from billing.payments import paying, refunding
from billing.payments.models import Payment
from billing.subscriptions import adjusting, lines, sides, starting
from billing.subscriptions.models import Subscription

ZERO = Decimal(0)
AT_ONCE = InvoiceLine.Recognition.AT_ONCE


def give_back(subscription: Subscription, *, reason: str, actor: str, now: datetime) -> list[CreditNote]:
    """Credit the days of the period from today on, discounts considered, less what credits of them are used already;
    and take back their credits, as many as are free. Credit notes are for the period's invoices, the latest first, and
    never for more than those charged.

    Where a payment can take a note's total back it is refunded; what came otherwise is for staff to pay out.
    """
    rest = sides.rest_of(subscription, now=now)
    side = sides.before(subscription, subscription.periods.get(number=subscription.period_number))
    charged = _lines_of(subscription.account_id, rest.reference).exclude(recognition=AT_ONCE)
    invoices = _lock_invoices(charged)
    payments = _lock_payments(invoices)
    pools.lock(subscription.account.pools.values_list("pk", flat=True))
    price = worth(subscription, now=now)
    left = adjusting.cycle_left(subscription, side, now=now)
    adjusting.take_back(subscription, left.left(side), ends_at=left.cycle[1], name="end", actor=actor, now=now)
    return _credit(
        invoices, payments, charged, price, name=f"end:{subscription.pk}", reason=reason, actor=actor, now=now
    )[0]


def forgive_unpaid(subscription: Subscription, *, reason: str, actor: str, now: datetime) -> list[CreditNote]:
    """Credit what `give_back` would of the period's invoices for which no money has come and no payment is under way,
    so that nobody is asked for days without a subscription; and take back the same part of the credits."""
    rest = sides.rest_of(subscription, now=now)
    side = sides.before(subscription, subscription.periods.get(number=subscription.period_number))
    charged = _lines_of(subscription.account_id, rest.reference).exclude(recognition=AT_ONCE)
    unpaid = [
        invoice
        for invoice in _lock_invoices(charged.filter(invoice__state=Invoice.State.OPEN, invoice__amount_paid=0))
        if not invoice.amount_paid and invoice.state == Invoice.State.OPEN and not paying.find_under_way(invoice.pk)
    ]
    if not unpaid:
        return []
    pools.lock(subscription.account.pools.values_list("pk", flat=True))
    price, left = worth(subscription, now=now), adjusting.cycle_left(subscription, side, now=now)
    notes, over = _credit(
        unpaid, [], charged, price, name=f"end:{subscription.pk}", reason=reason, actor=actor, now=now
    )
    if notes:
        credits = pricing.part_of_credits(left.left(side), part=price - over, of=price)
        adjusting.take_back(subscription, credits, ends_at=left.cycle[1], name="end", actor=actor, now=now)
    return notes


def give_back_pending(item: PendingItem, *, reason: str, actor: str, now: datetime) -> Decimal:
    """Credit what a pending credit is for of the invoices that had charged it, as `give_back` does; what of it they
    have no room for, positive. The caller holds the subscription's lock and sees to the item."""
    charged = _lines_of(item.account_id, item.period_reference)
    charged = charged.filter(category=item.category, includes_tax=item.includes_tax)
    is_at_once = item.recognition == AT_ONCE
    charged = charged.filter(recognition=AT_ONCE) if is_at_once else charged.exclude(recognition=AT_ONCE)
    invoices = _lock_invoices(charged)
    payments = _lock_payments(invoices)
    return _credit(
        invoices, payments, charged, -item.amount, name=f"pending:{item.pk}", reason=reason, actor=actor, now=now
    )[1]


def _credit(
    invoices: Sequence[Invoice],
    payments: Sequence[Payment],
    charged: QuerySet[InvoiceLine],
    price: Decimal,
    *,
    name: str,
    reason: str,
    actor: str,
    now: datetime,
) -> tuple[list[CreditNote], Decimal]:
    """The credit notes for so much of the lines' prices, and what of it is left."""
    notes = []
    for invoice in invoices:
        items, price = _items(invoice, charged.filter(invoice=invoice), price)
        if not items:
            continue
        notes.append(
            crediting.credit(
                invoice_id=invoice.pk, reference=f"{name}:{invoice.pk}", reason=reason, items=items, actor=actor,
                now=now,
            )
        )  # fmt: skip
        _refund(notes[-1], [payment for payment in payments if payment.invoice_id == invoice.pk], now=now)
    return notes, price


def worth(subscription: Subscription, *, now: datetime) -> Decimal:
    """What `give_back` credits by the plan's prices, as far as invoices say it."""
    now = starting.catch_up(subscription, now=now)
    cut, rest = sides.cut_of(subscription, now=now), sides.rest_of(subscription, now=now)
    side = sides.before(subscription, subscription.periods.get(number=subscription.period_number))
    gone = sides.unused(side, cut=cut, of=rest)
    if (ahead := adjusting.used_ahead(subscription, side, kept=ZERO, cut=cut, of=rest, now=now)) is not None:
        gone.append(ahead)
    return -lines.net(gone)


def _lines_of(account_id: int, reference: str) -> QuerySet[InvoiceLine]:
    """What was charged for a period."""
    rows = InvoiceLine.objects.filter(invoice__account=account_id, period_reference=reference, amount__gt=0)
    return rows.order_by("position")


def _lock_invoices(charged: QuerySet[InvoiceLine]) -> list[Invoice]:
    """The invoices of these lines that something can be credited of, the latest first."""
    states = (Invoice.State.OPEN, Invoice.State.PAID)
    rows = Invoice.objects.filter(pk__in=charged.order_by().values("invoice"), state__in=states)
    return list(rows.select_for_update().order_by("pk"))[::-1]


def _lock_payments(invoices: Sequence[Invoice]) -> list[Payment]:
    rows = Payment.objects.filter(invoice__in=invoices, state=Payment.State.SUCCEEDED)
    return list(rows.select_for_update().order_by("pk"))


def _items(
    invoice: Invoice, charged: QuerySet[InvoiceLine], price: Decimal
) -> tuple[list[crediting.CreditItem], Decimal]:
    """What of an invoice's lines to credit for so much of their price, and what of that is left."""
    groups = spreading.list_groups(invoice.lines.all())
    room = {spreading.tax_key(group.lines[0]): group.net_left for group in groups}
    items = []
    for line in charged:
        whole = line.amount + line.tax_amount if line.includes_tax else line.amount
        part = min(price, whole)
        net = pricing.part_of_money(line.amount, part=part, of=whole, currency=invoice.currency)
        key = spreading.tax_key(line)
        if net > (most := min(line.amount - line.amount_credited, room[key])):
            net, part = most, pricing.part_of_money(whole, part=most, of=line.amount, currency=invoice.currency)
        if net > 0:
            items.append(crediting.CreditItem(line.pk, net))
            price, room[key] = price - part, room[key] - net
    return items, price


def _refund(note: CreditNote, payments: Sequence[Payment], *, now: datetime) -> None:
    """Open the refund of a credit note, if one payment can take it back; the periodic check sends it."""
    payment = next((each for each in payments if each.refundable >= note.total), None)
    if payment is not None:
        refunding.start(
            payment_id=payment.pk, credit_note_id=note.pk, amount=note.total, key=f"refund:{note.pk}", now=now
        )
