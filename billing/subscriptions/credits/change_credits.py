"""Credits when a plan changes within a period: more for the rest of the cycle, or some of them back; and what those
were worth that cannot come back, for they are used.

Locks: the caller holds those of the subscription's row and the account's pools.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import F, QuerySet
from django.utils.translation import gettext as _

from billing.catalog import pricing
from billing.invoicing.lines import LineDraft
from billing.invoicing.models import Invoice, InvoiceLine
from billing.ledger import pools, posting
from billing.ledger.models import CreditGrant, GrantKind
from billing.subscriptions.charges import change_prices, fee_lines, proration
from billing.subscriptions.charges.change_prices import Side
from billing.subscriptions.charges.fee_lines import Span
from billing.subscriptions.credits import allocations
from billing.subscriptions.models import Allocation, Subscription

ZERO = Decimal(0)
Cycle = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class CycleLeft:
    """The cycle of credits that runs, cut today, and those of the period still to come."""

    cycle: Cycle
    cut: proration.Cut
    later: Sequence[Cycle]

    def left(self, side: Side) -> Decimal:
        """What the days of the cycle from today on have of a side's credits."""
        return proration.credits_left(side.included, self.cut)


def cycle_left(subscription: Subscription, side: Side, *, now: datetime) -> CycleLeft:
    """The cycles of the subscription's period under one side's terms, as they stand now."""
    cycles = allocations.running_cycles(subscription, side.terms)
    running = next(cycle for cycle in cycles if now < cycle[1])
    cut = proration.cut(starts_at=running[0], ends_at=running[1], at=now, time_zone=subscription.account.time_zone)
    return CycleLeft(running, cut, [cycle for cycle in cycles if cycle[0] >= running[1]])


def adjust(
    subscription: Subscription,
    old: Side,
    new: Side,
    *,
    name: str,
    paid: Decimal,
    invoice: Invoice | None,
    waits_for_payment: bool,
    actor: str,
    now: datetime,
) -> None:
    """Let the credits of the period from today on be those of the new side: the difference for the rest of the cycle
    that runs and for cycles to come. What is promised already stays as it is, paid for by the invoice that it is on,
    unless it becomes less, or less is paid for it: then all of the cycles to come is promised anew.

    `paid` is the net money of the change that pays for credits; with what the credits taken back had cost it makes the
    cost basis of those that come. `name` tells this change apart.
    """
    left = cycle_left(subscription, old, now=now)
    difference = left.left(new) - left.left(old)
    later, value = new.included, paid
    if new.included > old.included and (waits_for_payment or paid >= ZERO):
        later -= old.included
    else:
        before = _to_come(subscription, left).exclude(invoice=None).select_related("invoice")
        if paid <= ZERO and before:
            # It is paid already: most of it by this invoice.
            invoice = max(before, key=lambda row: row.credits * row.cost_basis).invoice
        value += forgo(subscription, left, now=now)
    if difference < 0:
        value += take_back(subscription, -difference, ends_at=left.cycle[1], name=name, actor=actor, now=now)
    wanted = [(left.cycle, difference)] if difference > 0 else []
    wanted += [(cycle, later) for cycle in left.later if later]
    total = sum((credits for _cycle, credits in wanted), ZERO)
    cost_basis = pricing.cost_per_credit(max(value, ZERO), total) if total else ZERO
    Allocation.objects.bulk_create(
        Allocation(
            subscription=subscription,
            reference=f"{subscription.pk}:{subscription.period_number}:{name}:{part}",
            credits=credits,
            cost_basis=cost_basis,
            starts_at=max(starts_at, now),
            ends_at=ends_at,
            invoice=invoice,
            waits_for_payment=waits_for_payment,
            created_at=now,
        )
        for part, ((starts_at, ends_at), credits) in enumerate(wanted, start=1)
    )


def take_back(
    subscription: Subscription, credits: Decimal, *, ends_at: datetime, name: str, actor: str, now: datetime
) -> Decimal:
    """Take back so many credits of the cycle that ends then, the latest first: those that are only promised, then as
    many as are free of those granted. What they had cost."""
    value = ZERO
    for row in _promised(subscription, ends_at=ends_at, now=now):
        part = min(credits, row.credits)
        if part == row.credits:
            row.cancelled_at = now
        else:
            row.credits -= part
        row.save(update_fields=["credits", "cancelled_at"])
        credits, value = credits - part, value + part * row.cost_basis
    for lot in _lots(subscription, ends_at=ends_at):
        part = min(credits, lot.remaining - lot.held)
        if part > 0:
            reference = f"change:{subscription.pk}:{name}:{lot.pk}"
            posting.revoke(grant_id=lot.pk, reference=reference, now=now, amount=part, actor=actor)
            credits, value = credits - part, value + part * lot.cost_basis
    return value


def left_to_take(subscription: Subscription, *, ends_at: datetime, now: datetime) -> Decimal:
    """The most that `take_back` could take."""
    promised = sum((row.credits for row in _promised(subscription, ends_at=ends_at, now=now)), ZERO)
    return promised + sum((lot.remaining - lot.held for lot in _lots(subscription, ends_at=ends_at)), ZERO)


def used_ahead(
    subscription: Subscription, old: Side, *, kept: Decimal, cut: proration.Cut, of: Span, now: datetime
) -> LineDraft | None:
    """What credits had cost that were for the days from today on and have been used already, but for `kept` ones that
    what follows has anyway: to be taken off what is given back of the fee that they were paid with."""
    left = cycle_left(subscription, old, now=now)
    own = left.left(old)
    ahead = own - kept - left_to_take(subscription, ends_at=left.cycle[1], now=now)
    if ahead <= 0 or old.earned != InvoiceLine.Recognition.CREDITS:
        return None
    price = pricing.part_of_money(
        -fee_lines.net(change_prices.unused(old, cut=cut, of=of)),
        part=ahead,
        of=own + old.included * len(left.later),
        currency=old.terms.currency,
    )
    if price <= 0:
        return None
    text = _("Credits of %(plan)s used ahead of time") % {"plan": old.terms.plan_name}
    return fee_lines.line(old.terms, text, Decimal(1), price, of=of, earned=old.earned)


def forgo(subscription: Subscription, left: CycleLeft, *, now: datetime) -> Decimal:
    """Cancel what is promised for the period's cycles to come. What it had cost."""
    rows = _to_come(subscription, left)
    value = sum((row.credits * row.cost_basis for row in rows), ZERO)
    rows.update(cancelled_at=now)
    return value


def _to_come(subscription: Subscription, left: CycleLeft) -> QuerySet[Allocation]:
    """What is promised for the period's cycles to come."""
    return subscription.allocations.filter(
        kind=GrantKind.ALLOCATION, granted_at=None, cancelled_at=None, starts_at__gte=left.cycle[1]
    )


def _promised(subscription: Subscription, *, ends_at: datetime, now: datetime) -> list[Allocation]:
    rows = subscription.allocations.filter(
        kind=GrantKind.ALLOCATION, granted_at=None, cancelled_at=None, ends_at=ends_at, starts_at__lte=now
    )
    return list(rows.order_by("-pk"))


def _lots(subscription: Subscription, *, ends_at: datetime) -> list[CreditGrant]:
    lots = CreditGrant.objects.filter(
        pool=pools.get_main_pool(subscription.account_id), kind=GrantKind.ALLOCATION, expires_at=ends_at, is_open=True
    )
    return list(lots.filter(remaining__gt=F("held")).order_by("-pk"))
