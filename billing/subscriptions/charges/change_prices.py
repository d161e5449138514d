"""What a change of plan or seats costs: both sides of it, day by day. Reads only.

Within the period the unused days of the old fee are given back and the same days of the new are charged. A change to
another interval (or from credits a period to credits a month) gives back the unused days and begins a new period today.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.catalog import periods, plan_pricing
from billing.catalog.models import Coupon, PlanVersion
from billing.invoicing.lines import LineDraft
from billing.invoicing.models import Invoice
from billing.subscriptions.agreement import terms as agreed
from billing.subscriptions.agreement.terms import Terms
from billing.subscriptions.charges import fee_lines, proration
from billing.subscriptions.charges.fee_lines import Span
from billing.subscriptions.charges.proration import Cut
from billing.subscriptions.models import ContractTerms, Subscription, SubscriptionPeriod

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Side:
    """What a subscription has before a change or after it: terms and seats, what a whole period of them costs in
    advance, and what is taken off that."""

    terms: Terms
    seats: int
    fee: Decimal
    seats_fee: Decimal
    discounts: Sequence[Mapping[str, Any]] = ()
    is_void: bool = False

    @property
    def included(self) -> Decimal:
        """Credits of one grant."""
        return ZERO if self.is_void else self.terms.included(self.seats)

    @property
    def earned(self) -> str:
        """When what is paid in advance is earned, as `InvoiceLine.Recognition` has it."""
        return fee_lines.earned_by(self.terms, seats=self.seats)

    @property
    def per_period(self) -> Decimal:
        """The least that a period costs before discounts."""
        return max(self.fee + self.seats_fee, self.terms.minimum)


def before(
    subscription: Subscription, period: SubscriptionPeriod, *, contracts: Sequence[ContractTerms] | None = None
) -> Side:
    """What the subscription has in this period; a trial costs nothing, and one whose invoice is void has neither cost
    anything nor credits. `contracts` are the account's, where they have been read. Raises terms.NoPrice."""
    terms = agreed.of(subscription, at=subscription.period_starts_at, contracts=contracts)
    if period.invoice is not None and period.invoice.state == Invoice.State.VOID:
        return Side(terms, subscription.seats, ZERO, ZERO, is_void=True)
    fee, seats_fee = fee_lines.fee_of(terms), fee_lines.seats_fee(terms, seats=subscription.seats)
    return Side(terms, subscription.seats, fee, seats_fee, period.discounts)


def after(
    subscription: Subscription,
    old: Side,
    *,
    version: PlanVersion,
    seats: int,
    contracts: Sequence[ContractTerms],
    at: datetime,
) -> Side:
    """What it would have with another version or number of seats, of which there are at least those included, from `at`
    on. A contract's terms are those of the period that runs, unless the change begins another one. Raises
    terms.NoPrice."""
    found = _resolve(subscription, version, contracts, at=subscription.period_starts_at)
    if at >= subscription.period_ends_at or not keeps_period(old.terms, found):
        found = _resolve(subscription, version, contracts, at=at)
    seats = max(seats, found.seats_included)
    fee, seats_fee = fee_lines.fee_of(found), fee_lines.seats_fee(found, seats=seats)
    return Side(found, seats, fee, seats_fee, _still_given(old.discounts, found))


def _resolve(
    subscription: Subscription, version: PlanVersion, contracts: Sequence[ContractTerms], *, at: datetime
) -> Terms:
    return agreed.resolve(
        account_id=subscription.account_id,
        version_id=version.pk,
        currency=subscription.currency,
        at=at,
        contracts=contracts,
    )


def keeps_period(old: Terms, new: Terms) -> bool:
    """Whether a change from these terms to those leaves the period and its cycles as they are."""
    return (old.interval, old.interval_count, old.cycle) == (new.interval, new.interval_count, new.cycle)


def is_upgrade(old: Side, new: Side, *, subscription: Subscription, now: datetime) -> bool:
    """Whether a change is dearer a day, or as dear with no fewer credits a day."""
    today = periods.day_of(now, subscription.account.time_zone)
    old_days, new_days = ((side.terms.starts_on(today, 1) - today).days for side in (old, new))
    if proration.is_dearer(new.per_period, new_days=new_days, old=old.per_period, old_days=old_days):
        return True
    if proration.is_dearer(old.per_period, new_days=old_days, old=new.per_period, old_days=new_days):
        return False
    was, will_be = old.included * old.terms.cycles, new.included * new.terms.cycles
    return not proration.is_dearer(was, new_days=old_days, old=will_be, old_days=new_days)


