"""What surrounds every page of an account, and the choice of its pools. The menu: portal/navigation.py."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from billing.ledger.models import CreditPool
from portal.access import Visit


@dataclass(frozen=True, slots=True)
class Link:
    """An address with its name; `here` when it is the page being shown."""

    name: str
    url: str
    here: bool


def render_page(
    request: HttpRequest, visit: Visit, page: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """Render the template `portal/<page>.html` in the account's frame."""
    return render(request, f"portal/{page}.html", {"visit": visit, **context}, status=status)


def list_pools(visit: Visit, **annotations: Any) -> list[CreditPool]:
    """The account's pools with their top-up rules, the main one first, each with what is asked for besides."""
    pools = CreditPool.objects.filter(account=visit.account).select_related("top_up_rule").annotate(**annotations)
    return sorted(pools, key=lambda pool: (pool.kind != CreditPool.Kind.MAIN, pool.name, pool.pk))


def choose_pool(pools: list[CreditPool], key: str) -> CreditPool:
    """The pool of that key, the main pool for an empty one; 404 for another account's or none at all."""
    for pool in pools:
        if key in ("", pool.key):
            return pool
    raise Http404("No such pool.")


def pool_links(visit: Visit, page: str, pools: list[CreditPool], chosen: CreditPool) -> list[Link]:
    """Links to the page for each pool; none when there is nothing to choose."""
    if len(pools) == 1:
        return []
    url = visit.url(page)
    return [Link(pool.name, f"{url}?{urlencode({'pool': pool.key})}", pool == chosen) for pool in pools]
