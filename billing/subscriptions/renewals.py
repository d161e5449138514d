"""What happens when a period, or a cycle of monthly credits, ends (M4): one transaction per subscription and boundary.

Under the subscription's lock, asked again whether it is due: arrears billed, a scheduled change made, the next fee
billed in advance with pending items and coupons on one invoice, what may roll over rolled and the rest expired, the
credits granted, the next boundary counted from the anchor, the invoice left to be collected, the account told. What a
crash left undone is due as before; two schedulers skip what the other has locked; after an outage every period is made
one after the other, each with its own dates, and what came up meanwhile is repaid from the credits that came late.

Locks: the subscription's row, then its pools', then the issuer's.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

import structlog
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import QuerySet
from psycopg.errors import DeadlockDetected, SerializationFailure

from billing.accounts import clocks
from billing.catalog import periods, plans, rate_cards
from billing.ledger import moves
from billing.ledger import terms as pool_terms
from billing.ledger.books import OpenBooks, open_books, write_books
from billing.ledger.models import CreditPool
from billing.ledger.pipeline import Statement
from billing.subscriptions import allocations, ending, history, overage, starting
from billing.subscriptions import terms as agreed
from billing.subscriptions.models import Allocation, ScheduledChange, Subscription, SubscriptionChange
from billing.subscriptions.overage import OverageLot
from billing.subscriptions.terms import Terms

log = structlog.get_logger(__name__)

State = Subscription.State

MOST_ATTEMPTS = 5
# What a renewal may write on the ledger: a rollover, and two allocations with what they repay.
POSTINGS = 1 + 2 * allocations.POSTINGS_EACH
# The account may have moved to another time zone since; more than that apart, the dates are not the anchor's.
MOST_DRIFT = timedelta(hours=27)
NOTHING_ROLLS = moves.RolloverRule(cap=Decimal(0), max_periods=0)


class Inconsistent(Exception):
    """The subscription's rows contradict each other; the message says how. Nothing is billed by guessing."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did: periods and cycles renewed, and the subscriptions that were parked because they failed."""

    renewed: int = 0
    parked: tuple[int, ...] = ()


def run_due(*, now: datetime, limit: int, account_id: int | None = None) -> Round:
    """Renew what is due, at most `limit` boundaries; any number of workers may run at once. With `account_id` only
    that account's; without, what is on a test clock is left alone.

    A subscription that fails is parked with what went wrong, in a transaction of its own, and the others go on. A lost
    connection or a database that stops parks nobody: it is raised, and what was not done is due as before.
    """
    renewed = 0
    parked: list[int] = []
    while renewed + len(parked) < limit:
        claimed: list[int] = []
        try:
            if not _renew_next(claimed, now=now, account_id=account_id):
                break
            renewed += 1
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            if not claimed:
                raise
            log.exception("renewal.failed", subscription_id=claimed[0])
            park(subscription_id=claimed[0], problem=f"{type(error).__name__}: {error}", now=now)
            parked.append(claimed[0])
    return Round(renewed, tuple(parked))


def park(*, subscription_id: int, problem: str, now: datetime) -> None:
    """Set a subscription aside until staff have looked at it; it does not renew meanwhile."""
    Subscription.objects.filter(pk=subscription_id, parked_at=None).update(parked_at=now, problem=problem[:300])


def release(*, subscription_id: int, actor: str, now: datetime) -> Subscription:
    """Let a parked subscription renew again, from the boundary that it failed at."""
    with transaction.atomic():
        subscription = Subscription.objects.select_for_update(no_key=True).get(pk=subscription_id)
        subscription.parked_at, subscription.problem = None, ""
        subscription.save(update_fields=["parked_at", "problem"])
    log.info("subscription.released", subscription_id=subscription_id, actor=actor)
    return subscription


def renew(*, subscription_id: int, now: datetime) -> bool:
    """Renew one subscription by one boundary; False when it is not due, parked, or another worker has it. Raises what
    goes wrong with it."""
    due = _due(now).filter(pk=subscription_id)
    return _retrying(lambda: _renew_first(due, [], now=now))


def _renew_next(claimed: list[int], *, now: datetime, account_id: int | None) -> bool:
    """Renew whichever is due longest and nobody has locked; `claimed` tells which it is, for whoever catches."""
    due = clocks.narrow(_due(now), account_id=account_id)

    def attempt() -> bool:
        claimed.clear()
        return _renew_first(due, claimed, now=now)

    return _retrying(attempt)


