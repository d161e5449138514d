"""The plans of Lumen AI in their three shapes, its coupons, and what it does about unpaid invoices.

`Team` is a base fee with credits and overage on top, by the month or the year; `Growth` and `Scale` are tiers with
credits; `Metered` is consumption alone, with a small minimum; `Enterprise` is for one segment.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.catalog import plans
from billing.catalog.models import Coupon, DunningPolicy, Plan, PlanPrice, PlanVersion
from billing.catalog.pricing import round_money

# What a dollar of a price is elsewhere.
CURRENCIES: Mapping[str, Decimal] = {
    "USD": Decimal(1),
    "EUR": Decimal("0.9"),
    "GBP": Decimal("0.8"),
    "CHF": Decimal("0.9"),
    "AUD": Decimal("1.5"),
    "JPY": Decimal(150),
}
Tiers = Sequence[tuple[int | None, str]]


def make_plans(*, now: datetime) -> dict[str, PlanVersion]:
    """All plans on sale, by key; policies of dunning and coupons."""
    standard = DunningPolicy.objects.create(
        key="standard", name="Three weeks", retry_days=[1, 3, 5, 7], reminder_days=[1, 7, 14], final_days=21,
        final_act="cancel", is_default=True, created_at=now,
    )  # fmt: skip
    sold = {}
    sold["metered"] = _make(
        "metered", "Metered", "Pay for what you use, afterwards.", now, minimum="10", overage=((None, "110"),),
        policy="overage", overage_unit=1_000, dunning_policy=standard,
    )  # fmt: skip
    gentle = DunningPolicy.objects.create(
        key="gentle", name="Back to Metered", retry_days=[1, 4, 8, 12], reminder_days=[2, 9, 20], final_days=30,
        final_act="downgrade", downgrade_to=sold["metered"].plan, created_at=now,
    )  # fmt: skip
    team: dict[str, Any] = {
        "policy": "overage", "overage_unit": 1_000, "overage_model": "graduated", "included_credits": 5_000,
        "credits_per_seat": 200, "seats_included": 3, "seats_max": 50, "rollover_periods": 1,
    }  # fmt: skip
    slices = ((5_000, "110"), (20_000, "100"), (None, "85"))
    sold["team"] = _make(
        "team", "Team", "Credits for a small team, and more when you need more.", now, fee="449", seat="15",
        overage=slices, rollover="share", rollover_percent=25, trial_days=14, trial_credits=500, **team,
    )  # fmt: skip
    sold["team-yearly"] = _make(
        "team-yearly", "Team, by the year", "Twelve months for the price of ten.", now, fee="4490", seat="150",
        overage=slices, interval="year", grants_monthly=True, **team,
    )  # fmt: skip
    sold["growth"] = _make(
        "growth", "Growth", "More credits, which you keep for longer and get more of with time.", now, fee="1590",
        policy="burst", burst_limit=2_000, included_credits=20_000, rollover="amount", rollover_amount=5_000,
        rollover_periods=3, rollover_cap=10_000, dunning_policy=gentle,
        loyalty_steps=[{"from_period": 7, "percent": "2.5"}, {"from_period": 13, "percent": "5"}],
    )  # fmt: skip
    sold["scale"] = _make(
        "scale", "Scale", "For products that live on it.", now, fee="6900", policy="overage", overage_unit=1_000,
        overage_model="volume", overage=((25_000, "80"), (None, "70")), included_credits=100_000, rollover="all",
        rollover_periods=1, dunning_policy=gentle,
    )  # fmt: skip
    sold["enterprise"] = _make(
        "enterprise", "Enterprise", "By agreement, with a commitment.", now, fee="2500", minimum="2750",
        policy="overage", overage_unit=1_000, overage=((None, "70"),), included_credits=30_000, rollover="share",
        rollover_percent=30, target_segments=["enterprise"],
    )  # fmt: skip
    _make_coupons(now)
    return sold


def _make(
    key: str, name: str, description: str, now: datetime, *, fee: str = "0", seat: str = "0", minimum: str = "0",
    overage: Tiers = (), **terms: object,
) -> PlanVersion:  # fmt: skip
    """A published plan, priced in every currency from its prices in dollars."""
    position = Plan.objects.count() + 1
    plan = Plan.objects.create(key=key, name=name, description=description, position=position, created_at=now)
    draft = plans.draft_version(plan_id=plan.pk, now=now)
    for field, value in terms.items():
        setattr(draft, field, value)
    draft.save()
    for currency, rate in CURRENCIES.items():
        amounts = {
            column: round_money(Decimal(price) * rate, currency)
            for column, price in (("fee", fee), ("seat_price", seat), ("minimum", minimum))
        }
        tiers = [{"up_to": up_to and str(up_to), "price": f"{Decimal(each) * rate:f}"} for up_to, each in overage]
        PlanPrice.objects.create(version=draft, currency=currency, overage_tiers=tiers, **amounts)
    return plans.publish(version_id=draft.pk, now=now)


def _make_coupons(now: datetime) -> None:
    for code, name, terms in (
        ("WELCOME20", "A fifth off for three periods", {"percent": 20, "duration_periods": 3, "max_redemptions": 500}),
        ("LAUNCH50", "Fifty euros off once", {"amount": 50, "currency": "EUR", "duration_periods": 1}),
        ("FRIENDS", "Five percent for friends", {"percent": 5}),
    ):
        Coupon.objects.create(code=code, name=name, created_at=now, **terms)
