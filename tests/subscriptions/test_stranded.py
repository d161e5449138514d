"""No pending item waits for ever: what no renewal takes is billed or given back."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from billing.accounts.models import Account
from billing.catalog.models import PlanVersion
from billing.finance import reports
from billing.invoicing import pending
from billing.invoicing.models import CreditNote, Invoice, PendingItem
from billing.payments.models import Collection, Refund
from billing.subscriptions.followup import unbilled_items
from billing.subscriptions.lifecycle import changes, pause_cancel
from billing.subscriptions.models import Subscription
from tests.factories import make_account, make_issuer, make_plan
from tests.subscriptions.makers import add_card, run, subscribe

pytestmark = pytest.mark.django_db

D = Decimal
START = datetime(2026, 1, 1, 8, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def account() -> Account:
    """An account in Berlin, with a card; everything is taxed at 19 %, books at 7 %."""
    make_issuer(rates={"DE": "19"})
    found = make_account("acme", time_zone="Europe/Berlin", now=START)
    add_card(found, now=START)
    return found


@pytest.fixture
def large() -> PlanVersion:
    """93.00 a month: 3.00 a day of January."""
    return make_plan("large", prices={"USD": {"fee": "93.00"}})


def make_other(kind: str) -> PlanVersion:
    """31.00 a month, of another tax category, or with the tax in the price."""
    if kind == "inclusive":
        return make_plan("inclusive", prices={"USD": {"fee": "31.00"}}, prices_include_tax=True)
    version = make_plan("books", prices={"USD": {"fee": "31.00"}})
    version.plan.tax_category = "books"
    version.plan.save()
    return version


def noon(day: int, month: int = 1) -> datetime:
    """Noon of a day of 2026."""
    return datetime(2026, month, day, 12, tzinfo=UTC)


def work(now: datetime) -> int:
    """What workers do; how many items were settled."""
    run(now)
    settled = unbilled_items.settle_due(now=now, limit=10)
    assert unbilled_items.settle_due(now=now, limit=10) == 0
    run(now)
    return settled


def begin(account: Account, version: PlanVersion) -> Subscription:
    subscription = subscribe(account, version, now=START, collection="automatic")
    work(START)
    return subscription


def waiting() -> list[Decimal]:
    rows = PendingItem.objects.filter(invoice_line=None, cancelled_at=None).order_by("pk")
    return list(rows.values_list("amount", flat=True))


def differences() -> list[object]:
    """What finance reports for the year and cannot prove."""
    report = reports.read(starts_on=date(2026, 1, 1), until=noon(1, 12))
    return [check for check in report.checks if not check.holds]


@pytest.mark.parametrize("kind", ["books", "inclusive"])
def test_a_credit_of_another_kind_than_the_plan_goes_back_at_the_renewal(account, large, kind):
    subscription = begin(account, large)
    changes.change(
        subscription_id=subscription.pk, plan_version_id=make_other(kind).pk, when="now", reference="c", actor="user:1",
        now=noon(11),
    )  # fmt: skip
    # 21 days of 3.00, for which today's invoice has no room: it is of another kind.
    assert waiting() == [-63]
    assert work(noon(12)) == 0
    assert work(noon(1, 2)) == 1
    note, refund = CreditNote.objects.get(), Refund.objects.get()
    assert (note.subtotal, note.total, note.invoice) == (63, D("74.97"), Invoice.objects.earliest("pk"))
    assert (refund.amount, refund.credit_note) == (note.total, note)
    assert waiting() == []
    assert work(noon(1, 3)) == 0
    assert differences() == []


def test_a_credit_of_the_plans_kind_is_left_to_its_invoices(account, large):
    subscription = begin(account, make_plan("year", interval="year", prices={"USD": {"fee": "365.00"}}))
    monthly = make_plan("small", prices={"USD": {"fee": "31.00"}})
    changes.change(
        subscription_id=subscription.pk, plan_version_id=monthly.pk, when="now", reference="c", actor="user:1",
        now=noon(11),
    )  # fmt: skip
    assert waiting() == [-324]
    for month in (2, 3, 4):
        assert work(noon(12, month)) == 0
    assert waiting() == [-324 + 3 * 31]


def test_what_is_left_when_it_has_ended_goes_back_after_thirty_days(account, large):
    subscription = begin(account, large)
    small = make_plan("small", prices={"USD": {"fee": "31.00"}})
    given = {"subscription_id": subscription.pk, "actor": "user:1", "now": noon(11)}
    changes.change(plan_version_id=small.pk, when="now", reference="c", **given)
    assert waiting() == [-42]
    pause_cancel.cancel(when="now", reference="x", **given)
    ended_at = noon(11)
    assert work(ended_at + 29 * DAY) == 0
    assert work(ended_at + 30 * DAY) == 1
    assert (waiting(), CreditNote.objects.get().subtotal) == ([], 42)
    assert differences() == []


def test_what_is_owed_and_meets_no_renewal_is_invoiced_alone(account, large):
    subscription = begin(account, large)
    pause_cancel.cancel(subscription_id=subscription.pk, when="now", reference="x", actor="user:1", now=noon(11))
    for number, amount in enumerate(("20.00", "5.00", "-4.00")):
        pending.add(
            account_id=account.pk, currency="USD", reference=f"late:{number}", description="late", amount=D(amount),
            now=noon(12),
        )  # fmt: skip
    assert work(noon(12) + 29 * DAY) == 0
    assert work(noon(12) + 30 * DAY) == 1
    invoice = Invoice.objects.latest("pk")
    assert (invoice.subtotal, invoice.state, waiting()) == (21, "paid", [])
    assert Collection.objects.get(invoice=invoice).policy["final_act"] == "keep"


def test_an_account_without_any_plan_is_billed_too(account):
    pending.add(
        account_id=account.pk, currency="USD", reference="late", description="late", amount=D("20.00"), now=START
    )
    assert work(START + 29 * DAY) == 0
    assert work(START + 30 * DAY) == 1
    assert (Invoice.objects.get().subtotal, waiting()) == (20, [])


def test_what_staff_have_given_and_nobody_charged_is_left_to_them(account, large):
    subscription = begin(account, large)
    pending.add(
        account_id=account.pk, currency="USD", reference="gift", description="gift", amount=D("-20.00"), now=noon(2),
        category="books",
    )  # fmt: skip
    pause_cancel.cancel(subscription_id=subscription.pk, when="now", reference="x", actor="user:1", now=noon(11))
    assert work(noon(11) + 60 * DAY) == 0
    assert waiting() == [-20]


def test_one_that_fails_keeps_no_others_waiting(account, monkeypatch):
    for number in range(3):
        pending.add(
            account_id=make_account(f"a{number}").pk, currency="USD", reference=f"late:{number}", description="late",
            amount=D("20.00"), now=START,
        )  # fmt: skip
    act, failing = unbilled_items._settle, set(PendingItem.objects.order_by("pk").values_list("pk", flat=True)[:2])

    def settle(item_id: int, *, now: datetime) -> bool:
        if item_id in failing:
            raise RuntimeError("corrupted")
        return act(item_id, now=now)

    monkeypatch.setattr(unbilled_items, "_settle", settle)
    assert unbilled_items.settle_due(now=START + 30 * DAY, limit=1) == 1
    assert (Invoice.objects.count(), len(waiting())) == (1, 2)
