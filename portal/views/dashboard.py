"""The overview: what the account has, how fast it goes, and what happened last; and its part that stays up to date."""

from datetime import timedelta

from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from billing.accounts.models import ApiKey
from billing.metering.models import DailyUsage
from portal import renewal
from portal.access import Visit, account_page
from portal.burn import read_burn, what_it_buys
from portal.charts import burn_chart
from portal.first_steps import list_steps
from portal.live import read_live, render_live
from portal.statement import list_latest
from portal.views.frame import choose_pool, list_pools, pool_links, render_page

RANGES = (7, 30, 90)
RECENT = 8
BUYS = 5
SOON = timedelta(days=30)


@require_safe
@account_page
def dashboard(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Balance of one pool, burn of the whole account, the pool's latest postings; first steps for a new account."""
    now = visit.now
    pools = list_pools(
        visit,
        has_key=Exists(ApiKey.objects.filter(account=OuterRef("account"), revoked_at=None)),
        has_usage=Exists(DailyUsage.objects.filter(account=OuterRef("account"))),
        plan=renewal.annotation(),
    )
    pool = choose_pool(pools, request.GET.get("pool", ""))
    days = next((days for days in RANGES if request.GET.get("days") == str(days)), 30)
    last = timezone.localdate(now)
    first = last - timedelta(days=days - 1)
    burns = read_burn(visit.account, first=first, last=last)
    live = read_live(visit, pool, pools, now=now)
    context = {
        "now": now,
        "pool": pool,
        "pools": pool_links(visit, "dashboard", pools, pool),
        "live": live,
        "balance": live.balance,
        "renewal": live.renewal,
        "part": render_live(visit, live, of_several=len(pools) > 1, now=now),
        "is_live": request.GET.get("live") != "off",
        "burn": burn_chart(burns, first=first, last=last),
        "buys": what_it_buys(live.balance.available, burns)[:BUYS],
        "days": days,
        "ranges": RANGES,
        "ledger_url": visit.url("ledger"),
        "usage_url": visit.url("usage"),
        "postings": list_latest(pool, RECENT),
        "expiring": [lot for lot in live.balance.lots if lot.expires_at and lot.expires_at - now <= SOON],
        "steps": list_steps(visit, pools),
    }
    return render_page(request, visit, "dashboard", context)


@require_safe
@account_page
def live(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The overview's live part for `?pool=`; 204 when it is still what `?seen=` is the stamp of."""
    now = visit.now
    pools = list_pools(visit, plan=renewal.annotation())
    pool = choose_pool(pools, request.GET.get("pool", ""))
    part = render_live(visit, read_live(visit, pool, pools, now=now), of_several=len(pools) > 1, now=now)
    if request.GET.get("seen") == part["stamp"]:
        return HttpResponse(status=204)
    return render(request, "portal/_live_frame.html", {"part": part, "is_live": True})
