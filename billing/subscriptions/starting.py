"""Beginning a period: billed in advance, together with the arrears of what ended; its credits promised, its invoice on
the way to be collected. Used wherever a period begins: subscribing, renewing, resuming, changing the interval.

The caller holds the subscription's lock, has set what it says of the new period, and grants what is due.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from billing.catalog import rate_cards
from billing.invoicing.lines import LineDraft
from billing.invoicing.models import Invoice, InvoiceLine
from billing.ledger import pools
from billing.ledger.pool_terms import PoolTerms
from billing.subscriptions import allocations, bills, coupons, lines, timetable
from billing.subscriptions import terms as agreed
from billing.subscriptions.bills import Bill
from billing.subscriptions.lines import Span
from billing.subscriptions.models import Allocation, CouponRedemption, Subscription, SubscriptionPeriod
from billing.subscriptions.terms import Terms

ZERO = Decimal(0)
# The days of an account's time zone may move by so much while a period runs; no two cycles end as near to each other.
MOST_DRIFT = timedelta(hours=27)


@dataclass(frozen=True, slots=True)
class Started:
    """A period that has begun; its invoice, if there was something to bill."""

    period: SubscriptionPeriod
    invoice: Invoice | None
    allocations: list[Allocation]


@dataclass(frozen=True, slots=True)
class Opening:
    """A period that is about to begin: what is billed for it, and what of that is in advance."""

    subscription: Subscription
    terms: Terms
    arrears: Sequence[LineDraft]
    advance: Sequence[LineDraft]
    discounts: list[dict[str, object]]
    used: Sequence[CouponRedemption]
    reference: str
    waits_for_payment: bool = False


def start_period(
    subscription: Subscription,
    *,
    terms: Terms,
    arrears: Sequence[LineDraft] = (),
    waits_for_payment: bool = False,
    reference: str,
    now: datetime,
) -> Started:
    """Bill the subscription's period (`period_number`, `period_starts_at`, `period_ends_at`) and promise its credits.

    One invoice of that reference has the arrears, fee and seats, discounts and pending items. The credits of the first
    paid period, where a method is charged for it, wait for the payment; later ones only if FLORIN_ALLOCATE_ON says so,
    or `waits_for_payment`.
    Locks all pools of the account, and the issuer's row last. Raises django's IntegrityError for a period that was
    begun before.
    """
    pools.lock(subscription.account.pools.values_list("pk", flat=True))
    opening = prepare(
        subscription,
        terms=terms,
        arrears=arrears,
        redemptions=coupons.active(subscription),
        waits_for_payment=waits_for_payment,
        reference=reference,
    )
    return start_periods([opening], now=now)[0]


def prepare(
    subscription: Subscription,
    *,
    terms: Terms,
    arrears: Sequence[LineDraft],
    redemptions: Sequence[CouponRedemption],
    waits_for_payment: bool = False,
    reference: str,
) -> Opening:
    """What the subscription's period, as its row says it, is to be billed as. Writes nothing."""
    span = span_of(subscription)
    advance = lines.advance(terms, seats=subscription.seats, of=span)
    taken_off, used = coupons.discounts(redemptions, terms=terms, advance=advance, of=span)
    discounts = coupons.as_given(terms, taken_off, used)
    return Opening(subscription, terms, arrears, [*advance, *taken_off], discounts, used, reference, waits_for_payment)


def start_periods(openings: Sequence[Opening], *, now: datetime) -> list[Started]:
    """`start_period` for several at once; the caller has locked the pools of their accounts."""
    coupons.use(used for each in openings for used in each.used)
    invoices = bills.bill_many([_bill(each) for each in openings], now=now)
    periods = SubscriptionPeriod.objects.bulk_create(
        _period(each, invoice, now=now) for each, invoice in zip(openings, invoices, strict=True)
    )
    promised = [_promised(each, invoice, now=now) for each, invoice in zip(openings, invoices, strict=True)]
    Allocation.objects.bulk_create([row for rows in promised for row in rows])
    return [Started(*each) for each in zip(periods, invoices, promised, strict=True)]


def _bill(opening: Opening) -> Bill:
    return Bill(opening.subscription, opening.terms, [*opening.arrears, *opening.advance], opening.reference)


def _period(opening: Opening, invoice: Invoice | None, *, now: datetime) -> SubscriptionPeriod:
    subscription, terms = opening.subscription, opening.terms
    return SubscriptionPeriod(
        subscription=subscription,
        number=subscription.period_number,
        starts_at=subscription.period_starts_at,
        ends_at=subscription.period_ends_at,
        plan_version=terms.version,
        seats=subscription.seats,
        fee=lines.fee_of(terms),
        seats_fee=lines.seats_fee(terms, seats=subscription.seats),
        discounts=opening.discounts,
        invoice=invoice,
        created_at=now,
    )


def _promised(opening: Opening, invoice: Invoice | None, *, now: datetime) -> list[Allocation]:
    subscription, terms = opening.subscription, opening.terms
    return allocations.promised(
        subscription,
        terms=terms,
        number=subscription.period_number,
        cycles=cycles_of(subscription, terms),
        paid=_paid(opening, invoice),
        invoice=invoice,
        waits_for_payment=bills.waits(
            subscription, invoice, is_asked=opening.waits_for_payment or subscription.period_number == 1
        ),
        now=now,
    )


