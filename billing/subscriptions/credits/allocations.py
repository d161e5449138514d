"""The credits that a subscription includes: promised when a period is billed, granted once when their time comes.

Locks: the subscription's row, then its main pool's.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

import structlog
from django.db import transaction
from django.db.models import F, Q, QuerySet

from billing.accounts import clocks
from billing.catalog import plan_pricing, pricing
from billing.invoicing.models import Invoice
from billing.ledger import pool_acts, pools
from billing.ledger.models import GrantKind
from billing.ledger.pool_state import PoolState
from billing.ledger.pool_store import open_pools, write_pools
from billing.sql.pipeline import Statement, columns, pipelined
from billing.subscriptions import guards
from billing.subscriptions.agreement import calendar
from billing.subscriptions.agreement.terms import Terms
from billing.subscriptions.charges import overage
from billing.subscriptions.charges.overage import OverageLot
from billing.subscriptions.models import Allocation, Subscription

log = structlog.get_logger(__name__)

ZERO = Decimal(0)
# What one allocation may write: its grant, what it repays late, what it settles.
POSTINGS_EACH = 3


def promised(
    subscription: Subscription,
    *,
    terms: Terms,
    number: int,
    cycles: Sequence[tuple[datetime, datetime]],
    paid: Decimal,
    invoice: Invoice | None,
    waits_for_payment: bool,
    now: datetime,
) -> list[Allocation]:
    """The credits of each cycle of a period, and the loyalty bonus on them, to be written. `paid` is the net money that
    they are paid with, all cycles together: it makes their cost basis; a bonus costs nothing."""
    included = pricing.round_credits(terms.included(subscription.seats))
    bonus = plan_pricing.loyalty_credits(steps=terms.version.loyalty_steps, period=number, included=included)
    cost_basis = pricing.cost_per_credit(paid, included * len(cycles)) if included else ZERO
    rows = []
    for part, (starts_at, ends_at) in enumerate(cycles, start=1):
        reference = f"{subscription.pk}:{number}:{part}"
        for kind, credits, cost, name in (
            (GrantKind.ALLOCATION, included, cost_basis, reference),
            (GrantKind.LOYALTY, bonus, ZERO, f"{reference}:loyalty"),
        ):
            if credits:
                rows.append(
                    Allocation(
                        subscription=subscription,
                        reference=name,
                        kind=kind,
                        credits=credits,
                        cost_basis=cost,
                        starts_at=starts_at,
                        ends_at=ends_at,
                        invoice=invoice,
                        waits_for_payment=waits_for_payment,
                        created_at=now,
                    )
                )
    return rows


def promise_trial(
    subscription: Subscription, *, credits: Decimal, starts_at: datetime, ends_at: datetime, now: datetime
) -> list[Allocation]:
    """Write down the credits to try the plan with. They cost nothing and never roll over."""
    if not credits:
        return []
    row = Allocation(
        subscription=subscription,
        reference=f"{subscription.pk}:0:1",
        kind=GrantKind.BONUS,
        credits=credits,
        starts_at=starts_at,
        ends_at=ends_at,
        created_at=now,
    )
    return Allocation.objects.bulk_create([row])


def grant_due(*, now: datetime, limit: int, account_id: int | None = None) -> int:
    """Grant what is due and not the next renewal's to grant: what waited for a payment that has come. How many.

    For at most `limit` subscriptions; safe to run at any time, twice, or in several workers. A fault with one
    subscription is logged, the others go on.
    """
    waiting = due(now=now).filter(Q(subscription__next_due_at=None) | Q(starts_at__lt=F("subscription__next_due_at")))
    waiting = waiting.filter(subscription__parked_at=None).exclude(subscription__state=Subscription.State.ENDED)
    waiting = clocks.narrow(waiting, account_id=account_id, road="subscription__account")
    granted = done = 0
    for subscription_id in guards.in_turn(
        Subscription.objects.filter(pk__in=waiting.values("subscription")), size=limit
    ):
        if done == limit:
            break
        try:
            rows = _grant_of(subscription_id, now=now)
        except Exception:
            log.exception("allocation.failed", subscription_id=subscription_id)
        else:
            granted, done = granted + rows, done + bool(rows)
    return granted


def _grant_of(subscription_id: int, *, now: datetime) -> int:
    with transaction.atomic():
        subscription = guards.find_unlocked(subscription_id)
        if subscription is None or subscription.state == Subscription.State.ENDED:
            return 0
        return grant_now(subscription, now=now)


def grant_now(subscription: Subscription, *, now: datetime) -> int:
    """Grant what of the subscription is due before its next renewal; how many. The caller holds its row's lock."""
    rows = due(now=now).filter(subscription=subscription)
    if subscription.next_due_at is not None:
        rows = rows.filter(starts_at__lt=subscription.next_due_at)
    chosen = list(rows.order_by("starts_at", "pk"))
    if not chosen:
        return 0
    pool_id = pools.get_main_pool(subscription.account_id).pk
    lots = overage.find_lots(subscription)
    lot_ids = [lot.id for lot in lots if lot.pool_id == pool_id]
    opened = open_pools([pool_id], now=now, postings=POSTINGS_EACH * len(chosen), lot_ids=lot_ids)
    grant_on(opened.states[pool_id], chosen, currency=subscription.currency, lots=lots, now=now)
    write_pools(opened, now=now)
    save(chosen)
    return len(chosen)


