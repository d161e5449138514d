"""Changes at once, in threads on PostgreSQL."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.catalog.models import Coupon, PlanVersion
from billing.invoicing.models import Invoice, InvoiceLine
from billing.ledger.models import Posting
from billing.subscriptions import guards
from billing.subscriptions.lifecycle import changes, pause_cancel
from billing.subscriptions.lifecycle.pause_cancel import CouponRefused
from billing.subscriptions.models import Subscription, SubscriptionChange
from tests.factories import make_account, make_issuer, make_plan
from tests.ledger.racing import race
from tests.subscriptions.makers import START, available, subscribe

pytestmark = pytest.mark.django_db(transaction=True)

D = Decimal
NOW = datetime(2026, 1, 11, 12, tzinfo=UTC)


@pytest.fixture
def large() -> PlanVersion:
    """62.00 a month for 620 credits."""
    return make_plan("large", included_credits=D(620), prices={"USD": {"fee": "62.00"}})


def change(subscription: Subscription, version: PlanVersion, reference: str, **asked: object) -> None:
    """A change of plan on the 11th."""
    changes.change(
        subscription_id=subscription.pk,
        plan_version_id=version.pk,
        reference=reference,
        actor="key:1",
        now=NOW,
        **asked,
    )


def billed() -> Decimal:
    """Net money of all invoices."""
    return sum(InvoiceLine.objects.values_list("amount", flat=True), D(0))


def test_one_change_sent_eight_times_at_once_happens_once(acme, small, large):
    subscription = subscribe(acme, small, now=START)
    outcomes = race([lambda: change(subscription, large, "c:1")] * 8)
    assert outcomes == {"done": 8}
    assert (Invoice.objects.count(), billed(), available(acme, NOW)) == (2, 52, 520)
    assert SubscriptionChange.objects.filter(act="change").count() == 1


def test_of_two_changes_to_one_plan_at_once_the_second_finds_nothing_to_change(acme, small, large):
    subscription = subscribe(acme, small, now=START)
    workers = [lambda name=f"c:{number}": change(subscription, large, name) for number in range(4)]
    outcomes = race(workers, expected=(changes.NothingToChange,))
    assert outcomes == {"done": 1, "NothingToChange": 3}
    assert (Invoice.objects.count(), billed(), available(acme, NOW)) == (2, 52, 520)


def test_two_different_changes_at_once_bill_one_after_the_other(acme, small, large):
    huge = make_plan("huge", included_credits=D(930), prices={"USD": {"fee": "93.00"}})
    subscription = subscribe(acme, small, now=START)
    # Whichever comes second begins where the first has ended: what is billed is the last one's days, whoever that is.
    outcomes = race(
        [lambda: change(subscription, large, "c:1", by_staff=True, when="now"),
         lambda: change(subscription, huge, "c:2", by_staff=True, when="now")]
    )  # fmt: skip
    assert outcomes == {"done": 2}
    subscription.refresh_from_db()
    fee = {large.pk: 62, huge.pk: 93}[subscription.plan_version_id]
    period = subscription.periods.get()
    assert period.fee == 10 + D(fee) * 21 / 31
    assert available(acme, NOW) == 100 + fee * 10 * D(21) / 31


def test_where_one_expects_the_price_that_the_other_has_changed_it_is_refused(acme, small, large):
    huge = make_plan("huge", included_credits=D(930), prices={"USD": {"fee": "93.00"}})
    subscription = subscribe(acme, small, now=START)
    given = {"by_staff": True, "when": "now"}
    outcomes = race(
        [
            lambda: change(subscription, large, "c:1", expected_total=D(21), **given),
            lambda: change(subscription, huge, "c:2", expected_total=D(42), **given),
        ],
        expected=(changes.TotalChanged,),
    )
    assert outcomes == {"done": 1, "TotalChanged": 1}
    assert Invoice.objects.count() == 2


def test_a_change_and_a_cancellation_at_once_come_one_after_the_other(acme, small, large):
    subscription = subscribe(acme, small, now=START)

    def cancel() -> None:
        pause_cancel.cancel(subscription_id=subscription.pk, when="now", reference="l:1", actor="key:1", now=NOW)

    outcomes = race([cancel, lambda: change(subscription, large, "c:1")], expected=(guards.NotAllowed,))
    subscription.refresh_from_db()
    assert subscription.state == "ended"
    # The control: both orders are right, and nothing else is.
    assert (outcomes["done"], billed()) in ((2, 52), (1, 31))


def test_a_coupon_for_three_is_redeemed_by_three_of_eight_at_once(small):
    make_issuer(rates={"DE": "0"})
    Coupon.objects.create(code="THREE", name="Three", percent=D(10), max_redemptions=3, created_at=START)
    made = [subscribe(make_account(f"org-{number}", now=START), small, now=START) for number in range(8)]

    def redeem(subscription: Subscription) -> None:
        pause_cancel.redeem(subscription_id=subscription.pk, code="THREE", reference="l:1", actor="", now=NOW)

    outcomes = race([lambda each=each: redeem(each) for each in made], expected=(CouponRefused,))
    assert outcomes == {"done": 3, "CouponRefused": 5}
    assert (Coupon.objects.get().times_redeemed, SubscriptionChange.objects.filter(act="coupon").count()) == (3, 3)


def test_without_the_lock_the_same_race_bills_twice(acme, small, large, monkeypatch):
    # The positive control: what the subscription's lock is for.
    subscription = subscribe(acme, small, now=START)
    monkeypatch.setattr(guards, "lock", guards.get)
    monkeypatch.setattr(changes.pools, "lock", lambda pool_ids: None)
    workers = [lambda name=f"c:{number}": change(subscription, large, name) for number in range(4)]
    outcomes = race(workers, expected=(changes.NothingToChange, Exception))
    assert outcomes["done"] > 1 or Invoice.objects.count() > 2 or Posting.objects.count() > 2
