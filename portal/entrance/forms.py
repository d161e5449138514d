"""Forms of the entrance: allauth's, with our words and what a new customer must say."""

import json
import secrets
from typing import Any

from allauth.account import forms as account_forms
from allauth.account.fields import SetPasswordField
from allauth.account.models import EmailAddress
from allauth.mfa.base import forms as mfa_forms
from allauth.mfa.totp.forms import ActivateTOTPForm
from django import forms
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import password_validators_help_text_html
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from billing.accounts.models import User
from billing.accounts.text import PlainText, validate_name
from billing.catalog import currencies
from billing.ledger import pools
from portal import countries

SIMULTANEOUS = "user_email_unique"
# Where nothing is sold yet, and what is offered first where no guess fits.
DEFAULT_CURRENCY = "USD"


class OurWords:
    """Labels and help in our words, without placeholders: what is in a field only until one types is no label."""

    labels: dict[str, Any] = {}
    helps: dict[str, Any] = {}
    autofocus = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, forms.Field] = self.fields  # type: ignore[attr-defined]
        for name, field in fields.items():
            field.widget.attrs.pop("placeholder", None)
            field.label = self.labels.get(name, field.label)
            field.help_text = self.helps.get(name, "")
            if isinstance(field, forms.EmailField):
                field.validators = [*field.validators, validate_name]
            if name == self.autofocus:
                field.widget.attrs["autofocus"] = True


class LoginForm(OurWords, account_forms.LoginForm):
    """E-mail address and password; one message for every way of being wrong, so that it tells nobody who exists."""

    labels = {"login": _("E-mail address"), "password": _("Password")}
    autofocus = "login"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].widget.attrs["autocomplete"] = "username"


class CodeForm(OurWords, mfa_forms.AuthenticateForm):
    """The second factor: a code of the app, or a recovery code."""

    labels = {"code": _("Code")}
    autofocus = "code"


class CodeAgainForm(OurWords, mfa_forms.ReauthenticateForm):
    """The second factor, asked again before something delicate."""

    labels = {"code": _("Code")}
    autofocus = "code"


class PasswordAgainForm(OurWords, account_forms.ReauthenticateForm):
    """The password, asked again before something delicate."""

    labels = {"password": _("Password")}
    autofocus = "password"


class TwoFactorForm(OurWords, ActivateTOTPForm):
    """The first code of a new authenticator app."""

    labels = {"code": _("Code that the app shows")}


class TimeZoneField(forms.ChoiceField):
    """A time zone, by any name that a browser may have for it."""

    def to_python(self, value: Any) -> str:
        return countries.canonical_time_zone(super().to_python(value))