def _due(now: datetime) -> QuerySet[Subscription]:
    rows = Subscription.objects.select_for_update(skip_locked=True, no_key=True, of=("self",))
    return rows.filter(next_due_at__lte=now, parked_at=None).select_related("account").order_by("next_due_at", "pk")


def _renew_first(due: QuerySet[Subscription], claimed: list[int], *, now: datetime) -> bool:
    with transaction.atomic():
        subscription = due.first()
        if subscription is None:
            return False
        claimed.append(subscription.pk)
        _renew(subscription, now=now)
        return True


def _retrying(attempt: Callable[[], bool]) -> bool:
    """Run a transaction again that the database has chosen to break a deadlock with."""
    for number in range(1, MOST_ATTEMPTS + 1):
        try:
            return attempt()
        except OperationalError as error:
            if number == MOST_ATTEMPTS or not isinstance(error.__cause__, DeadlockDetected | SerializationFailure):
                raise
            time.sleep(0.02 * number)
    return False


def _renew(subscription: Subscription, *, now: datetime) -> None:
    terms = agreed.of(subscription, at=subscription.period_starts_at)
    _ensure_consistent(subscription, terms)
    boundary = subscription.next_due_at
    assert boundary is not None  # noqa: S101
    if boundary < subscription.period_ends_at:
        _renew_cycle(subscription, terms, boundary, now=now)
    elif subscription.state == State.CANCELLED:
        reference = f"end:{subscription.pk}"
        ending.end(subscription, at=boundary, reference=reference, actor=history.SYSTEM, now=now)
    elif subscription.state == State.PAUSED:
        _rest(subscription, now=now)
    else:
        _renew_period(subscription, terms, boundary, now=now)


def _ensure_consistent(subscription: Subscription, terms: Terms) -> None:
    """Raise Inconsistent where the dates that stand are not those that the anchor gives."""
    number = subscription.period_number
    if number and subscription.anchor_number <= number:
        ends_at = starting.end_of(subscription, terms)
        if abs(ends_at - subscription.period_ends_at) > MOST_DRIFT:
            raise Inconsistent(f"period {number} ends at {subscription.period_ends_at}, by its anchor at {ends_at}")
    if subscription.next_due_at is not None and subscription.next_due_at > subscription.period_ends_at:
        raise Inconsistent(f"due at {subscription.next_due_at}, after the period's end")


@dataclass(slots=True)
class _Ledger:
    """The account's pools under their locks, and the overage lots on them."""

    opened: OpenBooks
    main_id: int
    lots: list[OverageLot]
    statements: list[Statement] = field(default_factory=list)


def _open(subscription: Subscription, *, now: datetime) -> _Ledger:
    kinds = dict(CreditPool.objects.filter(account=subscription.account_id).values_list("pk", "kind"))
    main_id = next(pk for pk, kind in kinds.items() if kind == CreditPool.Kind.MAIN)
    lots = overage.find_lots(subscription)
    opened = open_books(list(kinds), now=now, postings=POSTINGS, lot_ids=[lot.id for lot in lots])
    return _Ledger(opened, main_id, overage.as_opened(lots, opened))


def _renew_period(subscription: Subscription, old: Terms, boundary: datetime, *, now: datetime) -> None:
    """Bill what ended and the next period, and grant its first credits."""
    ledger, seats = _open(subscription, now=now), subscription.seats
    arrears = overage.bill(subscription, ledger.lots, before=boundary, closes=True, now=now)
    scheduled = subscription.scheduled_changes.filter(applied_at=None, withdrawn_at=None).first()
    terms = move_on(subscription, scheduled, boundary)
    reference = f"renewal:{subscription.pk}:{subscription.period_number}"
    started = starting.start_period(subscription, terms=terms, arrears=arrears.drafts, reference=reference, now=now)
    overage.save(arrears, started.invoice)
    cycle = starting.cycles_of(subscription, terms)[0]
    subscription.next_due_at = cycle[1]
    if subscription.state == State.TRIALING:
        subscription.state = State.ACTIVE
    due = [row for row in started.allocations if row.starts_at <= boundary and not row.waits_for_payment]
    rule = _rollover_rule(old, seats)
    name = f"rollover:{subscription.pk}:{subscription.period_number}"
    _post(subscription, ledger, terms, boundary, cycle=cycle, rule=rule, name=name, rows=due, now=now)
    subscription.save()
    if scheduled is not None:
        _note_change(subscription, scheduled, old, terms, seats, boundary, now=now)
    history.write(
        subscription,
        SubscriptionChange.Act.RENEW,
        reference=reference,
        at=boundary,
        actor=history.SYSTEM,
        to_version=terms.version,
        to_seats=subscription.seats,
        invoice=started.invoice,
    )


