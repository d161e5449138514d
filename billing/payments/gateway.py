"""What a gateway is asked and what it answers, in our words; and which gateway is configured.

A gateway moves money in a process that is not ours. So it is never called inside a database transaction, every request
carries a key by which a repeat is told, and an answer that does not come says nothing about what happened.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Protocol

from django.conf import settings
from django.db import transaction

from billing.payments.models import GatewayName

State = Literal["succeeded", "failed", "requires_action", "processing"]


class GatewayUnavailable(Exception):
    """No answer came. Whether the gateway did what it was asked is unknown."""


class NoGateway(Exception):
    """No gateway is configured, or not this one."""


class InvalidCard(Exception):
    """A card cannot be kept; `errors` says why, by field (`number`, `exp_month`, `exp_year`, `cvc`)."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(", ".join(errors))
        self.errors = errors


class InvalidWebhook(Exception):
    """A webhook whose signature or time is wrong, or that cannot be read."""


@dataclass(frozen=True, slots=True)
class Charge:
    """A request to take money. The customer is there to confirm it unless `off_session`."""

    key: str
    amount: Decimal
    currency: str
    method_reference: str
    off_session: bool
    return_url: str
    description: str


@dataclass(frozen=True, slots=True)
class Return:
    """A request to give back money of a charge."""

    key: str
    charge_reference: str
    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a charge or a return of money stands at the gateway.

    `amount` and `currency` are what the gateway says it was about, where it says so. `action_url` is where the customer
    confirms. `hard`: another try with the same method cannot succeed.
    """

    state: State
    reference: str
    failure_code: str = ""
    failure_message: str = ""
    action_url: str = ""
    hard: bool = False
    amount: Decimal | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True)
class StoredCard:
    """A card as the gateway keeps it."""

    reference: str
    brand: str
    last4: str
    exp_month: int
    exp_year: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook whose signature is right."""

    event_id: str
    kind: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """What a webhook says: about which request of ours, and how it stands."""

    about: Literal["charge", "refund"]
    key: str
    outcome: Outcome


class Gateway(Protocol):
    """What every gateway can do. All but the last two may raise GatewayUnavailable; none runs in a transaction."""

    def store_card(
        self, *, key: str, number: str, exp_month: int, exp_year: int, cvc: str, now: datetime
    ) -> StoredCard:
        """Keep a card, once per key. Raises InvalidCard."""

    def charge(self, request: Charge, *, now: datetime) -> Outcome:
        """Take money, once per key: a repeat answers how the first stands."""

    def find_charge(self, key: str, *, now: datetime) -> Outcome | None:
        """How the charge of the key stands; None when the gateway never heard of it."""

    def refund(self, request: Return, *, now: datetime) -> Outcome:
        """Give money back, once per key."""

    def find_refund(self, key: str, *, now: datetime) -> Outcome | None:
        """How the return of the key stands; None when the gateway never heard of it."""

    def open_webhook(self, *, headers: Mapping[str, str], body: bytes) -> Delivery:
        """Check signature and time. Raises InvalidWebhook."""

    def read_webhook(self, payload: Mapping[str, Any]) -> Report | None:
        """What the payload says; None when it is about nothing of ours. Raises ValueError for what cannot be read."""


def get(name: str) -> Gateway:
    """The gateway of this name. Raises NoGateway."""
    # Gateways need the words above, so they are imported when one is asked for.
    if name == settings.FLORIN_GATEWAY == GatewayName.SANDBOX:
        from billing.payments import sandbox

        return sandbox
    raise NoGateway(name)


def configured_name() -> str:
    """The name of the gateway that new cards and payments go to. Raises NoGateway."""
    if not settings.FLORIN_GATEWAY:
        raise NoGateway
    return str(settings.FLORIN_GATEWAY)


def refuse_in_transaction() -> None:
    """Raise RuntimeError inside a database transaction. The one that a test case wraps around a test does not count."""
    with transaction.atomic(durable=True):
        pass
