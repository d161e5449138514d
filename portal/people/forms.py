"""Forms about the account itself: who is in it, its keys, where its invoices go."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from billing.accounts.models import Role, Scope
from billing.accounts.text import PlainEmail, PlainText
from billing.catalog.models import MAX_CREDITS
from portal import countries

ROLE_HINTS = {
    Role.OWNER: _("Owner: everything"),
    Role.ADMIN: _("Admin: buys and manages"),
    Role.MEMBER: _("Member: spends credits"),
    Role.VIEWER: _("Viewer: looks only"),
}
# What a customer's own programs need. Keys that may grant credits or set policies are made by staff.
SCOPE_HINTS = {
    Scope.READ: _("Read balance, ledger, usage and invoices"),
    Scope.USAGE_WRITE: _("Report usage"),
    Scope.CHARGES_WRITE: _("Charge credits, and hold them"),
}
LIFETIMES = {"30": _("30 days"), "90": _("90 days"), "365": _("A year"), "": _("Until it is revoked")}
OVERLAPS = {
    "0": _("Not at all: it stops now"),
    "3600": _("An hour"),
    "86400": _("A day"),
    "604800": _("A week"),
}


class RoleField(forms.ChoiceField):
    """A role, with what it may do. Only owners make owners."""

    def offer(self, *, owner: bool) -> None:
        self.choices = [(role.value, hint) for role, hint in ROLE_HINTS.items() if owner or role != Role.OWNER]


class InviteForm(forms.Form):
    """Whom to invite, as what."""

    email = PlainEmail(
        label=_("E-mail address"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "off"})
    )
    role = RoleField(label=_("Role"), initial=Role.MEMBER)

    def __init__(self, *args: Any, owner: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].offer(owner=owner)  # type: ignore[attr-defined]


class MemberForm(forms.Form):
    """What a member may do and spend."""

    role = RoleField(label=_("Role"))
    limit = forms.DecimalField(
        label=_("Spend limit"),
        required=False,
        min_value=Decimal(0),
        max_digits=24,
        decimal_places=6,
        help_text=_("Credits a calendar month, over all pools. Empty: no limit."),
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
    )

    def __init__(self, *args: Any, owner: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].offer(owner=owner)  # type: ignore[attr-defined]

    def clean_limit(self) -> Decimal | None:
        limit: Decimal | None = self.cleaned_data["limit"]
        if limit is not None and limit >= MAX_CREDITS:
            raise forms.ValidationError(_("That is more than there can be."))
        return limit


class KeyForm(forms.Form):
    """A new API key."""

    name = PlainText(label=_("Name"), max_length=80, help_text=_("Where it will be used, for example Backend."))
    scopes = forms.MultipleChoiceField(
        label=_("What it may do"),
        choices=[(scope.value, hint) for scope, hint in SCOPE_HINTS.items()],
        initial=[Scope.READ],
        widget=forms.CheckboxSelectMultiple,
    )
    lifetime = forms.ChoiceField(label=_("Works for"), choices=[*LIFETIMES.items()], initial="365", required=False)


class RotateForm(forms.Form):
    """How long the old key goes on working beside the new one."""

    overlap = forms.ChoiceField(
        label=_("The old key goes on working for"), choices=[*OVERLAPS.items()], initial="86400"
    )


class CurrencyForm(forms.Form):
    """What the account pays in."""

    currency = forms.ChoiceField(
        label=_("Currency"), help_text=_("What you pay in. You can change it until your first invoice.")
    )

    def __init__(self, *args: Any, codes: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["currency"].choices = countries.list_currencies(codes)  # type: ignore[attr-defined]


class DetailsForm(forms.Form):
    """What invoices say, and where they go."""

    name = PlainText(
        label=_("Company or organisation"),
        max_length=200,
        widget=forms.TextInput(attrs={"autocomplete": "organization"}),
    )
    billing_email = PlainEmail(
        label=_("E-mail address for invoices"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )
    address = PlainText(
        label=_("Address"),
        max_length=500,
        required=False,
        help_text=_("As invoices show it, without the country."),
        widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "street-address"}),
    )
    country = forms.ChoiceField(label=_("Country"), choices=countries.list_countries)
    region = PlainText(
        label=_("State or region"),
        max_length=10,
        required=False,
        help_text=_("Its code, for example CA. Where tax depends on it."),
    )
    postal_code = PlainText(
        label=_("Postal code"),
        max_length=16,
        required=False,
        help_text=_("Where tax depends on it, as in the United States."),
        widget=forms.TextInput(attrs={"autocomplete": "postal-code"}),
    )
    tax_number = PlainText(
        label=_("Tax number"),
        max_length=32,
        required=False,
        help_text=_("For example DE123456789. In the EU: your VAT number, with the letters of the country."),
    )

    def clean_region(self) -> str:
        return str(self.cleaned_data["region"]).upper()
