"""What happens to an overdue invoice and when, in words. Pure, no clock of its own."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from billing.payments.dunning import schedule
from billing.payments.models import Collection


@dataclass(frozen=True, slots=True)
class Step:
    """What happens, and when. `is_done`: it is behind us."""

    at: datetime
    text: str
    is_done: bool


def list_steps(collection: Collection, *, now: datetime) -> list[Step]:
    """What happened and will happen to an overdue invoice that stays unpaid: tries, reminders, the end; those of one
    moment together. Nothing for one that is not overdue. Needs the invoice and its account to be loaded."""
    states = (Collection.State.OVERDUE, Collection.State.EXHAUSTED)
    if collection.overdue_at is None or collection.state not in states:
        return []
    zone = collection.invoice.account.time_zone
    plan = schedule(collection.policy, overdue_at=collection.overdue_at, time_zone=zone)
    tries = plan.retries if collection.is_automatic else ()
    moments: Iterable[tuple[datetime, str]] = (
        (collection.overdue_at, _("the payment failed") if collection.is_automatic else _("the invoice was due")),
        # Of a card that is refused for good only the tries that were made are told.
        *(
            (at, _("we charge the card again"))
            for at in tries
            if at < plan.final_at and (at <= now or not collection.retries_stopped)
        ),
        *((at, _("we remind you by e-mail")) for at in plan.reminders if at < plan.final_at),
        (plan.final_at, final_words(collection)),
    )
    texts: dict[datetime, list[str]] = {}
    for at, text in moments:
        texts.setdefault(at, []).append(text)
    return [Step(at, _capital(", ".join(texts[at])), at <= now) for at in sorted(texts)]


def final_words(collection: Collection) -> str:
    """What happens when the policy's days are over."""
    ends = {
        "pause": _("the subscription is paused: usage is refused until the invoice is paid"),
        "downgrade": _("the plan is changed to a smaller one"),
        "cancel": _("the subscription ends"),
    }
    return ends.get(str(collection.policy.get("final_act")), _("the invoice is given up"))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
