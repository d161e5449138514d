"""Overage in arrears: what was metered beyond the credits, invoiced once, credit by credit.

A cycle's overage is one lot per pool. Once its cycle is over the lot is billed: what of it has neither been
reversed nor repaid, less what is on invoices already. A lot belongs to the period that its usage counts in, and is
priced with that period's whole overage, so that tiers count over the period however often it is billed: what comes
within the period's grace, after its invoice was issued, is a line of its own, for that period, on the next invoice.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.utils.translation import gettext as _

from billing.catalog import periods, plan_pricing
from billing.invoicing import pending
from billing.invoicing.lines import LineDraft
from billing.invoicing.models import Invoice, InvoiceLine
from billing.ledger.pool_store import OpenPools
from billing.sql.pipeline import Statement, columns, pipelined
from billing.subscriptions.agreement.terms import Terms, resolve
from billing.subscriptions.charges import fee_lines
from billing.subscriptions.charges.fee_lines import Span
from billing.subscriptions.models import OverageCharge, Subscription, SubscriptionChange, SubscriptionPeriod

ZERO = Decimal(0)
AT_ONCE = InvoiceLine.Recognition.AT_ONCE


@dataclass(frozen=True, slots=True)
class OverageLot:
    """A lot of overage of an account under a subscription. It belongs to the cycle that `effective_at` lies in. `owed`
    credits of it were neither reversed nor repaid, `charged` credits stand on its `charges` so far."""

    id: int
    pool_id: int
    effective_at: datetime
    owed: Decimal
    charged: Decimal
    charges: int


@dataclass(slots=True)
class Arrears:
    """What is to be billed for time that has passed: lines, and the rows that say so once the invoice is there."""

    drafts: list[LineDraft] = field(default_factory=list)
    charges: list[OverageCharge] = field(default_factory=list)
    periods: list[SubscriptionPeriod] = field(default_factory=list)


_LOTS = """
SELECT s.id, g.id, g.pool_id, g.effective_at, g.amount - g.revoked, coalesce(sum(c.credits), 0), count(c.id)
FROM billing_subscription s JOIN billing_creditpool p ON p.account_id = s.account_id
JOIN billing_creditgrant g ON g.pool_id = p.id AND g.kind = 'overage' AND g.created_at >= s.started_at
LEFT JOIN billing_overagecharge c ON c.grant_id = g.id
WHERE s.id = ANY(%s)
GROUP BY s.id, g.id HAVING g.is_open OR g.amount - g.revoked <> coalesce(sum(c.credits), 0)
ORDER BY g.id
"""


def find_lots(subscription: Subscription) -> list[OverageLot]:
    """Overage lots since the subscription began that are still growing, or not invoiced as they are. No locks."""
    return find_lots_of([subscription]).get(subscription.pk, [])


def find_lots_of(subscriptions: Iterable[Subscription]) -> dict[int, list[OverageLot]]:
    """`find_lots` of several, by subscription; those without any are left out."""
    found: dict[int, list[OverageLot]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_LOTS, [[each.pk for each in subscriptions]])
        for subscription_id, *lot in cursor.fetchall():
            found.setdefault(subscription_id, []).append(OverageLot(*lot))
    return found


def as_opened(lots: Iterable[OverageLot], opened: OpenPools) -> list[OverageLot]:
    """The lots as the opened pools have them, which their pools' locks keep so."""
    owed = {lot.id: lot.outstanding for state in opened.states.values() for lot in state.lots}
    return [replace(lot, owed=owed[lot.id]) for lot in lots if lot.id in owed]


def is_due(lot: OverageLot, before: datetime) -> bool:
    """Whether there is something to bill of a lot."""
    return lot.effective_at < before and lot.owed != lot.charged


