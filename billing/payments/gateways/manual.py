"""Bank transfers as a gateway: money that people move by hand.

Nothing is charged here: `transfers` records what came. Money that is to go back waits until staff have sent it and say
so (`refunding.record`).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from billing.payments.gateways.contract import Charge, Delivery, InvalidWebhook, NoGateway, Outcome, Report, Return


def charge(request: Charge, *, now: datetime) -> Outcome:
    """Raises NoGateway: a transfer cannot be drawn."""
    raise NoGateway(request.key)


def find_charge(request: Charge, *, now: datetime) -> Outcome | None:
    """Raises NoGateway: a transfer cannot be drawn."""
    raise NoGateway(request.key)


def refund(request: Return, *, now: datetime) -> Outcome:
    """Leave it to staff."""
    return Outcome(state="processing", reference="")


def find_refund(request: Return, *, now: datetime) -> Outcome | None:
    """It waits for staff."""
    return Outcome(state="processing", reference="")


def open_webhook(*, headers: Mapping[str, str], body: bytes) -> Delivery:
    """Raises InvalidWebhook: nobody reports transfers."""
    raise InvalidWebhook("transfers are not reported")


def read_webhook(payload: Mapping[str, Any]) -> Report | None:
    """Nobody reports transfers."""
    return None
