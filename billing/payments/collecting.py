"""Collecting invoices without anyone's hand, and dunning for what does not come.

A `Collection` is looked at when it is due (`next_at`), and when its invoice is no longer open. Each look is one
transaction under the locks of the invoice and then the collection, where everything is asked again; so however many
look at once, one acts. A try is a `Payment`, opened in that transaction and sent after it; while its outcome is not
known nothing else is charged, reminded of or given up. `dunning.py` has the days.

Tries of the policy have the payment key `collection:<id>:<number>`. What a customer or staff try by hand, and a try
with a card that came meanwhile, use up none of them. After days without workers one try is made for all that passed.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import F, Q
from django.utils.translation import gettext as _

from billing.accounts import clocks
from billing.invoicing.models import Invoice
from billing.payments import collection_notices as notices
from billing.payments import invoice_credits, methods, paying
from billing.payments.dunning import Schedule, schedule
from billing.payments.gateways import contract, registry
from billing.payments.models import Collection, Payment, PaymentMethod
from billing.tracing.redaction import describe_error

log = structlog.get_logger(__name__)

State = Collection.State

# After dunning has ended nothing is owed any more, or nobody asks for it: a pause is over. What was given up is void,
# or has been paid.
LATE = (
    Q(state=State.EXHAUSTED, invoice__state__in=(Invoice.State.PAID, Invoice.State.VOID))
    | Q(state=State.EXHAUSTED, invoice__state=Invoice.State.UNCOLLECTIBLE, policy__final_act="pause")
    | Q(state=State.STOPPED, invoice__state=Invoice.State.VOID, invoice__voided_at__gt=F("closed_at"))
    | Q(state=State.STOPPED, invoice__state=Invoice.State.PAID)
)

# A payment's end wakes its collection; this is for the case that it did not.
WATCH_GAP = timedelta(hours=1)
# For a fault of ours, so that it neither fills the log nor keeps others waiting.
FAULT_GAP = timedelta(minutes=5)
# A look may lead to a try, the end of the try to another look, and so on.
MOST_LOOKS = 5


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did: collections looked at, tries sent, and collections that became paid, overdue or exhausted, or
    were stopped."""

    looked: int = 0
    charged: int = 0
    paid: int = 0
    overdue: int = 0
    exhausted: int = 0
    stopped: int = 0


def new_collection(
    *,
    invoice: Invoice,
    purpose: str,
    policy: Mapping[str, Any],
    method_id: int | None,
    is_automatic: bool,
    has_balance: bool = False,
    now: datetime,
) -> Collection:
    """What lets an issued invoice be collected from now on, once per invoice: a row, to be written in the transaction
    that issued it.

    `is_automatic`: charge `method_id`, or for None the account's default at the time, at once; else wait for the money
    until the invoice is due. `has_balance`: the account has an invoice balance, which pays at once either way.
    `policy` has `retry_days`, `reminder_days`, `final_days`, `final_act` and `downgrade_to`, and is kept as it is. What
    becomes of it is told by `has_news`.
    """
    is_paid = invoice.state == Invoice.State.PAID
    return Collection(
        invoice=invoice,
        purpose=purpose,
        method_id=method_id,
        is_automatic=is_automatic,
        policy=dict(policy),
        state=State.PAID if is_paid else State.OPEN,
        has_news=is_paid,
        next_at=None if is_paid else now if is_automatic or has_balance else invoice.due_at,
        created_at=now,
        closed_at=now if is_paid else None,
    )


def run_due(*, now: datetime, limit: int, account_id: int | None = None) -> Round:
    """Look at most `limit` collections that are due: charge, watch, remind, give up, or see that the money has come.
    With `account_id` only that account's; without, what is on a test clock is left alone.

    Must run outside a transaction; any number may run at once. A fault with one is written on it, and the others go on.
    """
    contract.refuse_in_transaction()
    done: Counter[str] = Counter()
    for collection_id in _list_due(now=now, limit=limit, account_id=account_id):
        try:
            done.update(look(collection_id=collection_id, now=now))
        except Exception as error:
            log.exception("collection.fault", collection_id=collection_id)
            problem = describe_error(error)[:300]
            unfinished = Collection.objects.filter(pk=collection_id, closed_at=None)
            unfinished.update(last_error=problem, next_at=now + FAULT_GAP)
    return Round(**done)


