"""Purchases and top-up rules as the tests of this room need them."""

import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from billing.catalog.pack_models import Pack
from billing.ledger.models import CreditPool
from billing.purchases import checkout, topups
from billing.purchases.models import Purchase, TopUpRule
from tests.factories import NOW
from tests.payments.makers import make_card

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TOKEN = uuid.UUID("7d2f1c5e-0000-4000-8000-000000000001")


def terms(pool: CreditPool, pack: Pack, **fields: object) -> dict[str, Any]:
    """What `checkout.buy` takes for 1,000 credits, paid with a new card unless `method_id` names one."""
    if "method_id" not in fields:
        fields["method_id"] = make_card(pool.account).pk
    given = {
        "token": TOKEN, "account_id": pool.account_id, "pack_id": pack.pk, "pool_id": pool.pk,
        "credits": Decimal(1_000), "buyer_id": None, "return_url": "/back", "now": NOW,
    }  # fmt: skip
    return {**given, **fields}


def buy(pool: CreditPool, pack: Pack, **fields: object) -> Purchase:
    """A purchase with a token of its own, unless one is given."""
    return checkout.buy(**terms(pool, pack, **{"token": uuid.uuid4(), **fields}))


def make_rule(pool: CreditPool, pack: Pack, *, now: datetime = NOW, **fields: object) -> TopUpRule:
    """1,000 credits whenever fewer than 100 are left, at most 5 times and for 1,000.00 a month, by the default card."""
    given = {
        "threshold": Decimal(100), "credits": Decimal(1_000), "method_id": None, "max_count": 5,
        "max_money": Decimal(1_000), **fields,
    }  # fmt: skip
    return topups.save_rule(account=pool.account, pool_id=pool.pk, pack_id=pack.pk, now=now, **given)  # type: ignore[arg-type]
