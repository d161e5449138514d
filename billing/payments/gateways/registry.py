"""Which gateway collects from an account, and each gateway by its name, as the settings say how to reach it."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Literal

from django.conf import settings

from billing.accounts.models import Account
from billing.invoicing import stripe_units
from billing.payments.gateways import manual, sandbox
from billing.payments.gateways.contract import Books, CardForm, CardPage, CardsOnPage, Gateway, NoCardPage, NoGateway
from billing.payments.models import GatewayName


def get(name: str) -> Gateway:
    """The gateway of this name, for what was begun with it too: it need not be the one that is chosen now.

    Raises NoGateway when the settings do not say how to reach it.
    """
    if name == GatewayName.SANDBOX and name in _named():
        return sandbox
    if name == GatewayName.STRIPE and settings.FLORIN_STRIPE_SECRET_KEY:
        from billing.payments.gateways import stripe_api  # Its library is large, and not everybody needs it.

        return stripe_api
    if name == GatewayName.MANUAL:
        return manual
    raise NoGateway(name)


def books(name: str) -> Books:
    """The gateway of this name if it shows what it has moved. Raises NoGateway."""
    if name == GatewayName.STRIPE and settings.FLORIN_STRIPE_SECRET_KEY:
        from billing.payments.gateways import stripe_api

        return stripe_api
    raise NoGateway(name)


def card_form(name: str) -> CardForm:
    """The gateway of this name if cards are typed here. Raises CardsOnPage, NoGateway."""
    if name == GatewayName.SANDBOX and name in _named():
        return sandbox
    if name == GatewayName.STRIPE:
        raise CardsOnPage(name)
    raise NoGateway(name)


def card_page(name: str) -> CardPage:
    """The gateway of this name if cards are typed on its page. Raises NoGateway, NoCardPage where it has none."""
    if name == GatewayName.STRIPE and settings.FLORIN_STRIPE_SECRET_KEY:
        from billing.payments.gateways import stripe_api

        return stripe_api
    raise (NoCardPage if name == GatewayName.SANDBOX else NoGateway)(name)


def is_reachable(name: str) -> bool:
    """Whether the settings say how to reach the gateway."""
    try:
        get(name)
    except NoGateway:
        return False
    return True


def rounded(name: str, amount: Decimal, currency: str) -> Decimal:
    """What the gateway moves for an amount: of one that it cannot take, the nearest that it can."""
    return stripe_units.chargeable(amount, currency) if name == GatewayName.STRIPE else amount


def how_to_reach(name: str) -> str:
    """What staff can do about something that was begun with a gateway which the settings no longer name."""
    setting = "FLORIN_STRIPE_SECRET_KEY" if name == GatewayName.STRIPE else "FLORIN_GATEWAY or FLORIN_GATEWAYS"
    return (
        f"The gateway {name} is no longer configured, so it cannot be asked. Configure it again ({setting}) until what "
        "was begun with it has ended."
    )


def choose(account: Account) -> str:
    """The name of the gateway that collects from an account: its own, else its currency's, else everybody's; from a
    test account always the sandbox. Raises NoGateway when nobody does.
    """
    if account.is_test:
        return GatewayName.SANDBOX
    name = account.gateway or settings.FLORIN_GATEWAYS.get(account.currency) or settings.FLORIN_GATEWAY
    if not name:
        raise NoGateway
    return str(name)


def how_cards_come(account: Account) -> Literal["form", "page", "none"]:
    """How the account's people add a card: in a form of ours, on the gateway's page, or not at all."""
    try:
        name = choose(account)
        get(name)
    except NoGateway:
        return "none"
    return {GatewayName.SANDBOX: "form", GatewayName.STRIPE: "page"}.get(GatewayName(name), "none")  # type: ignore[return-value]


def _named() -> Iterable[str]:
    return {settings.FLORIN_GATEWAY, *settings.FLORIN_GATEWAYS.values()}
