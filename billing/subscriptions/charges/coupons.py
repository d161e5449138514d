"""Coupons: redeemed by a subscription, taken off what it pays in advance for so many paid periods, or permanently.

Locks: the subscription's row, then the coupon's, whose count of redemptions never exceeds its limit.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from django.db.models import F, Q
from django.utils.translation import gettext as _

from billing.accounts import throttles
from billing.catalog import plan_pricing
from billing.catalog.models import Coupon
from billing.invoicing.lines import LineDraft
from billing.subscriptions.agreement.terms import Terms
from billing.subscriptions.charges import fee_lines
from billing.subscriptions.charges.fee_lines import Span
from billing.subscriptions.models import CouponRedemption, Subscription

ZERO = Decimal(0)


class Refusal(StrEnum):
    """Why a coupon cannot be redeemed."""

    UNKNOWN = "unknown"
    INACTIVE = "inactive"
    NOT_YET = "not_yet"
    EXPIRED = "expired"
    USED_UP = "used_up"
    OTHER_PLAN = "other_plan"
    OTHER_CURRENCY = "other_currency"
    REDEEMED = "redeemed"
    TOO_MANY_GUESSES = "too_many_guesses"


class CouponRefused(Exception):
    """The coupon cannot be redeemed, for `reason`."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


@contextmanager
def guess(*, account_id: int, code: str, now: datetime) -> Iterator[None]:
    """Let an account try a code, or none; after too many that there are not, no code at all for a while. Around what
    raises CouponRefused, and outside its transaction: the count of a wrong code must outlast it."""
    if not code:
        yield
        return
    try:
        throttles.refuse_beyond(throttles.WRONG_COUPONS, account_id, now=now)
        yield
    except throttles.Throttled as error:
        raise CouponRefused(Refusal.TOO_MANY_GUESSES) from error
    except CouponRefused as refusal:
        if refusal.reason is Refusal.UNKNOWN:
            throttles.take((throttles.WRONG_COUPONS, account_id), now=now)
        raise


def check(*, account_id: int, code: str, plan_id: int, currency: str, now: datetime) -> Coupon:
    """The coupon of a code, good for an account, plan and currency now; redeems nothing. Raises CouponRefused."""
    coupon = Coupon.objects.filter(code=code.strip().upper()).first()
    if coupon is None:
        raise CouponRefused(Refusal.UNKNOWN)
    _ensure_good(coupon, plan_id=plan_id, currency=currency, now=now)
    if _has_had(coupon, account_id):
        raise CouponRefused(Refusal.REDEEMED)
    return coupon


def redeem(subscription: Subscription, *, code: str, now: datetime) -> CouponRedemption:
    """Give a subscription the discounts of a coupon, from its next invoice on; once per account. Raises CouponRefused;
    nothing is written then.

    The caller holds the subscription's lock. Locks the coupon's row until the transaction ends.
    """
    coupon = Coupon.objects.select_for_update(no_key=True).filter(code=code.strip().upper()).first()
    if coupon is None:
        raise CouponRefused(Refusal.UNKNOWN)
    _ensure_good(coupon, plan_id=subscription.plan_version.plan_id, currency=subscription.currency, now=now)
    if _has_had(coupon, subscription.account_id):
        raise CouponRefused(Refusal.REDEEMED)
    Coupon.objects.filter(pk=coupon.pk).update(times_redeemed=F("times_redeemed") + 1)
    return CouponRedemption.objects.create(
        subscription=subscription, coupon=coupon, periods_left=coupon.duration_periods, created_at=now
    )


def give_back(subscription: Subscription, *, now: datetime) -> None:
    """Undo the redemptions of a subscription that never came about, so that the coupons can be redeemed again. Locks
    the coupons' rows."""
    rows = subscription.redemptions.filter(removed_at=None)
    Coupon.objects.filter(redemptions__in=rows).update(times_redeemed=F("times_redeemed") - 1)
    rows.update(removed_at=now)


def active(subscription: Subscription) -> list[CouponRedemption]:
    """The redemptions that still take something off, in the order of their coming."""
    return active_of([subscription.pk])


