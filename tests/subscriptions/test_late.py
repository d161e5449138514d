"""What happens between a period's end and a renewal that comes late is set right by it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.invoicing.models import Invoice
from billing.ledger import expiry, pools, posting
from billing.ledger.models import Posting
from billing.subscriptions.models import OverageCharge
from tests.factories import NOW
from tests.subscriptions.makers import available, make_team, run, subscribe, tiers

pytestmark = pytest.mark.django_db

APRIL, MAY, JUNE = (datetime(2025, month, 30 if month == 4 else 31, 22, tzinfo=UTC) for month in (3, 4, 5))
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def spend(account, credits, *, now, reference="") -> Posting:
    pool = pools.get_main_pool(account.pk)
    reference = reference or f"spend:{now.isoformat()}:{credits}"
    return posting.spend(pool_id=pool.pk, credits=Decimal(credits), reference=reference, now=now)


def make_overage(**fields):
    price = {"USD": {"fee": "50.00", "overage_tiers": tiers((None, "0.10"))}}
    return make_team(policy="overage", prices=price, **fields)


def test_overage_before_a_late_allocation_is_repaid_from_it(account):
    subscribe(account, make_overage())
    spend(account, 300, now=APRIL + HOUR)
    pool = pools.get_main_pool(account.pk)
    assert (pool.cycle_overage, available(account, APRIL + HOUR)) == (300, 0)
    run(APRIL + 2 * HOUR)
    pool.refresh_from_db()
    assert (pool.cycle_overage, pool.balance, pool.cycle_spent) == (0, 700, 300)
    assert available(account, APRIL + 2 * HOUR) == 700
    repaid = Posting.objects.get(act="repay")
    assert repaid.credits == 300
    run(MAY)
    assert not OverageCharge.objects.exists()
    assert [invoice.subtotal for invoice in Invoice.objects.order_by("pk")] == [50, 50, 50]


def test_overage_of_a_period_that_is_over_already_is_repaid_too(account):
    subscribe(account, make_overage())
    spend(account, 300, now=APRIL + HOUR)
    spend(account, 1500, now=MAY + HOUR)
    run(MAY + 2 * HOUR)
    # April's credits paid for April's 300 and then ended; May's for 1,000 of May's 1,500.
    pool = pools.get_main_pool(account.pk)
    assert (pool.cycle_overage, available(account, MAY + 2 * HOUR)) == (500, 0)
    run(JUNE)
    assert [(charge.credits, charge.amount) for charge in OverageCharge.objects.all()] == [(500, 50)]
    assert [invoice.subtotal for invoice in Invoice.objects.order_by("pk")] == [50, 50, 50, 100]


def test_overdraft_of_a_period_that_is_over_is_repaid_from_its_credits_not_from_the_next(account):
    subscribe(account, make_team(policy="burst", burst_limit=Decimal(500)))
    spend(account, 300, now=APRIL + HOUR)
    run(MAY + HOUR)
    assert available(account, MAY + HOUR) == 1000
    assert pools.get_main_pool(account.pk).overdraft == 0


def test_overage_that_was_invoiced_is_not_repaid_by_what_is_paid_late(account, settings):
    settings.FLORIN_ALLOCATE_ON = "payment"
    subscribe(account, make_overage())
    spend(account, 40, now=NOW + HOUR)
    run(APRIL)
    assert OverageCharge.objects.get().credits == 40
    run(MAY)
    assert OverageCharge.objects.count() == 1


def test_a_spend_that_was_repaid_late_can_be_reversed(account):
    subscribe(account, make_overage())
    spent = spend(account, 300, now=APRIL + HOUR)
    run(APRIL + 2 * HOUR)
    posting.reverse(posting_id=spent.pk, now=APRIL + 3 * HOUR)
    assert available(account, APRIL + 3 * HOUR) == 1000
    assert pools.get_main_pool(account.pk).cycle_spent == 0


def test_the_expiry_job_leaves_to_a_late_renewal_what_will_roll(account):
    subscribe(account, make_team(rollover="all"))
    spend(account, 400, now=NOW + HOUR)
    late = APRIL + 3 * DAY
    assert expiry.expire_due(now=late, grace_seconds=3600) == 0
    run(late)
    assert available(account, late) == 1600
    # What it has rolled once ends with April: the renewal in time leaves it to the job.
    run(MAY)
    assert available(account, MAY) == 2000
    assert expiry.expire_due(now=MAY + DAY, grace_seconds=3600) == 1


def test_the_expiry_job_ends_what_no_renewal_will(account):
    subscription = subscribe(account, make_team(rollover="all"))
    type(subscription).objects.filter(pk=subscription.pk).update(state="cancelled")
    run(APRIL)
    assert expiry.expire_due(now=APRIL + 2 * HOUR, grace_seconds=3600) == 1
    assert pools.get_main_pool(account.pk).balance == 0
