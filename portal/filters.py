"""What of the ledger and of usage to show, as the address asks for it. Days are the account's."""

from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.ledger.models import GrantKind, Posting
from portal.statement import Search


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """When a day of the zone begins."""
    return datetime.combine(day, time(), tzinfo=zone)


class Days(forms.Form):
    """A range of days, both included, each end optional."""

    since = forms.DateField(
        label=gettext_lazy("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    until = forms.DateField(
        label=gettext_lazy("To"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and until < since:
            self.add_error("until", _("This day is before the first."))
        # The day after the last must be a date too.
        if until == date.max:
            self.add_error("until", _("Please choose an earlier day."))
        return cleaned


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
    q = forms.CharField(
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
