"""The staff page of single usage events.

Django's admin cannot register a table with a composite primary key, so this is a page of our own beside daily usage.
It lists one account's events in the order they arrived, which is what the table's only index can serve quickly.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from billing.accounts.models import Account
from billing.accounts.text import PlainText
from billing.admin.rules import PickOne
from billing.catalog.models import Meter
from billing.catalog.periods import RangeRefused, check_range
from billing.metering import usage
from billing.metering.models import DailyUsage

PAGE = 100
DAY = forms.DateInput(attrs={"type": "date"})


class EventFilter(forms.Form):
    """Which events to list. Days are UTC and say when the usage happened."""

    account = forms.ModelChoiceField(
        queryset=Account.objects.all(),
        widget=PickOne(DailyUsage._meta.get_field("account"), admin.site),
    )
    event_id = PlainText(label="Event id", required=False, max_length=200)
    meter = forms.ModelChoiceField(queryset=Meter.objects.order_by("name"), required=False, empty_label="All meters")
    since = forms.DateField(label="Happened from", required=False, widget=DAY)
    until = forms.DateField(label="Until", required=False, widget=DAY)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        try:
            check_range(cleaned.get("since"), cleaned.get("until"))
        except RangeRefused as refusal:
            said = "This day is before the first." if refusal.reason == "order" else "This day is too far away."
            self.add_error("since" if refusal.end == "first" else "until", said)
        return cleaned


@dataclass(frozen=True, slots=True)
class Position:
    """The last event of the page before."""

    received_at: datetime
    event_id: str
    source: str


class EventsPage:
    """Answers requests for the page, within the admin that `owner` belongs to."""

    def __init__(self, owner: admin.ModelAdmin) -> None:
        self.owner = owner

    def respond(self, request: HttpRequest) -> HttpResponse:
        """The filter and, once an account is chosen, a page of its events."""
        if not request.user.has_perm("billing.view_usageevent"):
            raise PermissionDenied
        form = EventFilter(request.GET or None)
        rows = list_rows(form.cleaned_data, _position(request), now=timezone.now()) if form.is_valid() else []
        context = {
            **self.owner.admin_site.each_context(request),
            "opts": self.owner.opts,
            "title": "Usage events",
            "form": form,
            "media": self.owner.media + form.media,
            "rows": rows[:PAGE],
            "asked": form.is_bound and form.is_valid(),
            "older": _older(request, rows[PAGE - 1]) if len(rows) > PAGE else "",
        }
        return TemplateResponse(request, "admin/billing/usage_events.html", context)


def list_rows(asked: dict[str, Any], position: Position | None, *, now: datetime) -> list[usage.ListedEvent]:
    """One more event than a page holds, so that the caller knows whether there are older ones."""
    account: Account = asked["account"]
    if asked["event_id"]:
        return usage.find_events(account_id=account.pk, event_id=asked["event_id"])
    return usage.list_events(
        account_id=account.pk,
        now=now,
        limit=PAGE + 1,
        before=(position.received_at, position.event_id, position.source) if position else None,
        window=None,
        meter_key=asked["meter"].key if asked["meter"] else "",
        occurred_from=_midnight(asked["since"]) if asked["since"] else None,
        occurred_to=_midnight(asked["until"]) + timedelta(days=1) if asked["until"] else None,
    )


def _midnight(day: Any) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _position(request: HttpRequest) -> Position | None:
    """Where the address says to go on; what is no position is as good as absent."""
    try:
        received_at = parse_datetime(request.GET.get("before", ""))
    except ValueError:
        return None
    if received_at is None or received_at.tzinfo is None:
        return None
    return Position(received_at, request.GET.get("before_id", ""), request.GET.get("before_source", ""))


def _older(request: HttpRequest, last: usage.ListedEvent) -> str:
    """The query of the next page."""
    kept = {name: value for name, value in request.GET.items() if not name.startswith("before")}
    event = last.event
    position = {
        "before": event.received_at.isoformat(), "before_id": event.event_id, "before_source": event.source,
    }  # fmt: skip
    return "?" + urlencode({**kept, **position})
