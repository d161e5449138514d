"""Alice owns an account with a main pool and a team pool, bob is in her team, mallory has an account of her own."""

import pytest

from billing.accounts.models import Account, Member
from billing.ledger import pools
from billing.ledger.models import CreditPool
from tests.factories import make_account, make_member, make_user
from tests.ledger.makers import NOW


@pytest.fixture
def alice(db: None) -> Account:
    """Alice's account, in March 2026, UTC, policy block."""
    return make_account("alice-org", now=NOW)


@pytest.fixture
def pool(alice: Account) -> CreditPool:
    """Its main pool."""
    return pools.get_main_pool(alice.pk)


@pytest.fixture
def team(alice: Account) -> CreditPool:
    """Its team pool."""
    return pools.open_pool(account=alice, key="research", name="Research", now=NOW)


@pytest.fixture
def bob(alice: Account) -> Member:
    """Bob's place in alice's account."""
    return make_member(alice, make_user("bob"), now=NOW)


@pytest.fixture
def mallory(db: None) -> CreditPool:
    """The main pool of mallory's account."""
    return pools.get_main_pool(make_account("mallory-org", now=NOW).pk)