def active_of(subscription_ids: Sequence[int]) -> list[CouponRedemption]:
    """`active` of several subscriptions."""
    rows = CouponRedemption.objects.filter(Q(periods_left=None) | Q(periods_left__gt=0), removed_at=None)
    rows = rows.filter(subscription__in=subscription_ids)
    return list(rows.select_related("coupon").prefetch_related("coupon__plans").order_by("pk"))


def use(redemptions: Iterable[CouponRedemption]) -> None:
    """Count one paid period more for each."""
    counted = [each.pk for each in redemptions if each.periods_left is not None]
    if counted:
        CouponRedemption.objects.filter(pk__in=counted).update(periods_left=F("periods_left") - 1)


def as_given(terms: Terms, drafts: Sequence[LineDraft], used: Sequence[CouponRedemption]) -> list[dict[str, object]]:
    """What a period keeps of its discounts: a contract's, then the coupons used, each with its line's words."""
    rules: list[tuple[int | None, Decimal | None, Decimal | None]] = [
        (each.coupon_id, each.coupon.percent, each.coupon.amount) for each in used
    ]
    if len(drafts) > len(used):
        rules.insert(0, (None, terms.discount_percent, None))
    return [
        {
            "coupon": coupon_id,
            "name": draft.description,
            "percent": None if percent is None else str(percent),
            "amount": None if amount is None else str(amount),
        }
        for draft, (coupon_id, percent, amount) in zip(drafts, rules, strict=True)
    ]


def discounts(
    redemptions: Sequence[CouponRedemption], *, terms: Terms, advance: Sequence[LineDraft], of: Span
) -> tuple[list[LineDraft], list[CouponRedemption]]:
    """What the contract's discount and then each coupon take off what is left to pay, and the coupons used. Pure."""
    drafts: list[LineDraft] = []
    used: list[CouponRedemption] = []
    left = fee_lines.net(advance)
    if left <= 0:
        return drafts, used
    earned = advance[0].recognition
    off = plan_pricing.discount(amount=left, percent=terms.discount_percent, currency=terms.currency)
    if off:
        drafts.append(fee_lines.line(terms, _("Discount as agreed"), Decimal(-1), -off, of=of, earned=earned))
        left -= off
    for redemption in redemptions:
        coupon = redemption.coupon
        if not _is_for(coupon, terms.version.plan_id):
            continue
        off = plan_pricing.discount(amount=left, percent=coupon.percent, off=coupon.amount, currency=terms.currency)
        if off:
            text = _("Coupon %(code)s: %(name)s") % {"code": coupon.code, "name": coupon.name}
            drafts.append(fee_lines.line(terms, text, Decimal(-1), -off, of=of, earned=earned))
            left -= off
            used.append(redemption)
    return drafts, used


def _ensure_good(coupon: Coupon, *, plan_id: int, currency: str, now: datetime) -> None:
    """Raise CouponRefused where the coupon is not for this plan, currency and time, or used up."""
    if not coupon.is_active:
        raise CouponRefused(Refusal.INACTIVE)
    if coupon.valid_from is not None and now < coupon.valid_from:
        raise CouponRefused(Refusal.NOT_YET)
    if coupon.valid_to is not None and now >= coupon.valid_to:
        raise CouponRefused(Refusal.EXPIRED)
    if coupon.max_redemptions is not None and coupon.times_redeemed >= coupon.max_redemptions:
        raise CouponRefused(Refusal.USED_UP)
    if coupon.currency and coupon.currency != currency:
        raise CouponRefused(Refusal.OTHER_CURRENCY)
    if not _is_for(coupon, plan_id):
        raise CouponRefused(Refusal.OTHER_PLAN)


def _has_had(coupon: Coupon, account_id: int) -> bool:
    """Whether a subscription of the account that came about has had the coupon."""
    return coupon.redemptions.filter(subscription__account=account_id, removed_at=None).exists()


def _is_for(coupon: Coupon, plan_id: int) -> bool:
    plan_ids = {plan.pk for plan in coupon.plans.all()}
    return not plan_ids or plan_id in plan_ids
