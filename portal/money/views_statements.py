"""The statement of account: the page, the same as CSV, and as a PDF."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, QueryDict
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from billing.invoicing import issuing
from billing.payments import account_statement
from billing.payments.account_statement import MOST_DAYS, Statement
from billing.wording import csv_files
from portal.access import Visit, account_page
from portal.frame import render_page
from portal.usage.filters import Days

COLUMNS = ("day", "time", "what", "number", "currency", "amount", "balance")


class StatementForm(Days):
    """Which days, in which currency. Left out: this year until today, in the first currency there is."""

    most_days = MOST_DAYS
    currency = forms.ChoiceField(label=gettext_lazy("Currency"), required=False)

    def __init__(self, data: QueryDict, *, visit: Visit) -> None:
        self.today = timezone.localdate(visit.now, visit.zone)
        self.currencies = account_statement.list_currencies(visit.account)
        given = data.copy()
        given.setdefault("since", date(self.today.year, 1, 1).isoformat())
        given.setdefault("until", self.today.isoformat())
        given.setdefault("currency", self.currencies[0])
        super().__init__(given)
        field = self.fields["currency"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101
        field.choices = [(currency, currency) for currency in self.currencies]

    def read(self, visit: Visit) -> Statement | None:
        """The statement that is asked for; None where that makes no sense, and then the form says why."""
        if not self.is_valid():
            return None
        asked = self.cleaned_data
        since = asked["since"] or date(self.today.year, 1, 1)
        until = asked["until"] or max(self.today, since)
        self.check(since, until)
        if self.errors:
            return None
        currency = asked["currency"] or self.currencies[0]
        try:
            return account_statement.read(account=visit.account, currency=currency, since=since, until=until)
        except account_statement.TooLong:
            self.add_error("since", _("More has happened in this time than fits. Choose fewer days."))
        return None


@require_safe
@account_page
def statement(request: HttpRequest, visit: Visit) -> HttpResponse:
    """What was owed, what happened, and what is owed."""
    form = StatementForm(request.GET, visit=visit)
    found = form.read(visit)
    query = ""
    if found is not None:
        asked = QueryDict(mutable=True)
        asked.update({"since": found.since.isoformat(), "until": found.until.isoformat(), "currency": found.currency})
        query = f"?{asked.urlencode()}"
    context: dict[str, Any] = {
        "form": form,
        "statement": found,
        "csv_url": visit.url("statement_csv") + query,
        "pdf_url": visit.url("statement_pdf") + query,
    }
    return render_page(request, visit, "statement", context)


@require_safe
@account_page
def export(request: HttpRequest, visit: Visit) -> HttpResponseBase:
    """The statement as a CSV file, with its opening and closing balance."""
    found = StatementForm(request.GET, visit=visit).read(visit)
    if found is None:
        return HttpResponseBadRequest(_("This filter makes no sense."), content_type="text/plain")
    return csv_files.respond(_name(found), COLUMNS, _rows(found, visit))


@require_safe
@account_page
def pdf(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The statement as a PDF file."""
    found = StatementForm(request.GET, visit=visit).read(visit)
    if found is None:
        return HttpResponseBadRequest(_("This filter makes no sense."), content_type="text/plain")
    try:
        content = account_statement.pdf(found, now=visit.now)
    except issuing.NoIssuer:
        raise Http404("Nobody issues statements.") from None
    headers = {"Content-Disposition": f'attachment; filename="{_name(found)}.pdf"'}
    return HttpResponse(content, content_type="application/pdf", headers=headers)


def _rows(found: Statement, visit: Visit) -> Iterator[Sequence[object]]:
    yield found.since, None, "opening", None, found.currency, None, found.opening
    for entry in found.entries:
        at = entry.at.astimezone(visit.zone)
        yield at.date(), at, entry.kind, entry.number, found.currency, entry.amount, entry.balance
    yield found.until, None, "closing", None, found.currency, None, found.closing


def _name(found: Statement) -> str:
    return f"statement-{found.since.isoformat()}-{found.until.isoformat()}-{found.currency}"
