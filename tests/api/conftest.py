"""The cast as API callers: the platform, alice's own key, mallory's, and nobody."""

from collections.abc import Callable, Collection

import pytest
from django.utils import timezone

from billing.accounts.models import Account
from billing.catalog.models import Pack
from tests.api.asking import Api
from tests.factories import make_account, make_issuer, make_key, make_member, make_pack, make_user
from tests.payments.makers import make_card


@pytest.fixture
def acme(db: None) -> Account:
    """The account that alice owns and bob is a member of."""
    account = make_account("acme")
    make_member(account, make_user("alice"), "owner")
    make_member(account, make_user("bob"))
    return account


@pytest.fixture
def platform(db: None) -> Api:
    """The integrator: a platform-wide key with every scope."""
    return Api(make_key()[1])


@pytest.fixture
def alice(acme: Account) -> Api:
    """A key of alice's own account, with every scope."""
    return Api(make_key(acme)[1])


@pytest.fixture
def mallory(db: None) -> Api:
    """A key of another account, with every scope."""
    return Api(make_key(make_account("evil"))[1])


@pytest.fixture
def shop(acme: Account) -> Pack:
    """What acme can buy, its issuer, and a card to pay with."""
    make_issuer()
    make_card(acme, now=timezone.now())
    return make_pack()


@pytest.fixture
def anonymous() -> Api:
    """Nobody."""
    return Api(None)


@pytest.fixture
def scoped(db: None) -> Callable[[Collection[str]], Api]:
    """Makes a platform-wide caller with just these scopes."""
    return lambda scopes: Api(make_key(scopes=scopes)[1])
