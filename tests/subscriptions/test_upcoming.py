"""The next invoice, told before: it is what the renewal then issues."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.accounts.models import Account
from billing.catalog.models import Coupon
from billing.invoicing import pending
from billing.invoicing.models import Invoice
from billing.ledger import pools, posting
from billing.payments import credit_notes
from billing.subscriptions.lifecycle import changes, pause_cancel
from billing.subscriptions.models import OverageCharge, Subscription, SubscriptionPeriod
from billing.subscriptions.renewal import next_invoice
from tests.factories import make_account, make_issuer, make_plan
from tests.subscriptions.makers import add_card, run, subscribe, tiers

pytestmark = pytest.mark.django_db

D = Decimal
START = datetime(2026, 1, 1, 8, tzinfo=UTC)


@pytest.fixture
def acme() -> Account:
    """An account in Berlin."""
    make_issuer(rates={"DE": "19"})
    return make_account("acme", time_zone="Europe/Berlin", now=START)


def noon(day: int, month: int = 1) -> datetime:
    """Noon of a day of 2026."""
    return datetime(2026, month, day, 12, tzinfo=UTC)


def spend(account: Account, credits: int, now: datetime) -> None:
    """Credits of the main pool, spent."""
    pool = pools.get_main_pool(account.pk)
    posting.spend(pool_id=pool.pk, credits=D(credits), reference=f"s:{now}", now=now)


def foretell(subscription: Subscription, now: datetime) -> next_invoice.NextInvoice | None:
    """What is told, once it is seen to have written nothing."""

    def rows() -> list[object]:
        return [
            list(model.objects.order_by("pk").values())
            for model in (Subscription, SubscriptionPeriod, OverageCharge, Invoice)
        ]

    before = rows()
    told = next_invoice.find_next_invoice(subscription_id=subscription.pk, now=now)
    assert rows() == before
    return told


def assert_comes_true(told: next_invoice.NextInvoice | None, now: datetime) -> Invoice:
    """The invoice of the renewal says what was told."""
    assert told is not None
    run(now)
    invoice = Invoice.objects.latest("pk")
    assert (invoice.subtotal, invoice.total) == (told.quote.subtotal, told.quote.total)
    assert [(line.description, line.amount, line.starts_at) for line in invoice.lines.all()] == [
        (line.draft.description, line.draft.amount, line.draft.starts_at) for line in told.quote.lines
    ]
    return invoice


def test_it_has_arrears_fee_seats_coupons_and_what_is_pending(acme):
    plan = make_plan(
        "team", included_credits=D(100), policy="overage", seats_included=1,
        prices={"USD": {"fee": "50.00", "seat_price": "10.00", "overage_tiers": tiers((None, "0.10"))}},
    )  # fmt: skip
    subscription = subscribe(acme, plan, seats=3, now=START)
    Coupon.objects.create(code="SPRING", name="Spring", percent=D(20), duration_periods=1, created_at=START)
    pause_cancel.redeem(subscription_id=subscription.pk, code="SPRING", reference="l:1", actor="", now=noon(3))
    pending.add(
        account_id=acme.pk, currency="USD", reference="p:1", description="Sorry", amount=D("-7.50"), now=noon(4)
    )
    spend(acme, 130, noon(5))
    told = foretell(subscription, noon(20))
    assert (told.at, told.seats) == (subscription.period_ends_at, 3)
    # 3.00 overage, 50.00 and 20.00 less 20 %, less 7.50.
    assert told.quote.subtotal == D("51.50")
    invoice = assert_comes_true(told, noon(1, 2))
    subscription.refresh_from_db()
    assert (told.starts_at, told.ends_at) == (subscription.period_starts_at, subscription.period_ends_at)
    assert invoice.reference == f"renewal:{subscription.pk}:2"


def test_it_is_by_the_terms_that_are_scheduled(acme):
    subscription = subscribe(acme, make_plan("large", prices={"USD": {"fee": "90.00"}}), now=START)
    small = make_plan("small", interval="quarter", prices={"USD": {"fee": "30.00"}})
    changes.change(subscription_id=subscription.pk, plan_version_id=small.pk, reference="c:1", actor="", now=noon(5))
    told = foretell(subscription, noon(20))
    assert (told.plan_version, told.quote.subtotal) == (small, 30)
    assert_comes_true(told, noon(1, 2))


def test_after_a_trial_it_is_the_first(acme):
    plan = make_plan("trial", trial_days=14, prices={"USD": {"fee": "90.00"}})
    subscription = subscribe(acme, plan, now=START)
    told = foretell(subscription, noon(5))
    assert told.at == subscription.trial_ends_at
    assert_comes_true(told, noon(15))


def test_it_comes_with_the_month_where_a_years_overage_is_billed(acme):
    plan = make_plan(
        "yearly", interval="year", grants_monthly=True, included_credits=D(100), policy="overage",
        prices={"USD": {"fee": "900.00", "overage_tiers": tiers((None, "0.10"))}},
    )  # fmt: skip
    subscription = subscribe(acme, plan, now=START)
    assert foretell(subscription, noon(2)).at == subscription.period_ends_at
    spend(acme, 150, noon(5))
    told = foretell(subscription, noon(6))
    assert (told.at, told.starts_at, told.quote.subtotal) == (subscription.next_due_at, None, 5)
    assert_comes_true(told, noon(1, 2))


def test_one_that_ends_or_rests_is_billed_its_arrears_only(acme):
    plan = make_plan("team", policy="overage", prices={"USD": {"fee": "9", "overage_tiers": tiers((None, "0.10"))}})
    subscription = subscribe(acme, plan, now=START)
    pause_cancel.cancel(subscription_id=subscription.pk, reference="l:1", actor="", now=noon(5))
    assert foretell(subscription, noon(6)) is None
    spend(acme, 30, noon(7))
    told = foretell(subscription, noon(8))
    assert told.starts_at is None
    assert_comes_true(told, noon(1, 2))
    assert foretell(subscription, noon(1, 2)) is None


def test_a_parked_one_is_not_foretold(acme):
    subscription = subscribe(acme, make_plan(), now=START)
    Subscription.objects.update(parked_at=START)
    assert foretell(subscription, noon(6)) is None


def test_the_invoice_balance_pays_what_it_can(acme):
    add_card(acme, now=START)
    plan = make_plan("team", prices={"USD": {"fee": "50.00"}})
    subscription = subscribe(acme, plan, collection="automatic", now=START)
    run(START)
    credit_notes.credit(
        invoice_id=Invoice.objects.get().pk, amount=D("11.90"), refund_to="balance", reason="Sorry", actor="t",
        reference="n:1", now=noon(2),
    )  # fmt: skip
    told = foretell(subscription, noon(3))
    assert (told.quote.total, told.from_balance, told.due) == (D("59.50"), D("11.90"), D("47.60"))
    assert assert_comes_true(told, noon(1, 2)).payments.filter(invoice_credit=None).get().amount == told.due
