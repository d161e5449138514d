"""Powers over subscriptions: plans and seats, ends that give money back, coupons, terms agreed with one account."""

from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Model

from billing.accounts.approvals import Worth
from billing.accounts.models import Approval
from billing.admin.powers.power import Payload, actor_of
from billing.catalog import plan_pricing
from billing.catalog.models import Coupon, PlanVersion
from billing.payments import collecting
from billing.subscriptions.agreement import contracts, terms
from billing.subscriptions.agreement.contracts import Agreed
from billing.subscriptions.charges import coupons, fee_lines
from billing.subscriptions.followup import payment_news
from billing.subscriptions.lifecycle import changes, pause_cancel, subscribing, unused_refund
from billing.subscriptions.models import ContractTerms, Subscription

ZERO = Decimal(0)
SOON = 10


def subscription_of(asked: Payload) -> Model | None:
    """The subscription that is changed."""
    return Subscription.objects.get(pk=asked["subscription_id"])


# --- A new subscription ----------------------------------------------------------------------------------------------
def worth_of_start(asked: Payload, now: datetime) -> Worth:
    """The first invoice, tax included, now or after the trial; and the credits, where they come before the money."""
    terms = ("account_id", "plan_version_id", "seats", "currency", "coupon_code")
    plan = subscribing.preview(**{name: asked[name] for name in terms}, now=now)
    is_ahead = plan.trial_ends_at is not None or asked["collection"] == Subscription.Collection.MANUAL
    amount = ZERO if plan.price is None else plan.price.total
    return Worth(
        credits=plan.credits if is_ahead else ZERO, amount=amount, currency=plan.terms.currency if amount else ""
    )


def start(approval: Approval, now: datetime) -> Model:
    """Give the account the plan from now on; a card is charged after the commit."""
    return subscribing.subscribe(
        **approval.payload, reference=approval.reference, actor=actor_of(approval), now=now
    )  # fmt: skip


def charge_first(approval: Approval, now: datetime) -> None:
    """Charge the first invoice, as far as the gateway answers, and let the subscription follow."""
    collecting.run_due(now=now, limit=SOON, account_id=approval.account_id)
    payment_news.follow_up(now=now, limit=SOON, account_id=approval.account_id)


# --- Another plan, or other seats ------------------------------------------------------------------------------------
def worth_of_change(asked: Payload, now: datetime) -> Worth:
    """Now: what is charged and what is given back. Later: what a period costs more or less. And the credits that come
    or go in either case."""
    plan = changes.preview(**asked, by_staff=True, now=now)
    amount = plan.total + abs(plan.credit) + plan.credited
    if plan.when == changes.When.PERIOD_END:
        row = Subscription.objects.get(pk=asked["subscription_id"])
        amount = abs(_price(row, plan.plan_version, plan.seats) - _price(row, row.plan_version, row.seats))
    return Worth(credits=abs(plan.credits_delta), amount=amount, currency=plan.currency if amount else "")


def change(approval: Approval, now: datetime) -> Model:
    """Change plan and seats."""
    return changes.change(
        **approval.payload, by_staff=True, reference=approval.reference, actor=actor_of(approval), now=now
    )


def _price(row: Subscription, version: PlanVersion, seats: int) -> Decimal:
    """What a period costs in advance, before discounts and tax."""
    agreed = terms.resolve(
        account_id=row.account_id, version_id=version.pk, currency=row.currency, at=row.period_ends_at
    )
    return max(fee_lines.fee_of(agreed) + fee_lines.seats_fee(agreed, seats=seats), agreed.minimum)


# --- The end, with the unused days given back ------------------------------------------------------------------------
def unused(row: Subscription, *, now: datetime) -> Decimal:
    """What ending it now would give back at most, before tax; nothing outside of a paid period."""
    if not row.period_number or row.state == Subscription.State.INCOMPLETE or now >= row.period_ends_at:
        return ZERO
    return unused_refund.worth(row, now=now)


def worth_of_end(asked: Payload, now: datetime) -> Worth:
    """What is given back, before tax."""
    row = Subscription.objects.get(pk=asked["subscription_id"])
    amount = unused(row, now=now)
    return Worth(amount=amount, currency=row.currency if amount else "")


def end(approval: Approval, now: datetime) -> Model:
    """End it now and give the unused days back."""
    return pause_cancel.cancel(
        **approval.payload, when=changes.When.NOW, reason=approval.reason[:200], gives_back=True,
        reference=approval.reference, actor=actor_of(approval), now=now,
    )  # fmt: skip


# --- Coupons ---------------------------------------------------------------------------------------------------------
def worth_of_coupon(asked: Payload, now: datetime) -> Worth:
    """What it takes off a period, times its periods; without a bound where it never ends."""
    row = Subscription.objects.select_related("plan_version").get(pk=asked["subscription_id"])
    coupon = Coupon.objects.filter(code=asked["code"].strip().upper()).first()
    if coupon is None:
        raise coupons.CouponRefused(coupons.Refusal.UNKNOWN)
    if coupon.duration_periods is None:
        return Worth(is_boundless=True)
    price = _price(row, row.plan_version, row.seats)
    off = plan_pricing.discount(amount=price, percent=coupon.percent, off=coupon.amount, currency=row.currency)
    amount = off * coupon.duration_periods
    return Worth(amount=amount, currency=row.currency if amount else "")


def redeem(approval: Approval, now: datetime) -> Model:
    """Give the subscription the coupon's discounts from its next invoice on."""
    return pause_cancel.redeem(**approval.payload, reference=approval.reference, actor=actor_of(approval), now=now)


# --- Contract terms --------------------------------------------------------------------------------------------------
def terms_of(asked: Payload) -> Model | None:
    """The terms that end."""
    return ContractTerms.objects.get(pk=asked["terms_id"])


def terms_payload(agreed: Agreed, **others: Any) -> dict[str, Any]:
    """What asks for terms to be agreed, as JSON."""
    values = {field.name: getattr(agreed, field.name) for field in fields(agreed)}
    texts = {name: str(value) if isinstance(value, Decimal) else value for name, value in values.items()}
    return {"agreed": texts, **others}


def agree(approval: Approval, now: datetime) -> Model:
    """Agree the terms, from the asked time on or from now, whichever is later."""
    asked = approval.payload
    others = ("plan_id", "currency", "seats_included", "overage_tiers")
    values: dict[str, Any] = {
        name: Decimal(value) if value is not None and name not in others else value
        for name, value in asked["agreed"].items()
    }
    return contracts.agree(
        account_id=asked["account_id"],
        agreed=Agreed(**values),
        starts_at=datetime.fromisoformat(asked["starts_at"]),
        ends_at=datetime.fromisoformat(asked["ends_at"]) if asked["ends_at"] else None,
        note=approval.reason,
        actor=actor_of(approval),
        now=now,
    )


def end_terms(approval: Approval, now: datetime) -> Model:
    """Let terms end: the plan's own follow."""
    asked = approval.payload
    return contracts.end(terms_id=asked["terms_id"], at=datetime.fromisoformat(asked["at"]), now=now)
