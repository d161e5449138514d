"""Beginning a period: billed in advance, together with the arrears of what ended; its credits promised, its invoice on
the way to be collected. Used wherever a period begins: subscribing, renewing, resuming, changing the interval.

The caller holds the subscription's lock, has set what it says of the new period, and grants what is due.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.catalog import rate_cards
from billing.invoicing.lines import LineDraft
from billing.invoicing.models import Invoice, InvoiceLine
from billing.ledger import pools
from billing.ledger.models import CreditPool
from billing.ledger.pool_terms import PoolTerms
from billing.subscriptions.agreement import calendar
from billing.subscriptions.agreement import terms as agreed
from billing.subscriptions.agreement.terms import Terms
from billing.subscriptions.charges import coupons, fee_lines, subscription_invoices
from billing.subscriptions.charges.subscription_invoices import Bill
from billing.subscriptions.credits import allocations
from billing.subscriptions.models import Allocation, CouponRedemption, Subscription, SubscriptionPeriod

ZERO = Decimal(0)


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
    span = fee_lines.span_of(subscription)
    advance = fee_lines.advance(terms, seats=subscription.seats, of=span)
    taken_off, used = coupons.discounts(redemptions, terms=terms, advance=advance, of=span)
    discounts = coupons.as_given(terms, taken_off, used)
    return Opening(subscription, terms, arrears, [*advance, *taken_off], discounts, used, reference, waits_for_payment)


def start_periods(openings: Sequence[Opening], *, now: datetime) -> list[Started]:
    """`start_period` for several at once; the caller has locked the pools of their accounts."""
    coupons.use(used for each in openings for used in each.used)
    invoices = subscription_invoices.bill_many([_bill(each) for each in openings], now=now)
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
        fee=fee_lines.fee_of(terms),
        seats_fee=fee_lines.seats_fee(terms, seats=subscription.seats),
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
        cycles=calendar.cycles_of(subscription, terms),
        paid=_paid(opening, invoice),
        invoice=invoice,
        waits_for_payment=subscription_invoices.waits(
            subscription, invoice, is_asked=opening.waits_for_payment or subscription.period_number == 1
        ),
        now=now,
    )


def _paid(opening: Opening, invoice: Invoice | None) -> Decimal:
    """The net money in advance; of prices that have tax in them, what the invoice says is left of them."""
    if invoice is None or not opening.terms.version.prices_include_tax:
        return fee_lines.net(opening.advance)
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
    """What the account's pools do under the subscription. A trial that does not charge for usage ends with its
    credits."""
    version = terms.version
    interval, count = terms.cycle
    ends_with_credits = subscription.period_number == 0 and not version.charges_in_trial
    return PoolTerms(
        policy=CreditPool.Policy.BLOCK if ends_with_credits else version.policy,
        burst_limit=Decimal(0) if ends_with_credits else version.burst_limit,
        overage_cap=None if ends_with_credits else version.overage_cap,
        interval=interval,
        interval_count=count,
        anchor_on=subscription.anchor_on,
        renews_at=subscription.next_due_at,
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
            "trial_is_charged": "yes" if terms.version.charges_in_trial else "",
        }
    return told


def catch_up(subscription: Subscription, *, now: datetime) -> datetime:
    """When an act on the subscription happens: `now`, but not before its current period or cycle of credits.

    A renewal may commit after a request has read its clock and before it gets the lock. The act then finds the next
    period, is judged by it, and happens at its start.
    """
    begins, due_at = subscription.period_starts_at, subscription.next_due_at
    if due_at is not None and subscription.period_number and subscription.plan_version.grants_monthly:
        cycles = allocations.running_cycles(subscription, agreed.of(subscription, at=begins))
        begins = max(cycle[0] for cycle in cycles if cycle[0] + calendar.MOST_DRIFT < due_at or cycle[0] == begins)
    return max(now, begins)
