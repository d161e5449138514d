"""What is pending and no renewal's invoice will take: billed, or given back, by itself.

A credit is taken by an invoice that has something to pay of its tax category, with prices that have tax in them or have
not, as it has, and at the tax that was charged. Where the account's plan or tax is of another kind by now, or no
renewal comes any more, it would wait forever: it becomes a credit note for the invoice that had charged it, and is
refunded. What is owed and meets no renewal is invoiced alone. Only a credit that staff have added, and that no invoice
had charged, is left to them.

Locks: the subscription's row, the invoices that had charged it, their payments, the item's row, then the issuer's.
"""

from datetime import datetime, timedelta
from functools import partial

import structlog
from django.db import OperationalError, transaction
from django.db.models import Exists, Min, OuterRef, Q, QuerySet

from billing.accounts import clocks
from billing.invoicing import engines, issuing, pending
from billing.invoicing.models import PendingItem
from billing.subscriptions import guards, history
from billing.subscriptions.agreement import terms as agreed
from billing.subscriptions.charges import fee_lines, subscription_invoices
from billing.subscriptions.lifecycle import unused_refund
from billing.subscriptions.models import Subscription

log = structlog.get_logger(__name__)

# How long an item waits for a renewal where none is to come.
ALONE_AFTER = timedelta(days=30)


def settle_due(*, now: datetime, limit: int, account_id: int | None = None) -> int:
    """Bill or give back at most `limit` items that are stranded; how many. Safe to run at any time, twice, or in
    several workers; one that fails is logged and tried again, the others go on."""
    done = 0
    for item_id in guards.in_turn(clocks.narrow(list_stranded(now=now), account_id=account_id), size=limit):
        if done == limit:
            break
        try:
            done += engines.with_tax(partial(_settle, item_id, now=now), now=now)
        except OperationalError:
            raise
        except Exception:
            log.exception("pending.failed", item_id=item_id)
    return done


def next_due_at(*, after: datetime, account_id: int | None = None) -> datetime | None:
    """When, after a moment, an open item's 30 days are over next, be it those since it came or since its subscription
    ended or was paused. Of one account, or for None of all that are on no test clock."""
    items = PendingItem.objects.filter(invoice_line=None, cancelled_at=None)
    items = clocks.narrow(items, account_id=account_id)
    plans = Subscription.objects.filter(account__in=items.values("account"))
    times = [
        rows.filter(**{f"{column}__gt": after - ALONE_AFTER}).aggregate(first=Min(column))["first"]
        for rows, column in ((items, "created_at"), (plans, "ended_at"), (plans, "paused_at"))
    ]
    return min((at + ALONE_AFTER for at in times if at is not None), default=None)


def list_stranded(*, now: datetime) -> QuerySet[PendingItem]:
    """Open items whose turn has passed: credits of another kind than the plan at a renewal since they came, or that an
    invoice has passed over for their tax, and what has met no renewal for 30 days and will meet none."""
    own = Subscription.objects.filter(account=OuterRef("account"), currency=OuterRef("currency"))
    renewing = own.filter(next_due_at__isnull=False)
    alike = Q(
        plan_version__plan__tax_category=OuterRef("category"), plan_version__prices_include_tax=OuterRef("includes_tax")
    )
    renewed = renewing.filter(period_starts_at__gt=OuterRef("created_at")).exclude(alike)
    recent = own.filter(Q(ended_at__gt=now - ALONE_AFTER) | Q(paused_at__gt=now - ALONE_AFTER))
    items = PendingItem.objects.filter(invoice_line=None, cancelled_at=None)
    is_charged = Q(amount__gt=0) | Q(period_reference__startswith=fee_lines.PERIODS)
    is_alone = Q(created_at__lte=now - ALONE_AFTER) & ~Exists(renewing) & ~Exists(recent)
    is_passed = Q(passed_over_at__isnull=False) | Exists(renewed)
    return items.filter(is_charged & (is_alone | (Q(amount__lt=0) & is_passed)))


def _settle(item_id: int, *, now: datetime) -> bool:
    with transaction.atomic():
        item = PendingItem.objects.get(pk=item_id)
        latest = Subscription.objects.filter(account=item.account_id, currency=item.currency).order_by("-pk")
        subscription_id = latest.values_list("pk", flat=True).first()
        subscription = None if subscription_id is None else guards.find_unlocked(subscription_id)
        if (subscription_id is not None and subscription is None) or not list_stranded(now=now).filter(pk=item_id):
            return False
        if item.amount < 0:
            return _give_back(item, now=now)
        if subscription is None:
            issuing.issue(
                account_id=item.account_id, reference=f"pending:{item.pk}", currency=item.currency, lines=[],
                take_pending=True, now=now,
            )  # fmt: skip
            return True
        terms = agreed.of(subscription, at=subscription.period_starts_at)
        reference = f"final:{subscription.pk}:{item.pk}"
        return (
            subscription_invoices.bill(subscription, terms=terms, drafts=[], reference=reference, now=now) is not None
        )


def _give_back(item: PendingItem, *, now: datetime) -> bool:
    """Credit the invoices that had charged it; what they have no room for any more stays pending."""
    actor = item.actor or history.SYSTEM
    left = unused_refund.give_back_pending(item, reason=item.description, actor=actor, now=now)
    if left == -item.amount:
        return False
    row = PendingItem.objects.select_for_update().get(pk=item.pk)
    if row.invoice_line_id is not None or row.cancelled_at is not None:
        raise pending.NotPending(row)
    pending.note_credited(row, left=left, now=now)
    return True
