"""Changing plan and seats: what is billed, what goes back, which credits follow. A preview says what the act does."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from billing.accounts.models import Account
from billing.catalog import periods
from billing.catalog.models import PlanVersion
from billing.finance import reports
from billing.invoicing import settling
from billing.invoicing.models import Invoice, InvoiceLine, PendingItem
from billing.ledger import pools, posting
from billing.ledger.models import CreditGrant
from billing.subscriptions import guards
from billing.subscriptions.lifecycle import changes
from billing.subscriptions.models import (
    Allocation,
    ScheduledChange,
    Subscription,
    SubscriptionChange,
    SubscriptionPeriod,
)
from billing.subscriptions.renewal import renewals
from tests.factories import make_account, make_issuer, make_plan
from tests.subscriptions.makers import available, run
from tests.subscriptions.makers import subscribe as subscribe_unpaid

pytestmark = pytest.mark.django_db

D = Decimal
ZONE = "Europe/Berlin"
START = datetime(2026, 1, 1, 8, tzinfo=UTC)


@pytest.fixture
def acme() -> Account:
    """An account in Berlin that pays net prices by bank transfer."""
    make_issuer(rates={"DE": "0"})
    return make_account("acme", time_zone=ZONE, now=START)


@pytest.fixture
def small() -> PlanVersion:
    """31.00 a month for 310 credits: 1.00 and 10 credits a day of January."""
    return make_plan("small", included_credits=D(310), prices={"USD": {"fee": "31.00"}}, seats_max=100)


@pytest.fixture
def large() -> PlanVersion:
    """100.00 a month for 2,000 credits."""
    return make_plan("large", included_credits=D(2000), prices={"USD": {"fee": "100.00"}})


def subscribe(account: Account, version: PlanVersion, *, now: datetime, **fields: object) -> Subscription:
    """A subscription whose first invoice is paid."""
    subscription = subscribe_unpaid(account, version, now=now, **fields)  # type: ignore[arg-type]
    pay(now)
    return subscription


def pay(now: datetime) -> None:
    """Money comes for every open invoice, and the subscription hears of it."""
    for invoice in Invoice.objects.filter(state="open"):
        settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=now)
    run(now)


def change(subscription: Subscription, now: datetime, *, reference: str = "c:1", **asked: object) -> Subscription:
    """A customer's change, that does exactly what its preview says."""
    asked = {"subscription_id": subscription.pk, **asked}
    before = everything()
    told = changes.preview(now=now, **asked)  # type: ignore[arg-type]
    assert everything() == before
    known, was = set(Invoice.objects.values_list("pk", flat=True)), available(subscription.account, now)
    done = changes.change(reference=reference, actor="key:1", now=now, **asked)  # type: ignore[arg-type]
    came = Invoice.objects.exclude(pk__in=known)
    if told.quote is None:
        assert not came.exists()
    else:
        invoice = came.get()
        assert (invoice.subtotal, invoice.tax_total, invoice.total) == (
            told.quote.subtotal, told.quote.tax_total, told.total,
        )  # fmt: skip
        assert [(line.description, line.quantity, line.amount) for line in invoice.lines.all()] == [
            (line.draft.description, line.draft.quantity, line.draft.amount) for line in told.quote.lines
        ]
    open_credit = PendingItem.objects.filter(invoice_line=None, cancelled_at=None, amount__lt=0)
    assert sum((item.amount for item in open_credit), D(0)) == told.credit
    if told.when == "now":
        assert available(subscription.account, now) - was == told.credits_delta
        assert (done.plan_version, done.seats) == (told.plan_version, told.seats)
        assert done.period_ends_at == told.period_ends_at
    else:
        assert (told.total, told.effective_at) == (0, done.period_ends_at)
    return done


def everything() -> list[object]:
    """What a preview, and a refused change, must leave as it is."""
    models = (Invoice, InvoiceLine, PendingItem, CreditGrant, Allocation, SubscriptionChange, ScheduledChange)
    rows: list[object] = [list(model.objects.order_by("pk").values()) for model in models]
    return [*rows, list(Subscription.objects.values()), list(SubscriptionPeriod.objects.order_by("pk").values())]


