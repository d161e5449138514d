"""Alice's account in Germany, with dollars to pay: an issuer, a pack, and a main pool."""

import pytest

from billing.accounts.models import Account
from billing.catalog.pack_models import Pack
from billing.ledger import pools
from billing.ledger.models import CreditPool
from tests.factories import make_account, make_issuer, make_pack


@pytest.fixture
def account(db: None) -> Account:
    make_issuer()
    return make_account("alice-org")


@pytest.fixture
def pool(account: Account) -> CreditPool:
    return pools.get_main_pool(account.pk)


@pytest.fixture
def pack(db: None) -> Pack:
    """1,000 credits and more; 1,000 cost 120.00 net, 142.80 with tax."""
    return make_pack()
