"""Turning what a form says about a card into a payment method; what went wrong goes to the form's fields."""

import uuid
from datetime import datetime

from django.utils.translation import gettext as _

from billing.accounts.models import Account
from billing.payments import methods
from billing.payments.gateways import contract, registry, sandbox_cards
from billing.payments.models import GatewayName
from portal.money.forms import CardFields, Expiry, PayForm

_FIELDS = {"number": "number", "exp_month": "expiry", "exp_year": "expiry", "cvc": "cvc"}


def choose_method(form: PayForm, account: Account, *, now: datetime) -> int | None:
    """The method that a valid form names; a new card is kept first, once however often the form is sent.

    None when it could not be kept; the form says why. Must run outside a transaction.
    """
    if not form.wants_new_card:
        return int(form.cleaned_data["method"])
    return keep_card(form, account, token=form.cleaned_data["token"], make_default=False, now=now)


def keep_card(form: CardFields, account: Account, *, token: uuid.UUID, make_default: bool, now: datetime) -> int | None:
    """Keep the card of a valid form; None when that failed, and the form says why."""
    typed = form.cleaned_data
    expiry: Expiry = typed["expiry"]
    try:
        return methods.add_card(
            account_id=account.pk,
            number=typed["number"],
            exp_month=expiry.month,
            exp_year=expiry.year,
            cvc=typed["cvc"],
            make_default=make_default,
            key=f"form:{token}",
            now=now,
        ).pk
    except contract.InvalidCard as error:
        for field, reason in error.errors.items():
            form.add_error(_FIELDS.get(field), reason)
    except methods.TooManyMethods:
        form.add_error(None, _("There are too many cards already. Remove one that you do not use any more."))
    except (contract.NoGateway, contract.CardsOnPage):
        form.add_error(None, _("Cards cannot be taken at the moment. Nothing was charged."))
    except contract.GatewayUnavailable:
        form.add_error(None, _("The card could not be checked just now. Nothing was charged; please try again."))
    return None


def test_cards(account: Account) -> tuple[sandbox_cards.Card, ...]:
    """The numbers that the sandbox takes and what they do; none where real money moves."""
    try:
        return sandbox_cards.CARDS if registry.choose(account) == GatewayName.SANDBOX else ()
    except contract.NoGateway:
        return ()
