"""What of the ledger and of usage to show, as the address asks for it. Days are the account's."""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts.text import PlainText
from billing.catalog.periods import EARLIEST, LATEST, RangeRefused, check_range
from billing.ledger.models import GrantKind, Posting
from portal.usage.ledger_pages import Search


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """When a day of the zone begins."""
    return datetime.combine(day, time(), tzinfo=zone)


def _last(days: int) -> Callable[[date], tuple[date, date]]:
    return lambda today: (today - timedelta(days=days - 1), today)


def _last_month(today: date) -> tuple[date, date]:
    last = today.replace(day=1) - timedelta(days=1)
    return last.replace(day=1), last


# Ranges by name: what they are on a day.
RANGES: dict[str, Callable[[date], tuple[date, date]]] = {
    "7": _last(7),
    "30": _last(30),
    "90": _last(90),
    "month": lambda today: (today.replace(day=1), today),
    "last-month": _last_month,
    "365": _last(365),
}


class Days(forms.Form):
    """A range of days, both included, each end optional."""

    since = forms.DateField(
        label=gettext_lazy("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    until = forms.DateField(
        label=gettext_lazy("To"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )

    most_days: int | None = None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        self.check(cleaned.get("since"), cleaned.get("until"))
        return cleaned

    def check(self, first: date | None, last: date | None) -> None:
        """Add what is wrong with a range of days, both included, to the form."""
        try:
            check_range(first, last, most_days=self.most_days)
        except RangeRefused as refusal:
            said = {
                "order": _("This day is before the first."),
                "far": _("Please choose a day between %(earliest)s and %(latest)s.")
                % {"earliest": EARLIEST.year, "latest": LATEST.year},
                "long": _("At most %(days)s days can be shown.") % {"days": self.most_days},
            }
            is_first = refusal.end == "first" and self.cleaned_data.get("since")
            self.add_error("since" if is_first or refusal.reason == "long" else "until", said[refusal.reason])


class LedgerFilter(Days):
    """What of a pool's ledger to show."""

    act = forms.ChoiceField(
        label=gettext_lazy("Act"), required=False, choices=[("", gettext_lazy("All acts")), *Posting.Act.choices]
    )
    kind = forms.ChoiceField(
        label=gettext_lazy("Kind of lot"),
        required=False,
        choices=[("", gettext_lazy("All kinds")), *GrantKind.choices],
    )
    pool = forms.ChoiceField(label=gettext_lazy("Pool"), required=False)
    q = PlainText(
        label=gettext_lazy("Reference or note"),
        required=False,
        max_length=250,
        widget=forms.TextInput(attrs={"type": "search"}),
    )

    def __init__(self, *args: Any, pools: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["pool"] = forms.ChoiceField(label=gettext_lazy("Pool"), required=False, choices=pools)

    def search(self, zone: ZoneInfo) -> Search:
        """What this form asks for; only call it on a valid form."""
        wanted = self.cleaned_data
        since, until = wanted["since"], wanted["until"]
        return Search(
            act=wanted["act"],
            kind=wanted["kind"],
            text=wanted["q"],
            since=midnight(since, zone) if since else None,
            until=midnight(until + timedelta(days=1), zone) if until else None,
        )


class UsageFilter(Days):
    """Which usage to show, grouped by what. Without days it is the range, the last 30 days if none is named."""

    by = forms.ChoiceField(required=False, choices=[(by, by) for by in ("day", "meter", "member", "property")])
    range = forms.ChoiceField(required=False, choices=[(name, name) for name in RANGES])
    meter = forms.ChoiceField(label=gettext_lazy("Meter"), required=False)
    property = forms.ChoiceField(label=gettext_lazy("Property"), required=False)

    def __init__(
        self,
        *args: Any,
        meters: list[tuple[str, str]],
        properties: list[str],
        max_days: int,
        today: date,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        all_meters = ("", _("All meters"))
        self.fields["meter"] = forms.ChoiceField(label=_("Meter"), required=False, choices=[all_meters, *meters])
        names = [(name, name) for name in properties]
        self.fields["property"] = forms.ChoiceField(label=_("Property"), required=False, choices=names)
        self.most_days = max_days
        self.today = today

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if not self.errors:
            self.check(*self.days())
        return cleaned

    def days(self) -> tuple[date, date]:
        """First and last day, both included."""
        since: date | None = self.cleaned_data.get("since")
        until: date | None = self.cleaned_data.get("until")
        if since is not None:
            return since, until or max(self.today, since)
        if until is not None:
            return until - min(timedelta(days=29), until - date.min), until
        return RANGES[self.cleaned_data.get("range") or "30"](self.today)
