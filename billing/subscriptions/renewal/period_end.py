"""What happens when a period, or a cycle of monthly credits, ends (M4): one boundary of a subscription, or of several
whose periods end.

Arrears billed, a scheduled change made, the next fee billed in advance with pending items and coupons on one invoice,
what may roll over rolled and the rest left to expire, the credits granted, the next boundary counted from the anchor,
the invoice left to be collected, the account told. After an outage every period has its own dates, and what came up
meanwhile is repaid from the credits that came late.

The caller holds the subscriptions' locks. Locks: their pools, then the issuer's row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.conf import settings

from billing.catalog import periods, plans
from billing.ledger import moves, pool_acts, pool_terms
from billing.ledger.pool_store import OpenPools, open_pools, write_pools
from billing.sql.pipeline import Statement, columns
from billing.subscriptions import history
from billing.subscriptions.agreement import calendar
from billing.subscriptions.agreement import terms as agreed
from billing.subscriptions.agreement.terms import Terms
from billing.subscriptions.charges import overage, subscription_invoices
from billing.subscriptions.charges.overage import Arrears
from billing.subscriptions.credits import allocations
from billing.subscriptions.lifecycle import end, period_start, scheduled_change
from billing.subscriptions.lifecycle.period_start import Opening
from billing.subscriptions.models import (
    Allocation,
    ContractTerms,
    ScheduledChange,
    Subscription,
    SubscriptionChange,
)
from billing.subscriptions.renewal import preload as reading
from billing.subscriptions.renewal.preload import Facts

State = Subscription.State

# What a new period may write on the ledger: a rollover, and two allocations with what they repay.
POSTINGS = 1 + 2 * allocations.POSTINGS_EACH
NOTHING_ROLLS = moves.RolloverRule(cap=Decimal(0), max_periods=0)


class Inconsistent(Exception):
    """The subscription's rows contradict each other; the message says how. Nothing is billed by guessing."""


def is_renewing(subscription: Subscription) -> bool:
    """Whether a subscription's next boundary is the end of a period, and another follows."""
    is_end = subscription.next_due_at is not None and subscription.next_due_at >= subscription.period_ends_at
    return is_end and subscription.state not in (State.CANCELLED, State.PAUSED)


def renew(subscriptions: Sequence[Subscription], *, now: datetime) -> None:
    """Renew each by one boundary: several that are all renewing, or one. Raises Inconsistent, and what billing them
    raises."""
    facts = reading.read(subscriptions)
    known = []
    for subscription in subscriptions:
        contracts = facts.contracts[subscription.account_id]
        terms = agreed.of(subscription, at=subscription.period_starts_at, contracts=contracts)
        _ensure_consistent(subscription, terms)
        known.append((subscription, terms))
    first, terms = known[0]
    if is_renewing(first):
        _renew_periods(known, facts, now=now)
    elif first.next_due_at is not None and first.next_due_at < first.period_ends_at:
        _renew_cycle(first, terms, facts, now=now)
    elif first.state == State.CANCELLED:
        reference = f"end:{first.pk}"
        end.end(first, at=first.period_ends_at, reference=reference, actor=history.SYSTEM, now=now)
    else:
        _rest(first, now=now)


def _ensure_consistent(subscription: Subscription, terms: Terms) -> None:
    """Raise Inconsistent where the dates that stand are not those that the anchor gives."""
    number = subscription.period_number
    if number and subscription.anchor_number <= number:
        ends_at = calendar.end_of(subscription, terms)
        if abs(ends_at - subscription.period_ends_at) > calendar.MOST_DRIFT:
            raise Inconsistent(f"period {number} ends at {subscription.period_ends_at}, by its anchor at {ends_at}")
    if subscription.next_due_at is not None and subscription.next_due_at > subscription.period_ends_at:
        raise Inconsistent(f"due at {subscription.next_due_at}, after the period's end")


def _open(subscriptions: Sequence[Subscription], facts: Facts, *, postings: int, now: datetime) -> OpenPools:
    """The pools of these subscriptions' accounts, locked, with their overage lots; the facts know those as they are."""
    pool_ids = [pool_id for each in subscriptions for pool_id in facts.pools[each.account_id]]
    lot_ids = [lot.id for each in subscriptions for lot in facts.lots[each.pk]]
    opened = open_pools(pool_ids, now=now, postings=postings, lot_ids=lot_ids)
    for each in subscriptions:
        facts.lots[each.pk] = overage.as_opened(facts.lots[each.pk], opened)
    return opened


@dataclass(slots=True)
class _Renewal:
    """One of the periods renewed together: the terms before and after, and what is written once it is billed."""

    subscription: Subscription
    old: Terms
    terms: Terms
    boundary: datetime
    seats_before: int
    change: ScheduledChange | None
    arrears: Arrears
    opening: Opening


