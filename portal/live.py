"""The part of the overview that keeps itself up to date: the alerts, the balance of a pool and how long it lasts.

The page asks for it every few seconds and names the stamp of what it shows; while nothing has changed the answer is
empty (204), so that nothing on the page moves.
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
from portal.access import Visit
from portal.alerts import Alert, list_alerts
from portal.burn import read_pace
from portal.charts import Coin, coin
from portal.forecast import Forecast, forecast
from portal.renewal import Renewal, renewal_of

LOW_DAYS = 7


@dataclass(frozen=True, slots=True)
class Live:
    """What the part shows of a pool. `is_low`: credits are gone, nearly gone or will be within a week."""

    pool: CreditPool
    balance: Balance
    coin: Coin
    forecast: Forecast
    alerts: list[Alert]
    top_up: TopUpRule | None
    renewal: Renewal | None
    is_low: bool


def read_live(visit: Visit, pool: CreditPool, pools: Sequence[CreditPool], *, now: datetime) -> Live:
    """Read it: two queries, and a third for the pace once in a while. Needs `plan` on the pools (`renewal`)."""
    reading = balance.read(pool_id=pool.pk, now=now)
    edge = coin(reading.cycle.percent if reading.cycle else Decimal(0))
    renewal = renewal_of(pool)
    pace = read_pace(pool, visit.zone, now=now)
    outlook = forecast(reading, pace, now=now, credits_at=renewal.credits_at if renewal else None)
    ends_soon = outlook.runs_out_at is not None and (outlook.runs_out_at - now).days < LOW_DAYS
    return Live(
        pool=pool,
        balance=reading,
        coin=edge,
        forecast=outlook,
        alerts=list_alerts(visit, pools, now=now),
        top_up=getattr(pool, "top_up_rule", None),
        renewal=renewal,
        is_low=reading.available <= 0 or edge.level != "calm" or ends_soon,
    )


def render_live(visit: Visit, live: Live, *, of_several: bool, now: datetime) -> dict[str, str]:
    """The part as HTML, its stamp, and the address that asks for what has changed since."""
    context = {
        "visit": visit,
        "live": live,
        "of_several": of_several,
        "now": now,
        "buy_url": managers_url(visit, "buy"),
        "top_ups_url": managers_url(visit, "top_ups"),
    }
    html = render_to_string("portal/_live.html", context)
    stamp = blake2b(html.encode(), digest_size=8).hexdigest()
    query = urlencode({"pool": live.pool.key, "seen": stamp})
    return {"html": html, "stamp": stamp, "url": f"{visit.url('live')}?{query}"}


def managers_url(visit: Visit, name: str) -> str:
    """Where a page is that only owners and admins may open; empty for others."""
    return visit.url(name) if visit.is_manager else ""
