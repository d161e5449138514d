"""Giving back by credit notes: what a subscription that ends now has not used up, which is staff's decision, by the
day; and pending credits that no invoice will take.

Locks: the caller holds the subscription's row; the invoices of its period, their payments, the account's pools, then
the issuer's row.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from django.db.models import QuerySet

from billing.catalog import periods, pricing
from billing.invoicing import as_charged, crediting, issuing, spreading
from billing.invoicing.lines import LineDraft
from billing.invoicing.models import CreditNote, CreditNoteLine, Invoice, InvoiceLine, PendingItem
from billing.ledger import pools
from billing.payments import invoice_credits, paying, refunding
from billing.payments.models import Payment
from billing.subscriptions.charges import change_prices, fee_lines, proration
from billing.subscriptions.credits import change_credits
from billing.subscriptions.lifecycle import period_start
from billing.subscriptions.models import Subscription

ZERO = Decimal(0)
AT_ONCE = InvoiceLine.Recognition.AT_ONCE


def give_back(subscription: Subscription, *, reason: str, actor: str, now: datetime) -> list[CreditNote]:
    """Credit the days of the period from today on, discounts considered, less what credits of them are used already;
    and take back their credits, as many as are free. Credit notes are for the period's invoices, the latest first, and
    never for more than those charged.

    Where a payment can take a note's total back it is refunded; what came otherwise is for staff to pay out.
    """
    rest = change_prices.rest_of(subscription, now=now)
    side = change_prices.before(subscription, subscription.periods.get(number=subscription.period_number))
    charged = _lines_of(subscription.account_id, rest.reference).exclude(recognition=AT_ONCE)
    invoices = _lock_invoices(charged)
    payments = _lock_payments(invoices)
    pools.lock(subscription.account.pools.values_list("pk", flat=True))
    gone = _gone(subscription, now=now)
    left = change_credits.cycle_left(subscription, side, now=now)
    change_credits.take_back(subscription, left.left(side), ends_at=left.cycle[1], name="end", actor=actor, now=now)
    turns = [(invoices, charged, gone.price)]
    if len({as_charged.said_by(line) for line in charged.select_related("invoice")}) > 1:
        # Charged at several taxes: of each invoice what is unused of it.
        zone = subscription.account.time_zone
        shares = _shares(invoices, charged, gone.price, time_zone=zone, at=rest.starts_at)
        turns = [([invoice], charged.filter(invoice=invoice), share) for invoice, share in shares]
    notes, over = [], gone.price - sum((price for *_rest, price in turns), ZERO)
    for some, rows, price in turns:
        given, over = _credit(
            some, payments, rows, price + over, name=f"end:{subscription.pk}", reason=reason, actor=actor, now=now
        )
        notes += given
    _count_fees(subscription, gone, credited=gone.price - over)
    return notes


def forgive_unpaid(subscription: Subscription, *, reason: str, actor: str, now: datetime) -> list[CreditNote]:
    """Credit what `give_back` would of the period's invoices for which no money has come and no payment is under way,
    so that nobody is asked for days without a subscription; and take back the same part of the credits."""
    rest = change_prices.rest_of(subscription, now=now)
    side = change_prices.before(subscription, subscription.periods.get(number=subscription.period_number))
    charged = _lines_of(subscription.account_id, rest.reference).exclude(recognition=AT_ONCE)
    unpaid = [
        invoice
        for invoice in _lock_invoices(charged.filter(invoice__state=Invoice.State.OPEN, invoice__amount_paid=0))
        if not invoice.amount_paid and invoice.state == Invoice.State.OPEN and not paying.find_under_way(invoice.pk)
    ]
    if not unpaid:
        return []
    pools.lock(subscription.account.pools.values_list("pk", flat=True))
    gone, left = _gone(subscription, now=now), change_credits.cycle_left(subscription, side, now=now)
    notes, over = _credit(
        unpaid, [], charged, gone.price, name=f"end:{subscription.pk}", reason=reason, actor=actor, now=now
    )
    _count_fees(subscription, gone, credited=gone.price - over)
    if notes:
        credits = pricing.part_of_credits(left.left(side), part=gone.price - over, of=gone.price)
        change_credits.take_back(subscription, credits, ends_at=left.cycle[1], name="end", actor=actor, now=now)
    return notes


def give_back_pending(item: PendingItem, *, reason: str, actor: str, now: datetime) -> Decimal:
    """Credit what a pending credit is for of the invoices that had charged it, as `give_back` does; what of it they
    have no room for, positive. The caller holds the subscription's lock and sees to the item."""
    charged = _lines_of(item.account_id, item.period_reference)
    charged = charged.filter(category=item.category, includes_tax=item.includes_tax)
    is_at_once = item.recognition == AT_ONCE
    charged = charged.filter(recognition=AT_ONCE) if is_at_once else charged.exclude(recognition=AT_ONCE)
    # What was invoiced after the credit came is not what it takes back; it may have been taxed otherwise.
    invoices = sorted(
        _lock_invoices(charged), key=lambda each: each.issued_at is None or each.issued_at >= item.created_at
    )
    payments = _lock_payments(invoices)
    return _credit(
        invoices, payments, charged, -item.amount, name=f"pending:{item.pk}", reason=reason, actor=actor, now=now
    )[1]


