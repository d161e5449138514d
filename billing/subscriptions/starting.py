"""Beginning a period: billed in advance, together with the arrears of what ended; its credits promised, its invoice on
the way to be collected. Used wherever a period begins: subscribing, renewing, resuming, changing the interval.

The caller holds the subscription's lock, has set what it says of the new period, and grants what is due.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.conf import settings

from billing.catalog import rate_cards
from billing.catalog.pricing import round_money
from billing.invoicing import issuing, pending
from billing.invoicing.issuing import LineDraft
from billing.invoicing.models import Invoice
from billing.ledger import pools
from billing.ledger.terms import PoolTerms
from billing.notifications import outbox
from billing.payments import collecting
from billing.subscriptions import allocations, coupons, lines, timetable
from billing.subscriptions.lines import Span
from billing.subscriptions.models import Allocation, Subscription, SubscriptionPeriod
from billing.subscriptions.terms import Terms, dunning

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Started:
    """A period that has begun; its invoice, if there was something to bill."""

    period: SubscriptionPeriod
    invoice: Invoice | None
    allocations: list[Allocation]


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
    span = span_of(subscription)
    advance = lines.advance(terms, seats=subscription.seats, of=span)
    taken_off, discounts = coupons.take(subscription, terms=terms, advance=advance, of=span)
    advance += taken_off
    invoice = bill(subscription, terms=terms, drafts=[*arrears, *advance], reference=reference, now=now)
    period = SubscriptionPeriod.objects.create(
        subscription=subscription,
        number=subscription.period_number,
        starts_at=subscription.period_starts_at,
        ends_at=subscription.period_ends_at,
        plan_version=terms.version,
        seats=subscription.seats,
        fee=lines.fee_of(terms),
        seats_fee=lines.seats_fee(terms, seats=subscription.seats),
        discounts=discounts,
        invoice=invoice,
        created_at=now,
    )
    promised = allocations.promise(
        subscription,
        terms=terms,
        number=subscription.period_number,
        cycles=cycles_of(subscription, terms),
        paid=lines.net(advance),
        invoice=invoice,
        waits_for_payment=waits(subscription, invoice, is_asked=waits_for_payment or subscription.period_number == 1),
        now=now,
    )
    return Started(period, invoice, promised)


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
    """The cycles of credits of the subscription's period."""
    return timetable.cycles(
        terms,
        anchor_on=subscription.anchor_on,
        anchor_number=subscription.anchor_number,
        number=subscription.period_number,
        starts_at=subscription.period_starts_at,
        ends_at=subscription.period_ends_at,
        time_zone=subscription.account.time_zone,
    )


def bill(
    subscription: Subscription, *, terms: Terms, drafts: Sequence[LineDraft], reference: str, now: datetime
) -> Invoice | None:
    """Issue an invoice of these lines and of what is pending, and have it collected and told of; None where there is
    nothing to bill. Locks the issuer's row."""
    account_id, currency = subscription.account_id, subscription.currency
    if not drafts and not pending.list_open(account_id=account_id, currency=currency).filter(amount__gt=0).exists():
        return None
    is_automatic = subscription.collection == Subscription.Collection.AUTOMATIC
    invoice = issuing.issue(
        account_id=account_id,
        reference=reference,
        currency=currency,
        lines=drafts,
        now=now,
        due_at=now if is_automatic else None,
        take_pending=True,
    )
    collecting.open_collection(
        invoice=invoice,
        purpose=purpose_of(subscription),
        policy=dunning(terms.version),
        method_id=subscription.method_id,
        is_automatic=is_automatic,
        now=now,
    )
    _tell(subscription, terms, invoice, now=now)
    return invoice


def purpose_of(subscription: Subscription) -> str:
    """What its collections are for, as they say it."""
    return f"subscription:{subscription.pk}"


def waits(subscription: Subscription, invoice: Invoice | None, *, is_asked: bool) -> bool:
    """Whether credits wait for an invoice to be paid: where it `is_asked` if a method is charged for it, and all of
    them if FLORIN_ALLOCATE_ON says so."""
    if invoice is None or invoice.state == Invoice.State.PAID:
        return False
    is_automatic = subscription.collection == Subscription.Collection.AUTOMATIC
    return (is_asked and is_automatic) or settings.FLORIN_ALLOCATE_ON == "payment"


def _tell(subscription: Subscription, terms: Terms, invoice: Invoice, *, now: datetime) -> None:
    outbox.write(
        kind="invoice_issued",
        dedupe_key=f"invoice_issued:{invoice.pk}",
        account_id=invoice.account_id,
        payload={
            "invoice_id": str(invoice.pk),
            "number": invoice.number or "",
            "total": f"{round_money(invoice.total, invoice.currency):f}",
            "currency": invoice.currency,
            "due_at": invoice.due_at.isoformat() if invoice.due_at else "",
            "plan_name": terms.plan_name,
            "period_starts_at": subscription.period_starts_at.isoformat(),
            "period_ends_at": subscription.period_ends_at.isoformat(),
            "credits": f"{terms.included(subscription.seats):f}",
            "is_automatic": "yes" if subscription.collection == Subscription.Collection.AUTOMATIC else "",
        },
        now=now,
    )
