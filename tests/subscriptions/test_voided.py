"""An invoice of a subscription becomes void: nobody owes what it was for, and nobody keeps it."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from billing.accounts.models import Account
from billing.catalog.models import PlanVersion
from billing.finance import reports
from billing.invoicing import crediting, settling
from billing.invoicing.models import Invoice, PendingItem
from billing.ledger import pools, posting
from billing.ledger.models import Posting
from billing.payments import voiding
from billing.subscriptions.lifecycle import changes
from billing.subscriptions.models import Allocation, Subscription, SubscriptionChange
from tests.factories import make_plan
from tests.finance.makers import receive
from tests.subscriptions.makers import START, add_card, available, run, subscribe

pytestmark = pytest.mark.django_db

D = Decimal
DECLINED = "4000000000000002"


@pytest.fixture
def account(acme: Account) -> Account:
    """The customer that pays net prices."""
    return acme


@pytest.fixture
def large() -> PlanVersion:
    """62.00 a month for 620 credits."""
    return make_plan("large", included_credits=D(620), prices={"USD": {"fee": "62.00"}}, policy="burst", burst_limit=9)


def noon(day: int, month: int = 1) -> datetime:
    """Noon of a day of 2026."""
    return datetime(2026, month, day, 12, tzinfo=UTC)


def pay(now: datetime) -> None:
    """Money comes for every open invoice."""
    for invoice in Invoice.objects.filter(state="open"):
        receive(invoice, now=now)
    run(now)


def spend(account: Account, credits: int, now: datetime) -> None:
    pool = pools.get_main_pool(account.pk)
    posting.spend(pool_id=pool.pk, credits=D(credits), reference=f"s:{now}", now=now)


def change(subscription: Subscription, version: PlanVersion, now: datetime, **asked: object) -> Subscription:
    return changes.change(
        subscription_id=subscription.pk, plan_version_id=version.pk, reference=f"c:{version.pk}:{now}", actor="user:1",
        now=now, **asked,
    )  # fmt: skip


def void(now: datetime) -> Invoice:
    """Staff void the newest invoice; workers follow, and doing so again changes nothing. Finance adds up."""
    invoice = voiding.void(invoice_id=Invoice.objects.latest("pk").pk, now=now)
    run(now)
    before = (Posting.objects.count(), SubscriptionChange.objects.count(), PendingItem.objects.count())
    run(now)
    assert before == (Posting.objects.count(), SubscriptionChange.objects.count(), PendingItem.objects.count())
    return invoice


def differences() -> list[object]:
    """What finance reports for the year and cannot prove."""
    report = reports.read(starts_on=date(2026, 1, 1), until=noon(1, 12))
    return [check for check in report.checks if not check.holds]


def test_the_credits_of_a_renewal_that_nobody_owes_are_taken_back(account, small):
    subscription = subscribe(account, small, now=START)
    pay(START)
    run(noon(1, 2))
    spend(account, 100, noon(2, 2))
    assert available(account, noon(2, 2)) == 210
    void(noon(3, 2))
    subscription.refresh_from_db()
    assert (available(account, noon(3, 2)), subscription.state) == (0, "active")
    run(noon(1, 3))
    assert available(account, noon(1, 3)) == 310
    assert Invoice.objects.latest("pk").subtotal == 31
    assert differences() == []


def test_credits_of_the_months_to_come_are_not_granted(account):
    year = make_plan(
        "year", interval="year", grants_monthly=True, included_credits=D(310), prices={"USD": {"fee": "310.00"}}
    )
    subscribe(account, year, now=START)
    void(noon(3))
    for month in (2, 3):
        run(noon(2, month))
    assert available(account, noon(2, 3)) == 0
    assert Allocation.objects.filter(cancelled_at=None).count() == 1
    assert differences() == []


def test_an_upgrade_that_nobody_owes_is_undone_and_its_credits_never_come(account, small, large):
    add_card(account)
    subscription = subscribe(account, small, now=START, collection="automatic")
    run(START)
    add_card(account, DECLINED)
    change(subscription, large, noon(11))
    run(noon(11))
    assert available(account, noon(11)) == 310
    assert pools.get_main_pool(account.pk).policy == "burst"
    void(noon(13))
    subscription.refresh_from_db()
    assert (subscription.plan_version, subscription.state) == (small, "active")
    period = subscription.periods.get()
    assert (period.plan_version, period.fee) == (small, 31)
    pool = pools.get_main_pool(account.pk)
    assert (pool.policy, available(account, noon(13))) == ("block", 310)
    assert subscription.changes.filter(act="change").latest("pk").details["reason"] == "void"
    run(noon(1, 2))
    assert (Invoice.objects.latest("pk").subtotal, available(account, noon(1, 2))) == (31, 310)
    assert differences() == []


def test_an_upgrade_by_transfer_that_nobody_owes_takes_back_its_credits_and_no_others(account, small, large):
    subscription = subscribe(account, small, now=START)
    pay(START)
    change(subscription, large, noon(11))
    assert available(account, noon(11)) == 310 + 210
    spend(account, 400, noon(12))
    void(noon(13))
    subscription.refresh_from_db()
    # The older lot went first: 310 of it and 90 of the change's; 120 are left of those, and nobody has paid for them.
    assert (subscription.plan_version, available(account, noon(13))) == (small, 0)
    assert differences() == []


def test_a_change_that_another_followed_is_not_undone(account, small, large):
    larger = make_plan("larger", included_credits=D(930), prices={"USD": {"fee": "93.00"}})
    subscription = subscribe(account, small, now=START)
    pay(START)
    change(subscription, large, noon(11))
    first = Invoice.objects.latest("pk")
    change(subscription, larger, noon(11), by_staff=True)
    voiding.void(invoice_id=first.pk, now=noon(12))
    run(noon(12))
    subscription.refresh_from_db()
    assert (subscription.plan_version, available(account, noon(12))) == (larger, 310 + 210)
    assert differences() == []


def test_a_year_that_nobody_owes_gives_back_what_it_gave_for_the_month(account, small):
    year = make_plan(
        "year", interval="year", grants_monthly=True, included_credits=D(310), prices={"USD": {"fee": "310.00"}}
    )
    subscription = subscribe(account, small, now=START)
    pay(START)
    change(subscription, year, noon(11), when="now", by_staff=True)
    assert available(account, noon(11)) == 100 + 310
    void(noon(12))
    subscription.refresh_from_db()
    assert (subscription.plan_version, available(account, noon(12))) == (year, 100)
    assert [item.amount for item in PendingItem.objects.all()] == [-21]
    # Back to the month: nothing of the year comes back, for nothing of it was paid.
    change(subscription, small, noon(12), when="now", by_staff=True)
    assert (Invoice.objects.latest("pk").subtotal, available(account, noon(12))) == (10, 100 + 310)
    assert differences() == []


def test_what_nobody_owes_is_not_given_back_by_a_change(account, small, large):
    subscription = subscribe(account, large, now=START)
    void(noon(3))
    told = changes.preview(subscription_id=subscription.pk, plan_version_id=small.pk, when="now", now=noon(11))
    # 21 of 31 days of the smaller plan, and all the credits of those days.
    assert (told.total, told.credit, told.credits_delta) == (21, 0, 210)
    change(subscription, small, noon(11), when="now")
    assert (Invoice.objects.latest("pk").subtotal, available(account, noon(11))) == (21, 210)
    assert differences() == []


def test_an_invoice_that_was_given_up_first_and_one_that_is_credited_whole_are_void_too(account, small):
    subscribe(account, small, now=START)
    invoice = Invoice.objects.get()
    settling.mark_uncollectible(invoice_id=invoice.pk, now=noon(2))
    run(noon(2))
    assert available(account, noon(2)) == 310
    void(noon(3))
    assert available(account, noon(3)) == 0
    run(noon(1, 2))
    line = Invoice.objects.latest("pk").lines.get()
    item = crediting.CreditItem(line.pk, line.amount)
    crediting.credit(
        invoice_id=line.invoice_id, reference="x", reason="mistake", items=[item], actor="user:1", now=noon(3, 2)
    )
    run(noon(3, 2))
    assert available(account, noon(3, 2)) == 0
    assert differences() == []


def test_a_first_invoice_that_becomes_void_ends_what_waits_for_it(account, small):
    subscription = subscribe(account, small, now=START, collection="automatic")
    void(START)
    subscription.refresh_from_db()
    assert subscription.state == "ended"
    again = subscribe(account, small, now=noon(1))
    assert (again.state, available(account, noon(1))) == ("active", 310)


def test_the_months_of_a_year_keep_what_was_paid_for_them_when_an_upgrade_is_void(account):
    """A year of 310 credits a month, paid, becomes one of 620 by an invoice that is void a month later."""
    terms = {"interval": "year", "grants_monthly": True}
    small = make_plan("small", **terms, included_credits=D(310), prices={"USD": {"fee": "365.00"}})
    large = make_plan("large", **terms, included_credits=D(620), prices={"USD": {"fee": "730.00"}})
    subscription = subscribe(account, small, now=START)
    pay(START)
    change(subscription, large, noon(11), by_staff=True)
    assert available(account, noon(11)) == 310 + 210
    upgrade = Invoice.objects.latest("pk")
    assert upgrade.subtotal == 355
    run(noon(2, 2))
    assert available(account, noon(2, 2)) == 620
    spend(account, 100, noon(3, 2))
    void(noon(4, 2))
    subscription.refresh_from_db()
    # The 100 went from what was promised first, of the 310 that were paid for; the other 310 are taken back.
    assert (subscription.plan_version, available(account, noon(4, 2))) == (small, 210)
    assert subscription.periods.get().fee == 365
    for month in (3, 4):
        run(noon(2, month))
        assert available(account, noon(2, month)) == 310
    assert differences() == []
