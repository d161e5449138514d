"""The finance report as pages and files: one page per currency, a file for each part. Addresses: `urls`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from billing.admin.charts import bar_chart
from billing.admin.finance.figures import SEES_FIGURES
from billing.admin.rules import staff_user
from billing.catalog.periods import EARLIEST, RangeRefused, check_range
from billing.finance import reports, revenue
from billing.finance.months import day_of, first_moment, index_of
from billing.finance.reports import Report
from billing.wording import csv_files

MONTHS = 12
# The columns of both tables by month, in the order of their `values`.
DEFERRED = tuple(
    map(
        gettext_lazy,
        (
            *("Opening", "Sold", "Waiting for an invoice", "Credited", "Voided", "Used", "By time", "Breakage"),
            *("Adjusted", "Rounding", "Closing"),
        ),
    )
)
OTHER = tuple(map(gettext_lazy, ("Opening", "Granted", "Used", "Breakage", "Revoked", "Rounding", "Closing")))
# The longest report. From the first day of its first month to that of its last it is shorter than five years.
MOST_YEARS = 5
MOST_DAYS = MOST_YEARS * 365 + 1
# So many invoices and tax lines stand on the page; the files have all.
SHOWN = 100
PARTS = ("deferred", "revenue", "receivables", "tax", "journal", "proof")


@require_safe
def finance(request: HttpRequest) -> HttpResponse:
    """Deferred and recognised revenue, receivables, tax and the proof, of one currency and the months asked for."""
    since, until = _months(request)
    problem = _too_long(since, until)
    if problem:
        since = day_of(index_of(until) - MONTHS + 1)
    report = _read(since, until)
    asked = request.GET.get("currency", "")
    currencies = report.currencies
    currency = asked if asked in currencies else _busiest(report)
    context = {
        **admin.site.each_context(request),
        "title": _("Finance"),
        "report": report,
        "currencies": currencies,
        "currency": currency,
        "since": f"{since:%Y-%m}",
        "until": f"{until:%Y-%m}",
        "months": list(_choices()),
        "problem": problem,
        "parts": PARTS,
        **(_parts(report.of(currency)) if currency else {}),
    }
    return TemplateResponse(request, "admin/finance.html", context)


@require_safe
def finance_csv(request: HttpRequest, part: str) -> HttpResponseBase:
    """One part of the report as a file, of all currencies."""
    if part not in PARTS:
        raise Http404
    since, until = _months(request)
    if problem := _too_long(since, until):
        return HttpResponseBadRequest(problem, content_type="text/plain; charset=utf-8")
    report = _read(since, until)
    columns, rows = reports.files(report)[part]
    return csv_files.respond(f"{part}-{since:%Y-%m}-{until:%Y-%m}", columns, rows)


def _months(request: HttpRequest) -> tuple[date, date]:
    """The first and the last month that the address names: the last twelve where it names none, or none that there
    are. Raises PermissionDenied."""
    if not staff_user(request).has_perm(SEES_FIGURES):
        raise PermissionDenied
    today = timezone.now().date()
    until = max(min(_month(request.GET.get("until", "")) or today, today), EARLIEST).replace(day=1)
    since = _month(request.GET.get("since", "")) or day_of(index_of(until) - MONTHS + 1)
    return min(since, until), until


def _too_long(since: date, until: date) -> str:
    """Why no report is made of so many months; empty when one is."""
    try:
        check_range(since, until, most_days=MOST_DAYS)
    except RangeRefused:
        return _("A report covers at most %(years)s years. Choose fewer months.") % {"years": MOST_YEARS}
    return ""


def _read(since: date, until: date) -> Report:
    return reports.read(starts_on=since, until=min(first_moment(day_of(index_of(until) + 1)), timezone.now()))


def _busiest(report: Report) -> str:
    """The currency with the most documents, which is what somebody who asks for none wants to see first; empty where
    there is none at all."""
    documents = Counter(each.currency for each in report.documents)
    return max(report.currencies, key=lambda currency: documents[currency], default="")


def _month(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007  (a day has no zone)
    except ValueError:
        return None


def _choices() -> Iterator[str]:
    """The months that one can choose from: five years."""
    this = index_of(timezone.now().date())
    for back in range(MOST_YEARS * 12):
        yield f"{day_of(this - back):%Y-%m}"


def _table(names: Sequence[Any], rows: Sequence[tuple[date, Sequence[Decimal]]]) -> dict[str, Any]:
    """A table by month, the last first, without columns that are nothing in every month: the files have those. Empty
    where nothing is left."""
    shown = [place for place in range(len(names)) if any(values[place] for _month, values in rows)]
    lines = [(month, [values[place] for place in shown]) for month, values in reversed(rows)]
    return {"names": [names[place] for place in shown], "rows": lines} if shown else {}


def _parts(report: Report) -> dict[str, Any]:
    rows = report.sheets[0].rows if report.sheets else []
    sources: dict[str, dict[str, Any]] = {}
    for (source, way), money in revenue.by_source(report.earned).items():
        if source:
            sources.setdefault(source, {})[way] = money
    taxes = report.taxes
    ageing = report.ageings[0] if report.ageings else None
    return {
        "rows": rows,
        "last": rows[-1] if rows else None,
        "deferred": _table(DEFERRED, [(row.month, row.deferred.values) for row in rows]),
        "other": _table(OTHER, [(row.month, row.other.values) for row in rows]),
        "deferred_chart": bar_chart([(f"{row.month:%b %y}", row.deferred.closing) for row in rows]),
        "revenue_chart": bar_chart([(f"{total.month:%b %y}", total.money) for total in report.totals]),
        "earned_total": sum(total.money for total in report.totals),
        "ways": [*dict.fromkeys(way for ways in sources.values() for way in ways)],
        "sources": list(sources.items()),
        "meters": sorted(revenue.by_meter(report.earned).items(), key=lambda pair: -pair[1]),
        "ageing": ageing,
        "owed": ageing.rows[:SHOWN] if ageing else [],
        "taxes": taxes[:SHOWN],
        "hidden_taxes": max(len(taxes) - SHOWN, 0),
        "checks": report.checks,
        "differences": [check for check in report.checks if not check.holds],
    }