def _renew_periods(renewing: Sequence[tuple[Subscription, Terms]], facts: Facts, *, now: datetime) -> None:
    """Bill what ended and the next periods, and grant their first credits."""
    postings = POSTINGS * len(renewing)
    opened = _open([subscription for subscription, _ in renewing], facts, postings=postings, now=now)
    renewals = [_prepare(subscription, old, facts, now=now) for subscription, old in renewing]
    begun = period_start.start_periods([each.opening for each in renewals], now=now)
    statements: list[Statement] = []
    rows: list[Allocation] = []
    for each, started in zip(renewals, begun, strict=True):
        overage.save_charges(each.arrears, started.invoice)
        subscription = each.subscription
        cycle = calendar.cycles_of(subscription, each.terms)[0]
        subscription.next_due_at = cycle[1]
        due = [row for row in started.allocations if row.starts_at <= each.boundary and not row.waits_for_payment]
        rule = _rollover_rule(each.old, each.seats_before)
        name = f"rollover:{subscription.pk}:{subscription.period_number}"
        statements += _post(subscription, opened, facts, each.terms, each.boundary, cycle, rule, name, due, now=now)
        rows += due
    statements.append(overage.saved([period for each in renewals for period in each.arrears.periods]))
    statements.append(_saved([each.subscription for each in renewals]))
    if rows:
        statements.append(allocations.granted(rows))
    write_pools(opened, now=now, extras=statements)
    for each in renewals:
        if each.change is not None:
            scheduled_change.note_made(
                each.subscription, each.change, old=each.old, old_seats=each.seats_before, terms=each.terms,
                at=each.boundary, now=now,
            )  # fmt: skip
    SubscriptionChange.objects.bulk_create(
        history.change(
            each.subscription,
            SubscriptionChange.Act.RENEW,
            reference=each.opening.reference,
            at=each.boundary,
            actor=history.SYSTEM,
            to_version=each.terms.version,
            to_seats=each.subscription.seats,
            invoice=started.invoice,
        )
        for each, started in zip(renewals, begun, strict=True)
    )


def _prepare(subscription: Subscription, old: Terms, facts: Facts, *, now: datetime) -> _Renewal:
    """What is in arrears, and what the next period is billed as; the subscription's row, unsaved, says that period."""
    boundary, seats = subscription.period_ends_at, subscription.seats
    arrears = _arrears(subscription, old, facts, boundary, now=now)
    change = facts.scheduled.get(subscription.pk)
    terms = move_on(subscription, change, boundary, contracts=facts.contracts[subscription.account_id])
    if subscription.state == State.TRIALING:
        subscription.state = State.ACTIVE
    subscription.problem = ""
    opening = period_start.prepare(
        subscription,
        terms=terms,
        arrears=arrears.drafts,
        redemptions=facts.redemptions[subscription.pk],
        reference=f"renewal:{subscription.pk}:{subscription.period_number}",
    )
    return _Renewal(subscription, old, terms, boundary, seats, change, arrears, opening)


def _arrears(subscription: Subscription, old: Terms, facts: Facts, boundary: datetime, *, now: datetime) -> Arrears:
    """What is to be billed of the period that ends. Without overage and minimum there is only its row to close."""
    period = facts.periods.get(subscription.pk)
    if period is None:
        raise Inconsistent(f"period {subscription.period_number} is not written down, or is closed")
    lots = facts.lots[subscription.pk]
    has_overage = any(overage.is_due(lot, boundary) for lot in lots)
    if has_overage or old.minimum or subscription.pk in facts.changed:
        return overage.bill(subscription, lots, before=boundary, closes=True, now=now)
    period.closed_at = now
    return Arrears(periods=[period])


_SAVED = """
UPDATE billing_subscription s SET plan_version_id = u.version_id, seats = u.seats, state = u.state,
    anchor_on = u.anchor_on, anchor_number = u.anchor_number, period_number = u.number, period_starts_at = u.starts_at,
    period_ends_at = u.ends_at, next_due_at = u.due_at, problem = u.problem
FROM unnest(%s::bigint[], %s::bigint[], %s::int[], %s::text[], %s::date[], %s::int[], %s::int[], %s::timestamptz[],
    %s::timestamptz[], %s::timestamptz[], %s::text[])
    AS u(id, version_id, seats, state, anchor_on, anchor_number, number, starts_at, ends_at, due_at, problem)
WHERE s.id = u.id
"""


def _saved(subscriptions: Sequence[Subscription]) -> Statement:
    """What writes what renewing has changed of these rows."""
    rows = [
        (
            each.pk, each.plan_version_id, each.seats, each.state, each.anchor_on, each.anchor_number,
            each.period_number, each.period_starts_at, each.period_ends_at, each.next_due_at, each.problem,
        )
        for each in subscriptions
    ]  # fmt: skip
    return _SAVED, columns(rows, 11)


