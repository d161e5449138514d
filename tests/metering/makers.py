"""What tests of metering need: events, rates, callers in threads, and all that usage writes."""

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection, connections

from billing.accounts.models import Account
from billing.catalog import rate_cards
from billing.catalog.models import Meter, Rate, RateCard, RateCardVersion
from billing.ledger import balance, pools
from billing.ledger.models import Posting
from billing.metering import ingest, verification
from billing.metering.ingest import BatchResult, ChargeRequest, ChargeResult, EventResult

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
START = datetime(2025, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

_ids = itertools.count(1)


def rate(meter: Meter, price: str = "1", **fields: Any) -> Rate:
    """A rate to be published: per unit unless told otherwise."""
    return Rate(meter=meter, price=Decimal(price), **fields)


def publish(
    *rates: Rate,
    key: str = "standard",
    is_default: bool = True,
    counts_by: str = "billing_period",
    effective_at: datetime = START,
    now: datetime = START,
) -> RateCard:
    """Publish these rates as the next version of a card."""
    card, _ = RateCard.objects.get_or_create(
        key=key, defaults={"name": key.title(), "is_default": is_default, "created_at": now}
    )
    version = rate_cards.draft_version(rate_card_id=card.pk, now=now)
    RateCardVersion.objects.filter(pk=version.pk).update(counts_by=counts_by)
    for each in rates:
        each.version = version
    Rate.objects.bulk_create(rates)
    rate_cards.publish(version_id=version.pk, effective_at=effective_at, now=now)
    return card


def event(quantity: Any = 1, *, at: datetime | None = NOW, **fields: Any) -> dict[str, Any]:
    """A flat event of acme's tokens, with an id of its own unless told otherwise."""
    given = {"id": f"e{next(_ids)}", "account": "acme", "meter": "tokens", "quantity": quantity, **fields}
    return {**given, "occurred_at": at.isoformat()} if at else given


def send(*events: object, now: datetime = NOW, **options: Any) -> BatchResult:
    """Take events as the API does."""
    return ingest.take_events(events=events, now=now, **options)


def send_one(raw: object, **options: Any) -> EventResult:
    """Take one event; its result."""
    return send(raw, **options).results[0]


def charge(quantity: Any = 1, *, now: datetime = NOW, **fields: Any) -> ChargeResult:
    """Charge acme's tokens."""
    given = {"account": "acme", "id": f"c{next(_ids)}", "meter_key": "tokens", **fields}
    return ingest.charge(request=ChargeRequest(quantity=Decimal(quantity), **given), now=now)


def available_in(account: Account, now: datetime = NOW) -> Decimal:
    """What the account's main pool has available."""
    return balance.read(pool_id=pools.get_main_pool(account.pk).pk, now=now).available


def spent_by(account: Account) -> Decimal:
    """Credits of all spends of the account, less what was reversed."""
    acts = Posting.objects.filter(pool__account=account).values_list("act", "credits")
    sign = {"spend": 1, "reverse": -1}
    return sum((sign.get(act, 0) * credits for act, credits in acts), Decimal(0))


TABLES = (
    "billing_usageevent", "billing_eventreversal", "billing_dailyusage", "billing_usagecounter",
    "billing_uniquevalue", "billing_gaugeseries", "billing_gaugereading", "billing_rejectedevent",
    "billing_importrun", "billing_posting", "billing_ledgerentry", "billing_creditgrant", "billing_creditpool",
    "billing_memberlimit", "billing_notification",
)  # fmt: skip


def all_rows() -> dict[str, list[str]]:
    """Every row that usage may write, as text."""
    rows = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT t::text FROM {table} t ORDER BY 1")
            rows[table] = [row[0] for row in cursor.fetchall()]
    return rows


def assert_proven(now: datetime = NOW) -> None:
    """verify_ledger finds nothing."""
    assert verification.verify(now=now).findings == []


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run `work(0)` to `work(count - 1)` at the same time, each on a connection of its own; what they return or
    raise, in that order."""
    gate = threading.Barrier(count)

    def run(number: int) -> Any:
        try:
            connection.ensure_connection()
            gate.wait(timeout=60)
            return work(number)
        except Exception as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))
