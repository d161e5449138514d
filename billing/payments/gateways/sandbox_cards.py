"""The sandbox's test cards and how each behaves, and what makes a card's details well-formed. Pure.

Only these numbers are taken, so nobody's real card is ever typed into a demo by mistake.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from billing.payments.sandbox_models import SandboxCard

Behaviour = SandboxCard.Behaviour

NOW = timedelta(0)
YEARS_AHEAD = 20
WEARS_OUT_AFTER = 3


@dataclass(frozen=True, slots=True)
class Card:
    """A test card; any expiry to come and any security code go with it."""

    number: str
    brand: str
    behaviour: Behaviour
    meaning: Promise


CARDS = (
    Card("4242424242424242", "Visa", Behaviour.SUCCESS, lazy("Succeeds.")),
    Card("5555555555554444", "Mastercard", Behaviour.SUCCESS, lazy("Succeeds.")),
    Card("378282246310005", "American Express", Behaviour.SUCCESS, lazy("Succeeds.")),
    Card("4000000000000002", "Visa", Behaviour.DECLINE, lazy("Is declined.")),
    Card("4000000000009995", "Visa", Behaviour.INSUFFICIENT, lazy("Is declined for lack of funds.")),
    Card("4000000000000069", "Visa", Behaviour.EXPIRED, lazy("Is declined as expired; trying again is no use.")),
    Card(
        "4000002760003184",
        "Visa",
        Behaviour.ACTION,
        lazy("Asks the customer to confirm on the bank's page; without the customer it is declined."),
    ),
    Card(
        "4000000000000341",
        "Visa",
        Behaviour.OFF_SESSION,
        lazy("Succeeds while the customer is there; is declined later, when charged without them."),
    ),
    Card("4000000000001018", "Visa", Behaviour.SLOW, lazy("Stays in process for 8 seconds, then succeeds.")),
    Card("4000000000001026", "Visa", Behaviour.SLOW_DECLINE, lazy("Stays in process for 8 seconds, then is declined.")),
    Card(
        "4000000000001034",
        "Visa",
        Behaviour.LOST_ANSWER,
        lazy("Is charged, but the answer is lost; the gateway knows half a minute later. The same for its refunds."),
    ),
    Card(
        "4000000000001042",
        "Visa",
        Behaviour.BLACKOUT,
        lazy("Is charged, but the answer is lost, and for 25 hours the gateway gives none."),
    ),
    Card("4000000000001059", "Visa", Behaviour.LATE, lazy("Stays in process for 5 minutes, then succeeds.")),
    Card("4000000000001067", "Visa", Behaviour.VERY_LATE, lazy("Stays in process for 3 hours, then succeeds.")),
    Card("4000000000001075", "Visa", Behaviour.REFUND_FAILS, lazy("Succeeds; the first refund of each charge fails.")),
    Card("4000000000001083", "Visa", Behaviour.WEARS_OUT, lazy("Succeeds three times, then is declined.")),
    Card(
        "4000000000000259",
        "Visa",
        Behaviour.DISPUTED,
        lazy("Succeeds; seconds later the payer disputes the charge at their bank."),
    ),
)
_BY_NUMBER = {card.number: card for card in CARDS}


@dataclass(frozen=True, slots=True)
class Script:
    """What happens to a charge: how it ends, when it is settled, and from when whoever asks gets an answer. Without
    `answers` the charge itself is not answered either."""

    state: str = "succeeded"
    failure_code: str = ""
    settles_after: timedelta = NOW
    silent_for: timedelta | None = None
    is_noisy: bool = False


_SCRIPTS = {
    Behaviour.SUCCESS: Script(),
    Behaviour.REFUND_FAILS: Script(),
    Behaviour.DISPUTED: Script(),
    Behaviour.DECLINE: Script("failed", "card_declined"),
    Behaviour.INSUFFICIENT: Script("failed", "insufficient_funds"),
    Behaviour.EXPIRED: Script("failed", "expired_card"),
    Behaviour.SLOW: Script(settles_after=timedelta(seconds=8), is_noisy=True),
    Behaviour.SLOW_DECLINE: Script("failed", "card_declined", timedelta(seconds=8), is_noisy=True),
    Behaviour.LOST_ANSWER: Script(silent_for=timedelta(seconds=30)),
    Behaviour.BLACKOUT: Script(silent_for=timedelta(hours=25)),
    Behaviour.LATE: Script(settles_after=timedelta(minutes=5), is_noisy=True),
    Behaviour.VERY_LATE: Script(settles_after=timedelta(hours=3)),
}


def script_of(behaviour: str, *, off_session: bool, earlier: int = 0) -> Script:
    """What happens to a charge of a card of this behaviour that was charged with success so often `earlier`."""
    if behaviour == Behaviour.WEARS_OUT:
        return Script("failed", "card_declined") if earlier >= WEARS_OUT_AFTER else Script()
    if behaviour == Behaviour.ACTION:
        return Script("failed", "authentication_required") if off_session else Script("requires_action")
    if behaviour == Behaviour.OFF_SESSION:
        return Script("failed", "card_declined") if off_session else Script()
    return _SCRIPTS[Behaviour(behaviour)]


def find_card(number: str) -> Card | None:
    """The test card of this number, blanks and hyphens aside."""
    return _BY_NUMBER.get(plain_number(number))


def plain_number(number: str) -> str:
    """The number as people write it, without blanks and hyphens."""
    return number.replace(" ", "").replace("-", "")


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def errors_of(*, number: str, exp_month: int, exp_year: int, cvc: str, now: datetime) -> Mapping[str, str]:
    """What is wrong with a card's details, by field, for people; empty when nothing is."""
    errors = {}
    digits = plain_number(number)
    if not (digits.isascii() and digits.isdigit() and 12 <= len(digits) <= 19):
        errors["number"] = _("Enter the 12 to 19 digits of the card's number.")
    elif not passes_luhn(digits):
        errors["number"] = _("This is not a card's number. Check the digits.")
    elif digits not in _BY_NUMBER:
        errors["number"] = _("Only test cards work here, for example 4242 4242 4242 4242. Do not enter a real card.")
    if not 1 <= exp_month <= 12:
        errors["exp_month"] = _("Enter a month from 1 to 12.")
    elif (exp_year, exp_month) < (now.year, now.month):
        errors["exp_year"] = _("The card has expired.")
    elif exp_year > now.year + YEARS_AHEAD:
        errors["exp_year"] = _("Enter the year as shown on the card, with four digits.")
    wanted = 4 if digits[:2] in ("34", "37") else 3
    if not (cvc.isascii() and cvc.isdigit() and len(cvc) == wanted):
        errors["cvc"] = _("Enter the security code, %(count)d digits.") % {"count": wanted}
    return errors
