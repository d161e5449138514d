"""The overview: what the account has, how fast it goes, and what happened last; and its part that stays up to date."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Subquery, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from billing.accounts.models import ApiKey
from billing.metering.models import DailyUsage
from portal.access import Visit, account_page
from portal.burn import first_spend, read_burn, what_it_buys
from portal.charts import burn_chart
from portal.frame import choose_pool, list_pools, pool_links, render_page
from portal.overview import renewal
from portal.overview.first_steps import list_steps
from portal.overview.live import read_live, render_live
from portal.usage.ledger_pages import list_latest

RANGES = (7, 30, 90)
RECENT = 8
BUYS = 5
SOON = timedelta(days=30)


@require_safe
@account_page
def dashboard(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Balance of one pool, burn of the whole account, the pool's latest postings; first steps for a new account."""
    seen = _Seen(request, visit)
    context = {**seen.context(), "is_live": request.GET.get("live") != "off"}
    return render_page(request, visit, "dashboard", context)


@require_safe
@account_page
def live(request: HttpRequest, visit: Visit) -> HttpResponse:
    """All of the overview that may change, anew; 204 when it is still what `?seen=` is the stamp of."""
    seen = _Seen(request, visit)
    if request.GET.get("seen") == seen.part["stamp"]:
        return HttpResponse(status=204)
    return render(request, "portal/_live_answer.html", {"visit": visit, **seen.context(), "is_live": True})


class _Seen:
    """The overview that an address asks for: cheap to tell whether it has changed, and on demand all of it."""

    def __init__(self, request: HttpRequest, visit: Visit) -> None:
        self.visit, self.now = visit, visit.now
        self.pools = list_pools(
            visit,
            has_key=Exists(ApiKey.objects.filter(account=OuterRef("account"), revoked_at=None)),
            has_usage=Exists(DailyUsage.objects.filter(account=OuterRef("account"))),
            events=_events(self.now),
            first_spent_at=first_spend(),
            plan=renewal.annotation(),
        )
        self.pool = choose_pool(self.pools, request.GET.get("pool", ""))
        self.days = next((days for days in RANGES if request.GET.get("days") == str(days)), 30)
        self.live = read_live(visit, self.pool, self.pools, now=self.now)
        self.part = render_live(visit, self.live, self.pools, days=self.days, now=self.now)

    def context(self) -> dict[str, Any]:
        """All that the page shows. Two queries more."""
        visit, now = self.visit, self.now
        last = timezone.localdate(now)
        first = last - timedelta(days=self.days - 1)
        burns = read_burn(visit.account, first=first, last=last)
        reading = self.live.balance
        return {
            "now": now,
            "pool": self.pool,
            "pools": pool_links(visit, "dashboard", self.pools, self.pool),
            "live": self.live,
            "balance": reading,
            "renewal": self.live.renewal,
            "part": self.part,
            "burn": burn_chart(burns, first=first, last=last),
            "buys": what_it_buys(reading.available, burns)[:BUYS],
            "days": self.days,
            "ranges": RANGES,
            "ledger_url": visit.url("ledger"),
            "usage_url": visit.url("usage"),
            "postings": list_latest(self.pool, RECENT),
            "expiring": [lot for lot in reading.lots if lot.expires_at and lot.expires_at - now <= SOON],
            "steps": list_steps(visit, self.pools),
        }


def _events(now: datetime) -> Subquery:
    """How many events the account has had yesterday and today. Usage that costs anything changes the pools too; this
    sees what is free."""
    usage = DailyUsage.objects.filter(account=OuterRef("account"), day__gte=timezone.localdate(now) - timedelta(days=1))
    return Subquery(usage.values("account").annotate(total=Sum("events")).values("total"))