def noon(day: int, month: int = 1) -> datetime:
    """Noon of a day of 2026."""
    return datetime(2026, month, day, 12, tzinfo=UTC)


def billed() -> Decimal:
    """Net money of all invoices and of what is pending."""
    lines = sum(InvoiceLine.objects.values_list("amount", flat=True), D(0))
    return lines + sum(PendingItem.objects.filter(invoice_line=None).values_list("amount", flat=True), D(0))


# The first days, the middle and the end of January; 29 March has 23 hours in Berlin, 25 October has 25. All three
# months have 31 days, each of which test_proration looks at.
DAYS = [(1, 1), (2, 1), (16, 1), (30, 1), (31, 1), (29, 3), (30, 3), (25, 10)]


@pytest.mark.parametrize(("day", "month"), DAYS)
def test_an_upgrade_on_any_day_bills_each_day_by_the_plan_it_had(acme, small, large, day, month):
    now = noon(day, month)
    subscription = change(subscribe(acme, small, now=START.replace(month=month)), now, plan_version_id=large.pk)
    # 1.00 for each day before; of 100.00 what the days before have not used up.
    used_of_large = (D(100) * (day - 1) / 31).quantize(D("0.01"), rounding="ROUND_HALF_UP")
    assert billed() == (day - 1) + D(100) - used_of_large
    period = subscription.periods.get()
    assert (period.fee, period.plan_version) == (billed(), large)
    left = D(2000) - (D(2000) * (day - 1) / 31).quantize(D("0.000001"))
    assert available(acme, now) == 10 * (day - 1) + left


@pytest.mark.parametrize(("day", "month"), DAYS)
def test_a_downgrade_on_any_day_gives_back_what_the_days_left_are_worth(acme, small, large, day, month):
    subscription = subscribe(acme, large, now=START.replace(month=month))
    change(subscription, noon(day, month), plan_version_id=small.pk, when="now")
    used_of_large = (D(100) * (day - 1) / 31).quantize(D("0.01"), rounding="ROUND_HALF_UP")
    assert billed() == used_of_large + (32 - day)
    credit = PendingItem.objects.get(invoice_line=None)
    assert credit.amount == billed() - 100
    # The next invoice takes it: 31.00 for the next month less the credit, as far as that goes.
    run(noon(1, month + 1))
    next_month = Invoice.objects.get(reference=f"renewal:{subscription.pk}:2")
    assert next_month.subtotal == max(31 + credit.amount, D(0))
    assert billed() == used_of_large + (32 - day) + 31


@pytest.mark.parametrize("included", ["310", "0"])
@pytest.mark.parametrize("has_tax", [False, True])
def test_changing_back_and_forth_leaves_one_invoice_and_nothing_pending(acme, included, has_tax):
    """Up for 46.74 on the 11th, then down and up again four times: neither invoices of nothing nor tiny lines."""
    rows = {"prices_include_tax": has_tax, "seats_max": 100}
    small = make_plan("s", included_credits=D(included), prices={"USD": {"fee": "31.00"}}, **rows)
    large = make_plan("l", included_credits=D(included) * 6, prices={"USD": {"fee": "100.00"}}, **rows)
    subscription = subscribe(acme, small, now=START)
    change(subscription, noon(11), plan_version_id=large.pk)
    pay(noon(11))
    for number in range(4):
        change(subscription, noon(11), plan_version_id=small.pk, when="now", reference=f"down:{number}")
        pending = PendingItem.objects.filter(invoice_line=None, cancelled_at=None)
        assert [item.amount for item in pending] == [D("-46.74")]
        change(subscription, noon(11), plan_version_id=large.pk, reference=f"up:{number}")
        assert not pending.all().exists()
    assert list(Invoice.objects.order_by("pk").values_list("total", flat=True)) == [31, D("46.74")]
    assert [lot.cost_basis > 0 for lot in CreditGrant.objects.filter(is_open=True)] == [True] * (included != "0") * 2
    # On another day a part of what is left pays: 100.00 - 31.00 for 11 of 31 days is 24.49.
    change(subscription, noon(16), plan_version_id=small.pk, when="now", reference="down")
    assert pending.all().get().amount == D("-35.61")
    change(subscription, noon(21), plan_version_id=large.pk, reference="up")
    assert pending.all().get().amount == D("-11.13")
    # The money came without payments, which these tests do not make.
    found = reports.read(starts_on=START.date(), until=noon(25))
    assert not [each for each in found.checks if not each.holds and not {"payments", "ageing"} & set(each.what.split())]


