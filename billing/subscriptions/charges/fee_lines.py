"""What a period's invoice says: fee and seats in advance, less discounts. Pure arithmetic, no I/O, no clock."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.utils.translation import ngettext

from billing.catalog import pricing
from billing.invoicing.lines import LineDraft
from billing.invoicing.models import InvoiceLine
from billing.subscriptions.agreement.terms import Terms
from billing.subscriptions.models import Subscription

ZERO = Decimal(0)
# What the references of all periods begin with.
PERIODS = "subscription:"


@dataclass(frozen=True, slots=True)
class Span:
    """A period, `[starts_at, ends_at)`, and what its lines name it by (`subscription:<id>:<number>`)."""

    number: int
    starts_at: datetime
    ends_at: datetime
    reference: str


def span(subscription_id: int, number: int, starts_at: datetime, ends_at: datetime) -> Span:
    """A period of a subscription."""
    return Span(number, starts_at, ends_at, f"{PERIODS}{subscription_id}:{number}")


def advance(terms: Terms, *, seats: int, of: Span) -> list[LineDraft]:
    """Fee and extra seats of a whole period; nothing for what is free.

    Where the plan includes credits the money pays for them, and is earned as they are used; otherwise day by day.
    """
    drafts, earned = [], earned_by(terms, seats=seats)
    if fee := fee_of(terms):
        drafts.append(line(terms, terms.plan_name, Decimal(1), fee, of=of, earned=earned))
    if fee := seats_fee(terms, seats=seats):
        extra = terms.extra_seats(seats)
        text = ngettext("%(plan)s: %(count)d extra seat", "%(plan)s: %(count)d extra seats", extra)
        text %= {"plan": terms.plan_name, "count": extra}
        drafts.append(line(terms, text, Decimal(extra), fee, of=of, earned=earned))
    return drafts


def fee_of(terms: Terms) -> Decimal:
    """The fee of a whole period, in whole minor units."""
    return pricing.round_money(terms.fee, terms.currency)


def seats_fee(terms: Terms, *, seats: int) -> Decimal:
    """What the extra seats of a whole period cost, in whole minor units."""
    return pricing.round_money(terms.seat_price * terms.extra_seats(seats), terms.currency)


def earned_by(terms: Terms, *, seats: int) -> str:
    """When what is paid in advance is earned."""
    is_for_credits = terms.included(seats) > 0
    return InvoiceLine.Recognition.CREDITS if is_for_credits else InvoiceLine.Recognition.PERIOD


def line(terms: Terms, description: str, quantity: Decimal, amount: Decimal, *, of: Span, earned: str) -> LineDraft:
    """A line about a period or a part of it, `earned` as `InvoiceLine.Recognition` has it (`earned_by`)."""
    return LineDraft(
        description=description,
        quantity=quantity,
        unit_price=pricing.cost_per_credit(amount, quantity),
        amount=amount,
        category=terms.version.plan.tax_category,
        includes_tax=terms.version.prices_include_tax,
        recognition=earned,
        starts_at=of.starts_at,
        ends_at=of.ends_at,
        period_reference=of.reference,
    )


def net(drafts: Iterable[LineDraft]) -> Decimal:
    """What lines come to."""
    return sum((draft.amount for draft in drafts), ZERO)


def span_of(subscription: Subscription) -> Span:
    """The subscription's period as its lines name it."""
    return span(subscription.pk, subscription.period_number, subscription.period_starts_at, subscription.period_ends_at)
