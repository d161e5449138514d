"""Posting the breakage of lots whose end has passed, each in a pool of its own: the most work per lot."""

import statistics
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tests.benchmarks import place
from tests.benchmarks.measuring import Result, Scale


def expiries(scale: Scale, names: list[str], web: place.Web) -> list[Result]:
    """What one process posts in a minute."""
    from billing.ledger import expiry

    rates = []
    for number in range(scale.rounds):
        make_expired_lots(scale.expiries, prefix=f"expiring-{number}")
        started = time.perf_counter()
        done = expiry.expire_due(now=datetime.now(UTC), grace_seconds=0, limit=scale.expiries)
        rates.append(60 * done / (time.perf_counter() - started))
        if done != scale.expiries:
            raise RuntimeError(f"{done} lots of {scale.expiries} expired")
    return [Result("expiries, a lot a pool, 1 process", "/min", statistics.median(rates), least=100_000)]


def make_expired_lots(number: int, *, prefix: str) -> None:
    """Accounts whose one lot has ended: one made by the services, and copies of its rows made by the server."""
    from billing.ledger import pools, posting

    past = datetime.now(UTC) - timedelta(hours=2)
    account = pools.open_account(
        name=prefix, external_id=prefix, billing_email="billing@expiring.example", country="DE", now=past
    )
    pool = pools.get_main_pool(account.pk)
    granted = posting.grant(
        pool_id=pool.pk, amount=Decimal(1000), kind="allocation", reference="start", now=past,
        expires_at=past + timedelta(hours=1),
    )  # fmt: skip
    lot_id = granted.entries.get().grant_id
    copies = {
        "billing_account": (account.pk, {"external_id": f"'{prefix}-' || n"}),
        "billing_creditpool": (pool.pk, {"account_id": f"{account.pk} + n"}),
        "billing_creditgrant": (lot_id, {"pool_id": f"{pool.pk} + n"}),
        "billing_posting": (granted.pk, {"pool_id": f"{pool.pk} + n"}),
    }
    place.copy_rows(copies, number - 1)
    place.copy_entries(granted.pk, lot_id, number - 1)
