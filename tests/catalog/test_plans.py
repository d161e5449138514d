"""Plans: drafts, publication, what is on sale, retirement."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, IntegrityError, transaction

from billing.catalog import plans
from billing.catalog.models import DunningPolicy, Plan, PlanPrice, PlanVersion, RateCard
from billing.catalog.plan_pricing import RolloverRule
from tests.factories import NOW, make_plan, make_user

pytestmark = pytest.mark.django_db

OVERAGE = {"fee": "49.00", "overage_tiers": [{"up_to": None, "price": "2"}]}


def test_a_draft_is_numbered_after_the_last_version_of_its_plan() -> None:
    first = make_plan()
    other = make_plan("growth")
    assert (first.number, other.number) == (1, 1)
    assert plans.draft_version(plan_id=first.plan_id, now=NOW).number == 2


def test_a_draft_from_a_version_has_its_terms_and_prices_and_is_a_draft() -> None:
    source = make_plan(
        prices={"USD": OVERAGE, "EUR": {**OVERAGE, "fee": "45.00", "seat_price": "9.00", "minimum": "60.00"}},
        included_credits=Decimal(10_000), policy="overage", overage_unit=Decimal(1000), seats_included=3,
        rollover="share", rollover_percent=Decimal(25), rollover_periods=2, target_segments=["startup"], note="First",
        loyalty_steps=[{"from_period": 7, "percent": "5"}], interval="year", grants_monthly=True,
    )  # fmt: skip
    stella = make_user("stella")
    draft = plans.draft_from(version_id=source.pk, now=NOW + timedelta(days=1))
    assert (draft.number, draft.published_at, draft.note, draft.pk != source.pk) == (2, None, "", True)
    own = {"id", "number", "created_at", "published_at", "published_by", "note"}
    for field in PlanVersion._meta.concrete_fields:
        if field.name not in own:
            assert getattr(draft, field.attname) == getattr(source, field.attname), field.name
    columns = ("currency", "fee", "seat_price", "minimum", "overage_tiers")
    assert list(draft.prices.order_by("currency").values_list(*columns)) == list(
        source.prices.order_by("currency").values_list(*columns)
    )
    published = plans.publish(version_id=draft.pk, published_by=stella, now=NOW + timedelta(days=2))
    assert (published.published_by, published.published_at) == (stella, NOW + timedelta(days=2))


def test_a_published_version_and_its_prices_never_change() -> None:
    version = make_plan()
    price = version.prices.get()
    with pytest.raises(plans.AlreadyPublished):
        plans.publish(version_id=version.pk, now=NOW)
    for refused in (
        lambda: PlanVersion.objects.filter(pk=version.pk).update(included_credits=1),
        lambda: PlanVersion.objects.filter(pk=version.pk).delete(),
        lambda: PlanPrice.objects.filter(pk=price.pk).update(fee=1),
        lambda: PlanPrice.objects.filter(pk=price.pk).delete(),
        lambda: PlanPrice.objects.create(version=version, currency="EUR", fee=1),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            refused()
    version.refresh_from_db()
    assert (version.included_credits, version.prices.get().fee) == (0, Decimal(49))


@pytest.mark.parametrize(
    ("terms", "price", "fault"),
    [
        ({}, None, "at least one currency"),
        ({}, {"fee": "49.999"}, "more decimals"),
        ({}, {"fee": "49", "seat_price": "0.001"}, "more decimals"),
        ({}, {"fee": "49", "minimum": "0.001"}, "more decimals"),
        ({}, OVERAGE, "needs the policy"),
        ({"policy": "overage"}, {"fee": "49"}, "needs a price"),
        ({"policy": "overage"}, {"overage_tiers": [{"price": "2"}]}, "Write tiers as"),
        ({"policy": "overage"}, {"overage_tiers": [{"up_to": "5", "price": "2"}]}, "last tier"),
        ({"policy": "burst"}, {"fee": "49"}, "needs its bound"),
        ({"grants_monthly": True}, {"fee": "49"}, "only where the period"),
        ({"grants_monthly": True, "interval": "week", "interval_count": 9}, {"fee": "49"}, "only where the period"),
        ({"rollover": "all"}, {"fee": "49"}, "Nothing can roll over"),
        ({"rollover": "all", "included_credits": 1, "rollover_periods": 0}, {"fee": "49"}, "how often"),
        ({"trial_credits": 5}, {"fee": "49"}, "need a trial"),
        ({"seats_included": 5, "seats_max": 4}, {"fee": "49"}, "More seats"),
        ({"loyalty_steps": [{"from_period": 0, "percent": "5"}]}, {"fee": "49"}, "later period"),
    ],
)
def test_a_draft_with_a_fault_is_not_published(terms: dict, price: dict | None, fault: str) -> None:
    draft = make_plan(prices={"USD": price} if price else {}, published=False, **terms)
    with pytest.raises(plans.NotPublishable, match=fault):
        plans.publish(version_id=draft.pk, now=NOW)
    draft.refresh_from_db()
    assert not draft.is_published


@pytest.mark.parametrize(
    ("terms", "price"),
    [
        ({"policy": "overage"}, OVERAGE),
        ({"policy": "burst", "burst_limit": 10}, {"fee": "49"}),
        ({"grants_monthly": True, "interval": "year"}, {"fee": "490"}),
        ({"grants_monthly": True, "interval_count": 6}, {"fee": "490"}),
        ({"grants_monthly": True, "interval": "quarter"}, {"fee": "490"}),
        ({"rollover": "all", "credits_per_seat": 1}, {"fee": "49"}),
        ({"trial_credits": 5, "trial_days": 14}, {"fee": "49"}),
        ({"seats_included": 5, "seats_max": 5}, {"fee": "49"}),
    ],
)
def test_a_draft_without_fault_is_published(terms: dict, price: dict) -> None:
    assert make_plan(prices={"USD": price}, **terms).is_published


def test_yen_have_no_decimals_and_dinars_three() -> None:
    assert make_plan("dinar", prices={"KWD": {"fee": "4.125"}}).is_published
    with pytest.raises(plans.NotPublishable, match=r"JPY: 49\.500 has more decimals"):
        make_plan("yen", prices={"JPY": {"fee": "49.50"}})


def test_a_plan_needs_a_rate_card_that_says_something_and_a_policy_that_leads_elsewhere() -> None:
    card = RateCard.objects.create(key="bare", name="Bare", created_at=NOW)
    with pytest.raises(plans.NotPublishable, match="no published version"):
        make_plan(rate_card=card)
    policy = DunningPolicy.objects.create(
        key="soft", name="Soft", final_act="downgrade", downgrade_to=Plan.objects.get(key="team"), created_at=NOW
    )
    with pytest.raises(plans.NotPublishable, match="this very plan"):
        make_plan(dunning_policy=policy)
    assert make_plan("growth", dunning_policy=policy).is_published


def test_what_was_published_last_is_on_sale_and_drafts_are_not() -> None:
    old, growth = make_plan(), make_plan("growth")
    early, late = (plans.draft_from(version_id=old.pk, now=NOW) for _ in range(2))
    assert list(plans.versions_on_sale()) == [old, growth]
    plans.publish(version_id=late.pk, now=NOW + timedelta(days=1))
    assert list(plans.versions_on_sale()) == [late, growth]
    plans.publish(version_id=early.pk, now=NOW + timedelta(days=2))
    assert list(plans.versions_on_sale()) == [early, growth]
    assert plans.get_newest_version(old.plan_id) == early
    Plan.objects.filter(pk=growth.plan_id).update(position=0)
    Plan.objects.filter(pk=old.plan_id).update(position=1)
    assert list(plans.versions_on_sale()) == [growth, early]


def test_a_retired_plan_is_not_sold_and_has_no_new_versions_but_is_still_found() -> None:
    version = make_plan()
    draft = plans.draft_from(version_id=version.pk, now=NOW)
    assert plans.retire(plan_id=version.plan_id, now=NOW).retired_at == NOW
    assert not plans.versions_on_sale()
    assert plans.get_newest_version(version.plan_id) == version
    with pytest.raises(plans.AlreadyRetired):
        plans.retire(plan_id=version.plan_id, now=NOW)
    with pytest.raises(plans.NotPublishable, match="retired"):
        plans.publish(version_id=draft.pk, now=NOW)


def test_a_plan_without_a_published_version_has_none() -> None:
    draft = make_plan(published=False)
    with pytest.raises(plans.NoSuchPlan):
        plans.get_newest_version(draft.plan_id)


def test_the_rollover_of_a_version_is_read_from_its_columns() -> None:
    version = make_plan(
        included_credits=Decimal(100), rollover="amount", rollover_amount=Decimal(40), rollover_periods=3,
        rollover_cap=Decimal(90),
    )  # fmt: skip
    assert plans.rollover_rule(version, Decimal(100)) == RolloverRule(Decimal(40), 3, Decimal(90))
    share = make_plan("share", included_credits=Decimal(9), rollover="share", rollover_percent=Decimal(50))
    assert plans.rollover_rule(share, Decimal(100)) == RolloverRule(Decimal(50), 1, None)


def test_a_rollover_states_what_it_is_by() -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        make_plan("by-share", included_credits=Decimal(1), rollover="share")
