"""The customer of the finance tests."""

import pytest

from billing.accounts.models import Account
from tests.factories import make_account, make_issuer
from tests.finance.makers import at


@pytest.fixture
def acme(db: None) -> Account:
    """A customer in dollars, by UTC, without tax."""
    make_issuer()
    return make_account("acme", country="US", time_zone="UTC", currency="USD", now=at(1))