class SignUpForm(OurWords, account_forms.SignupForm):
    """A new person and their organisation's account, which they own."""

    name = PlainText(max_length=120, widget=forms.TextInput(attrs={"autocomplete": "name"}))
    company = PlainText(max_length=200, widget=forms.TextInput(attrs={"autocomplete": "organization"}))
    country = forms.ChoiceField(choices=countries.list_countries)
    currency = forms.ChoiceField()
    time_zone = TimeZoneField(choices=countries.list_time_zones)

    field_order = ("name", "email", "password1", "company", "country", "currency", "time_zone")
    labels = {
        "name": _("Your name"),
        "email": _("E-mail address"),
        "password1": _("Password"),
        "company": _("Company or organisation"),
        "country": _("Country"),
        "currency": _("Currency"),
        "time_zone": _("Time zone"),
    }
    helps = {
        "password1": _("At least eight characters, and not a common password."),
        "currency": _("What you pay in. You can change it until your first invoice."),
        "time_zone": _("Your days and billing months start at midnight in this zone. It cannot be changed later."),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sold = currencies.list_sold() or [DEFAULT_CURRENCY]
        self.fields["currency"].choices = countries.list_currencies(self.sold)
        otherwise = DEFAULT_CURRENCY if DEFAULT_CURRENCY in self.sold else self.sold[0]
        if self.initial.get("currency") not in self.sold:
            self.initial["currency"] = otherwise
        if len(self.sold) == 1:
            # There is nothing to choose.
            del self.fields["currency"]
        elif not self.is_bound:
            # The page's script follows the country until the customer chooses a currency.
            usual = {code: countries.usual_currency(code) for code, _ in countries.list_countries()}
            followed = {code: currency for code, currency in usual.items() if currency in self.sold}
            self.fields["currency"].widget.attrs |= {
                "data-by-country": json.dumps(followed),
                "data-otherwise": otherwise,
            }
        if not self.is_bound:
            # The page's script replaces the guess by the browser's own zone.
            self.fields["time_zone"].widget.attrs["data-from-browser"] = True

    def validate_unique_email(self, value: str) -> str:
        # Only who has the address counts, not who would like to change to it.
        self.account_already_exists = User.objects.filter(email=value).exists()
        return value

    def try_save(self, request: HttpRequest) -> tuple[User | None, HttpResponse | None]:
        """Make person and account; for an address that somebody has, answer just the same and as slowly."""
        if self.account_already_exists:
            make_password(self.cleaned_data["password1"])
            return super().try_save(request)
        try:
            return super().try_save(request)
        except IntegrityError as error:
            if SIMULTANEOUS not in str(error):
                raise
            self.account_already_exists = True
            return super().try_save(request)

    def save(self, request: HttpRequest) -> User:
        with transaction.atomic():
            user = super().save(request)
            assert isinstance(user, User)  # noqa: S101  AUTH_USER_MODEL
            user.name = self.cleaned_data["name"]
            user.save(update_fields=["name"])
            # allauth leaves it out when somebody else would like to change to this address.
            unproved = {"verified": False, "primary": True}
            EmailAddress.objects.get_or_create(user=user, email=user.email, defaults=unproved)
            pools.open_account(
                name=self.cleaned_data["company"],
                external_id=f"signup-{secrets.token_hex(8)}",
                billing_email=user.email,
                country=self.cleaned_data["country"],
                currency=self.cleaned_data.get("currency", self.sold[0]),
                time_zone=self.cleaned_data["time_zone"],
                owner=user,
                now=timezone.now(),
            )
        return user


class ForgotPasswordForm(OurWords, account_forms.ResetPasswordForm):
    """Whose password; the answer is the same whether somebody has the address or not."""

    labels = {"email": _("E-mail address")}

    def clean_email(self) -> str:
        # Only the address somebody has: a link sent to one they merely want to change to would hand them over.
        email = self.cleaned_data["email"]
        self.users = list(User.objects.filter(email=email, is_active=True))
        return email


class KeepKeys(forms.Form):
    """With a new password, whether the person's API keys may go on; otherwise they are revoked."""

    keep_keys = forms.BooleanField(required=False, label=_("Keep the API keys working that I made"))


class NewPasswordForm(OurWords, KeepKeys, account_forms.ResetPasswordKeyForm):
    """A new password, with the link of the e-mail."""

    labels = {"password1": _("New password"), "password2": _("The same once more")}
    helps = {"password1": password_validators_help_text_html()}


class ChangePasswordForm(OurWords, KeepKeys, account_forms.ChangePasswordForm):
    """A new password, for who knows the old one."""

    labels = {
        "oldpassword": _("Your password now"),
        "password1": _("New password"),
        "password2": _("The same once more"),
    }
    helps = {"password1": password_validators_help_text_html()}


class NewEmailForm(OurWords, account_forms.AddEmailForm):
    """Another address, which a link sent there will prove."""

    labels = {"email": _("New e-mail address")}


class InvitationForm(forms.Form):
    """Taking up an invitation as a newcomer."""

    name = PlainText(
        label=_("Your name"), max_length=120, required=False, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )
    password = SetPasswordField(label=_("Password"), max_length=4096, help_text=password_validators_help_text_html())