def is_taxed_otherwise(subscription: Subscription, gone: Sequence[LineDraft], *, now: datetime) -> bool:
    """Whether what a change gives back was charged, be it in part, at another tax than today's. Raises
    tax.TaxNotPrepared."""
    back = -fee_lines.net(gone)
    if back <= 0:
        return False
    account, at = subscription.account, change_prices.rest_of(subscription, now=now).starts_at
    charged = _lines_of(account.pk, gone[0].period_reference).exclude(recognition=AT_ONCE)
    if not charged.exists():
        return False
    line = replace(gone[0], quantity=Decimal(1), unit_price=back, amount=back)
    on = issuing.supply_date(account, now)
    quoted = issuing.quote(account=account, currency=subscription.currency, lines=[line], on=on).lines[0]
    today = as_charged.said_today(account, quoted)
    rows = list(charged.select_related("invoice"))
    unused = _unused(rows, account.time_zone, at=at)
    return any(unused[row.pk] > 0 and as_charged.said_by(row) != today for row in rows)


def lock_charged(subscription: Subscription) -> None:
    """Lock the invoices of the period that runs, and their payments, before pools are locked. The caller holds the
    subscription's lock."""
    reference = fee_lines.span_of(subscription).reference
    _lock_payments(_lock_invoices(_lines_of(subscription.account_id, reference)))


def give_back_as_charged(
    subscription: Subscription, gone: Sequence[LineDraft], *, name: str, actor: str, now: datetime
) -> list[CreditNote]:
    """Credit what a change gives back of the invoices that had charged it, at the tax that was charged: of each as much
    as is unused of it. Money that came for them is kept for the account's next invoices, the change's first.

    The caller has locked what `lock_charged` does. Never more than was charged is credited. Locks the issuer's row.
    """
    account, at = subscription.account, change_prices.rest_of(subscription, now=now).starts_at
    charged = _lines_of(account.pk, gone[0].period_reference).exclude(recognition=AT_ONCE)
    invoices = _lock_invoices(charged)
    payments = _lock_payments(invoices)
    price = -fee_lines.net(gone)
    notes, rest = [], ZERO
    for invoice, share in _shares(invoices, charged, price, time_zone=account.time_zone, at=at):
        was_paid = invoice.state == Invoice.State.PAID
        mine = charged.filter(invoice=invoice, ends_at__gt=at)
        items, rest = _items(invoice, mine, share + rest)
        if not items:
            continue
        note = crediting.credit(
            invoice_id=invoice.pk, reference=f"{name}:{invoice.pk}", reason=gone[0].description, items=items,
            actor=actor, now=now,
        )  # fmt: skip
        notes.append(note)
        there = sum((each.refundable for each in payments if each.invoice_id == invoice.pk), ZERO)
        if was_paid and note.total <= there - invoice_credits.reserved(invoice.pk):
            invoice_credits.keep(credit_note=note, now=now)
    return notes


def _shares(
    invoices: Sequence[Invoice], charged: QuerySet[InvoiceLine], price: Decimal, *, time_zone: str, at: datetime
) -> list[tuple[Invoice, Decimal]]:
    """How much of a price each invoice had charged, by what is unused of it from `at` on; none where nothing is."""
    rows = list(charged)
    unused = _unused(rows, time_zone, at=at)
    weights = [sum((unused[row.pk] for row in rows if row.invoice_id == each.pk), ZERO) for each in invoices]
    if not (whole := sum(weights, ZERO)):
        return []
    currency = invoices[0].currency
    return list(zip(invoices, pricing.share_money(price, weights, of=whole, currency=currency), strict=True))