def _renew_cycle(subscription: Subscription, terms: Terms, boundary: datetime, *, now: datetime) -> None:
    """Within a period of several months: bill the month's overage, and grant the next month's credits."""
    ledger = _open(subscription, now=now)
    cycles = starting.cycles_of(subscription, terms)
    number, cycle = next((i, each) for i, each in enumerate(cycles, start=1) if each[1] > boundary)
    name = f"{subscription.pk}:{subscription.period_number}:{number}"
    arrears = overage.bill(subscription, ledger.lots, before=boundary, closes=False, now=now)
    if arrears.drafts:
        invoice = starting.bill(subscription, terms=terms, drafts=arrears.drafts, reference=f"renewal:{name}", now=now)
        overage.save(arrears, invoice)
    else:
        overage.save(arrears, None)
    subscription.next_due_at = cycle[1]
    due = list(allocations.due(now=now).filter(subscription=subscription, starts_at__lte=boundary).order_by("pk"))
    rule = _rollover_rule(terms, subscription.seats)
    _post(subscription, ledger, terms, boundary, cycle=cycle, rule=rule, name=f"rollover:{name}", rows=due, now=now)
    subscription.save(update_fields=["next_due_at"])


def _rollover_rule(terms: Terms, seats: int) -> moves.RolloverRule:
    rule = plans.rollover_rule(terms.version, terms.included(seats))
    return NOTHING_ROLLS if rule is None else moves.RolloverRule(rule.most, rule.periods, rule.cap)


def _post(
    subscription: Subscription,
    ledger: _Ledger,
    terms: Terms,
    boundary: datetime,
    *,
    cycle: tuple[datetime, datetime],
    rule: moves.RolloverRule,
    name: str,
    rows: Sequence[Allocation],
    now: datetime,
) -> None:
    """Roll over or expire what ended, grant what is due, let the pools follow the new period, and write it all."""
    main = ledger.opened.books[ledger.main_id]
    pool_terms.end_period(main, ends_at=boundary, new_expires_at=cycle[1], rule=rule, reference=name, now=now)
    allocations.grant_on(main, rows, currency=subscription.currency, lots=ledger.lots, now=now)
    wanted = starting.pool_terms_of(subscription, terms)
    running = cycle if cycle[0] <= now < cycle[1] else None
    for pool_id, book in ledger.opened.books.items():
        ledger.statements += pool_terms.apply(book, wanted, is_main=pool_id == ledger.main_id, cycle=running)
    write_books(ledger.opened, now=now, extras=ledger.statements)
    allocations.save(rows)


def move_on(subscription: Subscription, scheduled: ScheduledChange | None, boundary: datetime) -> Terms:
    """Let the subscription's row, unsaved, say what the period from `boundary` on is; its terms."""
    before = subscription.plan_version
    if scheduled is not None:
        subscription.plan_version, subscription.seats = scheduled.plan_version, scheduled.seats
    subscription.period_number += 1
    after = subscription.plan_version
    if (after.interval, after.interval_count) != (before.interval, before.interval_count):
        subscription.anchor_on = periods.day_of(boundary, subscription.account.time_zone)
        subscription.anchor_number = subscription.period_number
    terms = agreed.of(subscription, at=boundary)
    subscription.seats = max(subscription.seats, terms.seats_included)
    subscription.period_starts_at = boundary
    subscription.period_ends_at = starting.end_of(subscription, terms)
    return terms


def _note_change(
    subscription: Subscription,
    scheduled: ScheduledChange,
    old: Terms,
    terms: Terms,
    seats: int,
    boundary: datetime,
    *,
    now: datetime,
) -> None:
    scheduled.applied_at = now
    scheduled.save(update_fields=["applied_at"])
    rate_cards.set_plan_card(
        account_id=subscription.account_id, rate_card_id=terms.version.rate_card_id, starts_at=boundary
    )
    history.write(
        subscription,
        SubscriptionChange.Act.CHANGE,
        reference=f"change:scheduled:{scheduled.pk}",
        at=boundary,
        actor=scheduled.actor or history.SYSTEM,
        from_version=old.version,
        to_version=terms.version,
        from_seats=seats,
        to_seats=subscription.seats,
    )


def _rest(subscription: Subscription, *, now: datetime) -> None:
    """A paused subscription's period is over: bill its arrears and begin no other. Its pools stand alone meanwhile."""
    ending.settle_up(subscription, reference=f"rest:{subscription.pk}:{subscription.period_number}", now=now)
    subscription.next_due_at = None
    subscription.save(update_fields=["next_due_at"])
