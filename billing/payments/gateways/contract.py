"""What a gateway is asked and what it answers, in our words; and which gateway collects from whom.

A gateway moves money in a process that is not ours. So it is never called inside a database transaction, every request
carries a key by which a repeat is told, and an answer that does not come says nothing about what happened.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Protocol

from django.db import transaction

State = Literal["succeeded", "failed", "requires_action", "processing"]


class GatewayUnavailable(Exception):
    """No answer came. Whether the gateway did what it was asked is unknown."""


class NoGateway(Exception):
    """No gateway is configured, or not this one."""


class NoCardPage(NoGateway):
    """The gateway has no page where cards are typed."""


class CardsOnPage(Exception):
    """The gateway takes cards on its own page only: begin a setup there (`setups.begin`)."""


class InvalidCard(Exception):
    """A card cannot be kept; `errors` says why, by field (`number`, `exp_month`, `exp_year`, `cvc`)."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(", ".join(errors))
        self.errors = errors


class InvalidWebhook(Exception):
    """A webhook whose signature or time is wrong, or that cannot be read."""


@dataclass(frozen=True, slots=True)
class Charge:
    """A request to take money. The customer is there to confirm it unless `off_session`. `reference` is what the
    gateway called it in an earlier answer, if any came."""

    key: str
    amount: Decimal
    currency: str
    method_reference: str
    off_session: bool
    return_url: str
    description: str
    customer_reference: str = ""
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Return:
    """A request to give back money of a charge."""

    key: str
    charge_reference: str
    amount: Decimal
    currency: str
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a charge or a return of money stands at the gateway.

    `amount` and `currency` are what the gateway says it was about, `received` what has come of it once it has
    succeeded, `key` and `customer_reference` whose it was, `charge_reference` the charge that a return belongs to: each
    None where the gateway does not say so, empty where it says that there is none. `action_url` is where the customer
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
    received: Decimal | None = None
    key: str | None = None
    customer_reference: str | None = None
    charge_reference: str | None = None


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


@dataclass(frozen=True, slots=True)
class SetupReport:
    """That something has become of a card's setup; the gateway is asked what."""

    reference: str


@dataclass(frozen=True, slots=True)
class DisputeReport:
    """How a dispute stands, or a refund that was made at the gateway itself (`kind`): `state` and `kind` are ours
    (`Dispute`); `key` is the charge's, and `charge_reference` what the gateway calls it, where it says so."""

    key: str
    reference: str
    amount: Decimal
    currency: str
    reason: str
    state: str
    respond_by: datetime | None
    charge_reference: str = ""
    kind: str = "dispute"


@dataclass(frozen=True, slots=True)
class Movement:
    """Money that a charge, or what was taken back of it (negative), has moved by the gateway's own books, in the
    charge's currency. `key` is the charge's where it carries one."""

    charge_reference: str
    amount: Decimal
    currency: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class HostedPage:
    """A page of the gateway's where a customer types a card."""

    reference: str
    url: str


@dataclass(frozen=True, slots=True)
class Setup:
    """How a card's setup stands: `card` once there is one; otherwise it may still come, unless `is_over`. `key` and
    `customer_reference` are whose it is."""

    card: StoredCard | None
    is_over: bool
    key: str = ""
    customer_reference: str = ""


class Gateway(Protocol):
    """What every gateway can do. All but `open_webhook` may raise GatewayUnavailable; none runs in a transaction."""

    def charge(self, request: Charge, *, now: datetime) -> Outcome:
        """Take money, once per key: a repeat answers how the first stands."""

    def find_charge(self, request: Charge, *, now: datetime) -> Outcome | None:
        """How the charge of the request's key stands; None when the gateway never heard of it."""

    def refund(self, request: Return, *, now: datetime) -> Outcome:
        """Give money back, once per key."""

    def find_refund(self, request: Return, *, now: datetime) -> Outcome | None:
        """How the return of the request's key stands; None when the gateway never heard of it."""

    def open_webhook(self, *, headers: Mapping[str, str], body: bytes) -> Delivery:
        """Check signature and time. Raises InvalidWebhook."""

    def read_webhook(self, payload: Mapping[str, Any]) -> Report | SetupReport | DisputeReport | None:
        """What the payload says, or what the gateway says when asked about it; None when it is about nothing of ours.
        Raises ValueError for what cannot be read."""


class Books(Protocol):
    """A gateway that shows what it has moved."""

    def list_movements(self) -> Iterator[Movement]:
        """All that has moved since the beginning. Raises GatewayUnavailable."""


class CardForm(Protocol):
    """A gateway whose cards are typed into our own forms."""

    def store_card(
        self, *, key: str, number: str, exp_month: int, exp_year: int, cvc: str, now: datetime
    ) -> StoredCard:
        """Keep a card, once per key. Raises InvalidCard, GatewayUnavailable."""


class CardPage(Protocol):
    """A gateway whose cards are typed on its own page."""

    def make_customer(self, *, key: str, name: str, email: str) -> str:
        """What the gateway calls a new customer, once per key. Raises GatewayUnavailable."""

    def begin_setup(self, *, key: str, customer_reference: str, return_url: str, cancel_url: str) -> HostedPage:
        """Open a page where the customer types a card, once per key. Raises GatewayUnavailable."""

    def find_setup(self, reference: str) -> Setup:
        """How the setup stands. Raises GatewayUnavailable."""


def refuse_in_transaction() -> None:
    """Raise RuntimeError inside a database transaction. The one that a test case wraps around a test does not count."""
    with transaction.atomic(durable=True):
        pass