def cut_of(subscription: Subscription, *, now: datetime) -> Cut:
    """The subscription's period, cut today. Raises proration.OutsidePeriod."""
    return proration.cut(
        starts_at=subscription.period_starts_at,
        ends_at=subscription.period_ends_at,
        at=now,
        time_zone=subscription.account.time_zone,
    )


def rest_of(subscription: Subscription, *, now: datetime) -> Span:
    """The days of the period from today on, as lines name them."""
    whole = fee_lines.span_of(subscription)
    zone = subscription.account.time_zone
    today = periods.first_moment(periods.day_of(now, zone), zone)
    return Span(whole.number, max(today, whole.starts_at), whole.ends_at, whole.reference)


def unused(side: Side, *, cut: Cut, of: Span) -> list[LineDraft]:
    """What is given back of what was charged in advance: fee, seats, and less for what was taken off them."""
    name = {"plan": side.terms.plan_name}
    parts = [
        (_("Unused time on %(plan)s") % name, -proration.money_left(side.fee, cut, side.terms.currency)),
        (
            _("Unused time of extra seats on %(plan)s") % name,
            -proration.money_left(side.seats_fee, cut, side.terms.currency),
        ),
    ]
    for what, off in _taken_off(side):
        text = _("Unused part of: %(what)s") % {"what": what}
        parts.append((text, proration.money_left(off, cut, side.terms.currency)))
    return _lines(side, parts, of=of)


def remaining(side: Side, *, cut: Cut, of: Span) -> list[LineDraft]:
    """What the days that are left cost in advance, less what is taken off."""
    extra = side.terms.extra_seats(side.seats)
    texts = {"plan": side.terms.plan_name, "count": extra, "left": cut.left, "days": cut.days}
    seats = ngettext(
        "%(plan)s: %(count)d extra seat, %(left)d of %(days)d days",
        "%(plan)s: %(count)d extra seats, %(left)d of %(days)d days",
        extra,
    )
    parts = [
        (
            _("%(plan)s, %(left)d of %(days)d days") % texts,
            proration.money_left(side.fee, cut, side.terms.currency),
        ),
        (seats % texts, proration.money_left(side.seats_fee, cut, side.terms.currency)),
        *((what, -proration.money_left(off, cut, side.terms.currency)) for what, off in _taken_off(side)),
    ]
    return _lines(side, parts, of=of)


def _lines(side: Side, parts: Sequence[tuple[str, Decimal]], *, of: Span) -> list[LineDraft]:
    return [
        fee_lines.line(side.terms, text, Decimal(1 if amount > 0 else -1), amount, of=of, earned=side.earned)
        for text, amount in parts
        if amount
    ]


def swapped(old: Side, new: Side, *, cut: Cut, of: Span) -> tuple[list[LineDraft], list[LineDraft]]:
    """What a change within the period gives back, and what it charges. What stays the same, the fee when only seats
    change, is in neither."""
    gone, come = unused(old, cut=cut, of=of), remaining(new, cut=cut, of=of)
    if old.fee == new.fee and old.terms.version == new.terms.version and not old.discounts and old.fee and cut.left:
        return gone[1:], come[1:]
    return gone, come


def _taken_off(side: Side) -> list[tuple[str, Decimal]]:
    """What discounts take off a whole period, one after the other, and how the lines call them."""
    left, found = side.fee + side.seats_fee, []
    for each in side.discounts:
        percent, off = (None if each[name] is None else Decimal(each[name]) for name in ("percent", "amount"))
        amount = plan_pricing.discount(amount=left, percent=percent, off=off, currency=side.terms.currency)
        if amount:
            found.append((str(each["name"]), amount))
            left -= amount
    return found


def _still_given(discounts: Sequence[Mapping[str, Any]], terms: Terms) -> list[Mapping[str, Any]]:
    """Those discounts that are for this plan, too."""
    ids = [each["coupon"] for each in discounts if each["coupon"] is not None]
    plans: dict[int, set[int]] = {pk: set() for pk in ids}
    for pk, plan_id in Coupon.objects.filter(pk__in=ids, plans__isnull=False).values_list("pk", "plans"):
        plans[pk].add(plan_id)
    return [
        each for each in discounts if not plans.get(each["coupon"]) or terms.version.plan_id in plans[each["coupon"]]
    ]
