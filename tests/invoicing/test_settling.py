"""Settling: money comes, and what was paid for is delivered once."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.invoicing import settling
from billing.invoicing.models import Invoice
from billing.ledger import pools
from billing.ledger.models import CreditGrant, Posting
from billing.notifications.models import Notification
from tests.factories import NOW
from tests.invoicing.makers import credits_line, issue, plain_line

LATER = NOW + timedelta(days=3)


def test_a_paid_invoice_grants_what_its_lines_promise(issuer, account):
    invoice = issue(account, credits_line(account, "1000.00", "10000"), plain_line("50.00"))
    paid = settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=LATER)
    assert (paid.state, paid.paid_at, paid.amount_paid, paid.owed) == ("paid", LATER, invoice.total, 0)
    lot = CreditGrant.objects.get()
    assert (lot.amount, lot.kind, lot.cost_basis, lot.currency) == (10_000, "purchase", Decimal("0.1"), "EUR")
    assert lot.expires_at == LATER + timedelta(days=365)
    first, second = invoice.lines.all()
    assert first.posting.reference == f"invoice-line:{first.pk}"
    assert (first.fulfilled_at, second.fulfilled_at, second.posting) == (LATER, LATER, None)
    receipt = Notification.objects.get()
    assert (receipt.kind, receipt.dedupe_key) == ("receipt", f"receipt:{invoice.pk}")
    assert receipt.payload == {
        "invoice_id": str(invoice.pk), "number": "INV-000001", "total": "1249.50", "currency": "EUR",
        "credits": "10000.000000",
    }  # fmt: skip


def test_a_part_of_the_money_delivers_nothing_yet(issuer, account):
    invoice = issue(account)
    part = settling.settle(invoice_id=invoice.pk, amount=Decimal("1189.99"), now=NOW)
    assert (part.state, part.owed, part.paid_at) == ("open", Decimal("0.01"), None)
    assert not Posting.objects.exists()
    assert not Notification.objects.exists()
    settling.settle(invoice_id=invoice.pk, amount=Decimal("0.01"), now=LATER)
    assert Posting.objects.get().act == "grant"


def test_settling_twice_is_refused_and_grants_once(issuer, account):
    invoice = issue(account)
    settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=NOW)
    with pytest.raises(settling.NotPayable):
        settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=NOW)
    assert Posting.objects.count() == 1
    assert pools.get_main_pool(account.pk).balance == 10_000


@pytest.mark.parametrize("amount", ["1190.01", "-0.01"])
def test_more_than_is_owed_is_refused(issuer, account, amount):
    invoice = issue(account)
    with pytest.raises(settling.TooMuch):
        settling.settle(invoice_id=invoice.pk, amount=Decimal(amount), now=NOW)
    invoice.refresh_from_db()
    assert (invoice.amount_paid, invoice.state) == (0, "open")


def test_an_invoice_given_up_can_still_be_paid(issuer, account):
    invoice = issue(account)
    Invoice.objects.filter(pk=invoice.pk).update(state=Invoice.State.UNCOLLECTIBLE)
    assert settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=NOW).state == "paid"
    assert Posting.objects.count() == 1


def test_credits_without_validity_never_expire(issuer, account):
    invoice = issue(account, credits_line(account, validity_days=None))
    settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=NOW)
    assert CreditGrant.objects.get().expires_at is None


def test_an_invoice_that_was_given_up_is_still_owed_and_money_that_comes_settles_it(issuer, account):
    invoice = issue(account)
    given_up = settling.mark_uncollectible(invoice_id=invoice.pk, now=LATER)
    assert (given_up.state, given_up.uncollectible_at, given_up.owed) == ("uncollectible", LATER, invoice.total)
    assert settling.mark_uncollectible(invoice_id=invoice.pk, now=LATER + timedelta(days=1)).uncollectible_at == LATER
    paid = settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=LATER)
    assert (paid.state, CreditGrant.objects.get().amount) == ("paid", 10_000)


def test_only_an_open_invoice_is_given_up(issuer, account):
    invoice = issue(account, plain_line("0.00"))
    with pytest.raises(settling.NotPayable):
        settling.mark_uncollectible(invoice_id=invoice.pk, now=NOW)
    assert Invoice.objects.get().uncollectible_at is None
