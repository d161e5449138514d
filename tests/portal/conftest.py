"""The cast on stage: alice's account with some history, and mallory who is a stranger to it."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.cache import caches
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from billing.accounts.ids import encode
from billing.accounts.models import Account, Role, User
from billing.catalog.models import Meter
from billing.catalog.pack_models import Pack
from billing.clock import advancing
from billing.ledger import pools, posting
from billing.ledger.models import CreditPool
from billing.metering.models import DailyUsage
from billing.payments import methods
from billing.subscriptions.lifecycle import subscribing
from billing.subscriptions.models import Subscription
from tests.factories import give_credits, make_account, make_issuer, make_member, make_pack, make_plan, make_user
from tests.payments import makers as cards
from tests.portal.meadow import BEGAN_AT, CHANGED_AT, wait_until, work
from tests.undoing import undone

MAX_QUERIES = 9


@dataclass(frozen=True)
class Stage:
    """Alice's account, its main pool, and the time both were made."""

    account: Account
    pool: CreditPool
    meter: Meter
    alice: User
    mallory: User
    now: datetime

    @property
    def url(self) -> str:
        return f"/a/{encode('acc', self.account.pk)}"


def make_stage() -> Stage:
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


BuildOnce = Callable[[Callable[[], Any]], Any]


@pytest.fixture(scope="module")
def build_once(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[BuildOnce]:
    """A transaction around a module's tests: each test gets a savepoint in it, and finds what was made before it.

    It runs a function and returns what that made: to be copied for each test. Transactional tests commit, so modules
    that have any make their own `stage` for each test.
    """
    here = [item for item in request.session.items if item.path == request.path]
    assert not any("transactional_db" in item.fixturenames or _commits(item) for item in here)  # type: ignore[attr-defined]
    # A test without `stage` would find its rows or not, as other tests happened to run before it.
    bare = [item.nodeid for item in here if "db" in item.fixturenames and "stage" not in item.fixturenames]
    assert not bare, bare
    around = undone()

    def build(make: Callable[[], Any]) -> Any:
        with django_db_blocker.unblock():
            return make()

    build(around.__enter__)
    yield build
    with django_db_blocker.unblock():
        around.__exit__(None, None, None)


def _commits(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("django_db")
    return mark is not None and bool(mark.kwargs.get("transaction"))


@pytest.fixture(scope="module")
def scene(build_once: BuildOnce) -> Stage:
    """The stage that the module's tests share: only to build more on it."""
    return build_once(make_stage)


@pytest.fixture
def stage(scene: Stage, db: None) -> Stage:
    """What `make_stage` makes, with objects that are the test's own."""
    # It keeps things by ids, and the module's tests have the same ones.
    caches["process"].clear()
    return copy.deepcopy(scene)


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


def make_meadow(stage: Stage) -> Subscription:
    """Alice's second account, on a test clock: it has team with three seats since 1 April, paid; it is the 11th.

    Team is 10,000 credits and three seats for 60.00 a month, each further seat 9.00; 19 % tax on top.
    """
    make_issuer()
    make_pack()
    plan = make_plan(
        "team", prices={"USD": {"fee": "60", "seat_price": "9"}}, seats_included=3, seats_max=50,
        included_credits=Decimal(10_000),
    )  # fmt: skip
    account = make_account("meadow", time_zone="America/New_York", currency="USD")
    make_member(account, stage.alice, Role.OWNER)
    advancing.open_clock(account_id=account.pk, starts_at=BEGAN_AT, now=stage.now)
    card = methods.add_card(
        account_id=account.pk, number=cards.SUCCESS, exp_month=12, exp_year=2040, cvc="123", make_default=True,
        now=BEGAN_AT,
    )  # fmt: skip
    made = subscribing.subscribe(
        account_id=account.pk, plan_version_id=plan.pk, seats=3, method_id=card.pk, reference="test", actor="test",
        now=BEGAN_AT,
    )  # fmt: skip
    work(account, BEGAN_AT)
    wait_until(account, CHANGED_AT)
    made = Subscription.objects.select_related("account").get(pk=made.pk)
    assert made.state == "active"
    return made


@pytest.fixture(scope="module")
def shared_meadow(build_once: BuildOnce, scene: Stage) -> Subscription:
    """What `make_meadow` makes, for all of the module's tests."""
    return build_once(lambda: make_meadow(scene))


@pytest.fixture
def subscription(shared_meadow: Subscription, stage: Stage) -> Subscription:
    """Meadow's, an object that is the test's own."""
    return copy.deepcopy(shared_meadow)


@pytest.fixture
def meadow(subscription: Subscription) -> Account:
    """Alice's second account."""
    return subscription.account