def bill(
    subscription: Subscription, lots: Sequence[OverageLot], *, before: datetime, closes: bool, now: datetime
) -> Arrears:
    """What is to be billed of lots of cycles before that moment, and, with `closes`, of the current period's minimum.

    Overage is priced by the terms of the period that it belongs to. Credits that were billed and then reversed become
    a pending item, for the next invoice to take. The caller holds the locks of the subscription and the lots' pools.
    """
    arrears = Arrears()
    due = [lot for lot in lots if is_due(lot, before)]
    if not due and not closes:
        return arrears
    known = list(subscription.periods.filter(starts_at__lt=before).order_by("-number")[: None if due else 1])
    by_period: dict[int, list[OverageLot]] = {}
    for lot in due:
        index = next((i for i, period in enumerate(known) if period.starts_at <= lot.effective_at), len(known) - 1)
        by_period.setdefault(index, []).append(lot)
    if closes and known:
        by_period.setdefault(0, [])
    for index, of_period in sorted(by_period.items(), reverse=True):
        period = known[index]
        terms = resolve(
            account_id=subscription.account_id,
            version_id=period.plan_version_id,
            currency=subscription.currency,
            at=period.starts_at,
        )
        _bill_overage(arrears, subscription, period, terms, of_period, now=now)
        if (closes and index == 0) or period.closed_at is not None:
            # One that another was begun in had ended then.
            ends_at = min(before, period.ends_at, known[index - 1].starts_at if index else period.ends_at)
            _true_up(arrears, subscription, period, terms, ends_at=ends_at, now=now)
            period.closed_at = period.closed_at or now
        arrears.periods.append(period)
    return arrears


def save(arrears: Arrears, invoice: Invoice | None) -> None:
    """Write down what has been billed, on which invoice."""
    save_charges(arrears, invoice)
    if arrears.periods:
        pipelined([saved(arrears.periods)])


def save_charges(arrears: Arrears, invoice: Invoice | None) -> None:
    """The first half of `save`."""
    for charge in arrears.charges:
        charge.invoice = invoice if charge.amount else None
    if arrears.charges:
        OverageCharge.objects.bulk_create(arrears.charges)


def saved(rows: Sequence[SubscriptionPeriod]) -> Statement:
    """The second half of `save`, for the periods of several, to go with other statements."""
    told = [(row.pk, row.overage_credits, row.overage_amount, row.true_up_amount, row.closed_at) for row in rows]
    return _SAVED, columns(told, 5)


_SAVED = """
UPDATE billing_subscriptionperiod p SET overage_credits = u.credits, overage_amount = u.amount,
    true_up_amount = u.true_up, closed_at = u.closed_at
FROM unnest(%s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[], %s::timestamptz[])
    AS u(id, credits, amount, true_up, closed_at)
WHERE p.id = u.id
"""


def _bill_overage(
    arrears: Arrears,
    subscription: Subscription,
    period: SubscriptionPeriod,
    terms: Terms,
    lots: list[OverageLot],
    *,
    now: datetime,
) -> None:
    before, total = period.overage_credits, ZERO
    # What was reversed comes last, so that the sum never falls below nothing on the way.
    for lot in sorted(lots, key=lambda lot: (lot.owed < lot.charged, lot.id)):
        credits = lot.owed - lot.charged
        amount = _price(terms, before=period.overage_credits, credits=credits)
        arrears.charges.append(
            OverageCharge(
                subscription=subscription,
                grant_id=lot.id,
                number=lot.charges + 1,
                credits=credits,
                amount=amount,
                created_at=now,
            )
        )
        period.overage_credits += credits
        period.overage_amount += amount
        total += amount
    if total:
        first = arrears.charges[-1]
        reference = f"overage:{first.grant_id}:{first.number}"
        text = _("%(plan)s: credits beyond those included") % {"plan": terms.plan_name}
        credits = period.overage_credits - before
        _add(arrears, subscription, terms, text, credits, total, of=_span(period), reference=reference, now=now)


