"""Prices that have tax in them, and tax that has still to be worked out, or cannot be."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.invoicing import table_tax
from billing.invoicing.models import Invoice
from billing.invoicing.tax import TaxUnavailable
from billing.subscriptions.models import Allocation
from billing.subscriptions.renewal import renewals
from tests.factories import make_account
from tests.subscriptions.makers import make_team, run, subscribe

pytestmark = pytest.mark.django_db

APRIL = datetime(2025, 3, 31, 22, tzinfo=UTC)
DAY = timedelta(days=1)


def test_a_price_with_tax_in_it_is_what_is_paid_and_its_net_pays_for_the_credits(account):
    version = make_team(prices={"USD": {"fee": "59.50"}}, prices_include_tax=True)
    subscribe(account, version)
    run(APRIL)
    assert [(each.subtotal, each.total) for each in Invoice.objects.all()] == [(50, Decimal("59.50"))] * 2
    assert {each.cost_basis for each in Allocation.objects.all()} == {Decimal("0.05")}


def test_one_whose_tax_is_not_known_waits_and_the_others_go_on(account, monkeypatch):
    version = make_team()
    waiting = subscribe(account, version)
    other = subscribe(make_account(country="FR"), version)
    real = table_tax.work_out

    def refuse(sale):
        if sale.country == "DE":
            raise TaxUnavailable("no answer")
        return real(sale)

    with monkeypatch.context() as patch:
        patch.setattr(table_tax, "work_out", refuse)
        assert renewals.run_due(now=APRIL + DAY, limit=10) == renewals.Round(renewed=1)
    waiting.refresh_from_db()
    other.refresh_from_db()
    assert (waiting.period_number, waiting.parked_at, waiting.problem) == (1, None, "Tax: no answer")
    assert other.period_number == 2
    assert renewals.run_due(now=APRIL + DAY, limit=10) == renewals.Round(renewed=1)
    waiting.refresh_from_db()
    assert (waiting.period_number, waiting.problem) == (2, "")
