"""What the overview's refreshing part shows of a pool, and the stamp that tells whether the page is still true.

The page asks every few seconds and names the stamp of what it shows. The stamp covers the balance as it is written, and
whatever else changes the overview: other pools, usage, keys, the plan, notifications. While nothing has changed the
answer is empty (204), so that nothing on the page moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from urllib.parse import urlencode

from django.template.loader import render_to_string

from billing.ledger import balance
from billing.ledger.balance import Balance
from billing.ledger.models import CreditPool
from billing.purchases.models import TopUpRule
from portal.access import Visit, managers_url
from portal.burn import read_pace
from portal.charts import WARNINGS
from portal.forecast import Forecast, forecast
from portal.overview.alerts import Alert, list_alerts
from portal.overview.renewal import Renewal, renewal_of

LOW_DAYS = 7


@dataclass(frozen=True, slots=True)
class Live:
    """A pool as the overview shows it. `expired`: credits of its cycle that ended unused. `is_low`: credits are gone,
    nearly gone or will be within a week."""

    pool: CreditPool
    balance: Balance
    expired: Decimal
    forecast: Forecast
    alerts: list[Alert]
    top_up: TopUpRule | None
    renewal: Renewal | None
    is_low: bool


def read_live(visit: Visit, pool: CreditPool, pools: Sequence[CreditPool], *, now: datetime) -> Live:
    """Read it: two queries, a third for the pace after new postings, a fourth where the cycle does not add up. Needs
    `plan` and `first_spent_at` on the pools (`renewal`, `burn.first_spend`)."""
    reading = balance.read(pool_id=pool.pk, now=now)
    renewal = renewal_of(pool)
    pace = read_pace(pool, visit.zone, now=now)
    outlook = forecast(reading, pace, now=now, credits_at=renewal.credits_at if renewal else None)
    ends_soon = outlook.ends_at is not None and (outlook.ends_at - now).days < LOW_DAYS
    is_used = reading.cycle is not None and reading.cycle.percent >= WARNINGS[0]
    return Live(
        pool=pool,
        balance=reading,
        expired=balance.read_expired(reading, now=now),
        forecast=outlook,
        alerts=list_alerts(visit, pools, now=now),
        top_up=getattr(pool, "top_up_rule", None),
        renewal=renewal,
        is_low=reading.available <= 0 or is_used or ends_soon,
    )


def render_live(visit: Visit, live: Live, pools: Sequence[CreditPool], *, days: int, now: datetime) -> dict[str, str]:
    """The pool's alerts and balance as HTML, the overview's stamp, and the address that asks what has changed since.
    Needs `has_key`, `has_usage` and `events` on the pools."""
    context = {
        "visit": visit,
        "live": live,
        "of_several": len(pools) > 1,
        "now": now,
        "buy_url": managers_url(visit, "buy"),
        "top_ups_url": managers_url(visit, "top_ups"),
    }
    html = render_to_string("portal/_live.html", context)
    rest = (
        [(pool.pk, pool.name, pool.version, pool.held, pool.has_key, pool.has_usage, pool.events) for pool in pools],  # type: ignore[attr-defined]
        live.renewal,
        visit.account.parked_at,
        visit.unread,
        now.astimezone(visit.zone).date(),
    )
    stamp = blake2b(f"{html}{rest!r}".encode(), digest_size=8).hexdigest()
    query = urlencode({"pool": live.pool.key, "days": days, "seen": stamp})
    return {"html": html, "stamp": stamp, "url": f"{visit.url('live')}?{query}"}
