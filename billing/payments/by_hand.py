"""What staff do with a collection: try again now, stop it, or give its invoice up.

Locks: the invoice, then the collection.
"""

from datetime import datetime

from django.db import transaction

from billing.invoicing import settling
from billing.invoicing.models import Invoice
from billing.payments import collecting, paying
from billing.payments.gateways import contract
from billing.payments.models import Collection, Payment

State = Collection.State


class CollectionClosed(Exception):
    """The collection is over: its invoice is paid, void or given up, or the policy's days have passed."""


class NothingToCharge(Exception):
    """The account has no payment method that could be charged."""


def retry_now(*, collection_id: int, key: str, now: datetime) -> Payment:
    """Charge the collection's method now, once per `key`; it uses up no try of the policy. The payment as it stands.

    It is tried after a hard decline too. Must run outside a transaction. Raises CollectionClosed, NothingToCharge, and
    paying.PaymentUnderWay while the outcome of another payment is not known.
    """
    contract.refuse_in_transaction()
    with transaction.atomic():
        row = _lock_live(collection_id)
        method = collecting.find_method(row)
        if method is None:
            raise NothingToCharge
        payment = paying.start(
            invoice_id=row.invoice_id,
            method_id=method.pk,
            key=f"collection:{row.pk}:by-hand:{key}",
            off_session=True,
            now=now,
        )
    payment = paying.submit(payment_id=payment.pk, return_url="", now=now)
    collecting.look(collection_id=collection_id, now=now)
    return payment


def stop(*, collection_id: int, now: datetime) -> Collection:
    """Charge, remind and give up no more; the invoice stays owed. Raises CollectionClosed."""
    with transaction.atomic():
        return _stop(_lock_live(collection_id), now=now)


def mark_uncollectible(*, collection_id: int, now: datetime) -> Collection:
    """Stop it, and call the invoice uncollectible; money that still comes for it is taken. Raises CollectionClosed,
    and paying.PaymentUnderWay while the outcome of a payment is not known."""
    with transaction.atomic():
        row = _lock_live(collection_id)
        if (live := paying.find_under_way(row.invoice_id)) is not None:
            raise paying.PaymentUnderWay(live)
        settling.mark_uncollectible(invoice_id=row.invoice_id, now=now)
        return _stop(row, now=now)


def _stop(row: Collection, *, now: datetime) -> Collection:
    row.state, row.closed_at, row.next_at, row.has_news = State.STOPPED, now, None, True
    row.last_error = ""
    row.save()
    return row


def _lock_live(collection_id: int) -> Collection:
    invoice_id = Collection.objects.values_list("invoice_id", flat=True).get(pk=collection_id)
    invoice = Invoice.objects.select_for_update(no_key=True, of=("self",)).select_related("account").get(pk=invoice_id)
    row = Collection.objects.select_for_update(no_key=True).get(pk=collection_id)
    row.invoice = invoice
    if row.closed_at is not None or invoice.state != Invoice.State.OPEN:
        raise CollectionClosed
    return row