def look(*, collection_id: int, now: datetime) -> Counter[str]:
    """Look at one collection if it is due, and see a try through that this leads to; what was done, by the fields of
    `Round`. What the account's invoice balance can pay is not charged. One that another worker looks at is left to it.
    Must run outside a transaction."""
    done: Counter[str] = Counter()
    rows = Collection.objects.filter(pk=collection_id, closed_at=None, next_at__lte=now)
    for invoice_id in rows.values_list("invoice_id", flat=True):
        invoice_credits.apply(invoice_id=invoice_id, now=now)
    for _number in range(MOST_LOOKS):
        payment = take_turn(collection_id=collection_id, done=done, now=now)
        if payment is None:
            break
        done["charged"] += 1
        paying.submit(payment_id=payment.pk, return_url="", now=now)
    return done


def take_turn(*, collection_id: int, done: Counter[str], now: datetime) -> Payment | None:
    """Look at one collection once if it is due, and count in `done` what came of it; the payment that was opened, for
    the caller to send after the transaction. Locks the invoice's row, then the collection's."""
    with transaction.atomic():
        row = _lock(collection_id, now=now)
        if row is None:
            return None
        before = row.state
        payment = _look(row, now=now)
        done["looked"] = 1
        if row.state != before:
            done[row.state] += 1
        return payment


def _list_due(*, now: datetime, limit: int, account_id: int | None) -> list[int]:
    due = Q(next_at__lte=now)
    over = Q(closed_at=None) & ~Q(invoice__state=Invoice.State.OPEN)
    rows = clocks.narrow(Collection.objects.filter(due | over | LATE), account_id=account_id, road="invoice__account")
    return list(rows.order_by("next_at", "pk").values_list("pk", flat=True)[:limit])


def _lock(collection_id: int, *, now: datetime) -> Collection | None:
    """The collection with its invoice, both locked; None when another worker has it or it need not be looked at."""
    invoice_id = Collection.objects.values_list("invoice_id", flat=True).get(pk=collection_id)
    invoices = Invoice.objects.select_for_update(skip_locked=True, no_key=True, of=("self",)).select_related("account")
    invoice = invoices.filter(pk=invoice_id).first()
    if invoice is None:
        return None
    row = Collection.objects.select_for_update(no_key=True).get(pk=collection_id)
    row.invoice = invoice
    is_due = row.next_at is not None and row.next_at <= now
    is_over = row.closed_at is None and invoice.state != Invoice.State.OPEN
    is_late = Collection.objects.filter(LATE, pk=row.pk)
    return row if is_due or is_over or is_late.exists() else None


def _look(row: Collection, *, now: datetime) -> Payment | None:
    """Do what is due, under the locks; the payment to be sent, if that is a try."""
    row.last_error = ""
    if row.invoice.state != Invoice.State.OPEN:
        _close(row, State.PAID if row.invoice.state == Invoice.State.PAID else State.STOPPED, now=now)
        return None
    live = paying.find_under_way(row.invoice_id)
    if live is not None and not _is_stuck(row, live):
        row.next_at = now + WATCH_GAP
        row.save(update_fields=["next_at", "last_error"])
        return None
    if row.state == State.OPEN:
        return _begin(row, now=now)
    return _dun(row, live, now=now)


def _is_stuck(row: Collection, live: Payment) -> bool:
    """Whether a payment under way waits for a customer who may never come: dunning goes on meanwhile."""
    waits = live.state == Payment.State.REQUIRES_ACTION
    return waits and (live.off_session or row.state == State.OVERDUE)


def _begin(row: Collection, *, now: datetime) -> Payment | None:
    """The first try, or that it failed; for what nobody charges, that it is past its due date."""
    if row.is_automatic and row.tries == 0:
        row.tries = 1
        if (method := _find_chargeable(row)) is not None:
            return _try(row, method, key=_key(row), now=now)
    assert row.invoice.due_at is not None  # noqa: S101
    if not row.is_automatic and now < row.invoice.due_at:
        row.next_at = row.invoice.due_at
        row.save(update_fields=["next_at", "last_error"])
        return None
    row.state, row.overdue_at, row.has_news = State.OVERDUE, now, True
    plan = _schedule(row)
    # Days of the policy that are over when it begins have nothing left to do.
    row.tries, row.reminders_sent = 1 + plan.retries_due(now), plan.reminders_due(now)
    last = _last_try(row)
    row.retries_stopped = last is not None and last.failure_is_hard
    _rest(row, plan, now=now)
    method = _find_chargeable(row)
    notices.overdue(
        row,
        reason=_reason(row, last),
        has_method=method is not None,
        next_try_at=_next_try_at(row, plan, method, now),
        key="1",
        now=now,
    )
    return None


