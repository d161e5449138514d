"""Lumen GmbH of Germany sells; northwind of Germany pays by card."""

import pytest

from billing.accounts.models import Account
from billing.invoicing.models import Invoice
from tests.factories import make_account, make_issuer
from tests.invoicing.makers import issue


@pytest.fixture
def account(db: None) -> Account:
    make_issuer()
    return make_account("northwind", currency="EUR", time_zone="Europe/Berlin")


@pytest.fixture
def invoice(account: Account) -> Invoice:
    """Of 10,000 credits for 1,000.00 net, 1,190.00 with tax."""
    return issue(account)
