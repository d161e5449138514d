"""Letting collections be looked at because of something that happened: in the transaction in which it did.

Each is one statement that locks the collections' rows only, so it may come last in any transaction of this room.
"""

from datetime import datetime

from billing.payments.models import Collection


def wake(*, invoice_id: int, now: datetime) -> None:
    """Look at the invoice's collection at once: a payment of it has moved."""
    Collection.objects.filter(invoice=invoice_id, closed_at=None).update(next_at=now)


def tell(*, invoice_id: int) -> None:
    """Let whoever opened the invoice's collection look what has become of its money."""
    Collection.objects.filter(invoice=invoice_id).update(has_news=True)


def keep_method(*, invoice_id: int, method_id: int) -> None:
    """Let the collection of an invoice go on with a method that is the default no longer."""
    Collection.objects.filter(invoice=invoice_id, closed_at=None, method=None).update(method=method_id)


def retry_soon(*, account_id: int, method_id: int, now: datetime) -> int:
    """Let the account's overdue collections be tried at once with another method; how many.

    The try uses up none of the policy's. A method that was tried last is not tried again by this.
    """
    overdue = Collection.objects.filter(invoice__account=account_id, state=Collection.State.OVERDUE, is_automatic=True)
    return overdue.update(method=method_id, next_at=now)
