"""Taking back an invoice that nobody has paid, once no payment of it is under way. Locks: the invoice's row."""

from datetime import datetime

from django.db import transaction

from billing.invoicing import crediting
from billing.invoicing.models import Invoice
from billing.payments import paying


def void(*, invoice_id: int, now: datetime) -> Invoice:
    """Make the invoice void: it keeps its number, and nobody owes it. Again it changes nothing.

    Raises paying.PaymentUnderWay, and crediting.NotVoidable when money has come or it was never issued.
    """
    with transaction.atomic():
        Invoice.objects.select_for_update().get(pk=invoice_id)
        if (live := paying.find_under_way(invoice_id)) is not None:
            raise paying.PaymentUnderWay(live)
        return crediting.void(invoice_id=invoice_id, now=now)
