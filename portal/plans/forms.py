"""Forms about plans: choosing one with its seats, coupon and card; redeeming a coupon; leaving."""

import uuid
from decimal import Decimal
from typing import Any

from django import forms
from django.forms.boundfield import BoundWidget
from django.utils.translation import gettext_lazy as _

from billing.accounts.text import PlainText
from billing.payments.models import PaymentMethod
from billing.subscriptions.charges.coupons import Refusal
from portal.money.forms import NEW_CARD, PayForm

LATER = "later"
MOST_SEATS = 1_000_000

COUPON_REFUSALS = {
    Refusal.UNKNOWN: _("There is no such coupon."),
    Refusal.INACTIVE: _("This coupon is not valid any more."),
    Refusal.NOT_YET: _("This coupon is not valid yet."),
    Refusal.EXPIRED: _("This coupon is not valid any more."),
    Refusal.USED_UP: _("This coupon has been used up."),
    Refusal.OTHER_PLAN: _("This coupon is for other plans."),
    Refusal.OTHER_CURRENCY: _("This coupon is for another currency."),
    Refusal.REDEEMED: _("You have redeemed this coupon already."),
    Refusal.TOO_MANY_GUESSES: _("Too many wrong codes. Please try again in an hour."),
}


class PlanForm(PayForm):
    """A plan with its seats, and how it is paid. `seen` is what the page said it would cost.

    `asks_card`: something is to be charged; `may_wait`: the card may be given later. Without either the form has no
    fields of a card.
    """

    seats = forms.IntegerField(label=_("Seats"), min_value=0, max_value=MOST_SEATS, required=False)
    coupon = PlainText(
        label=_("Coupon"), max_length=40, required=False, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    when = forms.ChoiceField(
        label=_("When"),
        required=False,
        widget=forms.RadioSelect,
        choices=[
            ("", _("As usual: what is dearer today, what is cheaper with the next period")),
            ("now", _("Today")),
            ("period_end", _("With the next period")),
        ],
        initial="",
    )
    seen = PlainText(widget=forms.HiddenInput, required=False, max_length=400)

    def __init__(self, *args: Any, asks_card: bool, may_wait: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asks_card, self.may_wait = asks_card or may_wait, may_wait
        if not self.asks_card:
            for name in ("method", "number", "expiry", "cvc"):
                del self.fields[name]
        elif may_wait:
            field = self.fields["method"]
            assert isinstance(field, forms.ChoiceField)  # noqa: S101  for the type checker
            known = [(pk, str(method)) for pk, method in self.methods.items()]
            field.choices = [*known, (NEW_CARD, _("A new card")), (LATER, _("Later, before the trial ends"))]
            if not self.methods:
                field.initial = LATER

    def clean_coupon(self) -> str:
        code: str = self.cleaned_data["coupon"]
        return code.strip().upper()

    @property
    def choices(self) -> list[tuple[BoundWidget, PaymentMethod | None]]:
        return list(zip(self["method"], [*self.methods.values(), None, None], strict=False))

    @property
    def pays_later(self) -> bool:
        """Whether a valid form names no card."""
        return not self.asks_card or self.cleaned_data["method"] == LATER


class CouponForm(forms.Form):
    """A coupon for the subscription one has."""

    code = PlainText(
        label=_("Code"), max_length=40, widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"})
    )


class TokenForm(forms.Form):
    """An act that happens once, however often its form is sent."""

    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)


class CancelForm(TokenForm):
    """When somebody leaves, and why, if they say it."""

    when = forms.ChoiceField(
        label=_("When"),
        widget=forms.RadioSelect,
        choices=[("period_end", _("At the end of the period")), ("now", _("Today"))],
        initial="period_end",
    )
    reason = PlainText(
        label=_("Why do you leave?"),
        required=False,
        max_length=200,
        help_text=_("If you like: it helps us to do better."),
    )


def seen_text(total: Decimal, currency: str, *parts: object) -> str:
    """What a page said, as its form carries it; parts that say nothing are left out."""
    return " ".join([f"{total:f}", currency, *(text for part in parts if (text := str(part)))])
