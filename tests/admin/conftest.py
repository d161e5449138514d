"""The cast in the office: stella of the staff, and a customer's account with credits."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from importlib import import_module

import pytest
from django.conf import settings
from django.http import SimpleCookie
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from billing.accounts import sessions
from billing.accounts.models import Account, Role, StaffAct, User
from billing.admin import trail
from billing.catalog.models import Meter
from billing.ledger import pools, posting
from billing.ledger.models import CreditGrant, CreditPool, Posting
from tests.factories import give_credits, make_account, make_member, make_user
from tests.undoing import undone

# The pages of the admin are registered with the addresses.
import_module(settings.ROOT_URLCONF)

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


@pytest.fixture(scope="module", autouse=True)
def module_office(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[tuple[Office, SimpleCookie]]:
    """The office and the cookies of stella's browser, made once per module in a transaction around those of its tests.

    Every module has one from its first test on, so that no test depends on which others ran before it. Transactional
    tests have no place here: what they would commit is in this transaction too.
    """
    around = undone()
    with django_db_blocker.unblock():
        around.__enter__()
        made = _make_office()
        browser = Client()
        browser.force_login(made.stella)
        # As the first answer to her does, so that none of the tests' requests is the one that writes.
        session = browser.session
        sessions.limit(session, now=made.now)
        session.save()
    yield made, browser.cookies
    with django_db_blocker.unblock():
        around.__exit__(None, None, None)


def _make_office() -> Office:
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
def office(db: None, module_office: tuple[Office, SimpleCookie]) -> Office:
    """Copies of the module's rows, for tests change and refresh them."""
    return copy.deepcopy(module_office[0])


@pytest.fixture
def staff(client: Client, office: Office, module_office: tuple[Office, SimpleCookie]) -> Client:
    """A browser in which stella is signed in."""
    client.cookies = copy.deepcopy(module_office[1])
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


def find_unrefused(
    client: Client,
    address: str,
    good: Mapping[str, object],
    faulty: Sequence[tuple[Mapping[str, object], str]],
    *,
    unchanged: Callable[[], bool],
    never: str = "",
) -> list[str]:
    """Send the good form with each faulty part, and return what is not refused: with the fault named on the page,
    without the words that are `never` said, and with nothing written, to the audit log no act either."""
    assert faulty
    wrong = []
    for changes, fault in faulty:
        with undone():
            acts = StaffAct.objects.exclude(act=trail.REFUSED).count()
            try:
                page = post(client, address, **{**good, **changes})
                if fault not in page:
                    wrong.append(f"{changes} is not answered with: {fault}")
                if never and never in page:
                    wrong.append(f"{changes} is answered with: {never}")
                if not unchanged() or StaffAct.objects.exclude(act=trail.REFUSED).count() != acts:
                    wrong.append(f"{changes} was written")
            except Exception as error:
                # So that the rows after it are tried too.
                wrong.append(f"{changes} raised {error!r}")
    return wrong
