"""Lumen GmbH of Germany sells; northwind of Germany buys."""

import pytest

from billing.accounts.models import Account
from billing.invoicing.models import Issuer
from tests.factories import make_account, make_issuer


@pytest.fixture
def issuer(db: None) -> Issuer:
    return make_issuer(address="Lichtstr. 1\n10115 Berlin", email="billing@lumen.example")


@pytest.fixture
def account(db: None) -> Account:
    return make_account("northwind", currency="EUR", time_zone="Europe/Berlin")
