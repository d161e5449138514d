"""Staff pages that belong to no table: what waits for somebody, and the business's figures. Their addresses: `urls`."""

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from billing.admin.finance import figures
from billing.admin.rules import staff_user
from billing.admin.work import list_queues
from billing.wording import csv_files


@require_safe
def work(request: HttpRequest) -> HttpResponse:
    """The queues of all rooms, as far as the person may see them."""
    now = timezone.now()
    queues = list_queues(user=staff_user(request), now=now)
    context = {
        **admin.site.each_context(request),
        "title": _("Work"),
        "busy": [queue for queue in queues if queue.count],
        "idle": [queue for queue in queues if not queue.count],
        "now": now,
    }
    return TemplateResponse(request, "admin/work.html", context)


@require_safe
def business(request: HttpRequest) -> HttpResponse:
    """The figures of the last twelve months in one currency."""
    _require_figures(request)
    books = figures.read(now=timezone.now())
    asked = request.GET.get("currency", "")
    chosen = next((book for book in books if book.currency == asked), books[0] if books else None)
    context = {**admin.site.each_context(request), "title": _("Figures"), "books": books, "book": chosen}
    return TemplateResponse(request, "admin/figures.html", context)


@require_safe
def business_csv(request: HttpRequest) -> HttpResponseBase:
    """The figures of all currencies as a file."""
    _require_figures(request)
    return csv_files.respond("figures", figures.COLUMNS, figures.csv_rows(figures.read(now=timezone.now())))


def _require_figures(request: HttpRequest) -> None:
    if not staff_user(request).has_perm(figures.SEES_FIGURES):
        raise PermissionDenied
