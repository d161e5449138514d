"""The cast in the office: stella of the staff, and a customer's account with credits."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone

from billing.accounts.models import Account, Role, User
from billing.catalog.models import Meter
from billing.ledger import pools, posting
from billing.ledger.models import CreditGrant, CreditPool, Posting
from tests.factories import give_credits, make_account, make_member, make_user

MAX_QUERIES = 9


@dataclass(frozen=True)
class Office:
    """An account with one lot of 1,000 credits, of which 100 are spent on a meter."""

    account: Account
    pool: CreditPool
    lot: CreditGrant
    spend: Posting
    meter: Meter
    stella: User
    alice: User
    now: datetime


@pytest.fixture
def office(db: None) -> Office:
    now = timezone.now()
    account = make_account("northwind", now=now)
    alice = make_user("alice")
    make_member(account, alice, Role.OWNER, now=now)
    meter = Meter.objects.create(key="images", name="Images", unit="image", created_at=now)
    pool = pools.get_main_pool(account.pk)
    lot = give_credits(account, "1000", now=now).entries.get().grant
    spend = posting.spend(
        pool_id=pool.pk, credits=Decimal(100), reference="usage:1", now=now, meter_id=meter.pk, actor="key:1"
    )
    stella = User.objects.create_superuser("stella@example.com", "florin", name="Stella")
    return Office(account, pool, lot, spend, meter, stella, alice, now)


@pytest.fixture
def staff(client: Client, office: Office) -> Client:
    """A browser in which stella is signed in."""
    client.force_login(office.stella)
    return client


def text_of(client: Client, address: str) -> str:
    """The page at the address, whitespace folded."""
    response = client.get(address)
    assert response.status_code == 200, address
    return " ".join(response.content.decode().split())


def inlines(**counts: int) -> dict[str, object]:
    """What a browser sends along for inline tables with so many rows."""
    sent: dict[str, object] = {}
    for prefix, count in counts.items():
        for name, value in (("TOTAL", count), ("INITIAL", 0), ("MIN_NUM", 0), ("MAX_NUM", 1000)):
            sent[f"{prefix}-{name}_FORMS"] = value
    return sent


def post(client: Client, address: str, **fields: object) -> str:
    """Post a form and return the page it leads to, messages included."""
    response = client.post(address, {name: value for name, value in fields.items() if value is not None}, follow=True)
    assert response.status_code == 200, address
    return " ".join(response.content.decode().split())
