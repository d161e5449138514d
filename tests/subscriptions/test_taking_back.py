"""Whatever is taken back of invoices, in whatever order and by whomever: at most, and in the end exactly, what they
charged."""

import itertools
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.accounts.models import Account
from billing.catalog.models import Coupon, PlanVersion
from billing.catalog.pricing import round_money
from billing.invoicing import spreading, verification
from billing.invoicing.models import Invoice
from billing.payments import credit_notes, disputes
from billing.payments.gateways.contract import DisputeReport
from billing.payments.models import Payment
from billing.subscriptions import guards
from billing.subscriptions.lifecycle import change_preview, changes, pause_cancel
from billing.subscriptions.models import Subscription
from tests.factories import make_account, make_issuer, make_plan
from tests.subscriptions.makers import add_card, run, subscribe

pytestmark = pytest.mark.django_db

D = Decimal
START = datetime(2026, 4, 1, 8, tzinfo=UTC)
RATES = {"DE": "19", "FR": "20", "CH": "8.1", "LU": "17", "HU": "27"}
# What an act of the sequence may be refused for, as it would be refused to whoever tried.
REFUSED = (
    guards.NotAllowed, credit_notes.NothingToCredit, credit_notes.TooMuch, credit_notes.MoneyNotThere,
    credit_notes.NotCreditable, disputes.NotDisputable, change_preview.NothingToChange, change_preview.CreditsUsed,
)  # fmt: skip
_numbers = itertools.count(1)

MONEY = st.integers(1, 30_000).map(lambda cents: D(cents) / 100)
STEPS = st.one_of(
    st.tuples(st.just("credit"), st.integers(1, 99)),
    st.tuples(st.just("dispute"), st.integers(1, 99)),
    st.tuples(st.just("change"), st.integers(0, 3)),
    st.tuples(st.just("move"), st.sampled_from(sorted(RATES))),
    st.tuples(st.just("cancel"), st.just(0)),
)


def at_most_what_was_charged(account: Account) -> None:
    """Check each line, rate of tax and total of the account's invoices."""
    for invoice in Invoice.objects.filter(account=account).prefetch_related("lines"):
        lines = list(invoice.lines.all())
        for line in lines:
            assert 0 <= line.amount_credited <= max(line.amount, 0)
            assert 0 <= line.tax_credited <= max(line.tax_amount, 0)
        for group in spreading.list_groups(lines):
            assert group.net_left >= 0
            assert group.tax_left >= 0
        credited = sum((line.amount_credited + line.tax_credited for line in lines), D(0))
        assert invoice.amount_credited == credited <= invoice.total


def take_all_that_is_left(account: Account, now: datetime) -> None:
    """Credit what nothing else has taken back, and check that nothing is left then."""
    for invoice in Invoice.objects.filter(account=account, state__in=("open", "paid")).order_by("pk"):
        while credit_notes.left_of(invoice):
            credit(invoice, credit_notes.left_of(invoice), now)
            invoice.refresh_from_db()
        if invoice.amount_paid or invoice.amount_credited:
            assert invoice.amount_credited == invoice.total
            left = [(group.net_left, group.tax_left) for group in spreading.list_groups(invoice.lines.all())]
            assert set(left) <= {(0, 0)}


def credit(invoice: Invoice, amount: Decimal, now: datetime) -> None:
    """Staff credit so much of an invoice; the money of a paid one is kept for the next ones."""
    credit_notes.start(
        invoice_id=invoice.pk, amount=amount, refund_to="balance" if invoice.state == "paid" else "", reason="r",
        reference=f"r:{next(_numbers)}", actor="test", now=now,
    )  # fmt: skip


def lose(invoice: Invoice, percent: int, now: datetime) -> bool:
    """The bank takes a part of what has paid an invoice, if anything has."""
    payment = Payment.objects.filter(invoice=invoice, state="succeeded").first()
    amount = round_money(payment.refundable * percent / 100, "EUR") if payment else D(0)
    if payment is None or not amount:
        return False
    reference = f"du_{next(_numbers)}"
    report = DisputeReport(payment.idempotency_key, reference, amount, "EUR", "fraudulent", "lost", None)
    disputes.record(payment_id=payment.pk, report=report, now=now)
    return True


@pytest.fixture
def issuer():
    return make_issuer(rates=RATES)


def test_of_no_invoice_more_and_in_the_end_all_is_taken_back(issuer):
    done: Counter[str] = Counter()

    @settings(deadline=None, max_examples=15, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(
        fees=st.tuples(MONEY, MONEY), seat=MONEY, percent=st.sampled_from(["20", "0", "5", "33.333", "50", "100"]),
        minimum=st.sampled_from(["0", "400"]), with_tax=st.booleans(), is_paid=st.booleans(),
        steps=st.lists(STEPS, min_size=3, max_size=8),
    )  # fmt: skip
    def check(fees, seat, percent, minimum, with_tax, is_paid, steps):
        prices = [{"fee": fee, "seat_price": seat, "minimum": minimum} for fee in fees]
        subscription, versions = begin(prices, percent, with_tax=with_tax, is_paid=is_paid)
        for day, (what, how) in enumerate(steps):
            now = START + timedelta(days=3 * day + 1)
            with suppress(*REFUSED):
                done[what] += act(subscription, versions, what, how, now)
            at_most_what_was_charged(subscription.account)
        take_all_that_is_left(subscription.account, now)
        at_most_what_was_charged(subscription.account)
        assert verification.verify().findings == []

    check()
    # What is refused every time would prove nothing.
    assert min(done[what] for what in ("credit", "dispute", "change", "move", "cancel")) >= 3


def begin(prices, percent: str, *, with_tax: bool, is_paid: bool) -> tuple[Subscription, list[PlanVersion]]:
    """A subscription to the first of two plans of these prices, with a coupon; its card pays, or nobody yet."""
    number = next(_numbers)
    account = make_account(f"a{number}", country="DE", time_zone="UTC", currency="EUR", now=START)
    versions = [
        make_plan(f"p{number}-{n}", seats_max=9, prices_include_tax=with_tax, now=START, prices={"EUR": price})
        for n, price in enumerate(prices)
    ]
    fields = {"collection": "automatic"} if is_paid else {}
    if is_paid:
        add_card(account, now=START)
    if percent != "0":
        Coupon.objects.create(code=f"C{number}", name="Coupon", percent=D(percent), created_at=START)
        fields["coupon_code"] = f"C{number}"
    subscription = subscribe(account, versions[0], now=START, currency="EUR", seats=2, **fields)
    run(START, account=account)
    return subscription, versions


def act(subscription: Subscription, versions: list[PlanVersion], what: str, how: int | str, now: datetime) -> bool:
    """Do one thing; whether there was anything to do it to."""
    run(now, account=subscription.account)
    charged = Invoice.objects.filter(account=subscription.account, state__in=("open", "paid"), total__gt=0)
    invoice = charged.order_by("pk").first()
    given = {"subscription_id": subscription.pk, "when": "now", "actor": "test", "now": now}
    match what:
        case "move":
            Account.objects.filter(pk=subscription.account_id).update(country=how)
        case "cancel":
            pause_cancel.cancel(gives_back=True, reference="x", **given)
        case "change":
            version = versions[how % 2]
            changes.change(plan_version_id=version.pk, seats=1 + how, by_staff=True, reference=f"c:{now}", **given)
        case _ if invoice is None:
            return False
        case "credit":
            credit(invoice, round_money(credit_notes.left_of(invoice) * how / 100, "EUR") or D("0.01"), now)
        case "dispute":
            return lose(invoice, how, now)
    return True
