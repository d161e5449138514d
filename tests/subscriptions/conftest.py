"""What tests of subscriptions share; after each of them the ledger must add up."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest

from billing.accounts.models import Account
from billing.catalog.models import PlanVersion
from billing.metering import verification
from tests.factories import NOW, make_account, make_issuer, make_plan
from tests.subscriptions.makers import START


@pytest.fixture
def account() -> Account:
    """A customer in Berlin, where the tax is 19 %."""
    make_issuer()
    return make_account("acme", time_zone="Europe/Berlin")


@pytest.fixture
def acme() -> Account:
    """A customer in Berlin that pays net prices, since the first of January 2026."""
    make_issuer(rates={"DE": "0"})
    return make_account("acme", time_zone="Europe/Berlin", now=START)


@pytest.fixture
def small() -> PlanVersion:
    """31.00 a month for 310 credits: 1.00 and 10 credits a day of January, 0.10 a credit."""
    return make_plan("small", included_credits=Decimal(310), prices={"USD": {"fee": "31.00"}})


@pytest.fixture(autouse=True)
def _ledger_adds_up(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if not {"account", "acme"}.isdisjoint(request.fixturenames):
        assert verification.verify(now=NOW + timedelta(days=10_000)).findings == []