def test_seats_go_from_three_to_five_and_back(acme):
    team = make_plan(
        "team", seats_included=1, credits_per_seat=D(31), prices={"USD": {"fee": "20.00", "seat_price": "31.00"}}
    )
    subscription = subscribe(acme, team, seats=3, now=START)
    assert (billed(), available(acme, START)) == (82, 93)
    # Two more seats for 21 of 31 days: 42.00 and 42 credits. Fee and seats before stand as they are.
    change(subscription, noon(11), seats=5)
    assert (billed(), available(acme, noon(11))) == (124, 135)
    assert [line.amount for line in Invoice.objects.latest("pk").lines.all()] == [-42, 84]
    pay(noon(12))
    # Back on the 21st, for the 11 days that are left: 22.00 and 22 credits go back.
    change(subscription, noon(21), seats=3, when="now", reference="c:2")
    assert (billed(), available(acme, noon(21))) == (102, 113)
    period = subscription.periods.get()
    assert (period.fee, period.seats_fee, period.seats) == (20, 82, 3)
    run(noon(1, 2))
    assert Invoice.objects.latest("pk").subtotal == 82 - 22


def test_fewer_seats_wait_for_the_end_of_the_period_unless_asked_otherwise(acme):
    team = make_plan("team", prices={"USD": {"fee": "0", "seat_price": "10.00"}})
    subscription = subscribe(acme, team, seats=5, now=START)
    change(subscription, noon(11), seats=3)
    waiting = ScheduledChange.objects.get()
    assert (waiting.seats, waiting.plan_version, waiting.actor) == (3, team, "key:1")
    subscription.refresh_from_db()
    assert (subscription.seats, billed()) == (5, 50)
    # Another one takes its place.
    change(subscription, noon(12), seats=4, reference="c:2")
    waiting.refresh_from_db()
    assert waiting.withdrawn_at == noon(12)
    run(noon(1, 2))
    subscription.refresh_from_db()
    assert (subscription.seats, billed()) == (4, 90)
    assert ScheduledChange.objects.get(withdrawn_at=None).applied_at is not None


def test_a_change_of_interval_begins_a_new_period_today(acme, small):
    yearly = make_plan("yearly", interval="year", included_credits=D(36500), prices={"USD": {"fee": "730.00"}})
    subscription = change(subscribe(acme, small, now=START), noon(11), plan_version_id=yearly.pk)
    assert (subscription.period_number, subscription.anchor_on, subscription.anchor_number) == (2, date(2026, 1, 11), 2)
    assert subscription.period_ends_at == periods.first_moment(date(2027, 1, 11), ZONE)
    assert subscription.next_due_at == subscription.period_ends_at
    # 10 days of small at 1.00 and 10 credits; then the year.
    assert (billed(), available(acme, noon(11))) == (740, 36600)
    assert [line.amount for line in Invoice.objects.latest("pk").lines.all()] == [-21, 730]
    assert [period.fee for period in subscription.periods.order_by("number")] == [10, 730]
    # What is left of the old credits ends when it would have.
    renewals.run_due(now=noon(2, 2), limit=10)
    assert available(acme, noon(2, 2)) == 36500


def test_a_year_changed_for_a_month_is_used_up_month_by_month(acme, small):
    yearly = make_plan("yearly", interval="year", prices={"USD": {"fee": "365.00"}})
    subscription = subscribe(acme, yearly, now=START)
    change(subscription, noon(11), plan_version_id=small.pk, when="now")
    # 355.00 go back; the month from 11 January takes 31.00 of them, and so on.
    assert billed() == 10 + 31
    assert Invoice.objects.latest("pk").total == 0
    for month, left in ((2, 324 - 31), (3, 324 - 62)):
        run(noon(12, month))
        assert PendingItem.objects.get(invoice_line=None).amount == -left
    # Invoices that credit pays whole are paid at once.
    assert list(Invoice.objects.order_by("pk").values_list("total", "state")) == [
        (365, "paid"), (0, "paid"), (0, "paid"), (0, "paid"),
    ]  # fmt: skip