def _paid(opening: Opening, invoice: Invoice | None) -> Decimal:
    """The net money in advance; of prices that have tax in them, what the invoice says is left of them."""
    if invoice is None or not opening.terms.version.prices_include_tax:
        return lines.net(opening.advance)
    first = len(opening.arrears)
    rows = InvoiceLine.objects.filter(invoice=invoice, position__gt=first, position__lte=first + len(opening.advance))
    return sum(rows.values_list("amount", flat=True), ZERO)


def note_trial(subscription: Subscription, *, now: datetime) -> SubscriptionPeriod:
    """Write down the trial as period 0: nothing in advance, but its overage is billed as any period's."""
    return SubscriptionPeriod.objects.create(
        subscription=subscription,
        number=subscription.period_number,
        starts_at=subscription.period_starts_at,
        ends_at=subscription.period_ends_at,
        plan_version=subscription.plan_version,
        seats=subscription.seats,
        created_at=now,
    )


def settle_in(
    subscription: Subscription, terms: Terms, *, cycle: tuple[datetime, datetime], starts_at: datetime, now: datetime
) -> None:
    """Let the account's pools and, from `starts_at`, its rate card follow the plan, and grant what is due. Locks all
    pools of the account."""
    account_id = subscription.account_id
    pools.set_terms(account_id=account_id, terms=pool_terms_of(subscription, terms), cycle=cycle, now=now)
    rate_cards.set_plan_card(account_id=account_id, rate_card_id=terms.version.rate_card_id, starts_at=starts_at)
    allocations.grant_now(subscription, now=now)


def pool_terms_of(subscription: Subscription, terms: Terms) -> PoolTerms:
    """What the account's pools do under the subscription."""
    version = terms.version
    interval, count = terms.cycle
    return PoolTerms(
        policy=version.policy,
        burst_limit=version.burst_limit,
        overage_cap=version.overage_cap,
        interval=interval,
        interval_count=count,
        anchor_on=subscription.anchor_on,
        renews_at=subscription.next_due_at,
    )


def span_of(subscription: Subscription) -> Span:
    """The subscription's period as its lines name it."""
    return lines.span(
        subscription.pk, subscription.period_number, subscription.period_starts_at, subscription.period_ends_at
    )


def end_of(subscription: Subscription, terms: Terms) -> datetime:
    """When the subscription's period ends, by its anchor."""
    return timetable.ends_at(
        terms,
        anchor_on=subscription.anchor_on,
        anchor_number=subscription.anchor_number,
        number=subscription.period_number,
        time_zone=subscription.account.time_zone,
    )


def facts(subscription: Subscription, terms: Terms) -> dict[str, str]:
    """What a message about the subscription says of its plan."""
    told = {
        "plan_name": terms.plan_name,
        "credits": f"{terms.included(subscription.seats):f}",
        "seats": str(subscription.seats),
        "period_ends_at": subscription.period_ends_at.isoformat(),
    }
    if subscription.state == Subscription.State.TRIALING and subscription.trial_ends_at is not None:
        told |= {
            "credits": f"{terms.version.trial_credits:f}",
            "trial_ends_at": subscription.trial_ends_at.isoformat(),
        }
    return told


def cycles_of(subscription: Subscription, terms: Terms) -> list[tuple[datetime, datetime]]:
    """The cycles of credits of the subscription's period, which begins now."""
    return timetable.cycles(
        terms,
        anchor_on=subscription.anchor_on,
        anchor_number=subscription.anchor_number,
        number=subscription.period_number,
        starts_at=subscription.period_starts_at,
        ends_at=subscription.period_ends_at,
        time_zone=subscription.account.time_zone,
    )


def catch_up(subscription: Subscription, *, now: datetime) -> datetime:
    """When an act on the subscription happens: `now`, but not before its current period or cycle of credits.

    A renewal may commit after a request has read its clock and before it gets the lock. The act then finds the next
    period, is judged by it, and happens at its start.
    """
    begins, due_at = subscription.period_starts_at, subscription.next_due_at
    if due_at is not None and subscription.period_number and subscription.plan_version.grants_monthly:
        cycles = running_cycles(subscription, agreed.of(subscription, at=begins))
        begins = max(cycle[0] for cycle in cycles if cycle[0] + MOST_DRIFT < due_at or cycle[0] == begins)
    return max(now, begins)


def running_cycles(subscription: Subscription, terms: Terms) -> list[tuple[datetime, datetime]]:
    """`cycles_of` a period that has begun: those that its credits were promised for, though the zone's days may have
    moved since."""
    cycles = cycles_of(subscription, terms)
    if len(cycles) == 1:
        return cycles
    promised = subscription.allocations.filter(
        starts_at__gte=subscription.period_starts_at, ends_at__lt=subscription.period_ends_at
    )
    known = sorted({*promised.values_list("ends_at", flat=True)})
    inner = (
        next((moment for moment in known if abs(moment - ends_at) <= MOST_DRIFT), ends_at)
        for _starts_at, ends_at in cycles[:-1]
    )
    return list(pairwise([subscription.period_starts_at, *inner, subscription.period_ends_at]))
