"""The expiry job: posts the breakage of lots whose end has passed. Balances are right without it (L5)."""

from datetime import datetime, timedelta

import structlog
from django.db.models import F, Q

from billing.accounts import clocks
from billing.ledger.models import CreditGrant, Hold, HoldLine
from billing.ledger.pool_state import ROLLING_KINDS
from billing.ledger.posting import expire_lots

POOLS_AT_ONCE = 200

log = structlog.get_logger(__name__)


def expire_due(*, now: datetime, grace_seconds: int, limit: int = 20_000, account_id: int | None = None) -> int:
    """Expire what is due in up to `limit` pools, POOLS_AT_ONCE in a transaction; how many lots.

    With `account_id` only that account's; without, what is on a test clock is left alone. Allocations and rollovers
    that a subscription's next renewal will roll over or expire are left to it.
    Safe to run at any time, twice, or in two workers at once. Where a transaction fails its pools are taken one by
    one, so that one faulty pool is logged and the others are done.
    """
    # What a hold past its end reserves is free (L5): the transaction closes the hold, if its own job has not.
    lapsed = HoldLine.objects.filter(hold__state=Hold.State.OPEN, hold__expires_at__lte=now)
    due = CreditGrant.objects.filter(
        Q(held=0) | Q(pk__in=lapsed.values("grant")),
        is_open=True,
        remaining__gt=0,
        expires_at__lte=now - timedelta(seconds=grace_seconds),
    ).exclude(kind__in=ROLLING_KINDS, pool__renews_at__lte=F("expires_at"))
    due = clocks.narrow(due, account_id=account_id, road="pool__account")
    pool_ids = list(due.order_by("pool_id").values_list("pool_id", flat=True).distinct()[:limit])
    expired = 0
    for start in range(0, len(pool_ids), POOLS_AT_ONCE):
        some = pool_ids[start : start + POOLS_AT_ONCE]
        try:
            expired += expire_lots(pool_ids=some, now=now, grace_seconds=grace_seconds)
        except Exception:
            log.exception("expiry_failed", pools=len(some))
            expired += sum(_expire_one(pool_id, now, grace_seconds) for pool_id in some)
    return expired


def _expire_one(pool_id: int, now: datetime, grace_seconds: int) -> int:
    try:
        return expire_lots(pool_ids=[pool_id], now=now, grace_seconds=grace_seconds)
    except Exception:
        log.exception("expiry_of_pool_failed", pool_id=pool_id)
        return 0
