"""Staff pages of coupons and dunning policies."""

from decimal import Decimal

from django.test import Client

from billing.catalog.models import Coupon, DunningPolicy
from tests.admin.conftest import Office, find_unrefused, post, text_of
from tests.factories import make_plan

COUPON = {
    "code": "spring-20", "name": "Spring", "is_active": "on", "percent": "20", "amount": "", "currency": "",
    "duration_periods": "3", "max_redemptions": "100", "valid_from_0": "", "valid_from_1": "", "valid_to_0": "",
    "valid_to_1": "",
}  # fmt: skip
POLICY = {
    "key": "soft", "name": "Soft", "retry_days": "7, 1, 3", "reminder_days": "1,7", "final_days": "21",
    "final_act": "cancel", "downgrade_to": "",
}  # fmt: skip


def test_a_coupon_is_added_for_plans(staff: Client, office: Office) -> None:
    plan = make_plan().plan
    assert "was added" in post(staff, "/admin/billing/coupon/add/", **COUPON, plans=plan.pk)
    coupon = Coupon.objects.get()
    assert (coupon.code, coupon.percent, coupon.duration_periods) == ("SPRING-20", Decimal(20), 3)
    assert list(coupon.plans.all()) == [plan]
    page = text_of(staff, "/admin/billing/coupon/")
    assert "20%" in page
    assert "0 of 100" in page
    fixed = {**COUPON, "code": "TEN-OFF", "percent": "", "amount": "10", "currency": "eur", "duration_periods": ""}
    post(staff, "/admin/billing/coupon/add/", **fixed, plans=None)
    page = text_of(staff, "/admin/billing/coupon/")
    assert "€10.00" in page
    assert "ever" in page


FAULTY_COUPONS = [
    ({"code": "a"}, "Enter a valid value"),
    ({"amount": "5", "currency": "EUR"}, "State a percentage from 0 to 100"),
    ({"percent": ""}, "State a percentage from 0 to 100"),
    ({"percent": "101"}, "State a percentage from 0 to 100"),
    ({"percent": "", "amount": "5", "currency": "ZZZ"}, "ISO 4217"),
    ({"percent": "", "amount": "0.5", "currency": "JPY"}, "more decimals"),
    ({"duration_periods": "0"}, "coupon_duration_positive"),
    (
        {"valid_from_0": "2026-02-01", "valid_from_1": "00:00", "valid_to_0": "2026-01-01", "valid_to_1": "00:00"},
        "must end after it begins",
    ),
]


def test_a_faulty_coupon_is_refused(staff: Client, office: Office) -> None:
    add, none = "/admin/billing/coupon/add/", lambda: not Coupon.objects.exists()
    assert find_unrefused(staff, add, COUPON, FAULTY_COUPONS, unchanged=none) == []


def test_the_first_redemption_settles_a_coupons_terms(staff: Client, office: Office) -> None:
    post(staff, "/admin/billing/coupon/add/", **COUPON)
    coupon = Coupon.objects.get()
    url = f"/admin/billing/coupon/{coupon.pk}/change/"
    post(staff, url, **{**COUPON, "percent": "25"})
    Coupon.objects.update(times_redeemed=2)
    assert 'name="percent"' not in text_of(staff, url)
    post(staff, url, **{**COUPON, "percent": "90", "name": "Autumn", "max_redemptions": "2", "is_active": ""})
    coupon.refresh_from_db()
    assert (coupon.percent, coupon.name, coupon.times_redeemed) == (Decimal(25), "Autumn", 2)
    assert not coupon.is_active
    assert "redeemed more often already" in post(staff, url, **{**COUPON, "max_redemptions": "1"})


def test_a_policy_is_added_with_its_days_in_order(staff: Client, office: Office) -> None:
    assert "was added" in post(staff, "/admin/billing/dunningpolicy/add/", **POLICY, is_default="on")
    policy = DunningPolicy.objects.get()
    assert (policy.retry_days, policy.reminder_days, policy.is_default) == ([1, 3, 7], [1, 7], True)
    assert "1, 3, 7" in text_of(staff, "/admin/billing/dunningpolicy/")
    post(staff, f"/admin/billing/dunningpolicy/{policy.pk}/change/", **{**POLICY, "key": "other", "retry_days": ""})
    policy.refresh_from_db()
    assert (policy.key, policy.retry_days) == ("soft", [])


FAULTY_POLICIES = [
    ({"retry_days": "1, 22"}, "after the final one"),
    ({"reminder_days": "22"}, "after the final one"),
    ({"retry_days": "x"}, "did not validate"),
    ({"final_act": "downgrade"}, "Name the plan to downgrade to"),
    ({"key": "first"}, "already exists"),
    ({"is_default": "on"}, "Another policy is the default"),
]


def test_a_faulty_policy_is_refused(staff: Client, office: Office) -> None:
    DunningPolicy.objects.create(key="first", name="First", is_default=True, created_at=office.now)
    add, one = "/admin/billing/dunningpolicy/add/", lambda: DunningPolicy.objects.count() == 1
    assert find_unrefused(staff, add, POLICY, FAULTY_POLICIES, unchanged=one) == []
