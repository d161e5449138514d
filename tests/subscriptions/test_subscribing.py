"""Subscribing to a plan: what it costs, what it grants, and what refuses it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.accounts.models import Account
from billing.catalog.models import Coupon, RateCardAssignment
from billing.invoicing.models import Invoice
from billing.ledger import pools
from billing.notifications.models import Notification
from billing.payments import paying
from billing.payments.methods import MethodNotUsable
from billing.payments.models import Collection, Payment
from billing.subscriptions.followup import payment_news
from billing.subscriptions.lifecycle import end, subscribing
from billing.subscriptions.lifecycle.subscribing import (
    AlreadySubscribed,
    PlanNotOffered,
    ReferenceTaken,
    SeatsNotOffered,
)
from billing.subscriptions.models import Allocation, Subscription, SubscriptionChange, SubscriptionPeriod
from tests.factories import NOW, make_account, make_issuer, make_meter, make_plan, make_rate_card
from tests.ledger.racing import race
from tests.subscriptions.makers import add_card, available, make_team, run, subscribe

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
DECLINED = "4000000000000002"


@pytest.fixture
def account() -> Account:
    make_issuer()
    return make_account("acme", time_zone="Europe/Berlin")


def nothing_is_there() -> bool:
    models = (Subscription, SubscriptionPeriod, Allocation, SubscriptionChange, Invoice, Collection, Notification)
    return not any(model.objects.exists() for model in models)


def test_by_transfer_it_is_active_and_has_its_credits_at_once(account):
    subscription = subscribe(account, make_team())
    assert (subscription.state, subscription.period_number) == ("active", 1)
    # From noon on 1 March until the first moment of 1 April in Berlin, where summer has begun by then.
    assert subscription.period_starts_at == NOW
    assert subscription.period_ends_at == subscription.next_due_at == datetime(2025, 3, 31, 22, tzinfo=UTC)
    assert available(account, NOW) == 1000
    invoice = Invoice.objects.get()
    assert (invoice.reference, invoice.subtotal, invoice.total, invoice.state) == (
        f"subscription:{subscription.pk}:1", Decimal("50.00"), Decimal("59.50"), "open",
    )  # fmt: skip
    line = invoice.lines.get()
    assert (line.recognition, line.starts_at, line.ends_at) == ("credits", NOW, subscription.period_ends_at)
    assert line.period_reference == f"subscription:{subscription.pk}:1"
    allocation = Allocation.objects.get()
    assert (allocation.credits, allocation.cost_basis) == (1000, Decimal("0.05"))
    lot = pools.get_main_pool(account.pk).grants.get()
    assert (lot.kind, lot.cost_basis, lot.expires_at) == ("allocation", Decimal("0.05"), subscription.period_ends_at)
    collection = Collection.objects.get()
    assert (collection.purpose, collection.is_automatic) == (f"subscription:{subscription.pk}", False)
    assert {row.kind for row in Notification.objects.all()} == {"invoice_issued", "subscription_started"}


def test_with_a_card_it_waits_for_the_payment_and_then_has_its_credits(account):
    add_card(account)
    subscription = subscribe(account, make_team(), collection="automatic")
    assert (subscription.state, available(account, NOW)) == ("incomplete", 0)
    run(NOW)
    subscription.refresh_from_db()
    assert (subscription.state, available(account, NOW)) == ("active", 1000)
    assert Payment.objects.get().state == "succeeded"
    run(NOW)
    assert Allocation.objects.filter(granted_at__isnull=False).count() == 1


def test_the_pool_follows_the_plan(account):
    overage = {"policy": "overage", "overage_cap": Decimal(500)}
    price = {"USD": {"fee": "50.00", "overage_tiers": [{"up_to": None, "price": "0.10"}]}}
    subscription = subscribe(account, make_team(prices=price, **overage))
    pool = pools.get_main_pool(account.pk)
    assert (pool.policy, pool.overage_cap) == ("overage", 500)
    assert (pool.cycle_starts_at, pool.cycle_ends_at) == (NOW, subscription.period_ends_at)
    assert (pool.cycle_allocation, pool.renews_at) == (1000, subscription.period_ends_at)
    team = pools.open_pool(account=account, key="labs", name="Labs", now=NOW + HOUR)
    assert (team.policy, team.cycle_ends_at) == ("block", subscription.period_ends_at)


def test_the_plans_rate_card_applies(account):
    card = make_rate_card({make_meter(): "2"}, "gold", is_default=False)
    subscription = subscribe(account, make_team(rate_card=card))
    assignment = RateCardAssignment.objects.get()
    assert (assignment.rate_card, assignment.kind, assignment.starts_at) == (card, "plan", NOW)
    later = NOW + timedelta(days=3)
    end.end(subscription, at=later, reference="end", actor="test", now=later)
    assignment.refresh_from_db()
    assert assignment.ends_at == later


def test_a_trial_costs_nothing_and_has_its_own_credits(account):
    version = make_team(trial_days=14, trial_credits=Decimal(100))
    subscription = subscribe(account, version)
    assert subscription.state == "trialing"
    assert subscription.trial_ends_at == subscription.next_due_at == datetime(2025, 3, 14, 23, tzinfo=UTC)
    assert available(account, NOW) == 100
    assert not Invoice.objects.exists()


def test_a_free_plan_is_active_without_an_invoice(account):
    subscription = subscribe(account, make_team(prices={"USD": {"fee": "0"}}), collection="automatic")
    assert (subscription.state, available(account, NOW)) == ("active", 1000)
    assert not Invoice.objects.exists()


def test_seats_beyond_those_included_are_paid_and_bring_credits(account):
    price = {"USD": {"fee": "50.00", "seat_price": "10.00"}}
    version = make_team(prices=price, seats_included=3, credits_per_seat=Decimal(100))
    subscription = subscribe(account, version, seats=5)
    assert subscription.seats == 5
    lines = [(line.description, line.quantity, line.amount) for line in Invoice.objects.get().lines.all()]
    assert lines == [("Team", 1, 50), ("Team: 2 extra seats", 2, 20)]
    assert available(account, NOW) == 1500
    assert Allocation.objects.get().cost_basis * 1500 == pytest.approx(Decimal(70), abs=Decimal("0.000001"))


def test_an_annual_plan_grants_month_by_month(account):
    version = make_team(interval="year", grants_monthly=True, prices={"USD": {"fee": "600.00"}})
    subscription = subscribe(account, version, now=datetime(2025, 1, 31, 9, tzinfo=UTC))
    rows = list(Allocation.objects.order_by("starts_at"))
    assert len(rows) == 12
    assert {row.cost_basis for row in rows} == {Decimal("0.05")}
    assert [row.starts_at.astimezone(UTC).date().isoformat() for row in rows[1:4]] == [
        "2025-02-27", "2025-03-30", "2025-04-29",
    ]  # fmt: skip
    assert (rows[0].ends_at, rows[-1].ends_at) == (subscription.next_due_at, subscription.period_ends_at)
    assert available(account, subscription.started_at) == 1000


def test_the_preview_is_what_the_act_bills(account):
    version = make_team(seats_included=1, prices={"USD": {"fee": "49.99", "seat_price": "9.99"}})
    seen = subscribing.preview(account_id=account.pk, plan_version_id=version.pk, seats=4, now=NOW)
    subscription = subscribe(account, version, seats=4)
    invoice = Invoice.objects.get()
    assert seen.quote is not None
    assert (seen.quote.subtotal, seen.quote.total) == (invoice.subtotal, invoice.total)
    assert [line.draft.description for line in seen.quote.lines] == [line.description for line in invoice.lines.all()]
    assert (seen.ends_at, seen.seats) == (subscription.period_ends_at, subscription.seats)


def test_the_preview_of_a_trial_says_what_comes_after_it(account):
    version = make_team(trial_days=14, trial_credits=Decimal(100))
    seen = subscribing.preview(account_id=account.pk, plan_version_id=version.pk, seats=0, now=NOW)
    assert (seen.quote, seen.credits) == (None, 100)
    assert seen.price is not None
    assert (seen.price.total, seen.trial_ends_at) == (Decimal("59.50"), datetime(2025, 3, 14, 23, tzinfo=UTC))
    assert nothing_is_there()


def test_repeating_it_returns_the_first(account):
    version = make_team()
    first = subscribe(account, version, reference="one")
    assert subscribe(account, version, reference="one", now=NOW + HOUR) == first
    assert (Invoice.objects.count(), Allocation.objects.count()) == (1, 1)
    with pytest.raises(ReferenceTaken):
        subscribe(make_account(), version, reference="one")


def test_an_account_has_one_subscription(account):
    version = make_team()
    subscribe(account, version)
    with pytest.raises(AlreadySubscribed):
        subscribe(account, version)
    with pytest.raises(AlreadySubscribed):
        subscribing.preview(account_id=account.pk, plan_version_id=version.pk, seats=0, now=NOW)
    assert Subscription.objects.count() == 1


def test_drafts_older_versions_and_what_is_for_others_are_not_offered(account):
    old = make_team()
    make_team()
    wrong = [
        old.pk,
        make_plan("draft", published=False).pk,
        make_plan("rich", target_segments=["enterprise"]).pk,
        make_plan("euros", prices={"EUR": {"fee": "1"}}).pk,
    ]
    for version_id in wrong:
        with pytest.raises(PlanNotOffered):
            subscribing.preview(account_id=account.pk, plan_version_id=version_id, seats=0, now=NOW)
        with pytest.raises(PlanNotOffered):
            subscribing.subscribe(
                account_id=account.pk, plan_version_id=version_id, seats=0, reference="r", actor="t", now=NOW
            )
    assert nothing_is_there()


def test_more_seats_than_are_sold_are_refused(account):
    with pytest.raises(SeatsNotOffered):
        subscribe(account, make_team(seats_max=5), seats=6)
    assert nothing_is_there()


def test_a_method_of_another_account_is_refused(account):
    other = make_account()
    add_card(other)
    with pytest.raises(MethodNotUsable):
        subscribe(account, make_team(), method_id=other.payment_methods.get().pk, collection="automatic")
    assert nothing_is_there()


def test_one_that_is_not_paid_within_a_day_is_given_up(account):
    add_card(account, DECLINED)
    subscription = subscribe(account, make_team(), collection="automatic")
    run(NOW)
    run(NOW + 22 * HOUR)
    subscription.refresh_from_db()
    assert subscription.state == "incomplete"
    run(NOW + 23 * HOUR)
    subscription.refresh_from_db()
    assert (subscription.state, Invoice.objects.get().state) == ("ended", "void")
    run(NOW + 24 * HOUR)
    assert (Collection.objects.get().state, available(account, NOW + 24 * HOUR)) == ("stopped", 0)


def test_one_that_is_being_paid_is_not_given_up(account):
    add_card(account)
    subscription = subscribe(account, make_team(), collection="automatic")
    method = account.payment_methods.get()
    paying.start(invoice_id=Invoice.objects.get().pk, method_id=method.pk, key="k", off_session=False, now=NOW)
    assert payment_news.follow_up(now=NOW + 30 * HOUR, limit=10).abandoned == 0
    with pytest.raises(AlreadySubscribed):
        subscribe(account, make_team(), now=NOW + 30 * HOUR)
    with pytest.raises(AlreadySubscribed):
        subscribing.preview(account_id=account.pk, plan_version_id=make_team().pk, seats=0, now=NOW + 30 * HOUR)
    subscription.refresh_from_db()
    assert subscription.state == "incomplete"


def test_an_unpaid_one_gives_way_to_another(account):
    version = make_team()
    Coupon.objects.create(code="HALF", name="Half", percent=Decimal(50), max_redemptions=1, created_at=NOW)
    first = subscribe(account, version, collection="automatic", coupon_code="HALF")
    # The coupon comes free with the one that gives way; the preview, which changes nothing, knows that too.
    asked = {"account_id": account.pk, "plan_version_id": version.pk, "seats": 0, "coupon_code": "HALF"}
    assert subscribing.preview(**asked, now=NOW + HOUR).quote.subtotal == 25
    assert [invoice.state for invoice in Invoice.objects.all()] == ["open"]
    second = subscribe(account, version, now=NOW + HOUR)
    first.refresh_from_db()
    assert (first.state, second.state) == ("ended", "active")
    assert [invoice.state for invoice in Invoice.objects.order_by("pk")] == ["void", "open"]


@pytest.mark.django_db(transaction=True)
def test_of_many_who_subscribe_at_once_one_does(account):
    version = make_team()

    def attempt() -> None:
        subscribe(account, version)

    assert race([attempt] * 6, expected=(AlreadySubscribed,)) == {"done": 1, "AlreadySubscribed": 5}
    assert (Subscription.objects.count(), Invoice.objects.count(), available(account, NOW)) == (1, 1, 1000)
    # Each for itself, all of them do.
    others = [make_account() for _ in range(6)]
    assert race([lambda each=each: subscribe(each, version) for each in others]) == {"done": 6}
