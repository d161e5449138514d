"""How an account's subscription stands, for its page: the cycle so far, what waits, what is overdue. Reads only."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, FilteredRelation, OuterRef, Q, Value
from django.db.models.functions import JSONObject
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.accounts.models import Account
from billing.ledger.models import CreditPool
from billing.payments.models import Collection, PaymentMethod
from billing.subscriptions.models import CouponRedemption, ScheduledChange, Subscription, SubscriptionChange
from billing.wording.amounts import money_text, percent_text

ZERO, HUNDRED = Decimal(0), Decimal(100)
# From so many percentage points on, credits that go faster than the time are worth a word.
AHEAD = 10


def find(account: Account, *, reference: str = "") -> Subscription | None:
    """The account's subscription: the live one, else the last there was. One query, with all that its page names, and
    with whether an act of that reference was done to one of the account's."""
    coupons = CouponRedemption.objects.filter(subscription=OuterRef("pk"), removed_at=None).exclude(periods_left=0)
    facts = {name: f"coupon__{name}" for name in ("code", "name", "currency")} | {
        "percent": "coupon__percent",
        "amount": "coupon__amount",
        "left": "periods_left",
    }
    return (
        Subscription.objects.filter(account=account)
        .annotate(
            has_done=_done_by(reference) if reference else Value(False),
            coupons=ArraySubquery(coupons.order_by("pk").values(facts=JSONObject(**facts))),
            waiting=FilteredRelation(
                "scheduled_changes",
                condition=Q(scheduled_changes__applied_at=None, scheduled_changes__withdrawn_at=None),
            ),
            main_pool=FilteredRelation("account__pools", condition=Q(account__pools__kind=CreditPool.Kind.MAIN)),
            default_card=FilteredRelation(
                "account__payment_methods",
                condition=Q(account__payment_methods__is_default=True, account__payment_methods__removed_at=None),
            ),
        )
        .select_related("account", "plan_version__plan", "method")
        .select_related("waiting__plan_version__plan", "main_pool", "default_card")  # type: ignore[misc]
        .order_by("-pk")
        .first()
    )


def _done_by(reference: str) -> Exists:
    """Whether an act on any of the account's subscriptions has the reference, or that of the subscribing itself."""
    named = Q(subscription__reference=reference) | Q(reference__endswith=f":{reference}")
    return Exists(SubscriptionChange.objects.filter(named, subscription__account=OuterRef("account")))


def has_done(subscription: Subscription | None) -> bool:
    """Whether the act that `find` was asked about was done; of what it found."""
    return bool(getattr(subscription, "has_done", False))


def waiting_change(subscription: Subscription) -> ScheduledChange | None:
    """The change that waits for the period's end; of what `find` found."""
    return getattr(subscription, "waiting", None)


def paying_card(subscription: Subscription) -> PaymentMethod | None:
    """The card that renewals are charged to; of what `find` found."""
    own = subscription.method
    if own is not None and own.removed_at is None:
        return own
    return getattr(subscription, "default_card", None)


@dataclass(frozen=True, slots=True)
class Cycle:
    """The cycle of credits that runs: its days and its credits. `over`: credits used beyond it."""

    starts_at: datetime
    ends_at: datetime
    day: int
    days: int
    allocation: Decimal
    spent: Decimal

    @property
    def over(self) -> Decimal:
        return max(ZERO, self.spent - self.allocation)

    @property
    def is_ahead(self) -> bool:
        """Whether credits go clearly faster than the time."""
        return (
            self.allocation > 0
            and self.spent * HUNDRED / self.allocation >= Decimal(self.day * 100) / self.days + AHEAD
        )


def cycle_of(subscription: Subscription, zone: ZoneInfo, *, now: datetime) -> Cycle | None:
    """The cycle that runs by the main pool and the days of the subscription; None once its period is over."""
    pool: CreditPool = subscription.main_pool  # type: ignore[attr-defined]
    starts_at, ends_at = subscription.period_starts_at, subscription.period_ends_at
    if subscription.next_due_at is not None and pool.cycle_starts_at >= starts_at and pool.cycle_ends_at <= ends_at:
        starts_at, ends_at = pool.cycle_starts_at, pool.cycle_ends_at
    if not starts_at <= now < ends_at:
        return None
    first, today, last = (moment.astimezone(zone).date() for moment in (starts_at, now, ends_at))
    day, days = (today - first).days + 1, max(1, (last - first).days)
    return Cycle(
        starts_at=starts_at,
        ends_at=ends_at,
        day=day,
        days=days,
        allocation=pool.cycle_allocation,
        spent=pool.cycle_spent,
    )


def list_collections(subscription: Subscription) -> list[Collection]:
    """Those of the subscription's invoices that are being collected and not paid, the oldest first. One query."""
    unpaid = Collection.objects.filter(purpose=f"subscription:{subscription.pk}")
    states = (Collection.State.OPEN, Collection.State.OVERDUE, Collection.State.EXHAUSTED)
    return list(unpaid.filter(state__in=states).select_related("invoice__account").order_by("pk"))


def coupon_texts(subscription: Subscription) -> list[tuple[str, str]]:
    """The code of each coupon that still counts, and what it does; of what `find` found."""
    found: list[dict[str, object]] = subscription.coupons  # type: ignore[attr-defined]
    return [(str(facts["code"]), _coupon_text(facts)) for facts in found]


def _coupon_text(facts: dict[str, object]) -> str:
    if facts["percent"] is not None:
        off = _("%(percent)s off") % {"percent": percent_text(Decimal(str(facts["percent"])))}
    else:
        off = _("%(money)s off") % {"money": money_text(Decimal(str(facts["amount"])), str(facts["currency"]))}
    if facts["left"] is None:
        return _("%(off)s, for as long as you stay") % {"off": off}
    left = int(str(facts["left"]))
    text = ngettext("%(off)s the next period", "%(off)s the next %(count)s periods", left)
    return text % {"off": off, "count": left}