def test_credits_that_were_spent_are_not_taken_back(acme, small, large):
    subscription = subscribe(acme, large, now=START)
    pool = pools.get_main_pool(acme.pk)
    posting.spend(pool_id=pool.pk, credits=D(1900), reference="s:1", now=noon(5))
    change(subscription, noon(11), plan_version_id=small.pk, when="now", by_staff=True)
    assert available(acme, noon(11)) == 0


def test_another_currency_is_refused(acme, small):
    euros = make_plan("euros", prices={"EUR": {"fee": "50.00"}})
    subscription, before = subscribe(acme, small, now=START), None
    before = everything()
    for asked in ({"plan_version_id": euros.pk}, {"seats": 3, "currency": "EUR"}):
        for act in (changes.preview, lambda **given: changes.change(reference="c:1", actor="", **given)):
            with pytest.raises(changes.CurrencyFixed) as refusal:
                act(subscription_id=subscription.pk, now=noon(5), **asked)
            assert refusal.value.currency == "USD"
    assert everything() == before


def test_a_repeat_changes_nothing_and_another_request_of_its_reference_is_refused(acme, small, large):
    subscription = change(subscribe(acme, small, now=START), noon(5), plan_version_id=large.pk)
    before = everything()
    again = {"subscription_id": subscription.pk, "reference": "c:1", "actor": "key:1", "now": noon(6)}
    changes.change(plan_version_id=large.pk, **again)
    with pytest.raises(guards.ReferenceConflict):
        changes.change(plan_version_id=small.pk, **again)
    assert everything() == before


def test_a_change_that_costs_other_than_expected_is_refused(acme, small, large):
    subscription = subscribe(acme, small, now=START)
    before = everything()
    asked = {"subscription_id": subscription.pk, "plan_version_id": large.pk, "reference": "c:1", "actor": "key:1"}
    # On the 11th it is 100.00 - 32.26 less 21.00; on the 12th 100.00 - 35.48 less 20.00.
    with pytest.raises(changes.TotalChanged) as refusal:
        changes.change(expected_total=D("46.74"), now=noon(12), **asked)
    assert (refusal.value.total, refusal.value.currency) == (D("44.52"), "USD")
    assert everything() == before
    changes.change(expected_total=D("46.74"), now=noon(11), **asked)
    assert Invoice.objects.latest("pk").total == D("46.74")
    assert subscription.periods.get().fee == D("77.74")


def test_what_is_unpaid_is_not_given_back_to_a_customer(acme, small, large):
    subscription = subscribe_unpaid(acme, large, now=START)
    before = everything()
    asked = {"subscription_id": subscription.pk, "plan_version_id": small.pk, "when": "now", "now": noon(11)}
    with pytest.raises(changes.InvoiceUnpaid):
        changes.preview(**asked)
    assert everything() == before
    assert changes.preview(**{**asked, "when": "period_end"}).when == "period_end"
    assert changes.preview(**asked, by_staff=True).credit == -46 - D("0.74")
    Subscription.objects.update(state="past_due")
    with pytest.raises(changes.InvoiceUnpaid):
        changes.preview(**{**asked, "plan_version_id": None, "seats": 5})


def test_the_longest_reference_of_a_request_fits_wherever_it_is_kept(
    acme: Account, small: PlanVersion, large: PlanVersion
) -> None:
    subscription = subscribe(acme, small, now=START)
    subscription = change(subscription, noon(5), reference="u" * 100, plan_version_id=large.pk)
    pay(noon(5))
    change(subscription, noon(11), reference="d" * 100, plan_version_id=small.pk, when="now", by_staff=True)
    kept = set(SubscriptionChange.objects.values_list("reference", flat=True))
    assert {f"{subscription.pk}:{letter * 100}" for letter in "ud"} <= kept
    assert Invoice.objects.filter(reference=f"change:{subscription.pk}:{'u' * 100}").exists()
