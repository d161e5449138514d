"""Overage in arrears, and the minimum that a period comes to, with worked numbers."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db.models import Sum

from billing.invoicing.models import CreditNote, Invoice, PendingItem
from billing.ledger import pools, posting
from billing.ledger.models import CreditPool, Posting
from billing.subscriptions.lifecycle import changes, end, pause_cancel
from billing.subscriptions.models import OverageCharge, SubscriptionChange, SubscriptionPeriod
from tests.factories import NOW, make_plan
from tests.subscriptions.makers import add_card, make_team, run, subscribe, tiers

pytestmark = pytest.mark.django_db

APRIL, MAY, JUNE = (datetime(2025, month, 30 if month == 4 else 31, 22, tzinfo=UTC) for month in (3, 4, 5))
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
GRADUATED = tiers(("10000", "2"), (None, "1.5"))


def spend(pool: CreditPool, credits: int, *, now: datetime) -> Posting:
    reference = f"spend:{now.isoformat()}:{credits}"
    return posting.spend(pool_id=pool.pk, credits=Decimal(credits), reference=reference, now=now)


def make_metered(fee: str = "50.00", minimum: str = "0", overage_tiers=GRADUATED, **fields):
    """1,000 credits included; beyond them, per 1,000: 2.00 up to 10,000, then 1.50."""
    price = {"USD": {"fee": fee, "minimum": minimum, "overage_tiers": overage_tiers}}
    given = {"policy": "overage", "overage_model": "graduated", "overage_unit": Decimal(1000), **fields}
    return make_team(prices=price, **given)


def billed() -> list[list[tuple[str, Decimal, Decimal]]]:
    """The lines of every invoice: what, how much of it, and money."""
    return [
        [(line.description, line.quantity, line.amount) for line in invoice.lines.all()]
        for invoice in Invoice.objects.order_by("pk")
    ]


@pytest.fixture
def pool(account):
    return pools.get_main_pool(account.pk)


def test_graduated_overage_is_invoiced_in_arrears(account, pool):
    subscription = subscribe(account, make_metered())
    spend(pool, 13_500, now=NOW + DAY)
    run(APRIL)
    # 12,500 beyond the 1,000: 10 x 2.00 and 2.5 x 1.50 are 23.75.
    beyond = ("Team: credits beyond those included", Decimal(12_500), Decimal("23.75"))
    assert billed() == [[("Team", 1, 50)], [beyond, ("Team", 1, 50)]]
    line = Invoice.objects.get(reference=f"renewal:{subscription.pk}:2").lines.get(position=1)
    assert (line.recognition, line.starts_at, line.ends_at) == ("at_once", NOW, APRIL)
    assert line.period_reference == f"subscription:{subscription.pk}:1"
    period = SubscriptionPeriod.objects.get(number=1)
    assert (period.overage_credits, period.overage_amount, period.closed_at) == (12_500, Decimal("23.75"), APRIL)
    run(MAY)
    assert len(billed()[2]) == 1
    assert OverageCharge.objects.count() == 1


def test_what_is_metered_after_the_period_belongs_to_the_next(account, pool):
    subscribe(account, make_metered())
    spend(pool, 2_000, now=APRIL - HOUR)
    spend(pool, 4_000, now=APRIL + HOUR)
    run(APRIL + 2 * HOUR)
    # The late credits repay 1,000 of April's 4,000.
    assert billed()[1][0] == ("Team: credits beyond those included", 1_000, 2)
    run(MAY)
    assert billed()[2][0] == ("Team: credits beyond those included", 3_000, 6)


def test_overage_reversed_after_it_was_invoiced_goes_back_with_the_next_invoice(account, pool):
    add_card(account)
    subscribe(account, make_metered(), collection="automatic")
    run(NOW)
    spend(pool, 11_000, now=NOW + DAY)
    last = spend(pool, 2_500, now=NOW + 2 * DAY)
    run(APRIL)
    assert billed()[1][0][1:] == (12_500, Decimal("23.75"))
    posting.reverse(posting_id=last.pk, now=APRIL + DAY)
    run(MAY)
    # The 2,500 of the second tier: 3.75.
    assert billed()[2] == [("Team", 1, 50), ("Team: credits beyond those included", -2_500, Decimal("-3.75"))]
    charges = list(OverageCharge.objects.order_by("number").values_list("number", "credits", "amount"))
    assert charges == [(1, 12_500, Decimal("23.75")), (2, -2_500, Decimal("-3.75"))]
    run(JUNE)
    assert billed()[3] == [("Team", 1, 50)]


def test_overage_reversed_before_it_is_invoiced_is_not(account, pool):
    subscribe(account, make_metered())
    spent = spend(pool, 3_000, now=NOW + DAY)
    posting.reverse(posting_id=spent.pk, now=NOW + 2 * DAY)
    run(APRIL)
    assert billed()[1] == [("Team", 1, 50)]


def test_the_overage_of_team_pools_counts_with_the_main_one(account, pool):
    subscribe(account, make_metered())
    team = pools.open_pool(account=account, key="labs", name="Labs", policy="overage", now=NOW)
    spend(pool, 9_000, now=NOW + DAY)
    spend(team, 4_500, now=NOW + DAY)
    run(APRIL)
    assert billed()[1][0] == ("Team: credits beyond those included", 12_500, Decimal("23.75"))
    assert sum(charge.amount for charge in OverageCharge.objects.all()) == Decimal("23.75")


def test_volume_overage_over_the_months_of_a_year_adds_up_to_its_price(account, pool):
    by_volume = tiers(("1000", "3"), (None, "1"))
    version = make_metered(
        fee="600.00", overage_tiers=by_volume, overage_model="volume", interval="year", grants_monthly=True
    )
    add_card(account)
    subscribe(account, version, collection="automatic")
    run(NOW)
    spend(pool, 2_000, now=NOW + DAY)
    run(APRIL)
    assert billed()[1] == [("Team: credits beyond those included", 1_000, 3)]
    spend(pool, 1_500, now=APRIL + DAY)
    run(MAY)
    # 1,500 by volume are 1.50 in all, so that 1.50 goes back; no invoice of the month could, so it waits.
    item = PendingItem.objects.get()
    assert (item.amount, item.invoice_line) == (Decimal("-1.50"), None)
    period = SubscriptionPeriod.objects.get()
    assert (period.overage_credits, period.overage_amount) == (1_500, Decimal("1.50"))


def test_a_minimum_is_made_up_for(account, pool):
    subscribe(account, make_metered(fee="100.00", minimum="500.00"))
    spend(pool, 13_500, now=NOW + DAY)
    run(APRIL)
    # 500.00 less 100.00 less 23.75.
    assert billed()[1][1] == ("Team: up to the agreed minimum", 1, Decimal("376.25"))
    assert SubscriptionPeriod.objects.get(number=1).true_up_amount == Decimal("376.25")


def test_more_than_the_minimum_needs_no_making_up(account, pool):
    subscribe(account, make_metered(fee="100.00", minimum="120.00"))
    spend(pool, 13_500, now=NOW + DAY)
    run(APRIL)
    assert [amount for _, _, amount in billed()[1]] == [Decimal("23.75"), 100]


def test_of_a_minimum_the_days_until_the_end_are_billed(account):
    subscription = subscribe(account, make_metered(fee="100.00", minimum="500.00"))
    # Eleven of March's 31 days: 177.42, less the fee.
    ends_at = datetime(2025, 3, 12, 9, tzinfo=UTC)
    end.end(subscription, at=ends_at, reference="end", actor="test", now=ends_at)
    assert billed()[1] == [("Team: up to the agreed minimum", 1, Decimal("77.42"))]
    assert Invoice.objects.get(reference=f"final:{subscription.pk}").state == "open"


def net_charged() -> Decimal:
    """What all invoices come to before tax, less what credit notes took back of them."""
    billed = Invoice.objects.aggregate(net=Sum("subtotal"))["net"]
    return billed - (CreditNote.objects.aggregate(net=Sum("subtotal"))["net"] or 0)


# A minimum of 10,000.00, of which so many of a period's days are due when it is cancelled on 26 February.
CANCELLED = [
    ("month", 1, datetime(2025, 2, 1, 9, tzinfo=UTC), "8928.57"),  # 25 of 28 days
    ("week", 1, datetime(2025, 2, 21, 9, tzinfo=UTC), "7142.86"),  # 5 of 7
    ("month", 3, datetime(2025, 1, 1, 9, tzinfo=UTC), "6222.22"),  # 56 of 90
]


@pytest.mark.parametrize(("interval", "count", "starts_at", "due"), CANCELLED)
@pytest.mark.parametrize("is_paid", [True, False])
def test_a_fee_that_is_given_back_does_not_count_towards_the_minimum(account, interval, count, starts_at, due, is_paid):
    version = make_metered(fee="1000.00", minimum="10000.00", interval=interval, interval_count=count)
    if is_paid:
        add_card(account, now=starts_at)
    subscription = subscribe(account, version, now=starts_at, **({"collection": "automatic"} if is_paid else {}))
    run(starts_at)
    pause_cancel.cancel(
        subscription_id=subscription.pk, when="now", gives_back=is_paid, reference="x", actor="test",
        now=datetime(2025, 2, 26, 12, tzinfo=UTC),
    )  # fmt: skip
    assert CreditNote.objects.count() == 1
    assert net_charged() == Decimal(due)


def test_of_a_minimum_that_changed_each_day_counts_with_its_own(account):
    version = make_metered(fee="0", minimum="310.00")
    subscription = subscribe(account, version)
    dearer = make_plan("dearer", prices={"USD": {"fee": "0", "minimum": "620.00"}})
    at = datetime(2025, 3, 11, 9, tzinfo=UTC)
    SubscriptionChange.objects.create(
        subscription=subscription, act="change", reference="c", at=at, from_version=version, to_version=dearer
    )
    SubscriptionPeriod.objects.update(plan_version=dearer)
    subscription.plan_version = dearer
    subscription.save()
    run(APRIL)
    # Ten days at 10.00 and 21 at 20.00.
    assert ("Dearer: up to the agreed minimum", 1, 520) in billed()[0]


def test_ending_bills_the_overage_up_to_then(account, pool):
    subscription = subscribe(account, make_metered())
    spend(pool, 3_000, now=NOW + DAY)
    now = NOW + 2 * DAY
    end.end(subscription, at=now, reference="end", actor="test", now=now)
    assert billed()[1] == [("Team: credits beyond those included", 2_000, 4)]
    subscription.refresh_from_db()
    assert (subscription.state, pools.get_main_pool(account.pk).policy) == ("ended", "block")


def test_overage_of_a_trial_without_credits_is_billed_with_the_first_period(account, pool):
    subscribe(account, make_metered(trial_days=14))
    spend(pool, 1_000, now=NOW + DAY)
    run(datetime(2025, 3, 15, tzinfo=UTC))
    assert billed() == [[("Team: credits beyond those included", 1_000, 2), ("Team", 1, 50)]]


def test_overage_that_the_plan_has_no_price_for_costs_nothing(account, pool):
    subscribe(account, make_team())
    pools.set_policy(pool_id=pool.pk, policy="overage", burst_limit=Decimal(0), overage_cap=None)
    spend(pool, 3_000, now=NOW + DAY)
    run(APRIL)
    assert billed()[1] == [("Team", 1, 50)]
    assert [(each.credits, each.amount, each.invoice) for each in OverageCharge.objects.all()] == [(2_000, 0, None)]


def test_the_minimum_of_a_period_that_was_cut_short_stays_what_it_was_for_its_days(account, pool):
    """March, cut on the 11th: ten days of a minimum of 93.00 are 30.00, of which 2,000 credits are 4.00."""
    add_card(account)
    version = make_metered(fee="0", minimum="93.00", included_credits=Decimal(0))
    subscription = subscribe(account, version, collection="automatic")
    run(NOW)
    weekly = make_plan("weekly", interval="week", prices={"USD": {"fee": "10.00", "minimum": "70.00"}})
    spent = spend(pool, 2_000, now=NOW + DAY)
    on = datetime(2025, 3, 11, 12, tzinfo=UTC)
    changes.change(
        subscription_id=subscription.pk, plan_version_id=weekly.pk, when="now", by_staff=True, reference="c", actor="",
        now=on,
    )  # fmt: skip
    first = SubscriptionPeriod.objects.get(number=1)
    assert (first.overage_amount, first.true_up_amount) == (4, 26)
    posting.reverse(posting_id=spent.pk, now=on + DAY)
    run(on + 7 * DAY)
    first.refresh_from_db()
    assert (first.overage_amount, first.true_up_amount) == (0, 30)