def _unused(charged: Sequence[InvoiceLine], time_zone: str, *, at: datetime) -> dict[int, Decimal]:
    """What of each line's price is for the time from `at` on, less what was credited of that: a credit note counts as
    one for the time that was left when it was issued. Negative lines of the same invoices lower the first ones."""
    found = {line.pk: _price(line, line.amount) * _part_left(line, time_zone, at) for line in charged}
    by_id = {line.pk: line for line in charged}
    for part in CreditNoteLine.objects.filter(invoice_line__in=by_id).select_related("credit_note"):
        line = by_id[part.invoice_line_id]
        if (left := _part_left(line, time_zone, part.credit_note.issued_at)) > 0:
            found[line.pk] -= _price(line, part.amount) * _part_left(line, time_zone, at) / left
    for taken in _taken_off(charged):
        less = -_price(taken, taken.amount) * _part_left(taken, time_zone, at)
        for line in charged:
            if line.invoice_id == taken.invoice_id and spreading.tax_key(line) == spreading.tax_key(taken):
                off = min(less, max(found[line.pk], ZERO))
                found[line.pk], less = found[line.pk] - off, less - off
    tiny = Decimal("0.0005")
    return {pk: amount if amount > tiny else ZERO for pk, amount in found.items()}


def _taken_off(charged: Sequence[InvoiceLine]) -> list[InvoiceLine]:
    """The negative lines for the same period on the lines' invoices."""
    rows = InvoiceLine.objects.filter(
        invoice__in={line.invoice_id for line in charged},
        period_reference__in={line.period_reference for line in charged},
        amount__lt=0,
    )
    return list(rows.exclude(recognition=AT_ONCE).order_by("pk"))


def _price(line: InvoiceLine, net: Decimal) -> Decimal:
    """The price of so much of a line's net amount."""
    return net * (line.amount + line.tax_amount) / line.amount if line.includes_tax else net


def _part_left(line: InvoiceLine, time_zone: str, at: datetime) -> Decimal:
    """How much of a line's days are from a day on."""
    if line.starts_at is None or line.ends_at is None:
        return ZERO
    first, last, day = (periods.day_of(each, time_zone) for each in (line.starts_at, line.ends_at, at))
    left, whole = (last - max(day, first)).days, (last - first).days
    return Decimal(left) / Decimal(whole) if left > 0 else ZERO


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
    return _gone(subscription, now=now).price


@dataclass(frozen=True, slots=True)
class _Gone:
    """What the days from today on are worth: their price after discounts, and what of the fees before discounts."""

    price: Decimal
    fee: Decimal
    seats_fee: Decimal


def _gone(subscription: Subscription, *, now: datetime) -> _Gone:
    now = period_start.catch_up(subscription, now=now)
    cut, rest = change_prices.cut_of(subscription, now=now), change_prices.rest_of(subscription, now=now)
    side = change_prices.before(subscription, subscription.periods.get(number=subscription.period_number))
    ahead = change_credits.used_ahead(subscription, side, kept=ZERO, cut=cut, of=rest, now=now)
    drafts = change_prices.unused(side, cut=cut, of=rest)
    currency = side.terms.currency
    return _Gone(
        price=-fee_lines.net(drafts if ahead is None else [*drafts, ahead]),
        fee=proration.money_left(side.fee, cut, currency) - (ahead.amount if ahead is not None else ZERO),
        seats_fee=proration.money_left(side.seats_fee, cut, currency),
    )


def _count_fees(subscription: Subscription, gone: _Gone, *, credited: Decimal) -> None:
    """Let the period say what stays charged in advance: a fee that is given back counts towards no minimum."""
    if credited <= 0:
        return
    period = subscription.periods.get(number=subscription.period_number)
    fee, seats_fee = (
        pricing.part_of_money(each, part=credited, of=gone.price, currency=subscription.currency)
        for each in (gone.fee, gone.seats_fee)
    )
    period.fee, period.seats_fee = period.fee - fee, period.seats_fee - seats_fee
    period.save(update_fields=["fee", "seats_fee"])


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
    chosen = set(charged.values_list("pk", flat=True))
    parts, left = spreading.of_price(
        list(invoice.lines.order_by("position")), price, invoice.currency, may=lambda line: line.pk in chosen
    )
    return [crediting.CreditItem(part.line.pk, part.amount, tax=part.tax) for part in parts], left


def _refund(note: CreditNote, payments: Sequence[Payment], *, now: datetime) -> None:
    """Open the refund of a credit note, if one payment can take it back; the periodic check sends it."""
    payment = next((each for each in payments if each.refundable >= note.total), None)
    if payment is not None:
        refunding.start(
            payment_id=payment.pk, credit_note_id=note.pk, amount=note.total, key=f"refund:{note.pk}", now=now
        )
