"""The ledger: every posting of a pool, filtered, with its running balance; and the same as CSV."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, QueryDict
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from billing.ledger.models import CreditPool
from billing.wording import csv_files
from portal.access import Visit, account_page
from portal.frame import choose_pool, list_pools, pool_links, render_page
from portal.usage.filters import LedgerFilter
from portal.usage.ledger_pages import COLUMNS, REACH, Page, csv_rows, list_postings, read_page


@require_safe
@account_page
def ledger(request: HttpRequest, visit: Visit) -> HttpResponse:
    """A page of postings. A filter that makes no sense shows its errors and no postings."""
    pools = list_pools(visit)
    pool = choose_pool(pools, request.GET.get("pool", ""))
    form = _filter(request.GET, pools)
    valid = form.is_valid()
    before, after = _version(request.GET.get("before")), _version(request.GET.get("after"))
    page = Page([], None, None)
    if valid:
        page = read_page(pool, form.search(visit.zone), before=before, after=after)
    wanted = {name: request.GET[name] for name in form.fields if request.GET.get(name)}
    context: dict[str, Any] = {
        "form": form,
        "pool": pool,
        "pools": pool_links(visit, "ledger", pools, pool),
        "postings": page.postings,
        "page": page,
        "reach": REACH,
        "filtered": bool(wanted.keys() - {"pool"}),
        "ledger_url": visit.url("ledger"),
        "csv_url": _address(visit.url("ledger_csv"), wanted) if valid else "",
        "older_url": _address(visit.url("ledger"), wanted, before=page.older),
        "newer_url": _address(visit.url("ledger"), wanted, after=page.newer),
    }
    return render_page(request, visit, "ledger", context)


@require_safe
@account_page
def export(request: HttpRequest, visit: Visit) -> HttpResponseBase:
    """The filtered postings, all of them, as a CSV file."""
    pools = list_pools(visit)
    pool = choose_pool(pools, request.GET.get("pool", ""))
    form = _filter(request.GET, pools)
    if not form.is_valid():
        return HttpResponseBadRequest(_("This filter makes no sense."), content_type="text/plain; charset=utf-8")
    rows = csv_rows(list_postings(pool, form.search(visit.zone)), visit.zone)
    return csv_files.respond(_file_name(pool, timezone.localdate()), COLUMNS, rows)


def _filter(asked: QueryDict, pools: list[CreditPool]) -> LedgerFilter:
    return LedgerFilter(asked, pools=[(pool.key, pool.name) for pool in pools])


def _version(text: str | None) -> int | None:
    """A posting's version out of an address; what is none is as good as absent."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def _address(url: str, wanted: Mapping[str, Any], **position: int | None) -> str:
    """`url` with the filter, at a position; empty when there is no such position."""
    if None in position.values():
        return ""
    query = QueryDict(mutable=True)
    query.update({**wanted, **{name: str(version) for name, version in position.items()}})
    return f"{url}?{query.urlencode()}" if query else url


def _file_name(pool: CreditPool, today: date) -> str:
    # A pool's key has letters, digits and . _ - only, so it is safe in a header.
    return f"ledger-{pool.key}-{today.isoformat()}"
