"""Acme, which alice owns and bob is a member of, with 1,000 credits and a card of 1 credit a token."""

import pytest

from billing.accounts.models import Account, Member
from billing.catalog.models import Meter
from tests.factories import give_credits, make_account, make_member, make_meter, make_user
from tests.metering.makers import NOW, START, publish, rate


@pytest.fixture
def acme(db: None) -> Account:
    """The account, since January 2025, UTC, policy block."""
    account = make_account("acme", now=START)
    give_credits(account, "1000", now=NOW)
    return account


@pytest.fixture
def tokens(db: None) -> Meter:
    """A counter."""
    return make_meter("tokens", now=START)


@pytest.fixture
def priced(tokens: Meter) -> Meter:
    """The counter at 1 credit each."""
    publish(rate(tokens))
    return tokens


@pytest.fixture
def bob(acme: Account) -> Member:
    """Bob's place in acme."""
    return make_member(acme, make_user("bob"), now=START)
