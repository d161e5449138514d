"""What the overview says of the account's plan, read together with its pools: no query of its own."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import OuterRef, Subquery
from django.db.models.functions import JSONObject

from billing.catalog.models import PlanVersion
from billing.ledger.models import CreditPool
from billing.subscriptions.models import Subscription

# A plan in one of these states brings the next credits when the cycle ends.
_RENEWING = ("trialing", "active", "past_due")


@dataclass(frozen=True, slots=True)
class Renewal:
    """The plan: its name and state, when its period ends, and when it brings the next credits, if it does.

    `rolls_over`: credits that are left then are not all lost."""

    plan_name: str
    state: str
    ends_at: datetime
    credits_at: datetime | None
    rolls_over: bool


def annotation() -> Subquery:
    """The account's live subscription as `renewal_of` reads it: to be annotated to pools under the name `plan`."""
    live = Subscription.objects.filter(account=OuterRef("account")).exclude(state=Subscription.State.ENDED)
    version = "plan_version__"
    facts = {
        "name": f"{version}plan__name",
        "state": "state",
        "seats": "seats",
        "ends_at": "period_ends_at",
        "due_at": "next_due_at",
        "included": f"{version}included_credits",
        "per_seat": f"{version}credits_per_seat",
        "rollover": f"{version}rollover",
    }
    return Subquery(live.values(facts=JSONObject(**facts))[:1])


def renewal_of(pool: CreditPool) -> Renewal | None:
    """The plan of a pool's account; None without one. Needs `annotation`."""
    facts: dict[str, str | int | float] | None = pool.plan  # type: ignore[attr-defined]
    if facts is None:
        return None
    brings = float(facts["included"]) > 0 or (float(facts["per_seat"]) > 0 and float(facts["seats"]) > 0)
    brings = brings and facts["state"] in _RENEWING and pool.kind == CreditPool.Kind.MAIN
    return Renewal(
        plan_name=str(facts["name"]),
        state=str(facts["state"]),
        ends_at=datetime.fromisoformat(str(facts["ends_at"])),
        credits_at=datetime.fromisoformat(str(facts["due_at"])) if brings and facts["due_at"] else None,
        rolls_over=facts["rollover"] != PlanVersion.Rollover.NONE,
    )
