"""What tests of subscriptions share; after each of them the ledger must add up."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from billing.accounts.models import Account
from billing.ledger import verification
from tests.factories import NOW, make_account, make_issuer


@pytest.fixture
def account() -> Account:
    """A customer in Berlin, where the tax is 19 %."""
    make_issuer()
    return make_account("acme", time_zone="Europe/Berlin")


@pytest.fixture(autouse=True)
def _ledger_adds_up(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "account" in request.fixturenames:
        assert verification.verify(now=NOW + timedelta(days=10_000)).findings == []
