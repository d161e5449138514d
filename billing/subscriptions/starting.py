"""Beginning a period: billed in advance, together with the arrears of what ended; its credits promised, its invoice on
the way to be collected. Used wherever a period begins: subscribing, renewing, resuming, changing the interval.

The caller holds the subscription's lock, has set what it says of the new period, and grants what is due.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from django.conf import settings

from billing.catalog import rate_cards
from billing.catalog.models import DunningPolicy
from billing.catalog.pricing import round_money
from billing.invoicing import issuing
from billing.invoicing.lines import LineDraft
from billing.invoicing.models import Invoice, InvoiceLine, PendingItem
from billing.ledger import pools
from billing.ledger.terms import PoolTerms
from billing.notifications import outbox
from billing.notifications.models import Notification
from billing.payments import collecting
from billing.payments.models import Collection
from billing.subscriptions import allocations, coupons, lines, timetable
from billing.subscriptions.lines import Span
from billing.subscriptions.models import Allocation, CouponRedemption, Subscription, SubscriptionPeriod
from billing.subscriptions.terms import Terms, dunning

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
    invoices = bill_many(
        [Bill(each.subscription, each.terms, [*each.arrears, *each.advance], each.reference) for each in openings],
        now=now,
    )
    periods = SubscriptionPeriod.objects.bulk_create(
        _period(each, invoice, now=now) for each, invoice in zip(openings, invoices, strict=True)
    )
    promised = [_promised(each, invoice, now=now) for each, invoice in zip(openings, invoices, strict=True)]
    Allocation.objects.bulk_create([row for rows in promised for row in rows])
    return [Started(*each) for each in zip(periods, invoices, promised, strict=True)]


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
        waits_for_payment=waits(
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


@dataclass(frozen=True, slots=True)
class Bill:
    """Lines to be invoiced to a subscription's account, under a reference."""

    subscription: Subscription
    terms: Terms
    drafts: Sequence[LineDraft]
    reference: str


def bill(
    subscription: Subscription, *, terms: Terms, drafts: Sequence[LineDraft], reference: str, now: datetime
) -> Invoice | None:
    """Issue an invoice of these lines and of what is pending, and have it collected and told of; None where there is
    nothing to bill. Locks the issuer's row."""
    return bill_many([Bill(subscription, terms, drafts, reference)], now=now)[0]


def bill_many(bills: Sequence[Bill], *, now: datetime) -> list[Invoice | None]:
    """`bill` for several at once, in their order."""
    invoices = _issue(bills, now=now)
    issued = [(each, invoice) for each, invoice in zip(bills, invoices, strict=True) if invoice is not None]
    policies: dict[int, dict[str, object]] = {}
    for each, _invoice in issued:
        if each.terms.version.pk not in policies:
            policies[each.terms.version.pk] = dunning(each.terms.version)
    Collection.objects.bulk_create(
        collecting.new_collection(
            invoice=invoice,
            purpose=purpose_of(each.subscription),
            policy=_policy(each, policies[each.terms.version.pk]),
            method_id=each.subscription.method_id,
            is_automatic=_is_automatic(each.subscription),
            now=now,
        )
        for each, invoice in issued
    )
    outbox.write_many([_told(each.subscription, each.terms, invoice, now=now) for each, invoice in issued])
    return invoices


def _policy(bill: Bill, policy: dict[str, object]) -> dict[str, object]:
    """How the invoice is dunned: what is billed last leaves no subscription that could end for want of payment."""
    if not bill.reference.startswith("final:"):
        return policy
    return {**policy, "final_act": DunningPolicy.FinalAct.KEEP.value, "downgrade_to": None}


def _issue(bills: Sequence[Bill], *, now: datetime) -> list[Invoice | None]:
    """The invoices: those that take pending items one by one, all others together."""
    accounts = {each.subscription.account_id for each in bills}
    open_items = PendingItem.objects.filter(account__in=accounts, invoice_line=None, cancelled_at=None)
    amounts: dict[tuple[int, str], list[Decimal]] = {}
    for account_id, currency, amount in open_items.values_list("account_id", "currency", "amount"):
        amounts.setdefault((account_id, currency), []).append(amount)
    invoices: list[Invoice | None] = [None] * len(bills)
    together = []
    for index, each in enumerate(bills):
        subscription = each.subscription
        pending = amounts.get((subscription.account_id, subscription.currency), [])
        if each.drafts and not pending:
            together.append(index)
        elif each.drafts or any(amount > 0 for amount in pending):
            invoices[index] = issuing.issue(
                account_id=subscription.account_id,
                reference=each.reference,
                currency=subscription.currency,
                lines=each.drafts,
                now=now,
                due_at=_due_at(subscription, now),
                take_pending=True,
            )
    orders = [
        issuing.Order(
            bills[index].subscription.account,
            bills[index].reference,
            bills[index].subscription.currency,
            bills[index].drafts,
            _due_at(bills[index].subscription, now),
        )
        for index in together
    ]
    for index, invoice in zip(together, issuing.issue_many(orders, now=now), strict=True):
        invoices[index] = invoice
    return invoices


def _is_automatic(subscription: Subscription) -> bool:
    return subscription.collection == Subscription.Collection.AUTOMATIC


def _due_at(subscription: Subscription, now: datetime) -> datetime | None:
    """What is charged is due at once, what is transferred by the issuer's terms."""
    return now if _is_automatic(subscription) else None


def purpose_of(subscription: Subscription) -> str:
    """What its collections are for, as they say it."""
    return f"subscription:{subscription.pk}"


def waits(subscription: Subscription, invoice: Invoice | None, *, is_asked: bool) -> bool:
    """Whether credits wait for an invoice to be paid: where it `is_asked` if a method is charged for it, and all of
    them if FLORIN_ALLOCATE_ON says so."""
    if invoice is None or invoice.state == Invoice.State.PAID:
        return False
    return (is_asked and _is_automatic(subscription)) or settings.FLORIN_ALLOCATE_ON == "payment"


def _told(subscription: Subscription, terms: Terms, invoice: Invoice, *, now: datetime) -> Notification:
    return Notification(
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
            "is_automatic": "yes" if _is_automatic(subscription) else "",
        },
        created_at=now,
    )
