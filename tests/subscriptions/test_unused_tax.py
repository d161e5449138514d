"""Unused time goes back at the tax that was charged for it, whatever the tax is by now; new time is taxed as of now."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.catalog.models import Coupon
from billing.finance import reports
from billing.invoicing import verification
from billing.invoicing.models import CreditNote, Invoice, PendingItem
from billing.payments import invoice_credits
from billing.subscriptions.followup import unbilled_items
from billing.subscriptions.lifecycle import changes, pause_cancel, unused_refund
from tests.factories import make_account, make_issuer, make_plan
from tests.subscriptions.makers import add_card, run, subscribe

pytestmark = pytest.mark.django_db

D = Decimal
# A month of 30 days, of which 21 are left on the tenth.
START = datetime(2026, 4, 1, 8, tzinfo=UTC)
TENTH = datetime(2026, 4, 10, 8, tzinfo=UTC)
TWENTIETH = datetime(2026, 4, 20, 8, tzinfo=UTC)
MAY = datetime(2026, 5, 1, 8, tzinfo=UTC)
FR_NUMBER = "FR40303265045"


@pytest.fixture
def acme():
    make_issuer(rates={"DE": "19", "FR": "20", "CY": "19"})
    account = make_account("acme", time_zone="UTC", now=START)
    add_card(account, now=START)
    return account


@pytest.fixture
def small():
    return make_plan("small", prices={"EUR": {"fee": "30.00", "seat_price": "3.00"}}, seats_max=100)


@pytest.fixture
def large():
    return make_plan("large", prices={"EUR": {"fee": "60.00"}})


def buy(account, version, **fields):
    """A subscription whose first invoice the card has paid."""
    found = subscribe(account, version, now=START, collection="automatic", currency="EUR", **fields)
    run(START)
    found.refresh_from_db()
    return found


def move(account, country, number=""):
    account.country, account.tax_number = country, number
    account.save()
    return account


def change(subscription, version=None, *, now=TENTH, reference="c:1", seats=None):
    """A change at once that does what its preview says."""
    asked = {"subscription_id": subscription.pk, "seats": seats, "when": "now"}
    asked["plan_version_id"] = version.pk if version else None
    told = changes.preview(now=now, **asked)
    was = set(CreditNote.objects.values_list("pk", flat=True))
    changes.change(reference=reference, actor="key:1", now=now, expected_total=told.total, **asked)
    came = CreditNote.objects.exclude(pk__in=was)
    assert sum((note.total for note in came), D(0)) == told.credited
    assert (verification.verify().findings, told.credit) == ([], 0)
    return told


def noted():
    return [(note.subtotal, note.tax_total, note.customer["country"]) for note in CreditNote.objects.order_by("pk")]


@pytest.mark.parametrize(("country", "number", "tax"), [("FR", FR_NUMBER, "0"), ("FR", "", "8.40"), ("CY", "", "7.98")])
def test_an_upgrade_after_a_move_credits_the_days_at_the_old_tax_and_charges_at_the_new(
    acme, small, large, country, number, tax
):
    subscription = buy(acme, small)
    move(acme, country, number)
    change(subscription, large)
    # 21 of 30 days: 21.00 and 19 % go back; 42.00 and the tax of now are charged.
    assert noted() == [(D("21.00"), D("3.99"), "DE")]
    invoice = Invoice.objects.latest("pk")
    assert (invoice.subtotal, invoice.tax_total, invoice.lines.count()) == (42, D(tax), 1)


def test_money_of_the_credit_note_pays_the_new_invoice_first(acme, small, large):
    subscription = buy(acme, small)
    move(acme, "FR", FR_NUMBER)
    change(subscription, large)
    run(TENTH)
    invoice = Invoice.objects.latest("pk")
    parts = sorted(invoice.payments.values_list("amount", flat=True))
    assert (invoice.state, parts, invoice_credits.balances(acme.pk)) == ("paid", [D("17.01"), D("24.99")], {})


def test_nothing_is_other_than_before_where_the_tax_is_the_same(acme, small, large):
    subscription = buy(acme, small)
    change(subscription, large)
    invoice = Invoice.objects.latest("pk")
    assert (invoice.subtotal, invoice.tax_total, noted()) == (21, D("3.99"), [])


def test_a_downgrade_keeps_what_is_over_for_later_invoices(acme, small, large):
    subscription = buy(acme, large)
    move(acme, "FR", FR_NUMBER)
    change(subscription, small)
    run(TENTH)
    # 42.00 and 7.98 go back, 21.00 is charged.
    assert noted() == [(D("42.00"), D("7.98"), "DE")]
    assert (Invoice.objects.latest("pk").state, invoice_credits.balances(acme.pk)) == ("paid", {"EUR": D("28.98")})


def test_parts_charged_at_two_taxes_go_back_at_each_its_own(acme, small, large):
    subscription = buy(acme, small, seats=0)
    move(acme, "FR", FR_NUMBER)
    change(subscription, seats=10)
    run(TENTH)
    assert noted() == []
    change(subscription, large, now=TWENTIETH, reference="c:2")
    # 11 days are left: 11.00 of the fee at 19 %, and 11.00 of the seats at none.
    assert sorted(noted()) == [(D("11.00"), 0, "FR"), (D("11.00"), D("2.09"), "DE")]


def test_changed_twice_after_a_move_only_the_first_is_credited_at_the_old_tax(acme, small, large):
    subscription = buy(acme, small)
    move(acme, "FR", FR_NUMBER)
    change(subscription, large)
    change(subscription, make_plan("huge", prices={"EUR": {"fee": "90.00"}}), now=TWENTIETH, reference="c:2")
    assert noted() == [(D("21.00"), D("3.99"), "DE")]
    invoice = Invoice.objects.latest("pk")
    assert ([line.amount for line in invoice.lines.all()], invoice.tax_total) == ([D("-22.00"), D("33.00")], 0)


def test_a_price_with_tax_in_it_goes_back_at_the_gross_that_was_paid(acme):
    small = make_plan("gross", prices={"EUR": {"fee": "35.70"}}, prices_include_tax=True)
    large = make_plan("dear", prices={"EUR": {"fee": "60.00"}}, prices_include_tax=True)
    subscription = buy(acme, small)
    move(acme, "FR", FR_NUMBER)
    change(subscription, large)
    # 24.99 with 19 % in it; 42.00 with none.
    assert noted() == [(D("21.00"), D("3.99"), "DE")]
    assert Invoice.objects.latest("pk").subtotal == 42


def test_another_interval_after_a_move_credits_at_the_old_tax(acme, small):
    yearly = make_plan("yearly", prices={"EUR": {"fee": "300.00"}}, interval="year")
    subscription = buy(acme, small)
    move(acme, "FR", FR_NUMBER)
    change(subscription, yearly)
    invoice = Invoice.objects.latest("pk")
    assert (noted(), invoice.subtotal, invoice.tax_total) == ([(D("21.00"), D("3.99"), "DE")], 300, 0)


def test_a_credit_left_for_the_next_invoice_becomes_a_credit_note_once_the_tax_is_another(acme, small, large):
    subscription = buy(acme, large)
    changes.change(
        subscription_id=subscription.pk, plan_version_id=small.pk, when="now", reference="c:1", actor="key:1", now=TENTH
    )
    assert PendingItem.objects.get().amount == D("-21.00")
    move(acme, "FR", FR_NUMBER)
    run(MAY)
    invoice = Invoice.objects.latest("pk")
    assert ([line.amount for line in invoice.lines.all()], invoice.tax_total) == ([D("30.00")], 0)
    assert unbilled_items.settle_due(now=MAY, limit=10) == 1
    assert (noted(), verification.verify().findings) == ([(D("21.00"), D("3.99"), "DE")], [])


def test_the_proof_finds_a_line_that_takes_back_at_another_tax(acme, small, large, monkeypatch):
    subscription = buy(acme, small)
    move(acme, "FR", FR_NUMBER)
    monkeypatch.setattr(unused_refund, "is_taxed_otherwise", lambda *_args, **_more: False)
    changes.change(
        subscription_id=subscription.pk, plan_version_id=large.pk, when="now", reference="c:1", actor="key:1", now=TENTH
    )
    assert [each.what for each in verification.verify().findings] == [
        "line 1: takes back at another tax than was charged"
    ]


@pytest.mark.parametrize("credits", [0, 300])
def test_coupons_and_credits_follow_and_the_finance_report_is_whole(acme, credits):
    Coupon.objects.create(code="SPRING", name="Spring", percent=D(20), created_at=START)
    small = make_plan("c-small", prices={"EUR": {"fee": "30.00"}}, included_credits=D(credits))
    large = make_plan("c-large", prices={"EUR": {"fee": "60.00"}}, included_credits=D(2 * credits))
    subscription = buy(acme, small, coupon_code="SPRING")
    move(acme, "FR", FR_NUMBER)
    change(subscription, large)
    run(TENTH)
    # 21 of 30 days: 21.00 less 20 % go back, 42.00 less 20 % are charged.
    assert noted() == [(D("16.80"), D("3.19"), "DE")]
    assert [line.amount for line in Invoice.objects.latest("pk").lines.all()] == [D("42.00"), D("-8.40")]
    report = reports.read(starts_on=START.date(), until=MAY)
    assert [check for check in report.checks if not check.holds] == []


def test_cancelling_with_money_back_credits_each_part_at_its_own_tax(acme, small):
    subscription = buy(acme, small, seats=0)
    move(acme, "FR", FR_NUMBER)
    change(subscription, seats=10)
    run(TENTH)
    pause_cancel.cancel(
        subscription_id=subscription.pk,
        when="now",
        gives_back=True,
        reason="",
        reference="x:1",
        actor="user:1",
        now=TWENTIETH,
    )
    # 11 days are left: 11.00 of the fee at 19 %, and 11.00 of the seats at none.
    assert sorted(noted()) == [(D("11.00"), 0, "FR"), (D("11.00"), D("2.09"), "DE")]


def test_what_was_charged_at_the_old_tax_is_not_set_off_against_new_time(acme, large):
    free = make_plan("free", prices={"EUR": {"fee": "0.00"}})
    subscription = buy(acme, large)
    asked = {"subscription_id": subscription.pk, "when": "now", "actor": "key:1"}
    changes.change(plan_version_id=free.pk, reference="c:1", now=TENTH, **asked)
    move(acme, "FR", FR_NUMBER)
    changes.change(plan_version_id=large.pk, reference="c:2", now=TENTH + timedelta(hours=1), **asked)
    invoice = Invoice.objects.latest("pk")
    assert (invoice.subtotal, invoice.tax_total) == (42, 0)
    assert unbilled_items.settle_due(now=TWENTIETH, limit=10) == 1
    assert (noted(), verification.verify().findings) == ([(D("42.00"), D("7.98"), "DE")], [])


def test_a_customer_whose_invoice_is_open_pays_it_before_it_is_credited(acme, small, large):
    subscription = subscribe(acme, small, now=START, currency="EUR")
    move(acme, "FR", FR_NUMBER)
    with pytest.raises(changes.InvoiceUnpaid):
        change(subscription, large)
    assert (noted(), Invoice.objects.count()) == ([], 1)
