"""What an account is told of an invoice that does not get paid. In the caller's transaction; each once."""

from datetime import datetime

from billing.catalog import pricing
from billing.notifications import outbox
from billing.payments.models import Collection


def overdue(
    row: Collection, *, reason: str, has_method: bool, next_try_at: datetime | None, key: str, now: datetime
) -> None:
    """That a try failed, or the due date has passed; `next_try_at` is when the method is charged next by itself."""
    payload = {**_facts(row, has_method), "reason": reason, "next_try_at": _text(next_try_at)}
    _write(row, "payment_overdue", key, payload, now=now)


def reminder(
    row: Collection,
    *,
    reason: str,
    has_method: bool,
    next_try_at: datetime | None,
    final_at: datetime,
    now: datetime,
) -> None:
    """That it is still unpaid, and what happens when."""
    payload = {
        **_facts(row, has_method),
        "reason": reason,
        "next_try_at": _text(next_try_at),
        "final_at": final_at.isoformat(),
        "final_act": row.policy["final_act"],
    }
    _write(row, "payment_reminder", str(row.reminders_sent), payload, now=now)


def _facts(row: Collection, has_method: bool) -> dict[str, str]:
    invoice = row.invoice
    return {
        "invoice_id": str(invoice.pk),
        "number": invoice.number or "",
        "total": f"{pricing.round_money(invoice.owed, invoice.currency):f}",
        "currency": invoice.currency,
        "due_at": _text(invoice.due_at),
        "is_automatic": "yes" if row.is_automatic else "",
        "has_method": "yes" if has_method else "",
    }


def _text(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""


def _write(row: Collection, kind: str, key: str, payload: dict[str, str], *, now: datetime) -> None:
    outbox.write(
        kind=kind,
        dedupe_key=f"{kind}:{row.pk}:{key}",
        account_id=row.invoice.account_id,
        payload=payload,
        now=now,
    )