def grant_on(
    state: PoolState, rows: Iterable[Allocation], *, currency: str, lots: Sequence[OverageLot], now: datetime
) -> None:
    """Grant rows on an opened pool; the caller writes it, then saves the rows. What came up on `lots`, overage not yet
    invoiced, while a row should have been there is repaid from it."""
    for row in rows:
        debts = {lot.id for lot in lots if not lot.charged and row.starts_at <= lot.effective_at < row.ends_at}
        posting = pool_acts.grant_on(
            state,
            kind=row.kind,
            amount=row.credits,
            effective_at=row.starts_at,
            expires_at=row.ends_at,
            cost_basis=row.cost_basis,
            currency=currency,
            reference=f"allocation:{row.pk}",
            late_debts=debts,
            now=now,
        )
        row.posting_id, row.granted_at = posting.id, now


def save(rows: Sequence[Allocation]) -> None:
    """Write down that rows are granted, once their postings are written."""
    if rows:
        pipelined([granted(rows)])


def granted(rows: Sequence[Allocation]) -> Statement:
    """What `save` writes, to go with the pools."""
    return _GRANTED, columns([(row.pk, row.posting_id, row.granted_at) for row in rows], 3)


_GRANTED = """
UPDATE billing_allocation a SET posting_id = u.posting_id, granted_at = u.granted_at
FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[]) AS u(id, posting_id, granted_at) WHERE a.id = u.id
"""


def cancel(subscription: Subscription, *, now: datetime) -> int:
    """Take back the promise of what is not granted yet; how many."""
    return subscription.allocations.filter(granted_at=None, cancelled_at=None).update(cancelled_at=now)


def due(*, now: datetime) -> QuerySet[Allocation]:
    """What is promised, not granted, its time begun, paid for where it must be, and not disputed."""
    return Allocation.objects.filter(
        Q(waits_for_payment=False) | Q(invoice__state=Invoice.State.PAID),
        granted_at=None,
        cancelled_at=None,
        dispute=None,
        starts_at__lte=now,
    )


def running_cycles(subscription: Subscription, terms: Terms) -> list[tuple[datetime, datetime]]:
    """`cycles_of` a period that has begun: those that its credits were promised for, though the zone's days may have
    moved since."""
    cycles = calendar.cycles_of(subscription, terms)
    if len(cycles) == 1:
        return cycles
    promised = subscription.allocations.filter(
        starts_at__gte=subscription.period_starts_at, ends_at__lt=subscription.period_ends_at
    )
    known = sorted({*promised.values_list("ends_at", flat=True)})
    inner = (
        next((moment for moment in known if abs(moment - ends_at) <= calendar.MOST_DRIFT), ends_at)
        for _starts_at, ends_at in cycles[:-1]
    )
    return list(pairwise([subscription.period_starts_at, *inner, subscription.period_ends_at]))