def _price(terms: Terms, *, before: Decimal, credits: Decimal) -> Decimal:
    """What more overage of a period costs; nothing where the plan has no price for it."""
    if not terms.overage_tiers:
        return ZERO
    return plan_pricing.overage_charge(
        model=terms.version.overage_model,
        tiers=terms.overage_tiers,
        unit=terms.version.overage_unit,
        before=before,
        credits=credits,
        currency=terms.currency,
    )


def _true_up(
    arrears: Arrears,
    subscription: Subscription,
    period: SubscriptionPeriod,
    terms: Terms,
    *,
    ends_at: datetime,
    now: datetime,
) -> None:
    """What fee, seats and overage fall short of the minimum, for the days up to `ends_at`."""
    weighted, days = _minimum_days(subscription, period, terms, ends_at=ends_at)
    if not weighted and not period.true_up_amount:
        return
    charged = period.fee + period.seats_fee + period.overage_amount
    due = plan_pricing.true_up(minimum=weighted, charged=charged, of=days, currency=terms.currency)
    change, period.true_up_amount = due - period.true_up_amount, due
    if change:
        text = _("%(plan)s: up to the agreed minimum") % {"plan": terms.plan_name}
        quantity = Decimal(1 if change > 0 else -1)
        reference = f"true-up:{period.pk}:{now.isoformat()}"
        _add(arrears, subscription, terms, text, quantity, change, of=_span(period), reference=reference, now=now)


def _minimum_days(
    subscription: Subscription, period: SubscriptionPeriod, terms: Terms, *, ends_at: datetime
) -> tuple[Decimal, int]:
    """The sum over the period's days up to `ends_at` of the minimum in force on each, and all days of the period."""
    zone = subscription.account.time_zone
    first, last = periods.day_of(period.starts_at, zone), periods.day_of(period.ends_at, zone)
    changes = SubscriptionChange.objects.filter(
        subscription=subscription,
        act=SubscriptionChange.Act.CHANGE,
        at__gte=period.starts_at,
        at__lt=ends_at,
        from_version__isnull=False,
    )
    total, day, version_id = ZERO, first, period.plan_version_id
    rows = list(changes.order_by("at", "pk").values_list("at", "from_version", "to_version"))
    if rows:
        version_id = rows[0][1]
    for at, _from, to_version in [*rows, (ends_at, None, None)]:
        on = periods.day_of(at, zone)
        piece = resolve(
            account_id=subscription.account_id, version_id=version_id, currency=terms.currency, at=period.starts_at
        )
        total += piece.minimum * (on - day).days
        day, version_id = on, to_version or version_id
    return total, (last - first).days


def _add(
    arrears: Arrears,
    subscription: Subscription,
    terms: Terms,
    description: str,
    quantity: Decimal,
    amount: Decimal,
    *,
    of: Span,
    reference: str,
    now: datetime,
) -> None:
    """A line of the invoice to be; for what goes back a pending item, which takes no invoice below nothing."""
    if quantity * amount < 0:
        # More of a volume price made all of it cheaper, or less of it dearer: the line says what it comes to.
        quantity = Decimal(1 if amount > 0 else -1)
    draft = fee_lines.line(terms, description, quantity, amount, of=of, earned=AT_ONCE)
    if amount > 0:
        arrears.drafts.append(draft)
        return
    pending.add(
        account_id=subscription.account_id,
        currency=subscription.currency,
        reference=reference,
        description=draft.description,
        amount=draft.amount,
        quantity=draft.quantity,
        unit_price=draft.unit_price,
        category=draft.category,
        includes_tax=draft.includes_tax,
        recognition=draft.recognition,
        starts_at=draft.starts_at,
        ends_at=draft.ends_at,
        period_reference=draft.period_reference,
        now=now,
        actor="system",
    )


def _span(period: SubscriptionPeriod) -> Span:
    return fee_lines.span(period.subscription_id, period.number, period.starts_at, period.ends_at)
