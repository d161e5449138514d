"""The cast on stage: alice's account with some history, and mallory who is a stranger to it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import timezone

from billing.accounts.models import Account, Role, User
from billing.catalog.models import Meter, Pack
from billing.ledger import pools, posting
from billing.ledger.models import CreditPool
from billing.metering.models import DailyUsage
from tests.factories import give_credits, make_account, make_issuer, make_member, make_pack, make_user

MAX_QUERIES = 9


@dataclass(frozen=True)
class Stage:
    """Alice's account, its main pool, and the time the test began."""

    account: Account
    pool: CreditPool
    meter: Meter
    alice: User
    mallory: User
    now: datetime

    @property
    def url(self) -> str:
        return f"/a/acc_{self.account.pk}"


@pytest.fixture
def stage(db: None) -> Stage:
    """An account with 1,000 credits, of which 250.5 are spent today on a meter. Mallory has an account of her own."""
    now = timezone.now()
    account = make_account("northwind", now=now, time_zone="America/New_York")
    alice, mallory = make_user("alice"), make_user("mallory")
    make_member(account, alice, Role.OWNER, now=now)
    make_member(make_account("elsewhere", now=now), mallory, Role.OWNER, now=now)
    pool = pools.get_main_pool(account.pk)
    meter = Meter.objects.create(key="images", name="Images", unit="image", created_at=now)
    give_credits(account, "1000", now=now, note="A warm welcome")
    posting.spend(pool_id=pool.pk, credits=Decimal("250.5"), reference="usage:1", now=now, meter_id=meter.pk)
    DailyUsage.objects.create(
        account=account,
        meter=meter,
        day=timezone.localdate(now, ZoneInfo(account.time_zone)),
        events=3,
        quantity=501,
        credits="250.5",
        cost=0,
    )
    return Stage(account, pool, meter, alice, mallory, now)


@pytest.fixture
def alice(client: Client, stage: Stage) -> Client:
    """A browser in which alice is signed in."""
    client.force_login(stage.alice)
    return client


@pytest.fixture
def shop(stage: Stage) -> Pack:
    """An issuer, 19 % VAT for Germany where northwind is, and a pack in three tiers of dollars."""
    make_issuer()
    return make_pack()
