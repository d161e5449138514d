"""What is given back of a fee that pays for credits is no more than what of them is unused."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.accounts.models import Account
from billing.catalog.models import PlanVersion
from billing.invoicing import settling
from billing.invoicing.models import CreditNote, Invoice, InvoiceLine, PendingItem
from billing.ledger import pools, posting
from billing.subscriptions.lifecycle import changes, pause_cancel
from billing.subscriptions.models import Subscription
from tests.factories import make_plan
from tests.subscriptions.makers import START, available, run, subscribe

pytestmark = pytest.mark.django_db

D = Decimal


@pytest.fixture
def yearly() -> PlanVersion:
    """310.00 a year for 310 credits a month."""
    return make_plan(
        "yearly", interval="year", grants_monthly=True, included_credits=D(310), prices={"USD": {"fee": "310.00"}}
    )


def noon(day: int, month: int = 1) -> datetime:
    """Noon of a day of 2026."""
    return datetime(2026, month, day, 12, tzinfo=UTC)


def pay(now: datetime) -> None:
    """Money comes for every open invoice."""
    for invoice in Invoice.objects.filter(state="open"):
        settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=now)
    run(now)


def begin(account: Account, version: PlanVersion, *, spent: int) -> Subscription:
    """A subscription of the 1st, paid, with so many credits spent by the 5th."""
    subscription = subscribe(account, version, now=START)
    pay(START)
    if spent:
        pool = pools.get_main_pool(account.pk)
        posting.spend(pool_id=pool.pk, credits=D(spent), reference="s:1", now=noon(5))
    return subscription


def change(subscription: Subscription, version: PlanVersion, now: datetime, *, by_staff: bool = False) -> list[Decimal]:
    """Change the plan now; the lines of today's invoice, which are those of the preview."""
    asked = {"subscription_id": subscription.pk, "plan_version_id": version.pk, "when": "now", "by_staff": by_staff}
    told = changes.preview(now=now, **asked)
    was = available(subscription.account, now)
    changes.change(reference="c:1", actor="", now=now, **asked)
    assert available(subscription.account, now) - was == told.credits_delta
    found = Invoice.objects.latest("pk").lines.order_by("position").values_list("amount", flat=True)
    assert told.quote is None or [line.amount for line in told.quote.lines] == list(found)
    back = sum(PendingItem.objects.filter(invoice_line=None).values_list("amount", flat=True), D(0))
    assert back == told.credit
    return list(found)


@pytest.mark.parametrize("by_staff", [False, True])
@pytest.mark.parametrize(
    ("spent", "lines", "fee", "left"),
    [
        # 21 of 31 days are left, which have 210 credits; 100 were for the days before.
        (0, [-21, 310], 10, 100 + 310),
        (100, [-21, 310], 10, 310),
        # Of those 210 credits 100 have been used, 110 have not: 11.00 go back.
        (200, [-21, 10, 310], 20, 310),
        (310, [-21, 21, 310], 31, 310),
    ],
)
def test_a_month_changed_for_a_year_gives_back_what_is_unused(acme, small, yearly, by_staff, spent, lines, fee, left):
    subscription = begin(acme, small, spent=spent)
    assert change(subscription, yearly, noon(11), by_staff=by_staff) == lines
    assert subscription.periods.get(number=1).fee == fee
    assert available(acme, noon(11)) == left


def test_who_uses_all_credits_on_the_first_day_pays_for_them(acme, small, yearly):
    """620 credits on one day cost a month and a year."""
    subscription = begin(acme, small, spent=0)
    pool = pools.get_main_pool(acme.pk)
    posting.spend(pool_id=pool.pk, credits=D(310), reference="s:1", now=noon(1))
    assert change(subscription, yearly, noon(1)) == [-31, 31, 310]
    posting.spend(pool_id=pool.pk, credits=D(310), reference="s:2", now=noon(1))
    assert sum(InvoiceLine.objects.values_list("amount", flat=True)) == 341


@pytest.mark.parametrize(("spent", "back"), [(0, "-301.51"), (200, "-293.18"), (310, "-284.02")])
def test_a_year_changed_for_a_month_gives_back_the_months_to_come_and_what_is_unused(acme, small, yearly, spent, back):
    """Of 310.00 the 355 of 365 days that are left are 301.51; with them go 210 credits, and 11 times 310. So 100 of
    these 3,620, used already, were 8.33, and 210 were 17.49."""
    subscription = begin(acme, yearly, spent=spent)
    change(subscription, small, noon(11))
    assert subscription.periods.get(number=1).fee == 310 + D(back)


def test_dearer_for_fewer_credits_does_not_pay_for_those_used(acme, small):
    """62.00 a month without credits: 42.00 for 21 days."""
    flat = make_plan("flat", prices={"USD": {"fee": "62.00"}})
    subscription = begin(acme, small, spent=310)
    assert change(subscription, flat, noon(11)) == [-21, 21, 42]


def test_a_downgrade_by_staff_gives_back_what_is_unused(acme, small):
    """2,000 credits for 100.00: 21 of 31 days are 67.74 and 1,354.838710 credits, 210 of which stay. 1,900 are used, so
    of 1,144.838710 to go back 100 are there, and 1,044.838710 are not: 52.24."""
    large = make_plan("large", included_credits=D(2000), prices={"USD": {"fee": "100.00"}})
    subscription = begin(acme, large, spent=1900)
    with pytest.raises(changes.CreditsUsed):
        change(subscription, small, noon(11))
    assert change(subscription, small, noon(11), by_staff=True) == [D("-67.74"), D("52.24"), 21]
    assert available(acme, noon(11)) == 0
    assert subscription.periods.get().fee == D("105.50")


@pytest.mark.parametrize(("spent", "back"), [(100, 21), (200, 11), (310, 0)])
def test_staff_give_back_no_more_than_is_unused(acme, small, spent, back):
    subscription = begin(acme, small, spent=spent)
    pause_cancel.cancel(
        subscription_id=subscription.pk, when="now", gives_back=True, reference="x", actor="user:1", now=noon(11)
    )
    assert sum(CreditNote.objects.values_list("subtotal", flat=True), D(0)) == back
    assert available(acme, noon(11)) == 0


def test_an_invoice_that_was_given_up_is_not_given_back(acme, small):
    large = make_plan("large", included_credits=D(2000), prices={"USD": {"fee": "100.00"}})
    subscription = subscribe(acme, large, now=START)
    settling.mark_uncollectible(invoice_id=Invoice.objects.get().pk, now=noon(2))
    run(noon(2))
    dearer = make_plan("dearer", included_credits=D(4000), prices={"USD": {"fee": "200.00"}})
    for other in (small, dearer):
        with pytest.raises(changes.InvoiceUnpaid):
            change(subscription, other, noon(11))
    assert (PendingItem.objects.count(), Invoice.objects.count()) == (0, 1)
    assert change(subscription, dearer, noon(11), by_staff=True) == [D("-67.74"), D("135.48")]