def _dun(row: Collection, live: Payment | None, *, now: datetime) -> Payment | None:
    """What the policy asks for by now: a try, the end, or a reminder."""
    plan, last, method = _schedule(row), _last_try(row), _find_chargeable(row)
    if row.is_automatic and live is None:
        is_other = method is not None and (last is None or method.pk != last.method_id)
        was_stopped, row.retries_stopped = row.retries_stopped, last is not None and last.failure_is_hard
        is_due, row.tries = plan.retries_due(now) >= row.tries, max(row.tries, 1 + plan.retries_due(now))
        if method is not None and (is_other or (is_due and not row.retries_stopped)):
            key = _key(row) if is_due else f"{_key(row)}:card-{method.pk}"
            # Who goes to and fro between two cards has each of them tried once until the policy's next day.
            if not Payment.objects.filter(idempotency_key=key).exists():
                return _try(row, method, key=key, now=now)
        if row.retries_stopped and not was_stopped:
            reason, key = _reason(row, last), f"{row.tries}"
            notices.overdue(row, reason=reason, has_method=True, next_try_at=None, key=key, now=now)
    if now >= plan.final_at:
        _close(row, State.EXHAUSTED, now=now)
        return None
    if plan.reminders_due(now) > row.reminders_sent:
        row.reminders_sent = plan.reminders_due(now)
        notices.reminder(
            row,
            reason=_reason(row, last),
            has_method=method is not None,
            next_try_at=_next_try_at(row, plan, method, now),
            final_at=plan.final_at,
            now=now,
        )
    _rest(row, plan, now=now)
    return None


def _try(row: Collection, method: PaymentMethod, *, key: str, now: datetime) -> Payment:
    payment = paying.start(invoice_id=row.invoice_id, method_id=method.pk, key=key, off_session=True, now=now)
    row.retries_stopped, row.next_at = False, now + WATCH_GAP
    row.save(update_fields=["tries", "retries_stopped", "next_at", "last_error"])
    return payment


def _rest(row: Collection, plan: Schedule, *, now: datetime) -> None:
    row.next_at = plan.next_at(now)
    row.save()


def _close(row: Collection, state: State, *, now: datetime) -> None:
    row.state, row.closed_at, row.next_at, row.has_news = state, now, None, True
    row.save()


def _key(row: Collection) -> str:
    return f"collection:{row.pk}:{row.tries}"


def _schedule(row: Collection) -> Schedule:
    assert row.overdue_at is not None  # noqa: S101
    return schedule(row.policy, overdue_at=row.overdue_at, time_zone=row.invoice.account.time_zone)


def find_method(row: Collection) -> PaymentMethod | None:
    """What is charged: the collection's method while the account keeps it, else its default."""
    named = PaymentMethod.objects.filter(pk=row.method_id, removed_at=None).first() if row.method_id else None
    return named or methods.find_default(row.invoice.account_id)


def _find_chargeable(row: Collection) -> PaymentMethod | None:
    """The same, unless its gateway is no longer configured: then another card is asked for, as if there were none."""
    method = find_method(row)
    return method if method is not None and registry.is_reachable(method.gateway) else None


def _last_try(row: Collection) -> Payment | None:
    """The newest payment of the invoice that was not the customer's own idea: made without them, or with them in place
    of the first try."""
    ours = Q(off_session=True) | Q(idempotency_key=f"collection:{row.pk}:1")
    return Payment.objects.filter(ours, invoice=row.invoice_id).order_by("-pk").first()


def _next_try_at(row: Collection, plan: Schedule, method: PaymentMethod | None, now: datetime) -> datetime | None:
    can_try = row.is_automatic and not row.retries_stopped and method is not None
    return plan.next_retry_at(now) if can_try else None


def _reason(row: Collection, last: Payment | None) -> str:
    """Why the money has not come, for the customer; empty where it was theirs to send."""
    if not row.is_automatic:
        return ""
    # Where there was nothing to charge, the customer may have tried by themselves.
    last = last or Payment.objects.filter(invoice=row.invoice_id, state=Payment.State.FAILED).order_by("-pk").first()
    return last.failure_message if last is not None else _("There is no payment method to charge.")
