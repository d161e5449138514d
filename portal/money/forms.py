"""Forms about money: paying with a saved or new card, buying a pack, topping up, finding invoices."""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.db.models import QuerySet
from django.forms.boundfield import BoundWidget
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from billing.accounts.text import PlainText
from billing.catalog.models import MAX_CREDITS
from billing.invoicing.models import MAX_MONEY, Invoice
from billing.ledger.models import CreditPool
from billing.payments.models import PaymentMethod
from billing.wording import amounts
from portal.usage.filters import Days, midnight

NEW_CARD = "new"


class SecretInput(forms.TextInput):
    """A text field whose content a page never shows again."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        return super().get_context(name, None, attrs)


@dataclass(frozen=True, slots=True)
class Expiry:
    """The month a card is good until, included."""

    month: int
    year: int


class ExpiryField(forms.CharField):
    """`12 / 29`, as a card has it; cleans to an Expiry."""

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        found = re.fullmatch(r"\s*(0?[1-9]|1[0-2])\s*[/\-. ]?\s*(20)?([0-9]{2})\s*", text, re.ASCII)
        if not found:
            raise forms.ValidationError(_t("Type month and year as on the card, for example 08/29."), code="invalid")
        return Expiry(int(found[1]), 2000 + int(found[3]))


class CardFields(forms.Form):
    """The fields of a new card. Needed unless a form that inherits them says otherwise."""

    number = PlainText(
        label=_("Card number"),
        max_length=40,
        widget=SecretInput(attrs={"inputmode": "numeric", "autocomplete": "cc-number"}),
    )
    expiry = ExpiryField(
        label=_("Good until (MM/YY)"),
        max_length=12,
        widget=SecretInput(attrs={"inputmode": "numeric", "autocomplete": "cc-exp"}),
    )
    cvc = PlainText(
        label=_("Security code"),
        max_length=4,
        widget=SecretInput(attrs={"inputmode": "numeric", "autocomplete": "cc-csc"}),
    )

    def __init__(self, *args: Any, today: date, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.today = today

    def clean_number(self) -> str:
        digits = re.sub(r"[\s-]", "", self.cleaned_data["number"])
        if digits and not re.fullmatch(r"[0-9]{12,19}", digits, re.ASCII):
            raise forms.ValidationError(_t("A card number has 12 to 19 digits."), code="invalid")
        return digits

    def clean_expiry(self) -> Expiry | None:
        expiry: Expiry | None = self.cleaned_data["expiry"]
        if expiry and (expiry.year, expiry.month) < (self.today.year, self.today.month):
            raise forms.ValidationError(_t("This card is not good any more."), code="expired")
        return expiry

    def clean_cvc(self) -> str:
        code: str = self.cleaned_data["cvc"]
        if code and not re.fullmatch(r"[0-9]{3,4}", code, re.ASCII):
            raise forms.ValidationError(_t("The three or four digits on the card."), code="invalid")
        return code


class AddCardForm(CardFields):
    """A card to keep for the account."""

    make_default = forms.BooleanField(label=_("Pay with this card unless told otherwise"), required=False, initial=True)
    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)


class CardPageForm(forms.Form):
    """That a card is to be typed on the gateway's page, and where to go on afterwards."""

    make_default = forms.BooleanField(label=_("Pay with this card unless told otherwise"), required=False, initial=True)
    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)
    next = PlainText(widget=forms.HiddenInput, required=False, max_length=500)


