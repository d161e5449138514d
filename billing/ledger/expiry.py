"""The expiry job: posts the breakage of lots whose end has passed. Balances are right without it (L5)."""

from datetime import datetime, timedelta

from billing.ledger.models import CreditGrant
from billing.ledger.posting import expire_lots


def expire_due(*, now: datetime, grace_seconds: int, limit: int = 1000) -> int:
    """Expire what is due in up to `limit` pools, one transaction a pool; how many lots. Safe to run at any time, twice,
    or in two workers at once."""
    due = CreditGrant.objects.filter(
        is_open=True, held=0, remaining__gt=0, expires_at__lte=now - timedelta(seconds=grace_seconds)
    )
    pool_ids = list(due.order_by("pool_id").values_list("pool_id", flat=True).distinct()[:limit])
    return sum(len(expire_lots(pool_id=pool_id, now=now, grace_seconds=grace_seconds)) for pool_id in pool_ids)
