"""Forms of the portal. They check and clean what came in; acting on it is the views' business."""

from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.contrib.auth.forms import AuthenticationForm, PasswordResetForm, SetPasswordForm
from django.db.models import Q, QuerySet

from billing.ledger.models import Posting


class LoginForm(AuthenticationForm):
    """E-mail address and password; one message for every way of being wrong, so that it tells nobody who exists."""

    error_messages = {
        "invalid_login": "This e-mail address and password do not belong together.",
        "inactive": "This e-mail address and password do not belong together.",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = "E-mail address"
        self.fields["username"].widget = forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True})


class ForgotPasswordForm(PasswordResetForm):
    """Django's, with our word for the field."""

    email = forms.EmailField(
        label="E-mail address", max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )


class ChoosePasswordForm(SetPasswordForm):
    """Django's, with our words for the fields."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["new_password2"].label = "The same once more"


class InvitationForm(forms.Form):
    """Taking up an invitation: for a newcomer a name and a new password, for a known address the one it has."""

    name = forms.CharField(
        label="Your name", max_length=120, required=False, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        max_length=4096,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least eight characters. If you have a Florin login already, type its password.",
    )


class LedgerFilter(forms.Form):
    """What of a pool's ledger to show. Days are the account's."""

    act = forms.ChoiceField(
        label="Act",
        required=False,
        choices=[("", "All acts"), *((act.value, act.label) for act in Posting.Act)],
    )
    pool = forms.ChoiceField(label="Pool", required=False)
    since = forms.DateField(label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    q = forms.CharField(
        label="Reference or note",
        required=False,
        max_length=250,
        widget=forms.TextInput(attrs={"type": "search"}),
    )

    def __init__(self, *args: Any, pools: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["pool"] = forms.ChoiceField(label="Pool", required=False, choices=pools)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and until < since:
            self.add_error("until", "This day is before the first.")
        return cleaned

    def narrow(self, postings: QuerySet[Posting], zone: ZoneInfo) -> QuerySet[Posting]:
        """The postings this form asks for; only call it on a valid form."""
        wanted = self.cleaned_data
        if wanted["act"]:
            postings = postings.filter(act=wanted["act"])
        if wanted["since"]:
            postings = postings.filter(posted_at__gte=_midnight(wanted["since"], zone))
        if wanted["until"]:
            postings = postings.filter(posted_at__lt=_midnight(wanted["until"] + timedelta(days=1), zone))
        if wanted["q"]:
            postings = postings.filter(Q(reference__icontains=wanted["q"]) | Q(note__icontains=wanted["q"]))
        return postings


def _midnight(day: Any, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone)
