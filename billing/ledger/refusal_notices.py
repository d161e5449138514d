"""Telling an account that a charge or hold was refused for lack of credits: once per cycle and pool."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from django.core.cache import caches

from billing.ledger.burn import InsufficientCredits
from billing.ledger.models import CreditPool
from billing.notifications import outbox

# A pool at zero may be asked a thousand times a second: what this process has written, it does not write again for so
# long.
REMEMBERED_SECONDS = 3600


@contextmanager
def told(*, now: datetime) -> Iterator[None]:
    """Tell of a refusal that leaves the block, and let it pass. For doors: the act itself has written nothing."""
    try:
        yield
    except InsufficientCredits as refusal:
        _tell(refusal, now=now)
        raise


def _tell(refusal: InsufficientCredits, *, now: datetime) -> None:
    """Write the notification of a refusal, unless the pool's cycle has one."""
    state = refusal.state
    name = f"charge_refused:{state.pool_id}:{state.cycle_number}"
    if caches["process"].get(name):
        return
    outbox.write(
        kind="charge_refused",
        dedupe_key=name,
        account_id=state.account_id,
        payload={
            "pool": state.key,
            "pool_name": CreditPool.objects.values_list("name", flat=True).get(pk=state.pool_id),
            "required": str(refusal.required),
            "available": str(refusal.available),
            "refused_at": now.astimezone(UTC).isoformat(),
            "cycle_ends_at": state.cycle_ends_at.astimezone(UTC).isoformat(),
        },
        now=now,
    )
    caches["process"].set(name, True, REMEMBERED_SECONDS)
