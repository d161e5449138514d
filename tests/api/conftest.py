"""The cast as API callers: the platform, alice's own key, mallory's, and nobody; and all that alice's account has."""

import uuid
from collections.abc import Callable, Collection
from decimal import Decimal

import pytest
from django.utils import timezone

from billing.accounts import ids
from billing.accounts.models import Account
from billing.catalog.models import Coupon
from billing.catalog.pack_models import Pack
from billing.invoicing import crediting
from billing.ledger import holds, pools, posting
from billing.metering import ingest
from billing.payments.models import CardSetup
from billing.purchases import checkout
from billing.purchases.models import TopUpRule
from tests.api import operations
from tests.api.asking import Api
from tests.api.operations import Operation
from tests.factories import (
    give_credits,
    make_account,
    make_issuer,
    make_key,
    make_member,
    make_meter,
    make_pack,
    make_rate_card,
    make_user,
)
from tests.payments.makers import make_card
from tests.subscriptions.makers import make_team, subscribe


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


@pytest.fixture(scope="session")
def every_operation() -> list[Operation]:
    """The operations of the API's own schema."""
    return list(operations.operations(operations.served()))


@pytest.fixture
def hers(acme: Account, shop: Pack) -> dict[str, str]:
    """One of everything that alice's account has, by the name of its id in addresses."""
    now = timezone.now()
    Account.objects.filter(pk=acme.pk).update(created_at=now)
    make_rate_card({make_meter(): "1"})
    pool = pools.get_main_pool(acme.pk)
    team = pools.open_pool(account=acme, key="team", name="Team", now=now)
    granted = give_credits(acme, "1000", now=now)
    ingest.take_events(events=[{"id": "event-1", "account": "acme", "meter": "tokens", "quantity": 1}], now=now)
    spent = posting.spend(pool_id=pool.pk, credits=Decimal(1), reference="spend:1", now=now)
    hold = holds.place(pool_id=pool.pk, amount=Decimal(5), reference="hold:1", now=now)
    card = acme.payment_methods.get()
    purchase = checkout.buy(
        token=uuid.uuid4(), account_id=acme.pk, pack_id=shop.pk, pool_id=pool.pk, credits=Decimal(10_000),
        method_id=card.pk, buyer_id=None, return_url="http://testserver/", now=now,
    )  # fmt: skip
    line = purchase.invoice.lines.get()
    note = crediting.credit(
        invoice_id=purchase.invoice_id, reference="test:credit", reason="A test", actor="test", now=now,
        items=[crediting.CreditItem(line_id=line.pk, amount=Decimal(1))],
    )  # fmt: skip
    subscription = subscribe(acme, make_team(), now=now)
    Coupon.objects.create(code="HALF", name="Half", percent=Decimal(50), created_at=now)
    TopUpRule.objects.create(
        pool=team, threshold=1, pack=shop, credits=1000, max_count=1, max_money=500, changed_at=now
    )
    setup = CardSetup.objects.create(
        account=acme, key="k", gateway="stripe", state="done", created_at=now, finished_at=now
    )
    return {
        "account": ids.encode(ids.ACCOUNT, acme.pk),
        "pool": "team",
        "member": ids.encode(ids.MEMBER, acme.members.first().pk),
        "event_id": "event-1",
        "grant": ids.encode(ids.GRANT, granted.entries.get().grant_id),
        "posting_id": ids.encode(ids.POSTING, spent.pk),
        "hold": ids.encode(ids.HOLD, hold.pk),
        "method": ids.encode(ids.PAYMENT_METHOD, card.pk),
        "purchase": ids.encode(ids.PURCHASE, purchase.pk),
        "invoice": ids.encode(ids.INVOICE, acme.invoices.get(state="open").pk),
        "credit_note": ids.encode(ids.CREDIT_NOTE, note.pk),
        "subscription": ids.encode(ids.SUBSCRIPTION, subscription.pk),
        "setup": ids.encode(ids.CARD_SETUP, setup.pk),
        "payment": ids.encode(ids.PAYMENT, purchase.invoice.payments.get().pk),
    }
