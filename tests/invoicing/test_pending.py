"""Pending items: they stand on the account's next invoice, once."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.invoicing import issuing, pending
from billing.invoicing.models import Invoice, PendingItem
from tests.factories import NOW, make_account
from tests.invoicing.makers import plain_line

pytestmark = pytest.mark.django_db


def add(account, amount, reference="p:1", **fields):
    given = {
        "account_id": account.pk, "currency": "EUR", "reference": reference, "description": "Seats",
        "amount": Decimal(amount), "now": NOW, **fields,
    }  # fmt: skip
    return pending.add(**given)


def issue(account, *lines, reference="r:1", take_pending=True, currency="EUR"):
    return issuing.issue(
        account_id=account.pk, reference=reference, currency=currency, lines=lines, now=NOW, take_pending=take_pending
    )


def amounts(invoice):
    return list(invoice.lines.values_list("amount", flat=True))


def still_open(account):
    return [item.amount for item in pending.list_open(account_id=account.pk, currency="EUR")]


def test_items_stand_on_the_next_invoice_with_their_tax_and_time(issuer, account):
    ends_at = NOW + timedelta(days=30)
    item = add(
        account, "30.00", quantity=Decimal(3), recognition="period", starts_at=NOW, ends_at=ends_at,
        period_reference="subscription:1:2",
    )  # fmt: skip
    invoice = issue(account, plain_line("70.00"))
    assert (invoice.subtotal, invoice.tax_total, invoice.total) == (100, 19, 119)
    line = invoice.lines.get(position=2)
    assert (line.description, line.quantity, line.unit_price, line.amount) == ("Seats", 3, 10, 30)
    assert (line.recognition, line.starts_at, line.ends_at) == ("period", NOW, ends_at)
    assert line.period_reference == "subscription:1:2"
    item.refresh_from_db()
    assert item.invoice_line == line
    assert still_open(account) == []


def test_an_item_stands_on_one_invoice_only(issuer, account):
    add(account, "30.00")
    issue(account, plain_line("70.00"))
    assert amounts(issue(account, plain_line("70.00"), reference="r:2")) == [70]


def test_only_an_invoice_that_takes_them_has_them(issuer, account):
    add(account, "30.00")
    assert amounts(issue(account, plain_line("70.00"), take_pending=False)) == [70]
    assert still_open(account) == [30]


def test_other_accounts_and_currencies_do_not_take_them(issuer, account):
    add(account, "30.00")
    stranger = make_account("stranger")
    issue(stranger, plain_line("70.00"))
    issue(account, plain_line("70.00"), reference="r:2", currency="USD")
    assert still_open(account) == [30]


def test_a_credit_is_taken_as_far_as_there_is_something_to_pay_and_the_rest_waits(issuer, account):
    add(account, "-50.00", recognition="period", actor="user:1")
    invoice = issue(account, plain_line("20.00"))
    assert amounts(invoice) == [20, -20]
    assert (invoice.state, invoice.total, invoice.tax_total) == ("paid", 0, 0)
    assert still_open(account) == [-30]
    rest = PendingItem.objects.get(invoice_line=None)
    assert (rest.description, rest.recognition, rest.actor, rest.quantity, rest.unit_price) == (
        "Seats", "period", "user:1", -1, 30,
    )  # fmt: skip
    assert amounts(issue(account, plain_line("100.00"), reference="r:2")) == [100, -30]
    assert sum(item.amount for item in PendingItem.objects.all()) == -50
    assert still_open(account) == []


def test_debts_are_taken_before_credits_whichever_came_first(issuer, account):
    add(account, "-50.00")
    add(account, "30.00", "p:2")
    assert amounts(issue(account, plain_line("20.00"))) == [20, 30, -50]


def test_several_credits_share_what_there_is_to_pay_in_the_order_of_their_coming(issuer, account):
    add(account, "-15.00")
    add(account, "-15.00", "p:2")
    add(account, "-15.00", "p:3")
    assert amounts(issue(account, plain_line("20.00"))) == [20, -15, -5]
    assert still_open(account) == [-15, -10]


def test_a_credit_takes_nothing_of_another_category_so_that_no_tax_is_negative(issuer, account):
    add(account, "-50.00", category="books")
    assert amounts(issue(account, plain_line("20.00"), plain_line("5.00", category="books"))) == [20, 5, -5]
    assert still_open(account) == [-45]


def test_an_invoice_may_be_of_pending_items_alone_but_not_of_nothing(issuer, account):
    with pytest.raises(ValueError, match="needs a line"):
        issue(account)
    add(account, "-5.00")
    with pytest.raises(ValueError, match="needs a line"):
        issue(account)
    assert (Invoice.objects.count(), still_open(account)) == (0, [-5])
    add(account, "30.00", "p:2")
    assert amounts(issue(account)) == [30, -5]


def test_a_reference_is_added_once_and_names_one_account_only(issuer, account):
    assert add(account, "30.00").pk == add(account, "30.00").pk
    with pytest.raises(pending.ReferenceTaken):
        add(make_account("stranger"), "30.00")
    assert PendingItem.objects.count() == 1


def test_a_cancelled_item_is_taken_by_nobody(issuer, account):
    item = add(account, "30.00")
    pending.cancel(item_id=item.pk, now=NOW)
    assert pending.cancel(item_id=item.pk, now=NOW + timedelta(days=1)).cancelled_at == NOW
    assert amounts(issue(account, plain_line("70.00"))) == [70]


def test_an_item_on_an_invoice_cannot_be_cancelled(issuer, account):
    item = add(account, "30.00")
    issue(account, plain_line("70.00"))
    with pytest.raises(pending.NotPending):
        pending.cancel(item_id=item.pk, now=NOW)
    item.refresh_from_db()
    assert item.cancelled_at is None


@pytest.mark.parametrize(
    "wrong", [{"amount": "0.00"}, {"amount": "1.005"}, {"amount": "-1.00", "quantity": Decimal(1)}]
)
def test_items_that_no_invoice_can_hold_are_refused(issuer, account, wrong):
    with pytest.raises(ValueError, match="needs an amount"):
        add(account, **wrong)
    assert not PendingItem.objects.exists()


@pytest.mark.parametrize("fee", ["0.00", "20.00", "70.00"])
def test_a_quote_with_what_is_pending_says_what_the_invoice_will(issuer, account, fee):
    add(account, "12.50")
    add(account, "-40.00", reference="p:2")
    lines = [plain_line(fee)] if Decimal(fee) else []
    on = issuing.supply_date(account, NOW)
    quoted = issuing.quote(account=account, currency="EUR", lines=lines, on=on, take_pending=True)
    assert still_open(account) == [Decimal("12.5"), -40]
    invoice = issue(account, *lines)
    assert (quoted.subtotal, quoted.tax_total, quoted.total) == (invoice.subtotal, invoice.tax_total, invoice.total)
    assert [line.draft.amount for line in quoted.lines] == amounts(invoice)
