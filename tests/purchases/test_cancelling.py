"""Giving up a purchase that was not paid."""

import uuid
from decimal import Decimal

import pytest

from billing.invoicing.models import Invoice
from billing.ledger import pools
from billing.purchases import checkout
from tests.factories import NOW, make_account, make_issuer, make_pack
from tests.payments.makers import ACTION, DECLINE, SUCCESS, make_card


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
