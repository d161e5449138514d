"""The overview: what the account has, how fast it goes, and what happened last."""

from datetime import timedelta
from decimal import Decimal

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from billing.ledger import balance
from portal.access import Visit, account_page
from portal.burn import read_burn, what_it_buys
from portal.charts import burn_chart, coin
from portal.statement import list_latest
from portal.views.frame import choose_pool, list_pools, pool_links, render_page

RANGES = (7, 30, 90)
RECENT = 8
BUYS = 5


@require_safe
@account_page
def dashboard(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Balance of one pool, burn of the whole account, the pool's latest postings."""
    now = timezone.now()
    pools = list_pools(visit)
    pool = choose_pool(pools, request.GET.get("pool", ""))
    days = next((days for days in RANGES if request.GET.get("days") == str(days)), 30)
    last = timezone.localdate(now)
    first = last - timedelta(days=days - 1)
    burns = read_burn(visit.account, first=first, last=last)
    reading = balance.read(pool_id=pool.pk, now=now)
    context = {
        "now": now,
        "pool": pool,
        "pools": pool_links(visit, "dashboard", pools, pool),
        "balance": reading,
        "coin": coin(reading.cycle.percent if reading.cycle else Decimal(0)),
        "burn": burn_chart(burns, first=first, last=last),
        "buys": what_it_buys(reading.available, burns)[:BUYS],
        "days": days,
        "ranges": RANGES,
        "ledger_url": visit.url("ledger"),
        "postings": list_latest(pool, RECENT),
    }
    return render_page(request, visit, "dashboard", context)
