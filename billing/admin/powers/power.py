"""What one entry of the list of powers says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Model

from billing.accounts.approvals import Worth
from billing.accounts.models import Approval

Payload = Mapping[str, Any]


class CannotBeDone(Exception):
    """The act is not possible as things stand; the message says why. Nothing was written."""


class Do:
    """The types of an entry's functions."""

    Measure = Callable[[Payload, datetime], Worth]
    Subject = Callable[[Payload], Model | None]
    Act = Callable[[Approval, datetime], Model]
    Finish = Callable[[Approval, datetime], None]


def nothing_yet(payload: Payload) -> Model | None:
    """The subject of an act that makes a row."""
    return None


def boundless(payload: Payload, now: datetime) -> Worth:
    """The worth of what no figure says: rights, and terms for periods to come. A second person always decides."""
    return Worth(is_boundless=True)


@dataclass(frozen=True, slots=True)
class Power:
    """An act of staff that moves money, credits or rights.

    `doors` are the pages and list actions that ask for it, and `permission` is what they require. `measure` says what
    it is worth, from the payload and the database alone, so that no page decides what counts against the limit.
    `subject` is the row it changes; `do` does it within a transaction and returns the row for the audit log. `finish`
    is what must happen after the commit, such as asking a gateway; `close` undoes what was prepared, where it is
    not approved.
    """

    label: Any
    permission: str
    doors: tuple[str, ...]
    measure: Do.Measure
    do: Do.Act
    subject: Do.Subject = nothing_yet
    finish: Do.Finish | None = None
    close: Do.Finish | None = None


def actor_of(approval: Approval) -> str:
    """Who did it, as ledgers and documents write it down: whoever asked."""
    return f"user:{approval.requested_by_id}"
