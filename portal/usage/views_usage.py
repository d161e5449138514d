"""Usage in a range of days: a chart, a table and the same as CSV, by day, meter, member or property."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, QueryDict
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from billing.catalog.models import Meter
from billing.metering import properties
from billing.metering.models import DailyUsage
from billing.wording import csv_files
from portal.access import Visit, account_page
from portal.charts import burn_chart
from portal.frame import Link, render_page
from portal.usage.filters import RANGES, UsageFilter, midnight
from portal.usage.reading import (
    BY,
    MAX_DAYS,
    MAX_PROPERTY_DAYS,
    Used,
    burns_of,
    csv_columns,
    csv_rows,
    read_property_usage,
    read_usage,
    rows_of,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for, as far as it makes sense: `form` says what does not. `notice` is to be told."""

    form: UsageFilter
    by: str
    first: date
    last: date
    property: str
    used: list[Used]
    notice: str
    is_too_much: bool


@require_safe
@account_page
def usage(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Chart and table. A filter that makes no sense shows its errors and no usage."""
    asked = _ask(request.GET, visit)
    valid = asked.form.is_valid()
    wanted: dict[str, str] = {}
    if valid:
        wanted = {str(name): request.GET[name] for name in asked.form.fields if request.GET.get(name)}
    url = visit.url("usage")
    is_custom = bool(wanted.keys() & {"since", "until"})
    kept = {name: text for name, text in wanted.items() if name not in ("since", "until", "range")}
    rows = rows_of(asked.used, asked.by)
    context: dict[str, Any] = {
        "form": asked.form,
        "by": asked.by,
        "first": asked.first,
        "last": asked.last,
        "property": asked.property,
        "notice": asked.notice,
        "is_too_much": asked.is_too_much,
        "groupings": [
            Link(name, _address(url, {**wanted, "by": by}), by == asked.by)
            for by, name in zip(BY, (_("By day"), _("By meter"), _("By member"), _("By property")), strict=True)
        ],
        "ranges": _range_links(url, kept, chosen="" if is_custom or not valid else wanted.get("range", "30")),
        "is_custom": is_custom,
        "usage_url": url,
        "rows": rows,
        "has_quantities": any(row.quantity is not None for row in rows),
        "burn": burn_chart(burns_of(asked.used), first=asked.first, last=asked.last),
        "events": sum(used.events for used in asked.used),
        "csv_url": _address(visit.url("usage_csv"), wanted) if asked.used else "",
    }
    return render_page(request, visit, "usage", context)


@require_safe
@account_page
def export(request: HttpRequest, visit: Visit) -> HttpResponseBase:
    """The same as a CSV file, a line per day and meter, member or value."""
    asked = _ask(request.GET, visit)
    if not asked.form.is_valid():
        return HttpResponseBadRequest(_("This filter makes no sense."), content_type="text/plain; charset=utf-8")
    if asked.is_too_much:
        return HttpResponse(asked.notice, content_type="text/plain; charset=utf-8", status=503)
    name = f"usage-by-{asked.by}-{asked.first.isoformat()}-{asked.last.isoformat()}"
    return csv_files.respond(name, csv_columns(asked.by), csv_rows(asked.used))


def _ask(query: QueryDict, visit: Visit) -> Asked:
    """Read what the address asks for."""
    today = timezone.localdate(visit.now)
    by = query.get("by", "") if query.get("by") in BY else "meter"
    used_meters = DailyUsage.objects.filter(account=visit.account).values("meter")
    meters = {meter.key: meter for meter in Meter.objects.filter(pk__in=used_meters).order_by("name")}
    if by == "property":
        return _ask_property(query, visit, meters, today)
    form = _form(query, meters, [query.get("property", "")], today)
    if not form.is_valid():
        return Asked(form, by, today, today, "", [], "", False)
    first, last = form.days()
    meter = meters.get(form.cleaned_data["meter"])
    used = read_usage(visit.account, first=first, last=last, by=by, meter=meter)
    return Asked(form, by, first, last, "", used, "", False)


def _ask_property(query: QueryDict, visit: Visit, meters: dict[str, Meter], today: date) -> Asked:
    form = _form(query, meters, [query.get("property", "")], today)
    first, last, name, notice = today, today, "", ""
    try:
        with properties.patient():
            since = midnight(today - timedelta(days=MAX_PROPERTY_DAYS), visit.zone)
            names = properties.list_names(account_id=visit.account.pk, since=since)
            form = _form(query, meters, names, today)
            if not form.is_valid():
                return Asked(form, "property", first, last, "", [], "", False)
            first, last = form.days()
            if (last - first).days >= MAX_PROPERTY_DAYS:
                first = last - timedelta(days=MAX_PROPERTY_DAYS - 1)
                notice = _(
                    "Usage by property is read from the single events, so at most %(days)s days are shown: the last "
                    "of those you asked for."
                ) % {"days": MAX_PROPERTY_DAYS}
            name = form.cleaned_data["property"] or next(iter(names), "")
            meter = meters.get(form.cleaned_data["meter"])
            used: list[Used] = []
            if name:
                used = read_property_usage(visit.account, first=first, last=last, name=name, meter=meter)
            return Asked(form, "property", first, last, name, used, notice, False)
    except properties.TooManyEvents:
        notice = _("There are too many events in these days to group them by property now. Please choose fewer days.")
        return Asked(form, "property", first, last, name, [], notice, True)


def _form(query: QueryDict, meters: dict[str, Meter], names: list[str], today: date) -> UsageFilter:
    choices = [(meter.key, meter.name) for meter in meters.values()]
    return UsageFilter(query, meters=choices, properties=names, max_days=MAX_DAYS, today=today)


def _range_links(url: str, kept: dict[str, str], *, chosen: str) -> list[Link]:
    names = (_("7 days"), _("30 days"), _("90 days"), _("This month"), _("Last month"), _("A year"))
    return [
        Link(name, _address(url, {**kept, "range": key}), key == chosen)
        for key, name in zip(RANGES, names, strict=True)
    ]


def _address(url: str, query: dict[str, str]) -> str:
    words = QueryDict(mutable=True)
    words.update(query)
    return f"{url}?{words.urlencode()}" if query else url