class PayForm(CardFields):
    """How to pay: with one of the saved cards or a new one. `token` tells this rendered form from every other."""

    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)
    method = forms.ChoiceField(
        label=_("Pay with"),
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose a card."), "invalid_choice": _("Choose one of these cards.")},
    )

    def __init__(self, *args: Any, methods: Sequence[PaymentMethod], cards: str = "form", **kwargs: Any) -> None:
        """`cards`: how new ones come, as `gateway.how_cards_come` says."""
        super().__init__(*args, **kwargs)
        self.methods = {str(method.pk): method for method in methods}
        self.cards = cards
        for name in ("number", "expiry", "cvc"):
            self.fields[name].required = False
        field = self.fields["method"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  for the type checker
        new = [(NEW_CARD, _("A new card"))] if cards == "form" else []
        field.choices = [*((pk, str(method)) for pk, method in self.methods.items()), *new]
        field.initial = next(
            (pk for pk, method in self.methods.items() if method.is_default), next(iter(self.methods), NEW_CARD)
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("method") == NEW_CARD:
            for name in ("number", "expiry", "cvc"):
                if not cleaned.get(name) and name not in self.errors:
                    self.add_error(name, forms.ValidationError(_t("This is needed for a new card."), code="required"))
        return cleaned

    @property
    def choices(self) -> list[tuple[BoundWidget, PaymentMethod | None]]:
        """Each way to pay as a radio button with the saved card it stands for, None for a new one."""
        new = [None] if self.cards == "form" else []
        return list(zip(self["method"], [*self.methods.values(), *new], strict=True))

    def renew_token(self) -> None:
        """Render this bound form with a token that stands for nothing yet."""
        self.data = {**self.data.dict(), "token": str(uuid.uuid4())}  # type: ignore[attr-defined]

    @property
    def wants_new_card(self) -> bool:
        """Whether a valid form says to pay with a card we do not have yet."""
        return bool(self.cleaned_data["method"] == NEW_CARD)


class CheckoutForm(PayForm):
    """How many credits of a pack, into which pool, paid how. `seen` is the total that the page showed."""

    credits = forms.DecimalField(
        label=_("Credits"),
        min_value=0,
        max_value=MAX_CREDITS,
        max_digits=24,
        decimal_places=6,
        widget=forms.NumberInput(attrs={"inputmode": "numeric"}),
    )
    pool = forms.TypedChoiceField(label=_("Into the pool"), coerce=int)
    seen = PlainText(widget=forms.HiddenInput, required=False, max_length=40)

    def __init__(self, *args: Any, pools: Sequence[CreditPool], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["pool"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  for the type checker
        field.choices = [(pool.pk, pool.name) for pool in pools]
        field.initial = pools[0].pk


class InvoiceFilter(Days):
    """Which invoices to show."""

    state = forms.ChoiceField(
        label=_("State"),
        required=False,
        choices=[
            ("", _("All")),
            (Invoice.State.OPEN, _("Open")),
            (Invoice.State.PAID, _("Paid")),
            (Invoice.State.VOID, _("Void")),
            (Invoice.State.UNCOLLECTIBLE, _("Uncollectible")),
        ],
    )
    q = PlainText(
        label=_("Number or item"), required=False, max_length=100, widget=forms.TextInput(attrs={"type": "search"})
    )

    def narrow(self, invoices: QuerySet[Invoice], zone: ZoneInfo) -> QuerySet[Invoice]:
        """The invoices this form asks for; only call it on a valid form."""
        wanted = self.cleaned_data
        if wanted["state"]:
            invoices = invoices.filter(state=wanted["state"])
        if wanted["since"]:
            invoices = invoices.filter(issued_at__gte=midnight(wanted["since"], zone))
        if wanted["until"]:
            invoices = invoices.filter(issued_at__lt=midnight(wanted["until"] + timedelta(days=1), zone))
        if wanted["q"]:
            named = Invoice.objects.filter(lines__description__icontains=wanted["q"])
            invoices = invoices.filter(number__icontains=wanted["q"]) | invoices.filter(pk__in=named)
        return invoices


class TopUpForm(forms.Form):
    """When a pool buys credits by itself, what, and at most how much of it."""

    threshold = forms.DecimalField(
        label=_("When fewer than this many credits are left"),
        min_value=1,
        max_value=MAX_CREDITS,
        max_digits=24,
        decimal_places=6,
    )
    pack = forms.TypedChoiceField(label=_("Buy from"), coerce=int)
    credits = forms.DecimalField(
        label=_("This many credits"), min_value=0, max_value=MAX_CREDITS, max_digits=24, decimal_places=6
    )
    method = forms.TypedChoiceField(label=_("Pay with"), coerce=int, required=False, empty_value=None)
    max_count = forms.IntegerField(label=_("At most so often a month"), min_value=1, max_value=1000)
    max_money = forms.DecimalField(
        label=_("At most so much money a month"),
        min_value=0,
        max_value=MAX_MONEY,
        max_digits=18,
        decimal_places=3,
    )

    def __init__(
        self,
        *args: Any,
        packs: Sequence[tuple[int, str]],
        methods: Sequence[PaymentMethod],
        currency: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.methods = methods
        self.fields["max_money"].help_text = _t("In %(currency)s, tax included.") % {"currency": currency}
        pack, method = self.fields["pack"], self.fields["method"]
        assert isinstance(pack, forms.ChoiceField)  # noqa: S101  for the type checker
        assert isinstance(method, forms.ChoiceField)  # noqa: S101  for the type checker
        pack.choices = list(packs)
        method.choices = [
            ("", _("The default card, whichever it is then")),
            *((each.pk, str(each)) for each in methods),
        ]


def amounts_in_words(least: Decimal, most: Decimal, step: Decimal) -> str:
    """In which amounts a pack is sold."""
    parts = {
        "least": amounts.credits_text(least),
        "most": amounts.credits_text(most),
        "step": amounts.credits_text(step),
    }
    return _t("This pack is sold from %(least)s to %(most)s credits, in steps of %(step)s.") % parts


def plain(amount: Decimal) -> str:
    """Without separators and zeros that say nothing, as a number field wants it."""
    return f"{amount.normalize():f}"