def _renew_cycle(subscription: Subscription, terms: Terms, facts: Facts, *, now: datetime) -> None:
    """Within a period of several months: bill the month's overage, and grant the next month's credits."""
    boundary = subscription.next_due_at
    assert boundary is not None  # noqa: S101
    # Under the subscription's lock: nobody else promises or grants any. Seats that were added have some of their own.
    due = list(allocations.due(now=now).filter(subscription=subscription, starts_at__lte=boundary).order_by("pk"))
    opened = _open([subscription], facts, postings=1 + allocations.POSTINGS_EACH * len(due), now=now)
    cycles = allocations.running_cycles(subscription, terms)
    # Without credits promised, the cycle that ends may by the days of now end a few hours after the boundary.
    number, cycle = next(
        (i, each) for i, each in enumerate(cycles, start=1) if each[1] > boundary + calendar.MOST_DRIFT
    )
    name = f"{subscription.pk}:{subscription.period_number}:{number}"
    arrears = overage.bill(subscription, facts.lots[subscription.pk], before=boundary, closes=False, now=now)
    invoice = None
    if arrears.drafts:
        invoice = subscription_invoices.bill(
            subscription, terms=terms, drafts=arrears.drafts, reference=f"renewal:{name}", now=now
        )
    overage.save(arrears, invoice)
    subscription.next_due_at = cycle[1]
    rule = _rollover_rule(terms, subscription.seats)
    statements = _post(subscription, opened, facts, terms, boundary, cycle, rule, f"rollover:{name}", due, now=now)
    write_pools(opened, now=now, extras=statements)
    allocations.save(due)
    subscription.save(update_fields=["next_due_at"])


def _rollover_rule(terms: Terms, seats: int) -> moves.RolloverRule:
    rule = plans.rollover_rule(terms.version, terms.included(seats))
    return NOTHING_ROLLS if rule is None else moves.RolloverRule(rule.most, rule.periods, rule.cap)


def _post(
    subscription: Subscription,
    opened: OpenPools,
    facts: Facts,
    terms: Terms,
    boundary: datetime,
    cycle: tuple[datetime, datetime],
    rule: moves.RolloverRule,
    name: str,
    rows: Sequence[Allocation],
    *,
    now: datetime,
) -> list[Statement]:
    """Roll over or expire what ended, grant what is due and let the pools follow the new cycle, all on the opened
    pools; the statements that go with them."""
    main_id = facts.main_pools[subscription.account_id]
    main = opened.states[main_id]
    grace = settings.FLORIN_EXPIRY_GRACE_SECONDS
    pool_acts.roll_over_on(
        main, ends_at=boundary, new_expires_at=cycle[1], rule=rule, grace_seconds=grace, reference=name, now=now
    )
    lots = facts.lots[subscription.pk]
    allocations.grant_on(main, rows, currency=subscription.currency, lots=lots, now=now)
    wanted = period_start.pool_terms_of(subscription, terms)
    running = cycle if cycle[0] <= now < cycle[1] else None
    statements: list[Statement] = []
    for pool_id in facts.pools[subscription.account_id]:
        state = opened.states[pool_id]
        statements += pool_terms.apply(state, wanted, is_main=pool_id == main_id, cycle=running)
    return statements


def move_on(
    subscription: Subscription,
    change: ScheduledChange | None,
    boundary: datetime,
    *,
    contracts: Sequence[ContractTerms] | None = None,
) -> Terms:
    """Let the subscription's row, unsaved, say what the period from `boundary` on is; its terms."""
    subscription.period_number += 1
    if change is not None:
        before, after = subscription.plan_version, change.plan_version
        subscription.plan_version, subscription.seats = after, change.seats
        if (after.interval, after.interval_count) != (before.interval, before.interval_count):
            subscription.anchor_on = periods.day_of(boundary, subscription.account.time_zone)
            subscription.anchor_number = subscription.period_number
    terms = agreed.of(subscription, at=boundary, contracts=contracts)
    subscription.seats = max(subscription.seats, terms.seats_included)
    subscription.period_starts_at = boundary
    subscription.period_ends_at = calendar.end_of(subscription, terms)
    return terms


def _rest(subscription: Subscription, *, now: datetime) -> None:
    """A paused subscription's period is over: bill its arrears and begin no other. Its pools stand alone meanwhile."""
    end.settle_up(subscription, reference=f"rest:{subscription.pk}:{subscription.period_number}", now=now)
    subscription.next_due_at = None
    subscription.save(update_fields=["next_due_at"])
