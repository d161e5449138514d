"""Giving up a purchase that was not paid."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest

from billing.invoicing.models import Invoice
from billing.ledger import pools, posting
from billing.purchases import abandoned, checkout, topups
from billing.purchases.models import Purchase
from tests.factories import NOW, make_account, make_issuer, make_pack
from tests.payments.makers import ACTION, DECLINE, SUCCESS, make_card
from tests.purchases.makers import DAY, make_rule

SECOND = timedelta(seconds=1)


@pytest.fixture
def buy(db):
    make_issuer()
    account, pack = make_account("northwind"), make_pack()

    def buy(number):
        return checkout.buy(
            token=uuid.uuid4(), account_id=account.pk, pack_id=pack.pk, pool_id=pools.get_main_pool(account.pk).pk,
            credits=Decimal(1_000), method_id=make_card(account, number).pk, buyer_id=None, return_url="/", now=NOW,
        )  # fmt: skip

    return buy


def test_a_declined_purchase_can_be_given_up_and_nothing_is_owed(buy):
    bought = buy(DECLINE)
    for _ in range(2):
        assert checkout.cancel(account_id=bought.account_id, token=bought.token, now=NOW).invoice.state == "void"
    standing = checkout.find_standing(account_id=bought.account_id, token=bought.token)
    assert standing.state == "void"
    assert standing.invoice.owed == 0


def test_a_declined_purchase_is_void_after_a_day_and_no_debt_is_left(buy):
    bought = buy(DECLINE)
    assert abandoned.void_due(now=NOW + DAY - SECOND, limit=10) == 0
    assert buy(ACTION).invoice.state == "open"
    assert abandoned.void_due(now=NOW + DAY, limit=10) == 1
    assert abandoned.void_due(now=NOW + DAY, limit=10) == 0
    states = {each.pk: each.invoice.state for each in Purchase.objects.select_related("invoice")}
    assert (states.pop(bought.pk), list(states.values())) == ("void", ["open"])


def test_a_declined_purchase_is_void_as_soon_as_the_pack_is_bought_otherwise(buy):
    """By another purchase at once; by a top-up, or where a report pays, by the job."""
    first, other = buy(DECLINE), buy(DECLINE)
    Purchase.objects.filter(pk=other.pk).update(pack=make_pack(key="other"))
    assert buy(SUCCESS).invoice.state == "paid"
    first.invoice.refresh_from_db()
    other.invoice.refresh_from_db()
    assert (first.invoice.state, other.invoice.state) == ("void", "open")
    second = buy(DECLINE)
    make_card(second.account, make_default=True)
    posting.spend(pool_id=second.pool_id, credits=Decimal(950), reference="s", now=NOW)
    make_rule(second.pool, second.pack)
    assert topups.run_due(now=NOW, limit=5).succeeded == 1
    assert (abandoned.void_due(now=NOW, limit=10), Invoice.objects.filter(state="open").count()) == (1, 1)


@pytest.mark.parametrize(("number", "state"), [(SUCCESS, "paid"), (ACTION, "open")])
def test_what_is_paid_or_may_be_any_moment_cannot(buy, number, state):
    bought = buy(number)
    with pytest.raises(checkout.NotCancellable):
        checkout.cancel(account_id=bought.account_id, token=bought.token, now=NOW)
    assert Invoice.objects.get().state == state


def test_a_purchase_of_another_account_is_not_found(buy):
    bought = buy(DECLINE)
    with pytest.raises(checkout.PurchaseNotFound):
        checkout.cancel(account_id=make_account().pk, token=bought.token, now=NOW)
    assert Invoice.objects.get().state == "open"
