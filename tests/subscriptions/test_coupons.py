"""Coupons: what they take off, for how long, and how many may have them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Barrier

import pytest
from django.db.models import F

from billing.catalog.models import Coupon
from billing.invoicing.models import Invoice
from billing.subscriptions.charges import coupons
from billing.subscriptions.charges.coupons import CouponRefused
from billing.subscriptions.lifecycle import subscribing
from billing.subscriptions.models import Allocation, ContractTerms, CouponRedemption, Subscription
from tests.factories import NOW, make_account, make_issuer
from tests.ledger.racing import race
from tests.subscriptions.makers import add_card, make_team, run, subscribe

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
ENDS = [
    datetime(2025, 3, 31, 22, tzinfo=UTC), datetime(2025, 4, 30, 22, tzinfo=UTC), datetime(2025, 5, 31, 22, tzinfo=UTC),
    datetime(2025, 6, 30, 22, tzinfo=UTC),
]  # fmt: skip


def make_coupon(code: str = "SPRING", **fields: object) -> Coupon:
    """20 % off for ever, unless told otherwise."""
    given = {"name": "Spring", "created_at": NOW, **fields}
    if "amount" not in given:
        given.setdefault("percent", Decimal(20))
    return Coupon.objects.create(code=code, **given)


def net() -> list[Decimal]:
    """What each invoice comes to before tax."""
    return list(Invoice.objects.order_by("pk").values_list("subtotal", flat=True))


def test_a_coupon_for_three_periods_is_taken_off_three_times(account):
    add_card(account)
    make_coupon(duration_periods=3)
    subscribe(account, make_team(), coupon_code="spring", collection="automatic")
    for now in (NOW, *ENDS):
        run(now)
    assert net() == [40, 40, 40, 50, 50]
    assert [line.amount for line in Invoice.objects.earliest("pk").lines.all()] == [50, -10]
    assert CouponRedemption.objects.get().periods_left == 0
    assert Coupon.objects.get().times_redeemed == 1
    # The credits cost what is paid for them.
    costs = Allocation.objects.order_by("pk").values_list("cost_basis", flat=True)
    assert list(costs) == [Decimal(cost) for cost in ("0.04", "0.04", "0.04", "0.05", "0.05")]


def test_an_amount_off_never_exceeds_what_is_to_pay(account):
    make_coupon(amount=Decimal("70.00"), currency="USD", duration_periods=1)
    subscribe(account, make_team(), coupon_code="SPRING", collection="automatic")
    run(ENDS[0])
    assert net() == [0, 50]
    assert Invoice.objects.earliest("pk").state == "paid"
    assert Subscription.objects.get().period_number == 2


def test_free_periods_use_nothing_of_a_coupon(account):
    make_coupon(duration_periods=1)
    subscribe(account, make_team(trial_days=14), coupon_code="SPRING")
    assert CouponRedemption.objects.get().periods_left == 1
    run(datetime(2025, 3, 15, tzinfo=UTC))
    assert net() == [40]


def test_several_take_off_what_the_others_leave_after_the_contracts_discount(account):
    team = make_team()
    ContractTerms.objects.create(
        account=account, plan=team.plan, currency="USD", starts_at=NOW - DAY, discount_percent=Decimal(10),
        created_at=NOW,
    )  # fmt: skip
    make_coupon()
    make_coupon("MORE", amount=Decimal("6.00"), currency="USD")
    subscription = subscribe(account, team, coupon_code="SPRING")
    coupons.redeem(subscription, code="MORE", now=NOW)
    run(ENDS[0])
    # 50 less 10 % is 45, less 20 % is 36, less 6 is 30.
    assert net() == [36, 30]
    assert [line.amount for line in Invoice.objects.latest("pk").lines.all()] == [50, -5, -9, -6]


def test_a_coupon_of_one_plan_does_not_follow_to_another(account):
    version = make_team()
    coupon = make_coupon()
    coupon.plans.add(version.plan)
    subscription = subscribe(account, version, coupon_code="SPRING")
    other = make_team(key="other")
    subscription.scheduled_changes.create(plan_version=other, created_at=NOW)
    run(ENDS[0])
    assert net() == [40, 50]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"is_active": False}, "inactive"),
        ({"valid_from": NOW + DAY}, "not_yet"),
        ({"valid_to": NOW}, "expired"),
        ({"max_redemptions": 2, "times_redeemed": 2}, "used_up"),
        ({"amount": Decimal(5), "currency": "EUR"}, "other_currency"),
    ],
)
def test_what_refuses_a_coupon_leaves_nothing_behind(account, fields, reason):
    make_coupon(**fields)
    version = make_team()
    for act in (subscribe, _preview):
        with pytest.raises(CouponRefused) as caught:
            act(account, version, coupon_code="SPRING")
        assert caught.value.reason == reason
    assert not Subscription.objects.exists()
    assert not Invoice.objects.exists()
    assert not CouponRedemption.objects.exists()


def _preview(account, version, *, coupon_code):
    return subscribing.preview(
        account_id=account.pk, plan_version_id=version.pk, seats=0, coupon_code=coupon_code, now=NOW
    )


def test_unknown_codes_and_other_plans_coupons_are_refused(account):
    version = make_team()
    with pytest.raises(CouponRefused, match="unknown"):
        subscribe(account, version, coupon_code="NOPE")
    make_coupon().plans.add(make_team(key="other").plan)
    with pytest.raises(CouponRefused, match="other_plan"):
        subscribe(account, version, coupon_code="SPRING")


def test_a_coupon_is_redeemed_once_by_a_subscription(account):
    make_coupon()
    subscription = subscribe(account, make_team(), coupon_code="SPRING")
    with pytest.raises(CouponRefused, match="redeemed"):
        coupons.redeem(subscription, code="SPRING", now=NOW)
    assert Coupon.objects.get().times_redeemed == 1


def test_the_preview_takes_a_coupon_off_and_redeems_nothing(account):
    make_coupon(duration_periods=1)
    seen = _preview(account, make_team(), coupon_code="SPRING")
    assert seen.quote.subtotal == 40
    assert Coupon.objects.get().times_redeemed == 0


def test_a_subscription_that_never_came_about_gives_its_coupon_back(account):
    make_coupon(max_redemptions=1)
    version = make_team()
    subscribe(account, version, coupon_code="SPRING", collection="automatic")
    run(NOW + DAY)
    assert Coupon.objects.get().times_redeemed == 0
    assert subscribe(account, version, coupon_code="SPRING", now=NOW + DAY).state == "active"


@pytest.mark.django_db(transaction=True)
def test_a_limit_holds_however_many_redeem_at_once():
    make_issuer()
    version = make_team()
    make_coupon(max_redemptions=3)
    accounts = [make_account() for _ in range(8)]

    def all_at_once():
        return race(
            [lambda each=each: subscribe(each, version, coupon_code="SPRING") for each in accounts],
            expected=(CouponRefused,),
        )

    assert all_at_once() == {"done": 3, "CouponRefused": 5}
    assert (Coupon.objects.get().times_redeemed, CouponRedemption.objects.count()) == (3, 3)
    assert sorted(net()) == [40, 40, 40]


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_the_same_race_would_exceed_the_limit():
    """What shows that the race above is one: counting without a lock lets more than three through."""
    make_issuer()
    version = make_team()
    coupon = make_coupon(max_redemptions=3)
    subscriptions = [subscribe(make_account(), version) for _ in range(8)]
    barrier = Barrier(8)

    def redeem_unlocked(subscription):
        seen = Coupon.objects.get(pk=coupon.pk)
        barrier.wait(timeout=60)
        if seen.times_redeemed < seen.max_redemptions:
            Coupon.objects.filter(pk=coupon.pk).update(max_redemptions=None, times_redeemed=F("times_redeemed") + 1)

    race([lambda each=each: redeem_unlocked(each) for each in subscriptions])
    assert Coupon.objects.get().times_redeemed == 8
