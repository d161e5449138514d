"""Collecting invoices without anyone's hand: one `Collection` row an invoice, found by when it is looked at next."""

from collections.abc import Mapping
from datetime import datetime

from billing.invoicing.models import Invoice
from billing.payments.models import Collection


def open_collection(
    *,
    invoice: Invoice,
    purpose: str,
    policy: Mapping[str, object],
    method_id: int | None,
    is_automatic: bool,
    now: datetime,
) -> Collection:
    """Have an issued invoice collected, in the caller's transaction: once per invoice, nothing is charged here.

    `purpose` says for whom (`subscription:<id>`), `policy` how it is dunned (`retry_days`, `reminder_days`,
    `final_days`, `final_act`, `downgrade_to`). An automatic one charges `method_id` (None: the account's default) at
    once, another waits for a transfer until the invoice is due. One with nothing to pay is born paid, and is news.
    """
    is_paid = invoice.state == Invoice.State.PAID
    collection, _ = Collection.objects.get_or_create(
        invoice=invoice,
        defaults={
            "purpose": purpose,
            "method_id": method_id,
            "is_automatic": is_automatic,
            "policy": dict(policy),
            "state": Collection.State.PAID if is_paid else Collection.State.OPEN,
            "has_news": is_paid,
            "next_at": None if is_paid else now if is_automatic else invoice.due_at,
            "created_at": now,
            "closed_at": now if is_paid else None,
        },
    )
    return collection
